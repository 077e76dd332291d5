//! What an event tells its customer, for those who send mail and keep the app: bills fixed, due soon and overdue, fees,
//! blocks, money that came and went. `docs/events.md` has each with its fields.

use serde_json::{Value, json};

use super::event_json::{Namer, event_json, line, merged};
use super::payments::{applied, came_to};
use super::slips::slip_barcode;
use crate::domain::billing::effects::Effects;
use crate::domain::billing::notes::{Cause, Note, Payment, SlipIssued};
use crate::domain::billing::notices::Notice;
use crate::domain::billing::settlement::{Charge, Place, Settlement};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;

type Line = (&'static str, Value);

/// An event on a line, and what it tells its customer, each on one more.
pub(super) fn event_lines(lsn: Lsn, at: Millis, event: &Event, name: Namer<'_>) -> Vec<String> {
    let notices = notices_of(event, name).into_iter().map(|notice| line(lsn, at, notice));
    [event_json(lsn, at, event, name)].into_iter().chain(notices).collect()
}

/// Of each its kind and what it says.
fn notices_of(event: &Event, name: Namer<'_>) -> Vec<Line> {
    let (customer, lines): (_, Vec<Line>) = match event {
        Event::Noticed { customer, notices } => (*customer, notices.iter().map(|notice| told(notice, name)).collect()),
        Event::Settled { cause, books } => {
            (books.customer, money(cause, books, name).into_iter().chain(fees(books, name)).collect())
        }
        Event::Refunded(refund) => (refund.customer, fees(&refund.books, name).collect()),
        Event::CancelledPaid { undone, books } => (undone.customer, fees(books, name).collect()),
        Event::Noted { customer, note } => (*customer, block(note).into_iter().collect()),
        _ => return Vec::new(),
    };
    let whose = json!({ "customer_id": name.customer(customer) });
    lines.into_iter().map(|(kind, facts)| (kind, merged(facts, whose.clone()))).collect()
}

fn told(notice: &Notice, name: Namer<'_>) -> Line {
    match notice {
        Notice::BillFixed { month, method, due, charged, owed, slip } => {
            let facts = json!({
                "bill": month,
                "month": month,
                "payment_method": method,
                "due": due,
                "principal": charged.principal,
                "bill_fee": charged.bill_fee,
                "paid": charged.total().minus_or_zero(owed.total()),
                "total_due": owed.total(),
                "slip": slip.as_ref().map(slip_json),
            });
            ("bill_fixed", facts)
        }
        Notice::DueSoon { bill, due, owed } | Notice::FellOverdue { bill, due, owed } => {
            let kind = if matches!(notice, Notice::DueSoon { .. }) { "due_soon" } else { "fell_overdue" };
            let facts = json!({
                "bill": name.bills.of(*bill),
                "month": bill.month(),
                "due": due,
                "principal": owed.principal,
                "total_due": owed.total(),
            });
            (kind, facts)
        }
        Notice::OverdueEnded { bill } => {
            ("overdue_ended", json!({ "bill": name.bills.of(*bill), "month": bill.month() }))
        }
        Notice::Blocked => ("blocked", json!({ "cause": "overdue" })),
        Notice::BlockLifted => ("block_lifted", json!({ "cause": "overdue" })),
    }
}

fn slip_json(slip: &SlipIssued) -> Value {
    let amount = slip.lines.total();
    json!({
        "number": slip.number.to_string(),
        "barcode": slip_barcode(slip.number, amount, slip.expires_at),
        "amount": amount,
        "expires_at": slip.expires_at,
    })
}

/// Money that came from the customer, or went there.
fn money(cause: &Cause, books: &Settlement, name: Namer<'_>) -> Option<Line> {
    match cause {
        Cause::Repayment(payment) | Cause::Final(payment) => {
            let Payment { id, amount, paid_at, .. } = payment;
            let own = Effects::of(books).own;
            let facts = json!({
                "repayment_id": id,
                "amount": amount,
                "paid_at": paid_at,
                // Null where an invoice's name is not known just now.
                "applied": applied(&own, name.bills).ok(),
                "credit": came_to(&own, Place::Credit),
                "payout_due": came_to(&own, Place::PayoutDue),
            });
            Some(("money_arrived", facts))
        }
        Cause::Payout { id, amount, bank_reference, staff: _ } => {
            Some(("payout_made", json!({ "payout_id": id, "amount": amount, "bank_reference": bank_reference })))
        }
        _ => None,
    }
}

/// Late fees and posted damages. The bill fee is told with its bill.
fn fees<'b>(books: &'b Settlement, name: Namer<'b>) -> impl Iterator<Item = Line> + 'b {
    books.charges.iter().filter_map(move |charge| {
        let facts = match *charge {
            Charge::LateFee { bill, date, amount } => {
                let bill = name.bills.of(bill);
                let id = bill.as_ref().map(|bill| format!("fee_{bill}_{date}"));
                json!({ "fee": "late_fee", "fee_id": id, "bill": bill, "date": date, "amount": amount })
            }
            Charge::Damages { bill, amount } => {
                json!({ "fee": "damages", "fee_id": null, "bill": name.bills.of(bill), "date": null, "amount": amount })
            }
            _ => return None,
        };
        Some(("fee_charged", facts))
    })
}

/// By staff, or for a lost phone. A block by staff is an event of this name itself.
fn block(note: &Note) -> Option<Line> {
    Some(match note {
        Note::Released { id, .. } => ("block_lifted", json!({ "cause": "staff", "block_id": id })),
        Note::Frozen { id } => ("blocked", json!({ "cause": "lost_phone", "freeze_id": id })),
        Note::Unfrozen { id, .. } => ("block_lifted", json!({ "cause": "lost_phone", "freeze_id": id })),
        Note::Blocked { .. } | Note::Pending { .. } | Note::Withdrawn { .. } | Note::SlipIssued(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::model::ids::CustomerId;
    use crate::http::OPENAPI;
    use crate::http::past::BillNames;
    use crate::journal::codec;

    /// The lines of one event of each kind, from the golden bytes.
    fn lines() -> Vec<Value> {
        let names = BillNames::default();
        let namer = Namer { customers: &|_| CustomerId::new("1001").ok(), bills: &names };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let golden = include_str!("../../../tests/golden/events.txt").lines();
        let events =
            golden.map(|line| codec::decode(&line.as_bytes().chunks(2).map(byte).collect::<Vec<_>>()).unwrap());
        let lines = events.flat_map(|event| event_lines(Lsn(5), Millis(0), &event, namer));
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }

    /// The names in backticks of a cell.
    fn names(cell: &str) -> BTreeSet<&str> {
        cell.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_page_has_each_kind_with_its_fields() {
        let page = include_str!("../../../docs/events.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let rows: BTreeMap<&str, (BTreeSet<&str>, Value)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split(" | ").collect();
                let example = names(cells[3]).into_iter().next().unwrap();
                (names(cells[0]).into_iter().next().unwrap(), (names(cells[2]), serde_json::from_str(example).unwrap()))
            })
            .collect();
        let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
        let known = openapi["components"]["schemas"]["Event"]["properties"]["kind"]["enum"].as_array().unwrap();
        let mut seen = BTreeSet::new();
        for line in lines() {
            let kind = line["kind"].as_str().unwrap();
            assert!(known.contains(&line["kind"]), "openapi.json does not know {kind}");
            let Some((fields, example)) = rows.get(kind) else { continue };
            seen.insert(kind.to_owned());
            let members: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
            let own: BTreeSet<&str> = ["lsn", "recorded_at", "kind", "customer_id"].into();
            let by_cause: BTreeSet<&str> = ["block_id", "freeze_id", "reason", "by", "key"].into();
            let told: BTreeSet<&str> = members.iter().filter(|name| !own.contains(*name)).copied().collect();
            let without: BTreeSet<&str> = told.difference(&by_cause).copied().collect();
            assert_eq!(if fields.contains("cause") { &without } else { &told }, fields, "{kind}");
            let shown: BTreeSet<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(shown.is_subset(&members) && example["kind"] == kind, "{example}");
        }
        assert_eq!(seen, rows.keys().map(|kind| (*kind).to_owned()).collect(), "the golden events have each");
    }
}
