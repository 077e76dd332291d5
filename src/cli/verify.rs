//! `sokketsu verify`: does everything on disk agree? It only reads, and may run beside a live server.
//!
//! 1. The journal's chain, record by record, to where recovery would keep it.
//! 2. Every decision judged again by the rules in force at its time: it must come out as recorded.
//! 3. The ledger loaded as a checkpoint equals the journal applied up to the same record. It may lag.
//! 4. Every decision is in the ledger exactly once, and its sums come out (`sums`): each account's rows with the journal's
//!    facts, a customer's with the account, cash with what was paid in and out, nothing left between two accounts.
//! 5. No credit stands beside an unpaid bill.

use std::fmt;
use std::sync::Arc;

use super::serve::backends::{AtRest, NoJournal, at_rest, may_be_read};
use super::sums::{self, Told};
use crate::config::Records;
use crate::domain::commands::advise::advise;
use crate::domain::commands::authorize::{Judgement, judge};
use crate::domain::commands::refusal::Step;
use crate::domain::model::bounds::Bounds;
use crate::domain::model::ids::Lsn;
use crate::domain::model::request::{Advice, OrderKey};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::{Advised, Decided, Event, Outcome};
use crate::engine::recovery::{RecoveryError, replay};
use crate::journal::JournalError;
use crate::ledger::{Books, LedgerError};

/// Records between two rounds of freeing memory.
const FREE_EVERY: u64 = 10_000;

/// What was found. All that agrees is counted; all that does not is named.
#[derive(Debug, Default)]
pub struct Report {
    pub first: Lsn,
    pub last: Lsn,
    /// In what the records are kept: `3 segments`.
    pub kept_in: String,
    /// What a reader should know of them.
    pub known: Option<&'static str>,
    /// Bytes of a tail that was never answered; recovery cuts it.
    pub torn_bytes: u64,
    pub approved: u64,
    pub denied: u64,
    /// Of those approved: by the network, for us.
    pub advices: u64,
    pub judged_again: u64,
    pub customers: u64,
    /// Yen: all customers' exposure at the last record.
    pub exposure: u64,
    /// Yen owed to the network and charged to nobody, at the last record.
    pub suspense: u64,
    pub ledger: Lsn,
    /// Disagreements, the first few of each kind in words.
    pub wrong: Vec<String>,
    pub wrong_count: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the ledger could not be read: {0}")]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    NoJournal(#[from] NoJournal),
    /// Older records were released, so the whole history can't be judged again.
    #[error("the journal begins at record {0}; `verify` needs it from record 1")]
    Released(Lsn),
}

impl Report {
    pub fn agrees(&self) -> bool {
        self.wrong_count == 0
    }

