//! An event as JSON for those who run the service: its facts, never a code, a seal or a handle.

use serde_json::{Value, json};

use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::bill::{LateFee, Posted};
use crate::domain::billing::notes::{Cause, Note, Payment};
use crate::domain::billing::notices::Notice;
use crate::domain::billing::settlement::{Charge, Place, Settlement, Transfer};
use crate::domain::billing::stories::Story;
use crate::domain::model::advice::Booked;
use crate::domain::model::code::Form;
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::ids::{AuthorizationId, CodeId, CustomerId, CustomerIx, Lsn, Part};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, part_of};
use crate::domain::model::payment::BillKey;
use crate::domain::model::request::{Payer, Post, Proof, Scanned, Staff};
use crate::domain::model::time::Millis;
use crate::domain::state::event::{Advised, Captured, Decided, Event, Outcome, Refunded, SuspenseSettled, Undone};
use crate::domain::state::receipts::corrected;
use crate::http::past::BillNames;

/// Names customers by their index and bills by their key, those that can be named.
#[derive(Clone, Copy)]
pub(crate) struct Namer<'a> {
    pub(crate) customers: &'a dyn Fn(CustomerIx) -> Option<CustomerId>,
    pub(crate) bills: &'a BillNames,
}

impl Namer<'_> {
    pub(crate) fn customer(&self, ix: CustomerIx) -> Option<CustomerId> {
        (self.customers)(ix)
    }
}

/// The customer whose name an event's JSON needs.
pub(crate) fn customers_of(event: &Event) -> Option<CustomerIx> {
    match event {
        Event::CodeIssued(issued) | Event::Tok19Issued(issued) => Some(issued.customer),
        Event::Decided(decided) => decided.customer,
        Event::Advised(advised) => advised.about(),
        Event::Cancelled(undone) | Event::HoldExpired(undone) | Event::CancelledPaid { undone, .. } => {
            Some(undone.customer)
        }
        Event::Captured(captured) => Some(captured.customer),
        Event::Refunded(refunded) => Some(refunded.customer),
        Event::Settled { books, .. } => Some(books.customer),
        Event::Noted { customer, .. } | Event::Noticed { customer, .. } | Event::StoriesRecalled { customer, .. } => {
            Some(*customer)
        }
        Event::SuspenseSettled(settled) => settled.end.charged().map(|charged| charged.customer),
        Event::RecalledWhole(order) | Event::Recalled { order, .. } => order.customer,
        Event::Opened { .. }
        | Event::PolicySet { .. }
        | Event::HolidaysSet { .. }
        | Event::MerchantSet(_)
        | Event::CustomerSet { .. }
        | Event::CodeVoided { .. }
        | Event::SuspenseCleared { .. }
        | Event::Tombstoned { .. } => None,
    }
}

/// The bills that it names.
pub(crate) fn bills_of(event: &Event) -> Vec<BillKey> {
    match event {
        Event::Settled { books, .. } => books.bills(),
        Event::Refunded(refunded) => refunded.books.bills(),
        Event::StoriesRecalled { recall, .. } => recall.stories.iter().filter_map(Story::bill).collect(),
        Event::CancelledPaid { books, .. } => books.bills(),
        Event::Noticed { notices, .. } => notices.iter().filter_map(Notice::bill).collect(),
        _ => Vec::new(),
    }
}

/// One event on one line.
pub(super) fn event_json(lsn: Lsn, at: Millis, event: &Event, name: Namer<'_>) -> String {
    line(lsn, at, facts(lsn, event, name))
}

