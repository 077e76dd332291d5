//! The facts about money, for those who run the service.

use serde_json::{Value, json};

use super::event_json::Namer;
use crate::domain::billing::notes::{Cause, Note, Payment};
use crate::domain::billing::settlement::{Charge, Pot, Settlement};
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::payment::{BillKey, Line};
use crate::http::past::BillNames;

fn pot_json(pot: Pot, names: &BillNames) -> Value {
    match pot {
        Pot::Received => json!("received"),
        Pot::Refund => json!("refund"),
        Pot::Credit => json!("credit"),
        Pot::Payout => json!("payout"),
        Pot::Bill { bill, line } => json!({ "bill": names.of(bill), "line": line.name() }),
    }
}

fn charge_json(charge: &Charge, names: &BillNames) -> Value {
    let of = |kind: &str, bill: BillKey, amount: u64| json!({ "kind": kind, "bill": names.of(bill), "amount": amount });
    let on = |kind: &str, bill, date: String, amount: u64| json!({ "kind": kind, "bill": names.of(bill), "date": date, "amount": amount });
    match *charge {
        Charge::Issued { month, method, due, fee, principal } => json!({
            "kind": "bill_issued",
            "bill": month.to_string(),
            "payment_method": method.name(),
            "due": due.to_string(),
            "principal": principal.get(),
            "bill_fee": fee.get(),
            "total": (principal + fee).get(),
        }),
        Charge::BillFeeWaived { month, amount } => of("bill_fee_waived", BillKey::Month(month), amount.get()),
        Charge::LateFee { bill, date, amount } => on("late_fee", bill, date.to_string(), amount.get()),
        Charge::LateFeeTakenBack { bill, date, amount } => {
            on("late_fee_taken_back", bill, date.to_string(), amount.get())
        }
        Charge::Damages { bill, amount } => of("damages", bill, amount.get()),
    }
}

pub(crate) fn books_json(books: &Settlement, names: &BillNames) -> Value {
    let transfers = books.transfers.iter().map(|transfer| {
        json!({
            "from": pot_json(transfer.from, names),
            "to": pot_json(transfer.to, names),
            "amount": transfer.amount.get(),
            "at": transfer.at.to_string(),
        })
    });
    let counted =
        books.counted.iter().map(|counted| json!({ "bill": names.of(counted.bill), "on_time": counted.on_time }));
    let steps = books
        .steps
        .iter()
        .map(|step| json!({ "from": step.from, "to": step.to, "reason": step.why.name(), "policy": step.policy }));
    json!({
        "charges": books.charges.iter().map(|charge| charge_json(charge, names)).collect::<Vec<_>>(),
        "transfers": transfers.collect::<Vec<_>>(),
        "bills_paid": counted.collect::<Vec<_>>(),
        "rung_changes": steps.collect::<Vec<_>>(),
    })
}

fn payment_json(payment: &Payment) -> Value {
    json!({
        "repayment_id": payment.id.as_str(),
        "amount": payment.amount.get(),
        "paid_at": payment.paid_at.to_string(),
        "slip": payment.slip,
    })
}

fn merged(mut facts: Value, more: Value) -> Value {
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    facts
}

pub(crate) fn settled_json(cause: &Cause, books: &Settlement, name: Namer<'_>) -> (&'static str, Value) {
    let (kind, facts) = match cause {
        Cause::Calendar => ("calendar", json!({})),
        Cause::Repayment(payment) => ("repaid", payment_json(payment)),
        Cause::Final(payment) => ("payment_final", payment_json(payment)),
        Cause::Damages { id, month, amount } => {
            let facts = json!({ "posting_id": id.as_str(), "month": month.to_string(), "amount": amount.get() });
            ("damages_posted", facts)
        }
        Cause::Payout { id, amount } => ("paid_out", json!({ "payout_id": id.as_str(), "amount": amount.get() })),
    };
    let books = json!({ "customer_id": name.customer(books.customer), "books": books_json(books, name.bills) });
    (kind, merged(facts, books))
}

pub(crate) fn noted_json(note: &Note, ix: CustomerIx, name: Namer<'_>) -> (&'static str, Value) {
    let (kind, facts) = match note {
        Note::Pending { id, amount, paid_at, expires_at } => {
            let facts = json!({
                "payment_id": id.as_str(),
                "amount": amount.get(),
                "paid_at": paid_at.to_string(),
                "expires_at": expires_at.to_string(),
            });
            ("payment_pending", facts)
        }
        Note::Withdrawn { id } => ("payment_withdrawn", json!({ "payment_id": id.as_str() })),
        Note::Blocked { id, reason } => ("blocked", json!({ "block_id": id.as_str(), "reason": reason })),
        Note::Released { id } => ("block_released", json!({ "block_id": id.as_str() })),
        Note::SlipIssued(slip) => {
            let mut lines = serde_json::Map::new();
            for line in Line::ALL {
                lines.insert(line.name().to_owned(), slip.lines.get(line).get().into());
            }
            let facts = json!({
                "slip_kind": slip.kind.name(),
                "amount": slip.lines.total().get(),
                "lines": lines,
                "expires_at": slip.expires_at.to_string(),
            });
            ("slip_issued", facts)
        }
    };
    (kind, merged(facts, json!({ "customer_id": name.customer(ix) })))
}
