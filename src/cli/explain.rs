//! `sokketsu explain`: why a decision came out as it did. It only reads, and may run beside a live server.
//!
//! The journal is applied up to the record before the decision, which is then judged again: it must come out as recorded, with the
//! same numbers. A decision of before the numbers were kept gets those that are found now.

use std::fmt::Write as _;

use serde::Serialize;

use super::verify::whatever_the_bounds;
use super::whole::{WholeError, whole_journal};
use crate::config::Records;
use crate::domain::commands::authorize::{Judgement, judge};
use crate::domain::commands::explain::{Explained, Verdict, explain};
use crate::domain::model::bilingual::{Bilingual, grouped};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, Part};
use crate::domain::model::order::part_of;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Now;
use crate::domain::state::State;
use crate::domain::state::event::{Decided, Event};
use crate::engine::recovery::replay;
use crate::hex;
use crate::journal::{JournalError, JournalReader, Record};

/// Records between two rounds of freeing memory.
const FREE_EVERY: u64 = 10_000;

/// Which decision.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Id(AuthorizationId),
    /// The latest one of this order.
    Key(OrderKey),
    /// The latest one with this approval code.
    ApprovalCode([u8; 6]),
}

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Whole(#[from] WholeError),
    #[error("no such decision is in the journal")]
    Unknown,
}

/// An explanation, and whether the decision came out as recorded.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub explained: Explained,
    /// What judging again found otherwise than recorded; empty where all agrees.
    pub differs: Vec<String>,
    /// The decision and what was recorded about it later.
    pub journal: Vec<Entry>,
}

/// A record of the journal, with its place in the chain.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub position: u64,
    pub kind: &'static str,
    /// Its hash, over itself and the hash of the record before it.
    pub hash: String,
    /// That of the record before it.
    pub follows: String,
}

/// Explains a decision. `progress` is told the record being read.
pub fn explain_decision(
    records: &Records,
    which: Which,
    progress: &mut dyn FnMut(Lsn, Lsn),
) -> Result<Report, ExplainError> {
    let (mut journal, last) = whole_journal(records)?;
    let mut state = State::new(records.settings);
    let mut found: Option<Found> = None;
    replay(&mut state, journal.as_mut(), |state, lsn, event, now| {
        if let Event::Decided(decided) = event
            && is_it(which, state, lsn, decided)
        {
            found = judged_again(state, lsn, decided, now);
        }
        if let Some(found) = &mut found
            && let Some(kind) = kind_of(event, found.lsn)
        {
            found.later.push((lsn, kind));
        }
        state.apply(event, now);
        if lsn.0.is_multiple_of(FREE_EVERY) {
            state.forget(now.at, lsn, usize::MAX);
        }
        progress(lsn, last);
    })
    .map_err(WholeError::from)?;
    let Found { lsn, explained, differs, later } = found.ok_or(ExplainError::Unknown)?;
    let mut entries = vec![entry(journal.as_mut(), lsn, "decided").map_err(WholeError::from)?];
    for (lsn, kind) in later {
        entries.push(entry(journal.as_mut(), lsn, kind).map_err(WholeError::from)?);
    }
    Ok(Report { explained, differs, journal: entries })
}

