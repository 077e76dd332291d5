//! The views that add up: both sides of each movement, and what analysts ask, against the facts and the state.

use rusqlite::Connection;

use super::tests::{Temporary, number, temporary, text};
use crate::domain::billing::account::Account;
use crate::domain::billing::notes::Cause;
use crate::domain::commands::history::History;
use crate::domain::model::correction::Correction;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Date;
use crate::domain::state::event::Event;
use crate::ledger::Checkpoint;
use crate::ledger::contract_tests::postings;

/// A random history up to now, and its ledger.
pub(super) fn posted(seed: u64) -> (History, Temporary) {
    let mut history = History::new(seed, 2_000);
    history.expire_holds();
    history.calendar();
    let mut made = temporary();
    made.ledger.post(&postings(&history)).unwrap();
    (history, made)
}

/// What came in from customers less what went out to them, by the facts.
fn cash(history: &History) -> i64 {
    let moved = history.events.iter().filter_map(|(_, _, event)| match event {
        Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. } => {
            Some(payment.amount.get().cast_signed())
        }
        Event::Settled { cause: Cause::Payout { amount, .. }, .. } => Some(-amount.get().cast_signed()),
        Event::Settled { cause: Cause::Bounced { amount, .. }, .. } => Some(amount.get().cast_signed()),
        Event::Settled {
            cause: Cause::Corrected { correction: Correction::ReverseRepayment { .. }, amount, .. },
            ..
        } => Some(-amount.get().cast_signed()),
        _ => None,
    });
    moved.sum()
}

/// So many groups of the postings of some accounts do not come to zero.
fn unequal(db: &Connection, of: &str, by: &str) -> i64 {
    let groups = format!("SELECT 1 FROM postings WHERE {of} GROUP BY {by} HAVING sum(amount) <> 0");
    number(db, &format!("SELECT count(*) FROM ({groups})"))
}

#[test]
fn both_sides_of_each_movement_come_to_nothing() {
    for seed in 70..78 {
        let (history, made) = posted(seed);
        let db = made.ledger.connection();
        for of in ["unit = 'yen'", "unit = 'points'", "account = 'clearing'"] {
            for by in ["lsn", "lsn, customer_id", "customer_id", "unit"] {
                assert_eq!(unequal(db, of, by), 0, "{of} by {by} of seed {seed}");
            }
        }
        assert!(number(db, "SELECT count(*) FROM postings WHERE account = 'clearing'") > 20);
        let wanted = cash(&history);
        for sum in ["SELECT sum(amount) FROM postings WHERE account = 'cash'", "SELECT sum(amount) FROM cash"] {
            assert_eq!(number(db, sum), wanted, "cash of seed {seed}");
        }
        let payable = number(db, "SELECT sum(change) FROM postings WHERE account = 'merchant_payable'");
        assert_eq!(payable, number(db, "SELECT sum(net) FROM settlement"));
        let charged = "SELECT sum(amount) FROM entries WHERE kind IN ('purchase', 'capture', 'cancel', 'refund')";
        let lost = "SELECT ifnull(-sum(amount), 0) FROM entries WHERE kind = 'suspense_lost'";
        let suspense = history.state.suspense.get().cast_signed() + number(db, lost);
        assert_eq!(payable, number(db, charged) + suspense);
        let strange = "SELECT count(*) FROM entries WHERE value_at IS NULL OR value_at > recorded_at";
        assert_eq!(number(db, strange), 0);
        let owed: i64 = number(
            db,
            "SELECT sum(amount) FROM postings WHERE kind NOT IN ('hold', 'hold_released')
            AND account IN ('exposure', 'bill_fee', 'late_fee', 'damages', 'credit', 'payout_due', 'written_off')",
        );
        let balances = "SELECT sum(balance) FROM (
            SELECT balance FROM customer_account GROUP BY customer_id HAVING lsn = max(lsn))";
        assert_eq!(number(db, balances), owed, "what the accounts come to");
    }
}