    fn note(&mut self, what: String) {
        self.wrong_count += 1;
        if self.wrong.len() < 20 {
            self.wrong.push(what);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lag = self.last.0.saturating_sub(self.ledger.0);
        writeln!(f, "journal   records {} to {} in {}, chain intact", self.first, self.last, self.kept_in)?;
        if let Some(known) = self.known {
            writeln!(f, "          {known}")?;
        }
        if self.torn_bytes > 0 {
            writeln!(f, "          {} bytes of an unanswered tail, to be cut at the next start", self.torn_bytes)?;
        }
        writeln!(
            f,
            "decisions {} approved, {} denied; {} judged again",
            self.approved, self.denied, self.judged_again
        )?;
        if self.advices > 0 {
            writeln!(f, "advices   {} of them, {} yen in suspense", self.advices, self.suspense)?;
        }
        writeln!(f, "accounts  {} customers, exposure {} yen", self.customers, self.exposure)?;
        writeln!(f, "ledger    at record {}, {} behind", self.ledger, lag)?;
        for wrong in &self.wrong {
            writeln!(f, "WRONG     {wrong}")?;
        }
        match self.wrong_count {
            0 => write!(f, "all agree"),
            count => write!(f, "{count} disagreements"),
        }
    }
}

/// Compares journal, rules and ledger. `progress` is told the record being read.
pub fn verify(records: &Records, progress: &mut dyn FnMut(Lsn, Lsn)) -> Result<Report, VerifyError> {
    let known = may_be_read(records)?;
    let AtRest { mut journal, books } = at_rest(records)?;
    // The ledger first: it may move on while the journal is read, never back.
    let mut checkpoint = State::new(records.settings);
    if let Some(books) = &books {
        books.load(&mut checkpoint)?;
    }
    // What the ledger has once was durable: a tail that is torn before its position is damage.
    let found = journal.examine(checkpoint.lsn)?;
    if found.first > Lsn(1) && found.last > Lsn::ZERO {
        return Err(VerifyError::Released(found.first));
    }
    let mut report = Report {
        first: found.first,
        last: found.last,
        kept_in: found.kept_in,
        known,
        torn_bytes: found.torn_bytes,
        ledger: checkpoint.lsn,
        ..Report::default()
    };
    let mut state = State::new(records.settings);
    let mut decided_in_journal = 0;
    let mut told = Told::default();
    replay(&mut state, journal.as_mut(), |state, lsn, event, now| {
        match event {
            Event::Decided(decided) => judge_again(state, lsn, decided, now, &mut report),
            Event::Advised(advised) => advise_again(state, lsn, advised, now, &mut report),
            _ => {}
        }
        if matches!(event, Event::Decided(_) | Event::Advised(_)) {
            decided_in_journal += u64::from(lsn <= checkpoint.lsn);
        }
        if lsn <= checkpoint.lsn {
            told.hear(state, event, now);
        }
        state.apply(event, now);
        if lsn == checkpoint.lsn {
            compare(state, &checkpoint, &mut report);
        }
        if lsn.0.is_multiple_of(FREE_EVERY) {
            state.forget(now.at, lsn, usize::MAX);
            progress(lsn, found.last);
        }
    })?;
    if let Some(books) = &books {
        check_books(books.as_ref(), &checkpoint, (decided_in_journal, &told), &mut report)?;
    }
    sums::check_credit(&state, &mut |what| report.note(what));
    let now = Now::at(state.time.max(Millis(0)));
    report.suspense = state.suspense.get();
    report.customers = u64::from(state.next_customer().0);
    report.exposure = state
        .rules()
        .map_or(0, |rules| state.accounts().map(|account| account.exposure(&now, rules).total.get()).sum());
    Ok(report)
}

/// Asks twice where need be: the bounds of one customer are the installation's, not journaled, and may have been others
/// at that time. One of them was in the way or none was.
pub(super) fn whatever_the_bounds<T>(
    state: &mut State,
    mut ask: impl FnMut(&State) -> T,
    is_same: impl Fn(&T) -> bool,
) -> T {
    let configured = state.settings.bounds;
    let none = Bounds { open_debts: usize::MAX, changes_per_bill: usize::MAX, ..configured };
    state.settings.bounds = none;
    let mut again = ask(state);
    if !is_same(&again) {
        state.settings.bounds = Bounds { open_debts: 0, ..none };
        let at_bound = ask(state);
        again = if is_same(&at_bound) { at_bound } else { again };
    }
    state.settings.bounds = configured;
    again
}

/// The rules of that time, asked again, must say the same.
fn judge_again(state: &mut State, lsn: Lsn, decided: &Decided, now: &Now, report: &mut Report) {
    match decided.outcome {
        Outcome::Approved(_) => report.approved += 1,
        Outcome::Denied { .. } => report.denied += 1,
    }
    let Some(in_force) = state.policy.clone() else {
        report.note(format!("record {lsn} is a decision without a policy"));
        return;
    };
    let key = OrderKey { merchant: decided.input.merchant, order_id: decided.input.order_id };
    let tombstone = state.orders.by_key(&key, now.at).is_some();
    let is_same = |again: &Judgement| {
        let has_same_basis = decided.basis.is_none() || again.basis == decided.basis;
        again.outcome == decided.outcome
            && (again.customer, again.room) == (decided.customer, decided.room)
            && has_same_basis
    };
    let ask = |state: &State| judge(state, &decided.input, tombstone, now, &in_force.policy);
    let again = whatever_the_bounds(state, ask, is_same);
    report.judged_again += 1;
    if !is_same(&again) || in_force.version != decided.policy {
        report.note(format!("record {lsn}: recorded {:?}, judged again {:?}", decided.outcome, again.outcome));
    }
}

/// The same advice, brought again to the books as they were, must be booked the same.
fn advise_again(state: &mut State, lsn: Lsn, advised: &Advised, now: &Now, report: &mut Report) {
    report.approved += 1;
    report.advices += 1;
    let Some(in_force) = state.policy.clone() else {
        report.note(format!("record {lsn} is an advice without a policy"));
        return;
    };
    let Advised { decided, original, post, .. } = advised;
    let input = Arc::clone(&decided.input);
    let advice = Advice { input, original: *original, post: *post, sealed_by: None, must_be_known: false };
    report.judged_again += 1;
    let ask = |state: &State| match advise(state, &advice, now, &in_force, &mut || decided.random) {
        Step::Record(Event::Advised(again)) => Some(again),
        _ => None,
    };
    match whatever_the_bounds(state, ask, |again| again.as_deref() == Some(advised)) {
        Some(again) if *again == *advised => {}
        Some(again) => {
            report.note(format!("record {lsn}: booked {:?}, judged again {:?}", advised.booked, again.booked))
        }
        None => report.note(format!("record {lsn}: booked {:?}, now it is known", advised.booked)),
    }
}

/// The checkpoint and the journal applied up to it must be one state.
fn compare(state: &State, checkpoint: &State, report: &mut Report) {
    let describe = |state: &State| {
        let mut text = String::new();
        // Writing into a String cannot fail.
        state.describe(checkpoint.time, &mut text).map(|()| text).unwrap_or_default()
    };
    let (journal, ledger) = (describe(state), describe(checkpoint));
    if journal != ledger {
        // Ids stay out of what is printed: the number of the line is enough to look it up.
        let line = journal.lines().zip(ledger.lines()).position(|(a, b)| a != b);
        let line = line.map_or_else(|| "one is longer".to_owned(), |at| format!("first in line {}", at + 1));
        report.note(format!("at record {} the ledger's state differs from the journal's, {line}", checkpoint.lsn));
    }
}

/// Sums and counts of the ledger against the state it stands for, and against the facts up to there.
fn check_books(
    books: &dyn Books,
    at: &State,
    (decided, told): (u64, &Told),
    report: &mut Report,
) -> Result<(), VerifyError> {
    let counted = books.count_decisions(at.lsn)?;
    if counted != decided {
        report.note(format!("{decided} decisions in the journal, {counted} in the ledger"));
    }
    Ok(sums::check(books, at, told, &mut |what| report.note(what))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::on_disk_tests::on_disk;
    use crate::config::{Ledger as LedgerConfig, LedgerPlace};
    use crate::domain::commands::history::History;
    use crate::domain::model::request::Post;
    use crate::ledger::Book;

    #[test]
    fn a_random_history_agrees_and_an_advice_booked_otherwise_does_not() {
        let history = History::new(31, 1_500);
        let data = tempfile::tempdir().unwrap();
        let report = verify(&on_disk(&history.events, data.path()), &mut |_, _| {}).unwrap();
        assert!(report.agrees(), "{report}");
        assert!(report.advices > 20, "{report}");
        assert_eq!(report.suspense, history.state.suspense.get());

        let mut events = history.events;
        let booked = |event: &Event| matches!(event, Event::Advised(advised) if advised.decided.customer.is_some());
        let at = events.iter().rposition(|(_, _, event)| booked(event)).unwrap();
        if let (lsn, _, Event::Advised(advised)) = &mut events[at] {
            advised.post = Post::Never;
            let data = tempfile::tempdir().unwrap();
            let lsn = *lsn;
            let report = verify(&on_disk(&events, data.path()), &mut |_, _| {}).unwrap();
            assert!(report.wrong[0].starts_with(&format!("record {lsn}: booked")), "{report}");
        }
    }

    /// One change of the tables each, and a word of what is to be said of it.
    fn mutations() -> Vec<(String, &'static str)> {
        let one = |of: &str| format!("id = (SELECT min(id) FROM movement WHERE {of})");
        let mut all = Vec::new();
        for book in Book::ALL {
            let number = *book as u8;
            // As the account of a row, and as the far side of one.
            all.push((
                format!("UPDATE movement SET amount = amount + 1 WHERE {}", one(&format!("account = {number}"))),
                "",
            ));
            let of = format!("counter_account = {number}");
            all.push((format!("UPDATE movement SET amount = amount - 1 WHERE {}", one(&of)), ""));
            let other = if *book == Book::Cash { Book::FeeIncome } else { Book::Cash } as u8;
            all.push((format!("UPDATE movement SET counter_account = {other} WHERE {}", one(&of)), ""));
        }
        let more = [
            ("UPDATE movement SET customer = customer + 1 WHERE id = (SELECT min(id) FROM movement WHERE account = 5)", "credit"),
            ("UPDATE movement SET channel = 3 - channel WHERE account = 1 AND order_lsn = 0 AND channel IN (1, 2)", "exposure entries of"),
            ("DELETE FROM movement WHERE account = 14 AND amount > 0", "payout_due"),
            ("INSERT INTO movement SELECT NULL, lsn, kind, customer, account, counter_account, amount, month, channel,
                order_lsn, recorded_at, money, own_day, far, far_bill, value_at FROM movement WHERE account = 3 LIMIT 1", "late_fee"),
            ("UPDATE movement SET lsn = lsn - 1 WHERE id = (SELECT min(id) FROM movement WHERE account = 5 AND counter_account = 12)", "between two accounts"),
            ("UPDATE decision SET amount = amount + 1 WHERE lsn = (SELECT min(lsn) FROM decision WHERE state = 4 AND customer >= 0)", "exposure"),
            ("UPDATE decision SET points = points + 1 WHERE lsn = (SELECT min(lsn) FROM decision WHERE state = 4 AND points > 0 AND hold_expires_at IS NULL)", "points"),
            ("UPDATE suspense SET amount = amount + 1 WHERE order_lsn = (SELECT max(order_lsn) FROM suspense WHERE cleared_lsn IS NULL)", "suspense"),
            ("UPDATE account SET credit = credit + 1 WHERE customer = 0", "own row's credit"),
            ("UPDATE account SET payout_due = payout_due + 1 WHERE customer = 0", "own row's payout_due"),
            ("UPDATE account SET story_principal = story_principal + 1 WHERE customer = 0", "own row's principal"),
        ];
        all.extend(more.map(|(sql, word)| (sql.to_owned(), word)));
        for column in
            ["in_store", "rung", "on_time_bills", "purchases", "months_active", "codes_issued", "guardian_consent"]
        {
            all.push((format!("UPDATE account SET {column} = 1 - min({column}, 1) WHERE customer = (SELECT min(customer) FROM account WHERE month > 0)"), ""));
        }
        all
    }

    #[test]
    fn a_ledger_that_was_changed_anywhere_does_not_agree() {
        // Damages are rare.
        let is_damages = |event: &Event| matches!(event, Event::Settled { cause, .. } if cause.posted().is_some());
        let has_all = |history: &History| history.events.iter().any(|(_, _, event)| is_damages(event));
        let mut history = (37..).map(|seed| History::new(seed, 2_000)).find(has_all).unwrap();
        history.expire_holds();
        history.calendar();
        let data = tempfile::tempdir().unwrap();
        let records = on_disk(&history.events, data.path());
        let report = verify(&records, &mut |_, _| {}).unwrap();
        assert!(report.agrees(), "{report}");
        // What it says of a ledger in which this was changed; nothing where there is no such row.
        let changed = |sql: &str| {
            let other = data.path().join("other.db");
            std::fs::copy(data.path().join("ledger.db"), &other).unwrap();
            let rows = rusqlite::Connection::open(&other).unwrap().execute(sql, []).unwrap();
            let place = LedgerPlace::Embedded(other);
            let ledger = LedgerConfig { place, ..records.ledger.clone() };
            (rows > 0).then(|| verify(&Records { ledger, ..records.clone() }, &mut |_, _| {}).unwrap())
        };
        // An older version named neither the day of value nor the channel.
        let older = changed("UPDATE movement SET value_at = NULL, channel = 1 WHERE order_lsn = 0").unwrap();
        assert!(older.agrees(), "{older}");
        let mut caught = std::collections::HashSet::new();
        for (sql, word) in mutations() {
            let Some(report) = changed(&sql) else { continue };
            assert!(report.wrong.iter().any(|wrong| wrong.contains(word)), "{sql}: {report}");
            caught.insert(sql);
        }
        let is_caught = |part: &str| caught.iter().any(|sql| sql.contains(part));
        // In `movement` the first five and what is owed in cash are accounts, and all but the far side of suspense far sides.
        for number in [1, 2, 3, 4, 5, 6, 14] {
            assert!(is_caught(&format!("WHERE account = {number})")), "account {number}");
        }
        for number in [7, 8, 9, 10, 11, 12] {
            assert!(is_caught(&format!("WHERE counter_account = {number})")), "far side {number}");
        }
        assert!(caught.len() >= 13 + 6 + 11, "{caught:?}");
    }
}