struct Found {
    lsn: Lsn,
    explained: Explained,
    differs: Vec<String>,
    /// Records about it.
    later: Vec<(Lsn, &'static str)>,
}

fn id_of(state: &State, lsn: Lsn, decided: &Decided) -> (AuthorizationId, Option<CustomerId>) {
    let customer = decided.customer.and_then(|ix| state.account(ix)).map(|account| account.id);
    let part = part_of(&decided.input, customer.as_ref().map(Part::of));
    (AuthorizationId { part, lsn, random: decided.random }, customer)
}

fn is_it(which: Which, state: &State, lsn: Lsn, decided: &Decided) -> bool {
    match which {
        Which::Id(id) => id.lsn == lsn && id_of(state, lsn, decided).0 == id,
        Which::Key(key) => key == decided.input.key(),
        Which::ApprovalCode(code) => id_of(state, lsn, decided).0.approval_code() == code,
    }
}

/// None where there was no policy to judge by.
fn judged_again(state: &mut State, lsn: Lsn, decided: &Decided, now: &Now) -> Option<Found> {
    let in_force = state.policy.clone()?;
    let tombstone = state.orders.by_key(&decided.input.key(), now.at).is_some();
    let ask = |state: &State| judge(state, &decided.input, tombstone, now, &in_force.policy);
    let differences = |again: &Judgement| {
        let mut differs = Vec::new();
        let mut look = |what: &str, is_same: bool, recorded: String, found: String| {
            if !is_same {
                differs.push(format!("{what}: recorded {recorded}, judged again {found}"));
            }
        };
        let outcome = (&decided.outcome, &again.outcome);
        look("outcome", outcome.0 == outcome.1, format!("{:?}", outcome.0), format!("{:?}", outcome.1));
        look("room", decided.room == again.room, decided.room.to_string(), again.room.to_string());
        look("customer", decided.customer == again.customer, "one".to_owned(), "another".to_owned());
        let is_same = decided.basis.is_none() || decided.basis == again.basis;
        look("numbers", is_same, format!("{:?}", decided.basis), format!("{:?}", again.basis));
        differs
    };
    let again = whatever_the_bounds(state, ask, |again| differences(again).is_empty());
    let mut differs = differences(&again);
    if in_force.version != decided.policy {
        differs.push(format!("policy: recorded version {}, in force {}", decided.policy, in_force.version));
    }
    let (id, customer) = id_of(state, lsn, decided);
    let decided = Decided { basis: decided.basis.or(again.basis), ..decided.clone() };
    let explained = explain(&decided, (id, now.at), customer, &in_force.policy);
    Some(Found { lsn, explained, differs, later: Vec::new() })
}

/// What a record is called that is about the decision at a position.
fn kind_of(event: &Event, decision: Lsn) -> Option<&'static str> {
    let (order, kind) = match event {
        Event::Captured(captured) => (captured.order, "captured"),
        Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } => (undone.order, "cancelled"),
        Event::HoldExpired(undone) => (undone.order, "hold_expired"),
        Event::Refunded(refunded) => (refunded.order, "refunded"),
        _ => return None,
    };
    (order == decision).then_some(kind)
}

fn entry(journal: &mut dyn JournalReader, lsn: Lsn, kind: &'static str) -> Result<Entry, JournalError> {
    let mut record = Record::default();
    let before = Lsn(lsn.0.saturating_sub(1));
    // Record 1 follows on nothing.
    if before > Lsn::ZERO {
        journal.next(Lsn(before.0 - 1), &mut record)?;
    }
    let follows = hex::encode(&record.link.0).to_string();
    journal.next(before, &mut record)?;
    Ok(Entry { position: lsn.0, kind, hash: hex::encode(&record.link.0).to_string(), follows })
}