/// A kind and its facts on a line.
pub(super) fn line(lsn: Lsn, at: Millis, (kind, facts): (&'static str, Value)) -> String {
    merged(json!({ "lsn": lsn.0, "recorded_at": at, "kind": kind }), facts).to_string()
}

/// The members of both; those of `more` win.
pub(crate) fn merged(mut facts: Value, more: Value) -> Value {
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    facts
}

fn facts(lsn: Lsn, event: &Event, name: Namer<'_>) -> (&'static str, Value) {
    match event {
        Event::Opened { sandbox } => ("opened", json!({ "sandbox": sandbox })),
        Event::PolicySet { version, text } => ("policy_set", json!({ "version": version, "text": text })),
        Event::HolidaysSet { text } => ("holidays_set", json!({ "text": text })),
        Event::MerchantSet(merchant) => ("merchant_set", json!(merchant)),
        Event::CustomerSet { id, profile, .. } => {
            ("customer_set", merged(json!(profile), json!({ "customer_id": id })))
        }
        Event::CodeIssued(issued) | Event::Tok19Issued(issued) => {
            let form = if matches!(event, Event::Tok19Issued(_)) { Form::Tok19 } else { Form::L24 };
            let id = CodeId { part: issued.handle.part(), lsn, random: issued.id_random };
            let facts = json!({
                "code_id": id,
                "customer_id": name.customer(issued.customer),
                "form": form,
                "expires_at": issued.expires_at,
            });
            ("code_issued", facts)
        }
        Event::CodeVoided { handle } => ("code_voided", json!({ "part": handle.part().get() })),
        Event::Decided(decided) => ("decided", decided_json(lsn, decided, name)),
        Event::Advised(advised) => ("advised", advised_json(lsn, advised, name)),
        Event::SuspenseSettled(settled) => ("suspense_settled", settled_suspense_json(settled, name)),
        Event::SuspenseCleared { order, amount } => {
            ("suspense_cleared", json!({ "decided_lsn": order.0, "amount": amount }))
        }
        Event::Tombstoned { key } => ("tombstoned", json!(key)),
        Event::Cancelled(undone) => ("cancelled", undone_json(undone, name)),
        Event::CancelledPaid { undone, books } => {
            let mut shown = undone_json(undone, name);
            shown["books"] = books_json(books, name.bills);
            ("cancelled", shown)
        }
        Event::HoldExpired(undone) => ("hold_expired", undone_json(undone, name)),
        Event::Captured(captured) => ("captured", captured_json(captured, name)),
        Event::Refunded(refunded) => ("refunded", refunded_json(refunded, name)),
        Event::RecalledWhole(order) | Event::Recalled { order, .. } => ("recalled", recalled_json(order, name)),
        Event::StoriesRecalled { customer, recall } => {
            let bills = recall.stories.iter().filter_map(|story| name.bills.of(story.bill()?));
            let facts = json!({ "customer_id": name.customer(*customer), "bills": bills.collect::<Vec<_>>() });
            ("stories_recalled", facts)
        }
        Event::Settled { cause, books } => settled_json(cause, books, name),
        Event::Noted { customer, note } => noted_json(note, *customer, name),
        Event::Noticed { customer, .. } => ("noticed", json!({ "customer_id": name.customer(*customer) })),
    }
}

/// What was scanned, without what it said.
const fn scan_name(scanned: &Scanned) -> &'static str {
    match scanned {
        Scanned::Sealed { proof: Proof::Barcode { .. }, .. } => "barcode",
        Scanned::Sealed { proof: Proof::Qr { .. }, .. } => "qr",
        Scanned::Sealed { proof: Proof::Tok19, .. } => "tok19",
        Scanned::Stale { .. } => "stale",
        Scanned::Forged { .. } => "forged",
        Scanned::Unverifiable { .. } => "unverifiable",
        Scanned::Invalid => "invalid",
        Scanned::Foreign => "foreign",
    }
}

fn decided_json(lsn: Lsn, decided: &Decided, name: Namer<'_>) -> Value {
    let input = &decided.input;
    let customer = decided.customer.and_then(name.customers);
    let id = AuthorizationId { part: part_of(input, customer.as_ref().map(Part::of)), lsn, random: decided.random };
    let customer = match (&customer, &input.payer) {
        (Some(id), _) | (None, Payer::Customer(id)) => Some(id),
        (None, Payer::Code(_)) => None,
    };
    let scan = match &input.payer {
        Payer::Code(scanned) => Some(scan_name(scanned)),
        Payer::Customer(_) => None,
    };
    let facts = json!({
        "authorization_id": id,
        "merchant_id": input.merchant,
        "order_id": input.order_id,
        "store_id": input.store,
        "terminal_id": input.terminal,
        "customer_id": customer,
        "channel": input.channel,
        "amount": input.amount,
        "currency": String::from_utf8_lossy(&input.currency),
        "capture": input.capture,
        "confirm_repeat": input.confirm_repeat,
        "entry_mode": input.entry_mode,
        "scan": scan,
        "categories": input.categories,
        "requested_at": input.requested_at,
        "late": input.late,
        "policy": decided.policy,
        "room": decided.room,
        "basis": decided.basis,
    });
    let outcome = match &decided.outcome {
        Outcome::Approved(approval) => json!({
            "decision": "approved",
            "reason": null,
            "month": approval.month,
            "due": approval.due,
            "points": approval.points,
            "hold_expires_at": approval.hold_expires_at,
        }),
        Outcome::Denied { reason, first } => json!({
            "decision": "denied",
            "reason": reason,
            "first": first,
        }),
    };
    merged(facts, outcome)
}

