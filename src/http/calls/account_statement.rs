//! The account statement of a customer: every movement of what they owe, with its sentence. It goes by the day of entry, so
//! that a statement of days that are over never changes.

use std::collections::HashMap;

use serde::Serialize;

use super::account::{account, past};
use super::account_words::About;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId};
use crate::domain::model::time::{Date, Millis};
use crate::domain::state::receipts::ReceiptKind;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::past::{BillNames, bill_names};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::ledger::audit::OWN;
use crate::ledger::{Book, Books, Entry, EntryKind, Far, LedgerError, RecordId};

/// Ten years.
const MOST_DAYS: i32 = 3_660;

#[derive(Serialize)]
struct Text {
    ja: String,
    en: String,
}

#[derive(Serialize)]
struct MovementShown {
    /// Its day of entry.
    recorded_at: Millis,
    /// Its day of value; null of one from before that was kept.
    value_at: Option<Millis>,
    kind: &'static str,
    account: &'static str,
    bill: Option<String>,
    /// What `id` is of: an authorization, refund, repayment, payout, fee, damages posting …
    id_of: Option<&'static str>,
    id: Option<String>,
    authorization_id: Option<AuthorizationId>,
    merchant_id: Option<MerchantId>,
    /// Added to what the customer owes.
    amount: i64,
    /// What the customer owes after it, in the order shown.
    balance: i64,
    text: Text,
}

#[derive(Serialize)]
struct StatementShown {
    from: Date,
    to: Date,
    by: &'static str,
    /// Whether all these days are over, so that nothing of this changes any more.
    #[serde(rename = "final")]
    is_final: bool,
    opening_balance: i64,
    closing_balance: i64,
    movements: Vec<MovementShown>,
}

/// What is asked for.
struct Span {
    from: Date,
    to: Date,
    by_value: bool,
}

impl Span {
    fn read(asked: &Asked, today: Date) -> Result<Self, Problem> {
        let query = Query::read(asked.query(), &["from", "to", "by"])?;
        let (from, to) = (query.date("from")?, query.date("to")?);
        let to = to.unwrap_or(today);
        let from = from.unwrap_or_else(|| to.month().day(1));
        if to > today {
            return Err(Problem::parameter("to", "must not be after today"));
        }
        if !(0..MOST_DAYS).contains(&to.days_since(from)) {
            let wanted = format!("must not be after `to`, and less than {MOST_DAYS} days before it");
            return Err(Problem::parameter("from", wanted));
        }
        let by_value = match query.text("by") {
            None | Some("entry") => false,
            Some("value") => true,
            Some(_) => return Err(Problem::parameter("by", "must be `entry` or `value`")),
        };
        Ok(Self { from, to, by_value })
    }
}

/// What the ledger has of the account up to the end of the last day.
#[derive(Default)]
struct Seen {
    opening: i64,
    rows: Vec<Entry>,
    ids: HashMap<Lsn, RecordId>,
}

/// Whether it moves what the customer owes: a hold owes nothing yet, and points are no money.
fn is_owed(entry: &Entry) -> bool {
    OWN.contains(&entry.account) && !matches!(entry.kind, EntryKind::Hold | EntryKind::HoldReleased)
}

/// Rows of one record that differ in their channel alone are one movement.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let mut rows: Vec<Entry> = Vec::new();
    for entry in entries {
        let is_same = |row: &&mut Entry| {
            let what =
                |entry: &Entry| (entry.lsn, entry.kind, entry.account, entry.bill(), entry.moved, entry.value_at);
            what(row) == what(&entry) && row.purchase == entry.purchase
        };
        match rows.iter_mut().rev().take_while(|row| row.lsn == entry.lsn).find(is_same) {
            Some(row) => row.amount += entry.amount,
            None => rows.push(entry),
        }
    }
    rows.retain(|row| row.amount != 0);
    rows.sort_by_key(|row| (row.lsn, row.kind as u8, row.account as u8, row.bill()));
    rows
}

impl Seen {
    fn read(books: &dyn Books, customer: &CustomerId, (from, end): (Millis, Millis)) -> Result<Self, LedgerError> {
        let mut before = books.entries(customer, Millis(0), end)?;
        before.retain(is_owed);
        let rows = merged(before.split_off(before.partition_point(|entry| entry.recorded_at < from)));
        let opening = before.iter().map(|entry| entry.account.debit(entry.amount)).sum();
        let moved = rows.iter().filter_map(|row| row.moved).map(|moved| moved.money);
        let mut records: Vec<Lsn> = rows.iter().map(|row| row.lsn).chain(moved).collect();
        records.sort_unstable();
        records.dedup();
        Ok(Self { opening, rows, ids: books.record_ids(&records)?.into_iter().collect() })
    }
}