/// For people: in Japanese, or in English.
pub fn text(report: &Report, in_japanese: bool) -> String {
    let said = |ja: &'static str, en: &'static str| if in_japanese { ja } else { en };
    let of = |text: &Bilingual| if in_japanese { text.ja.to_string() } else { text.en.to_string() };
    let Explained { authorization_id, decided_at, reason, request, policy, account, .. } = &report.explained;
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        // Writing into a String cannot fail.
        writeln!(out, "{label:<10} {value}").ok();
    };
    let why = reason.map_or_else(
        || said("承認", "approved").to_owned(),
        |reason: Reason| format!("{} {}", said("否認", "denied"), reason.name()),
    );
    line(said("判定", "decision"), format!("{why}, {authorization_id}, {decided_at}"));
    let yen = said("円", "yen");
    let customer = request.customer_id.map_or_else(|| said("不明", "unknown").to_owned(), |id| id.to_string());
    line(
        said("依頼", "request"),
        format!(
            "{} {yen}, {} {}, {}, {}",
            grouped(request.amount.get()),
            request.merchant_id,
            request.order_id,
            request.channel.name(),
            customer
        ),
    );
    line(said("規則", "policy"), format!("version {} \"{}\"", policy.version, policy.label));
    for check in &report.explained.ladder {
        let mark = match check.verdict {
            Verdict::Passed => said("可", "pass"),
            Verdict::Denied => said("否*", "DENY"),
            Verdict::AlsoDenies => said("否", "deny"),
            Verdict::NotAsked => "-",
        };
        line(&format!("  {mark}"), format!("{}: {}", check.check.name(), of(&check.text)));
    }
    if let Some(account) = account {
        for (label, used) in [(said("判定前", "before"), &account.before), (said("判定後", "after"), &account.after)]
        {
            line(
                label,
                format!(
                    "{} {} / {}, {} {} / {}",
                    said("店舗", "in store"),
                    grouped(used.exposure_in_store.get()),
                    grouped(account.limit_in_store.get()),
                    said("総枠", "total"),
                    grouped(used.exposure_total.get()),
                    grouped(account.limit_total.get())
                ),
            );
        }
    }
    line(said("もし", "what if"), of(&report.explained.would_pass.text));
    for Entry { position, kind, hash, follows } in &report.journal {
        line(said("記録", "record"), format!("{position} {kind}, hash {hash}, follows {follows}"));
    }
    for differs in &report.differs {
        line("WRONG", differs.clone());
    }
    if report.differs.is_empty() {
        out += said("再判定の結果は記録と一致しました。", "Judged again, it comes out as recorded.");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::on_disk_tests::on_disk;
    use crate::domain::commands::explain::Check;
    use crate::domain::commands::history::History;
    use crate::domain::state::event::Outcome;

    /// What the numbers of a check say by themselves; none where it has none.
    fn by_its_numbers(check: Reason, numbers: &BTreeMap<&str, u64>) -> Option<bool> {
        let of = |name: &str| numbers.get(name).copied();
        Some(match check {
            Reason::Overdue => of("days_overdue")? > 0,
            Reason::OverPaymentCap => of("cap").is_some_and(|cap| numbers["amount"] > cap),
            Reason::OverInStoreLimit | Reason::OverTotalLimit => of("amount")? + of("exposure")? > of("limit")?,
            _ => return None,
        })
    }

    /// A few decisions of each reason, and of approvals: each comes out as it is recorded, the first check that says no is the
    /// reason, and the verdicts follow from the numbers beside them.
    #[test]
    fn decisions_of_a_random_history_are_explained_as_a_reader_would_by_hand() {
        let history = History::new(77, 1_500);
        let data = tempfile::tempdir().unwrap();
        let records = on_disk(&history.events, data.path());
        let mut seen: BTreeMap<Option<&str>, u32> = BTreeMap::new();
        for (lsn, _, event) in &history.events {
            let Event::Decided(decided) = event else { continue };
            let reason = match &decided.outcome {
                Outcome::Approved(_) => None,
                Outcome::Denied { reason, .. } => Some(*reason),
            };
            let count = seen.entry(reason.map(Reason::name)).or_default();
            *count += 1;
            if *count > 2 {
                continue;
            }
            let part =
                part_of(&decided.input, decided.customer.map(|ix| Part::of(&history.state.account(ix).unwrap().id)));
            let id = AuthorizationId { part, lsn: *lsn, random: decided.random };
            let report = explain_decision(&records, Which::Id(id), &mut |_, _| {}).unwrap();
            assert_eq!(report.differs, Vec::<String>::new(), "{lsn}");
            let explained = &report.explained;
            assert_eq!((explained.reason, explained.authorization_id), (reason, id));
            let says_no = |check: &&Check| matches!(check.verdict, Verdict::Denied | Verdict::AlsoDenies);
            assert_eq!(explained.ladder.iter().find(says_no).map(|check| check.check), reason, "{explained:?}");
            for check in explained.ladder.iter().filter(|check| check.verdict != Verdict::NotAsked) {
                let is_denied = says_no(&check);
                assert!(by_its_numbers(check.check, &check.numbers).is_none_or(|no| no == is_denied), "{check:?}");
                assert!(!check.text.en.contains(['{', '?']) && !check.text.ja.contains(['{', '?']), "{check:?}");
            }
            if let (Some(amount), None) = (explained.would_pass.amount, reason) {
                assert!(amount >= decided.input.amount, "what passed would pass");
            }
            assert!(reason.is_none() || explained.would_pass.amount.is_none_or(|most| most < decided.input.amount));
            assert_eq!((report.journal[0].position, report.journal[0].hash.len()), (lsn.0, 32));
            let shown = [text(&report, true), text(&report, false)];
            assert!(shown[0].contains("再判定の結果は記録と一致") && shown[1].contains("as recorded"), "{shown:?}");
            let by_key = explain_decision(&records, Which::Key(decided.input.key()), &mut |_, _| {}).unwrap();
            assert_eq!(by_key.explained.request.order_id, decided.input.order_id.to_string());
        }
        assert!(seen.len() >= 10, "reasons that the history has: {seen:?}");
    }

    #[test]
    fn a_decision_that_was_recorded_otherwise_is_told() {
        let mut events = History::new(78, 600).events;
        let at = events
            .iter()
            .rposition(|(_, _, event)| matches!(event, Event::Decided(Decided { outcome: Outcome::Approved(_), .. })));
        let (_, _, Event::Decided(decided)) = &mut events[at.unwrap()] else { panic!("a decision") };
        decided.basis.as_mut().unwrap().rung += 1;
        let key = decided.input.key();
        let data = tempfile::tempdir().unwrap();
        let report = explain_decision(&on_disk(&events, data.path()), Which::Key(key), &mut |_, _| {}).unwrap();
        assert!(
            report.differs.len() == 1 && report.differs[0].starts_with("numbers: recorded"),
            "{:?}",
            report.differs
        );
    }
}