/// As a decision; `customer_id` is whom it names, charged or not.
fn advised_json(lsn: Lsn, advised: &Advised, name: Namer<'_>) -> Value {
    let (post, cap) = match advised.post {
        Post::WithinLimits => ("within_limits", None),
        Post::UpTo(cap) => ("up_to", Some(cap)),
        Post::Never => ("never", None),
    };
    let advice = json!({
        "original": advised.original,
        "post": post,
        "post_cap": cap,
        "over_limit": advised.booked == Booked::OverLimit,
        "suspense": advised.booked.suspense(),
    });
    let facts = merged(decided_json(lsn, &advised.decided, name), advice);
    match advised.about().and_then(name.customers) {
        Some(id) => merged(facts, json!({ "customer_id": id })),
        None => facts,
    }
}

fn undone_json(undone: &Undone, name: Namer<'_>) -> Value {
    json!({
        "decided_lsn": undone.order.0,
        "customer_id": name.customer(undone.customer),
        "channel": undone.channel,
        "amount": undone.amount,
        "was_hold": undone.was_hold,
        "month": undone.month,
        "points": undone.points,
    })
}

fn captured_json(captured: &Captured, name: Namer<'_>) -> Value {
    json!({
        "decided_lsn": captured.order.0,
        "customer_id": name.customer(captured.customer),
        "channel": captured.channel,
        "amount": captured.amount,
        "released": captured.released,
        "month": captured.month,
        "due": captured.due,
        "points": captured.points,
    })
}

fn settled_suspense_json(settled: &SuspenseSettled, name: Namer<'_>) -> Value {
    let SuspenseSettled { id, order, amount, end, staff } = settled;
    let charged = end.charged();
    let facts = json!({
        "authorization_id": order,
        "settlement_id": id,
        "action": end.action(),
        "amount": amount,
        "customer_id": charged.and_then(|charged| name.customer(charged.customer)),
        "month": charged.map(|charged| charged.month),
        "due": charged.map(|charged| charged.due),
    });
    merged(facts, json!(staff))
}

fn refunded_json(refunded: &Refunded, name: Namer<'_>) -> Value {
    json!({
        "decided_lsn": refunded.order.0,
        "refund_id": refunded.refund_id,
        "customer_id": name.customer(refunded.customer),
        "channel": refunded.channel,
        "amount": refunded.amount,
        "month": refunded.month,
        "outcome": refunded.destination,
        "points": refunded.points,
        "paid_at": refunded.paid_at,
        "books": books_json(&refunded.books, name.bills),
    })
}

fn recalled_json(order: &Order, name: Namer<'_>) -> Value {
    json!({
        "authorization_id": order.id,
        "merchant_id": order.key.merchant,
        "order_id": order.key.order_id,
        "customer_id": order.customer.and_then(|ix| name.customer(ix)),
        "channel": order.channel,
        "amount": order.amount,
        "decided_at": order.decided_at,
        "month": order.month,
    })
}

fn place_json(place: Place, names: &BillNames) -> Value {
    match place {
        Place::Received => json!("received"),
        Place::Refund => json!("refund"),
        Place::Credit => json!("credit"),
        Place::PayoutDue => json!("payout_due"),
        Place::PaidOut { .. } | Place::Bounced { .. } => json!("payout"),
        Place::Reversed { .. } => json!("reversal"),
        Place::Line { bill, line, .. } | Place::Freed { bill, line, .. } => {
            json!({ "bill": names.of(bill), "line": line })
        }
    }
}

/// From when money counts where it lies now.
fn counts_from(transfer: &Transfer) -> Millis {
    match (transfer.to, transfer.from) {
        (
            Place::Line { at, .. } | Place::Freed { at, .. } | Place::PaidOut { at, .. } | Place::Reversed { at, .. },
            _,
        )
        | (_, Place::Freed { at, .. } | Place::Bounced { at, .. }) => at,
        _ => transfer.money.day,
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
        Charge::DamagesTakenBack { bill, amount, posted } => {
            json!({ "kind": "damages_taken_back", "bill": names.of(bill), "posted_lsn": posted.0, "amount": amount })
        }
        Charge::Adjusted { bill, what } => adjusted_json(what, names.of(bill)),
        Charge::Released { bill, lines, .. } => {
            json!({ "kind": "released", "bill": names.of(bill), "lines": lines, "amount": lines.total() })
        }
    }
}