/// `GET /v1/customers/{customer_id}/account?from=&to=&by=`: days of entry in Japan, both included; this month by default.
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let (_, now) = account(asked).await?;
    let Span { from, to, by_value } = Span::read(asked, now.date)?;
    let span = (from.start(), to.plus_days(1).start());
    let Seen { opening, mut rows, ids } = past(asked, move |books, customer| Seen::read(books, customer, span)).await?;
    if by_value {
        rows.sort_by_key(|row| (row.value_at.unwrap_or(row.recorded_at), row.lsn));
    }
    let ends = rows.iter().filter_map(|row| match row.moved?.far {
        Far::Bill(bill) => Some(bill),
        _ => None,
    });
    let names = bill_names(&asked.edge, ends.chain(rows.iter().filter_map(Entry::bill))).await?;
    let mut balance = opening;
    let movements = rows.iter().map(|row| {
        balance += row.account.debit(row.amount);
        shown(row, balance, &names, &ids)
    });
    let movements: Vec<_> = movements.collect::<Result<_, _>>()?;
    Answer::ok(&StatementShown {
        from,
        to,
        by: if by_value { "value" } else { "entry" },
        is_final: to < now.date,
        opening_balance: opening,
        closing_balance: balance,
        movements,
    })
}

fn shown(row: &Entry, balance: i64, names: &BillNames, ids: &HashMap<Lsn, RecordId>) -> Result<MovementShown, Problem> {
    let bill = row.bill();
    let name = bill.map(|bill| names.of(bill).ok_or_else(Problem::internal)).transpose()?;
    let day = row.value_at.unwrap_or(row.recorded_at).date();
    let far = row.moved.map(|moved| moved.far);
    let about = About { kind: row.kind, account: row.account, bill, day, far, amount: row.amount };
    let (ja, en) = about.sentence();
    let (id_of, id) = id(row, name.as_deref(), day, ids).unzip();
    Ok(MovementShown {
        recorded_at: row.recorded_at,
        value_at: row.value_at,
        kind: row.kind.name(),
        account: line(row.account),
        bill: name,
        id_of,
        id,
        authorization_id: row.purchase.map(|purchase| purchase.authorization),
        merchant_id: row.purchase.map(|purchase| purchase.merchant),
        amount: row.account.debit(row.amount),
        balance,
        text: Text { ja, en },
    })
}

/// The lines are called as on a bill.
const fn line(account: Book) -> &'static str {
    match account {
        Book::Exposure => "principal",
        Book::LateFee => "late_fees",
        other => other.name(),
    }
}

/// By what id the office finds it: the purchase's, the fee's, the record's own, or that of the money that moved.
fn id(row: &Entry, bill: Option<&str>, day: Date, ids: &HashMap<Lsn, RecordId>) -> Option<(&'static str, String)> {
    use EntryKind as Kind;
    let of_record = |lsn: Lsn| ids.get(&lsn).map(named);
    let of_money = || row.moved.and_then(|moved| of_record(moved.money));
    match row.kind {
        Kind::Purchase | Kind::Capture | Kind::Cancel => {
            row.purchase.map(|purchase| ("authorization", purchase.authorization.to_string()))
        }
        Kind::BillFee | Kind::BillFeeWaived => Some(("fee", format!("fee_{}", bill?))),
        Kind::LateFee | Kind::LateFeeTakenBack => Some(("fee", format!("fee_{}_{day}", bill?))),
        Kind::Refund | Kind::DamagesPosted | Kind::DamagesTakenBack | Kind::Payout => of_record(row.lsn),
        _ if row.moved.is_some_and(|moved| moved.far == Far::PaidOut) => of_record(row.lsn),
        _ => of_money().or_else(|| of_record(row.lsn)),
    }
}

fn named(id: &RecordId) -> (&'static str, String) {
    match id {
        RecordId::Refund(id) => ("refund", id.to_string()),
        RecordId::Office(kind, id) => {
            let of = match kind {
                ReceiptKind::Repayment | ReceiptKind::Ending => "repayment",
                ReceiptKind::Payout | ReceiptKind::Bounce => "payout",
                ReceiptKind::Damages => "posting",
                other => other.name(),
            };
            (of, id.to_string())
        }
    }
}