/// Customer, principal and due date of each open bill, as the state has it.
fn open_bills(history: &History) -> Vec<String> {
    let mut open = Vec::new();
    for account in history.state.accounts() {
        for bill in account.bills().filter(|bill| bill.is_open()) {
            let due = bill.due.map_or(String::new(), |due| due.to_string());
            open.push(format!("{} {} {due}", account.id, bill.unpaid()));
        }
    }
    open.sort();
    open
}

/// The same of issued bills at the end of a day of the past, as they tell it today.
fn open_bills_on(history: &History, day: Date) -> Vec<String> {
    let end = day.plus_days(1).start();
    let mut open = Vec::new();
    for account in history.state.accounts() {
        for bill in account.bills().filter(|bill| bill.is_issued() && bill.issued_at < end) {
            let (principal, due) = (bill.open_before(end), bill.due.unwrap());
            if !principal.is_zero() {
                open.push(format!("{} {principal} {due}", account.id));
            }
        }
    }
    open
}

#[test]
fn open_bills_are_those_of_the_state_on_any_day() {
    let (mut seen, mut past) = (0, 0);
    for seed in 80..86 {
        let (history, made) = posted(seed);
        let today = history.now().date();
        let found = |day: Date| {
            let sql = format!(
                "SELECT customer_id || ' ' || principal || ' ' || ifnull(due, '') FROM open_bills WHERE day = '{day}'"
            );
            text(made.ledger.connection(), &sql)
        };
        let mut now = found(today);
        now.sort();
        let wanted = open_bills(&history);
        assert_eq!(now, wanted, "seed {seed}");
        seen += wanted.len();
        for days in [1, 3, 10, 25, 60, 100] {
            let day = today.plus_days(-days);
            let (found, wanted) = (found(day), open_bills_on(&history, day));
            past += wanted.len();
            // Bills that memory has let go were open then too.
            for line in wanted {
                assert!(found.contains(&line), "{line} on {day} of seed {seed}: {found:?}");
            }
        }
    }
    assert!(seen > 30 && past > 100, "{seen} open bills, {past} in the past");
}

#[test]
fn channels_and_free_money_come_to_what_the_state_says() {
    for seed in 90..96 {
        let (history, made) = posted(seed);
        let db = made.ledger.connection();
        let today = history.now().date();
        let accounts = || history.state.accounts();
        for channel in Channel::ALL {
            let of = |account: &Account| account.bills().map(|bill| bill.unpaid_of(channel).get()).sum::<u64>();
            let unpaid = accounts().map(of).sum::<u64>().cast_signed();
            let (month, name) = (today.month(), channel.name());
            let sum = format!(
                "SELECT ifnull(sum(principal), 0) FROM receivable WHERE month = '{month}' AND channel = '{name}'"
            );
            assert_eq!(number(db, &sum), unpaid, "{name} of seed {seed}");
        }
        let negative = "SELECT 1 FROM entries WHERE account = 'exposure' GROUP BY customer_id, bill, channel
            HAVING sum(amount) < 0";
        assert_eq!(number(db, &format!("SELECT count(*) FROM ({negative})")), 0, "less than nothing is owed");
        let free = [
            ("credit", accounts().map(|account| account.credit().get()).sum::<u64>()),
            ("payout_due", accounts().map(|account| account.payout_due().get()).sum()),
        ];
        for (account, wanted) in free {
            let of = format!("FROM free_money WHERE day = '{today}' AND account = '{account}'");
            assert_eq!(number(db, &format!("SELECT ifnull(sum(amount), 0) {of}")), wanted.cast_signed(), "{account}");
            let strange = format!("SELECT count(*) {of} AND (amount < 0 OR own_day IS NULL OR age < 0)");
            assert_eq!(number(db, &strange), 0, "{account} of seed {seed}");
        }
        assert_eq!(number(db, "SELECT count(*) FROM customers WHERE joined_at IS NULL"), 0);
    }
}