fn adjusted_json(what: Adjusted, bill: Option<String>) -> Value {
    match what {
        Adjusted::BillFeeWaived(amount) => json!({ "kind": "bill_fee_waived", "bill": bill, "amount": amount }),
        Adjusted::LateFeeWaived(LateFee { date, amount }) => {
            json!({ "kind": "late_fee_waived", "bill": bill, "date": date, "amount": amount })
        }
        Adjusted::DamagesReversed(Posted { fact, amount, .. }) => {
            json!({ "kind": "damages_reversed", "bill": bill, "posted_lsn": fact.0, "amount": amount })
        }
        Adjusted::WrittenOff => json!({ "kind": "written_off", "bill": bill }),
        Adjusted::Released => json!({ "kind": "write_off_released", "bill": bill }),
        Adjusted::CreditApplied(amount) => json!({ "kind": "credit_applied", "bill": bill, "amount": amount }),
    }
}

fn books_json(books: &Settlement, names: &BillNames) -> Value {
    let transfers = books.transfers.iter().map(|transfer| {
        json!({
            "from": place_json(transfer.from, names),
            "to": place_json(transfer.to, names),
            "amount": transfer.amount,
            "at": counts_from(transfer),
            "own_day": transfer.money.day,
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

fn settled_json(cause: &Cause, books: &Settlement, name: Namer<'_>) -> (&'static str, Value) {
    let (kind, facts) = match cause {
        Cause::Calendar => ("calendar", json!({})),
        Cause::Repayment(payment) => ("repaid", payment_json(payment)),
        Cause::Final(payment) => ("payment_final", payment_json(payment)),
        Cause::Damages { id, month, amount, staff } => {
            let facts = json!({ "posting_id": id, "bill": month, "month": month, "amount": amount });
            ("damages_posted", merged(facts, json!(staff)))
        }
        Cause::NpDamages { id, order, amount, staff } => {
            let bill = name.bills.of(BillKey::Np(*order));
            let facts = json!({ "posting_id": id, "bill": bill, "month": null, "amount": amount });
            ("damages_posted", merged(facts, json!(staff)))
        }
        Cause::Payout { id, amount, bank_reference, staff } => {
            let facts = json!({ "payout_id": id, "amount": amount, "bank_reference": bank_reference });
            ("paid_out", merged(facts, json!(staff)))
        }
        Cause::Bounced { payout, amount, staff } => {
            let Staff { by, key, reason } = staff.as_ref();
            let facts = json!({ "payout_id": payout, "amount": amount, "by": by, "key": key, "reason": reason });
            ("payout_bounced", facts)
        }
        Cause::Withdrawn { id, staff } => ("payment_withdrawn", merged(json!({ "payment_id": id }), json!(staff))),
        Cause::Corrected { correction, amount, staff } => corrected_json(correction, *amount, staff, name.bills),
    };
    let books = json!({ "customer_id": name.customer(books.customer), "books": books_json(books, name.bills) });
    (kind, merged(facts, books))
}

fn corrected_json(correction: &Correction, amount: Yen, staff: &Staff, names: &BillNames) -> (&'static str, Value) {
    let (kind, what) = match *correction {
        Correction::ReverseRepayment { repayment, .. } => {
            let (_, id) = corrected(correction);
            ("repayment_reversed", json!({ "repayment_id": repayment, "reversal_id": id }))
        }
        Correction::WaiveFee { fee: Fee { bill, late }, .. } => {
            ("fee_waived", json!({ "bill": names.of(bill), "date": late }))
        }
        Correction::ReverseDamages { posting } => ("damages_reversed", json!({ "posting_id": posting })),
        Correction::WriteOff { id, bill } => ("written_off", json!({ "write_off_id": id, "bill": names.of(bill) })),
        Correction::ReleaseWriteOff { id } => ("write_off_released", json!({ "write_off_id": id })),
        Correction::ApplyCredit { id, bill, .. } => {
            ("credit_applied", json!({ "application_id": id, "bill": names.of(bill) }))
        }
    };
    let Staff { by, key, reason } = staff;
    (kind, merged(what, json!({ "amount": amount, "by": by, "key": key, "reason": reason })))
}

fn noted_json(note: &Note, ix: CustomerIx, name: Namer<'_>) -> (&'static str, Value) {
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
        Note::Withdrawn { id, staff } => ("payment_withdrawn", merged(json!({ "payment_id": id }), json!(staff))),
        Note::Blocked { id, reason, by, key } => {
            let facts = json!({ "block_id": id, "reason": reason, "cause": "staff" });
            let told = by.as_ref().map(|by| json!({ "by": by, "key": key }));
            ("blocked", merged(facts, json!(told)))
        }
        Note::Released { id, staff } => ("block_released", merged(json!({ "block_id": id }), json!(staff))),
        Note::Frozen { id } => ("frozen", json!({ "freeze_id": id })),
        Note::Unfrozen { id, staff } => ("freeze_released", merged(json!(staff), json!({ "freeze_id": id }))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Namer<'static> {
        static BILLS: std::sync::LazyLock<BillNames> = std::sync::LazyLock::new(BillNames::default);
        Namer { customers: &|_| CustomerId::new("1001").ok(), bills: &BILLS }
    }

    use crate::domain::model::ids::Handle;
    use crate::domain::state::event::CodeIssued;

    #[test]
    fn an_advice_shows_whom_it_names_and_where_it_went() {
        use std::sync::Arc;

        use crate::domain::model::advice::SuspenseWhy;
        use crate::domain::model::ids::{MerchantId, OrderId};
        use crate::domain::model::money::Yen;
        use crate::domain::model::purchase::Channel;
        use crate::domain::model::request::{Authorize, OrderKey};
        use crate::domain::model::time::Now;
        use crate::domain::state::event::Approval;
        let merchant = MerchantId::new("mrc").unwrap();
        let key = |id| OrderKey { merchant, order_id: OrderId::new(id).unwrap() };
        let handle = Handle::new(314_159_265).unwrap();
        let payer = Payer::Code(Scanned::Sealed { handle, proof: Proof::Tok19 });
        let input = Arc::new(Authorize::new(key("A-1"), payer, Channel::InStore, Yen::new(1_980)));
        let now = Now::at(Millis(1_795_423_500_000));
        let approval = Approval { month: now.month, due: now.date, points: 0, hold_expires_at: None };
        let outcome = Outcome::Approved(approval);
        let decided = Decided { random: 9, policy: 1, input, customer: None, room: Yen::ZERO, outcome, basis: None };
        let mut advised = Advised {
            decided,
            original: Some(key("R-1")),
            post: Post::UpTo(Yen::new(3_000)),
            booked: Booked::Suspense(SuspenseWhy::OverDayCap),
            known: Some(CustomerIx(3)),
        };
        let shown = |advised: &Advised| -> Value {
            let event = Event::Advised(Box::new(advised.clone()));
            let line = event_json(Lsn(5), now.at, &event, names());
            assert!(!line.contains("314159265"), "{line}");
            serde_json::from_str(&line).unwrap()
        };
        let line = shown(&advised);
        assert_eq!((&line["kind"], &line["customer_id"]), (&"advised".into(), &"1001".into()));
        assert_eq!((&line["suspense"], &line["over_limit"]), (&"over_day_cap".into(), &false.into()));
        assert_eq!((&line["post"], &line["post_cap"]), (&"up_to".into(), &3_000.into()));
        assert_eq!(line["original"]["order_id"], "R-1");
        advised.booked = Booked::OverLimit;
        let line = shown(&advised);
        assert_eq!((&line["suspense"], &line["over_limit"]), (&Value::Null, &true.into()));
    }

    #[test]
    fn no_handle_and_no_seal_ever_leaves() {
        let issued = Event::CodeIssued(CodeIssued {
            customer: CustomerIx(3),
            handle: Handle::new(314_159_265).unwrap(),
            generation: 1,
            id_random: 9,
            counter: 54_321,
            random: 2_712_847_316,
            expires_at: Millis(1_795_423_800_000),
        });
        let voided = Event::CodeVoided { handle: Handle::new(314_159_265).unwrap() };
        for event in [issued, voided] {
            let line = event_json(Lsn(5), Millis(1_795_423_500_000), &event, names());
            for secret in ["314159265", "54321", "2712847316"] {
                assert!(!line.contains(secret), "{line}");
            }
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&line["lsn"], &line["recorded_at"]), (&5.into(), &"2026-11-23T17:45:00.000+09:00".into()));
        }
    }
}
