//! The facts about money, for those who run the service.

use serde_json::{Value, json};

use super::event_json::{Namer, merged};
use crate::domain::billing::notes::{Cause, Note, Payment};
use crate::domain::billing::settlement::{Charge, Pot, Settlement};
use crate::domain::model::ids::CustomerIx;
use crate::http::past::BillNames;

fn pot_json(pot: Pot, names: &BillNames) -> Value {
    match pot {
        Pot::Received => json!("received"),
        Pot::Refund => json!("refund"),
        Pot::Credit => json!("credit"),
        Pot::Payout => json!("payout"),
        Pot::Bill { bill, line } => json!({ "bill": names.of(bill), "line": line }),
    }
}

fn charge_json(charge: &Charge, names: &BillNames) -> Value {
    match *charge {
        Charge::Issued { month, method, due, fee, principal } => json!({
            "kind": "bill_issued",
            "bill": month,
            "payment_method": method,
            "due": due,
            "principal": principal,
            "bill_fee": fee,
            "total": principal + fee,
        }),
        Charge::BillFeeWaived { month, amount } => {
            json!({ "kind": "bill_fee_waived", "bill": month, "amount": amount })
        }
        Charge::LateFee { bill, date, amount } => {
            json!({ "kind": "late_fee", "bill": names.of(bill), "date": date, "amount": amount })
        }
        Charge::LateFeeTakenBack { bill, date, amount } => {
            json!({ "kind": "late_fee_taken_back", "bill": names.of(bill), "date": date, "amount": amount })
        }
        Charge::Damages { bill, amount } => json!({ "kind": "damages", "bill": names.of(bill), "amount": amount }),
    }
}

pub(crate) fn books_json(books: &Settlement, names: &BillNames) -> Value {
    let transfers = books.transfers.iter().map(|transfer| {
        json!({
            "from": pot_json(transfer.from, names),
            "to": pot_json(transfer.to, names),
            "amount": transfer.amount,
            "at": transfer.at,
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
        "repayment_id": payment.id,
        "amount": payment.amount,
        "paid_at": payment.paid_at,
        "slip": payment.slip,
    })
}

pub(crate) fn settled_json(cause: &Cause, books: &Settlement, name: Namer<'_>) -> (&'static str, Value) {
    let (kind, facts) = match cause {
        Cause::Calendar => ("calendar", json!({})),
        Cause::Repayment(payment) => ("repaid", payment_json(payment)),
        Cause::Final(payment) => ("payment_final", payment_json(payment)),
        Cause::Damages { id, month, amount } => {
            let facts = json!({ "posting_id": id, "month": month, "amount": amount });
            ("damages_posted", facts)
        }
        Cause::Payout { id, amount } => ("paid_out", json!({ "payout_id": id, "amount": amount })),
    };
    let books = json!({ "customer_id": name.customer(books.customer), "books": books_json(books, name.bills) });
    (kind, merged(facts, books))
}

pub(crate) fn noted_json(note: &Note, ix: CustomerIx, name: Namer<'_>) -> (&'static str, Value) {
    let (kind, facts) = match note {
        Note::Pending { id, amount, paid_at, expires_at } => {
            let facts = json!({
                "payment_id": id,
                "amount": amount,
                "paid_at": paid_at,
                "expires_at": expires_at,
            });
            ("payment_pending", facts)
        }
        Note::Withdrawn { id } => ("payment_withdrawn", json!({ "payment_id": id })),
        Note::Blocked { id, reason } => ("blocked", json!({ "block_id": id, "reason": reason })),
        Note::Released { id } => ("block_released", json!({ "block_id": id })),
        Note::SlipIssued(slip) => {
            let facts = json!({
                "slip_kind": slip.kind,
                "amount": slip.lines.total(),
                "lines": slip.lines,
                "expires_at": slip.expires_at,
            });
            ("slip_issued", facts)
        }
    };
    (kind, merged(facts, json!({ "customer_id": name.customer(ix) })))
}
