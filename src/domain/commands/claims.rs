//! What an id of the office stands for. An id names one thing of one customer, over all customers. Told again with the
//! same content it is answered as the first time; with any other content it is refused.
//!
//! A payment has one id for all news of it: provisional, final, withdrawn, or a repayment, which is the same as final.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::domain::billing::notes::{Cause, Note, Payment, Pending};
use crate::domain::model::correction::Correction;
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::request::{Instruction, Said, Staff};
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind, corrected};

/// What is known of an id before it is told.
pub(crate) enum Claim<'a> {
    New,
    /// Provisional news of this payment stands.
    Expected(Pending),
    /// The earlier fact that it is about: a payout that came back, damages or a write-off to be corrected.
    About(&'a Receipt),
    /// The repayment that is to be taken back, and what of it was before.
    Paid {
        repayment: &'a Receipt,
        taken_back: Yen,
    },
    /// It was told before.
    Known(&'a Receipt),
}

impl<'a> Claim<'a> {
    /// The earlier fact that it is about, if it is about one.
    pub const fn about(&self) -> Option<&'a Receipt> {
        match self {
            Self::About(receipt) | Self::Paid { repayment: receipt, .. } => Some(receipt),
            Self::New | Self::Expected(_) | Self::Known(_) => None,
        }
    }
}

/// Refused where the id stands for something else, or where only the ledger can tell and did not.
pub(crate) fn claim<'a>(
    state: &'a State,
    customer: CustomerIx,
    instruction: &Instruction,
    ledger: Option<&'a Known>,
) -> Result<Claim<'a>, Refusal> {
    let Some((kind, id)) = instruction.receipt() else { return Ok(Claim::New) };
    let ledger = ledger.filter(|known| known.as_of >= state.receipts.forgotten());
    let found = Found::of(state, customer, kind, id, ledger);
    if found.is_empty() && ledger.is_none() {
        return Err(Refusal::LedgerKnows);
    }
    // A block or a freeze is released, and a payout comes back, of its own customer: another's is none.
    let names_its_own =
        matches!(kind, ReceiptKind::Release | ReceiptKind::Unfreeze | ReceiptKind::Reversal) || about(kind).is_some();
    if found.own.is_empty() && found.is_anothers && !names_its_own {
        return Err(Refusal::IdReused { amount: None });
    }
    match kind {
        ReceiptKind::Repayment | ReceiptKind::Pending | ReceiptKind::Ending => found.news(instruction),
        ReceiptKind::Damages
        | ReceiptKind::Payout
        | ReceiptKind::Block
        | ReceiptKind::Release
        | ReceiptKind::Freeze
        | ReceiptKind::Unfreeze
        | ReceiptKind::Waiver
        | ReceiptKind::WriteOff
        | ReceiptKind::CreditApplication => {
            let Some(known) = found.own.first().copied() else { return Ok(Claim::New) };
            same_other(&known.event, instruction).map(|()| Claim::Known(known))
        }
        // Claimed where it is settled: it is no customer's.
        ReceiptKind::Suspense => Ok(Claim::New),
        ReceiptKind::Reversal => found.reversal(state, customer, instruction, ledger),
        ReceiptKind::Bounce | ReceiptKind::DamagesReversal | ReceiptKind::WriteOffRelease => {
            let is_told = |event: &Event| event.receipt_key().is_some_and(|key| key.kind == kind);
            match found.find(is_told) {
                Some(known) => same_other(&known.event, instruction).map(|()| Claim::Known(known)),
                None => Ok(found.find(is_booked).map_or(Claim::New, Claim::About)),
            }
        }
    }
}

/// The facts of an id.
struct Found<'a> {
    /// Of this customer.
    own: Vec<&'a Receipt>,
    is_anothers: bool,
}

const NEWS: [ReceiptKind; 3] = [ReceiptKind::Repayment, ReceiptKind::Pending, ReceiptKind::Ending];

/// The kinds under which an id of this kind may have been told, where it is about an earlier fact: that fact's first.
const fn about(kind: ReceiptKind) -> Option<&'static [ReceiptKind]> {
    Some(match kind {
        ReceiptKind::Bounce => &[ReceiptKind::Payout, ReceiptKind::Bounce],
        ReceiptKind::DamagesReversal => &[ReceiptKind::Damages, ReceiptKind::DamagesReversal],
        ReceiptKind::WriteOffRelease => &[ReceiptKind::WriteOff, ReceiptKind::WriteOffRelease],
        _ => return None,
    })
}

/// Money that came or went, damages that were posted, or a bill that was given up.
fn is_booked(event: &Event) -> bool {
    matches!(event, Event::Settled { .. }) && !is_withdrawn(event)
}

impl<'a> Found<'a> {
    fn of(state: &'a State, customer: CustomerIx, kind: ReceiptKind, id: OfficeId, ledger: Option<&'a Known>) -> Self {
        let kinds = match kind {
            ReceiptKind::Repayment | ReceiptKind::Pending | ReceiptKind::Ending => &NEWS[..],
            _ => about(kind).unwrap_or(std::slice::from_ref(&kind)),
        };
        let mut found = Self { own: Vec::new(), is_anothers: false };
        let memory = kinds.iter().filter_map(|kind| state.receipts.get(*kind, id));
        for receipt in memory.chain(ledger.map_or(&[][..], |known| &known.receipts)) {
            let Some(key) = receipt.event.receipt_key() else { continue };
            if key.id != id || !kinds.contains(&key.kind) {
                continue;
            }
            if key.customer == customer {
                found.own.push(receipt);
            } else {
                found.is_anothers = true;
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && !self.is_anothers
    }

    fn find(&self, is_it: impl Fn(&Event) -> bool) -> Option<&'a Receipt> {
        self.own.iter().copied().find(|receipt| is_it(&receipt.event))
    }

    /// A repayment is taken back part by part, each under an id of its own: by default the repayment's, which is found as
    /// long as the repayment is.
    fn reversal(
        &self,
        state: &'a State,
        customer: CustomerIx,
        told: &Instruction,
        ledger: Option<&'a Known>,
    ) -> Result<Claim<'a>, Refusal> {
        if let Some(known) = self.own.first().copied() {
            return same_other(&known.event, told).map(|()| Claim::Known(known));
        }
        let (Some(id), Some(ledger)) = (told.about(), ledger) else { return Err(Refusal::LedgerKnows) };
        let paid = Found::of(state, customer, ReceiptKind::Repayment, id, Some(ledger));
        let repayment = paid.find(is_booked).ok_or(Refusal::RepaymentUnknown)?;
        if self.is_anothers {
            return Err(Refusal::IdReused { amount: None });
        }
        Ok(Claim::Paid { repayment, taken_back: taken_back(state, customer, (repayment, id), ledger) })
    }

    /// One payment, whatever kind of news of it comes and in whatever order.
    fn news(&self, told: &Instruction) -> Result<Claim<'a>, Refusal> {
        // Of two facts, which an older version let happen, the one that this call made.
        let is_repaid = |event: &Event| matches!(event, Event::Settled { cause: Cause::Repayment(_), .. });
        let own = matches!(told, Instruction::Repay { .. }).then(|| self.find(is_repaid)).flatten();
        let came = own.or_else(|| self.find(|event| matches!(event, Event::Settled { .. }) && !is_withdrawn(event)));
        let withdrawn = self.find(is_withdrawn);
        let expected = self.find(|event| matches!(event, Event::Noted { note: Note::Pending { .. }, .. }));
        match (told, came, withdrawn, expected) {
            (Instruction::Withdraw { .. }, Some(_), ..) => Err(Refusal::PaymentFinal),
            (Instruction::Withdraw { .. }, None, Some(known), expected) => {
                expected.map_or(Ok(()), |expected| same_news(&expected.event, told))?;
                same_other(&known.event, told).map(|()| Claim::Known(known))
            }
            // What was told as provisional was answered then, and is answered so again.
            (Instruction::Expect { .. }, _, _, Some(known)) => {
                same_news(&known.event, told).map(|()| Claim::Known(known))
            }
            (_, Some(known), _, expected) => {
                same_news(&known.event, told)?;
                expected.map_or(Ok(()), |expected| same_expiry(&expected.event, told)).map(|()| Claim::Known(known))
            }
            (_, None, Some(_), _) => Err(Refusal::PaymentWithdrawn),
            (_, None, None, Some(known)) => {
                same_news(&known.event, told)?;
                Ok(pending(&known.event).map_or(Claim::New, Claim::Expected))
            }
            (_, None, None, None) => Ok(Claim::New),
        }
    }
}

/// What was taken back of a repayment, by what the ledger has, what memory was told since, and what the account remembers.
fn taken_back(state: &State, customer: CustomerIx, (repayment, id): (&Receipt, OfficeId), ledger: &Known) -> Yen {
    let mut parts: BTreeMap<Lsn, Yen> = BTreeMap::new();
    for part in state.account(customer).into_iter().flat_map(|account| account.reversals_of(repayment.lsn)) {
        *parts.entry(part.fact).or_default() += part.amount;
    }
    for receipt in ledger.receipts.iter().chain(state.receipts.later(ledger.as_of)) {
        let is_its = receipt.event.receipt_key().is_some_and(|key| key.customer == customer);
        if let Some((_, amount)) = receipt.event.reversal().filter(|(of, _)| is_its && *of == id) {
            parts.insert(receipt.lsn, amount);
        }
    }
    parts.into_values().sum()
}

fn is_withdrawn(event: &Event) -> bool {
    matches!(
        event,
        Event::Noted { note: Note::Withdrawn { .. }, .. } | Event::Settled { cause: Cause::Withdrawn { .. }, .. }
    )
}

fn pending(event: &Event) -> Option<Pending> {
    match event {
        Event::Noted { note: Note::Pending { id, amount, paid_at, expires_at }, .. } => {
            Some(Pending { id: *id, amount: *amount, paid_at: *paid_at, expires_at: *expires_at })
        }
        _ => None,
    }
}

impl Instruction {
    /// The id that makes it the same as an earlier one.
    pub const fn receipt(&self) -> Option<(ReceiptKind, OfficeId)> {
        Some(match self {
            Self::Repay { id, .. } => (ReceiptKind::Repayment, *id),
            Self::Expect { id, .. } => (ReceiptKind::Pending, *id),
            Self::Confirm { id, .. } | Self::Withdraw { id, .. } => (ReceiptKind::Ending, *id),
            Self::PostDamages { id, .. } => (ReceiptKind::Damages, *id),
            Self::PayOut { id, .. } => (ReceiptKind::Payout, *id),
            Self::Bounce { payout, .. } => (ReceiptKind::Bounce, *payout),
            Self::Correct { correction, .. } => corrected(correction),
            Self::Block { id, .. } => (ReceiptKind::Block, *id),
            Self::Release { id, .. } => (ReceiptKind::Release, *id),
            Self::Freeze { id } => (ReceiptKind::Freeze, *id),
            Self::Unfreeze { id, .. } => (ReceiptKind::Unfreeze, *id),
            Self::IssueSlip { .. } => return None,
        })
    }

    /// Who of the staff wants it, and why, where it says so.
    fn staff(&self) -> Option<&Staff> {
        match self {
            Self::Withdraw { staff, .. }
            | Self::PostDamages { staff, .. }
            | Self::PayOut { staff, .. }
            | Self::Release { staff, .. } => staff.as_deref(),
            Self::Bounce { staff, .. } | Self::Correct { staff, .. } | Self::Unfreeze { staff, .. } => Some(staff),
            _ => None,
        }
    }

    /// The id of an earlier fact that it is about, where that is not its own.
    pub const fn about(&self) -> Option<OfficeId> {
        match self {
            Self::Correct { correction: Correction::ReverseRepayment { repayment, .. }, .. } => Some(*repayment),
            _ => None,
        }
    }

    /// When a payment that it tells of was made, where it says so.
    pub const fn paid_at(&self) -> Option<Millis> {
        self.said().paid_at
    }

    /// What it says of a payment.
    const fn said(&self) -> Said {
        let nothing = Said { amount: None, paid_at: None, expires_at: None, slip: None };
        match *self {
            Self::Repay { amount, paid_at, slip, .. } => Said { amount: Some(amount), paid_at, slip, ..nothing },
            Self::Expect { amount, paid_at, expires_at, .. } => {
                Said { amount: Some(amount), paid_at, expires_at: Some(expires_at), slip: None }
            }
            Self::Confirm { said, .. } | Self::Withdraw { said, .. } => said,
            _ => nothing,
        }
    }
}

fn same_news(known: &Event, told: &Instruction) -> Result<(), Refusal> {
    let told = told.said();
    let differs = |amount: Yen, paid_at: Millis| {
        told.amount.is_some_and(|told| told != amount) || told.paid_at.is_some_and(|told| told != paid_at)
    };
    let (is_other, amount) = match known {
        Event::Settled { cause: Cause::Repayment(Payment { amount, paid_at, slip, .. }), .. } => {
            (differs(*amount, *paid_at) || told.slip.is_some() && told.slip != *slip, *amount)
        }
        // Final news says nothing of a slip.
        Event::Settled { cause: Cause::Final(Payment { amount, paid_at, slip, .. }), .. } => {
            let other_slip = slip.is_some() && told.slip.is_some() && told.slip != *slip;
            (differs(*amount, *paid_at) || other_slip, *amount)
        }
        Event::Noted { note: Note::Pending { amount, paid_at, expires_at, .. }, .. } => {
            (differs(*amount, *paid_at) || told.expires_at.is_some_and(|told| told != *expires_at), *amount)
        }
        _ => return Ok(()),
    };
    if is_other { Err(Refusal::IdReused { amount: Some(amount) }) } else { Ok(()) }
}

/// Until when provisional news stands is not in the news of its end.
fn same_expiry(expected: &Event, told: &Instruction) -> Result<(), Refusal> {
    match (pending(expected), told.said().expires_at) {
        (Some(Pending { expires_at, amount, .. }), Some(told)) if told != expires_at => {
            Err(Refusal::IdReused { amount: Some(amount) })
        }
        _ => Ok(()),
    }
}

fn same_other(known: &Event, told: &Instruction) -> Result<(), Refusal> {
    let (is_other, amount) = match (known, told) {
        (Event::Settled { cause, .. }, Instruction::PostDamages { bill, amount, .. }) => {
            let posted = cause.posted();
            (posted.is_some_and(|posted| posted != (*bill, *amount)), posted.map(|(_, amount)| amount))
        }
        (
            Event::Settled { cause: Cause::Payout { amount, bank_reference, .. }, .. },
            Instruction::PayOut { amount: told, bank_reference: told_reference, .. },
        ) => (amount != told || told_reference.is_some() && told_reference != bank_reference, Some(*amount)),
        (Event::Settled { cause: Cause::Bounced { amount, .. }, .. }, _) => (false, Some(*amount)),
        (
            Event::Settled { cause: Cause::Corrected { correction, amount, .. }, .. },
            Instruction::Correct { correction: told, .. },
        ) => (!is_same_correction(correction, told, *amount), Some(*amount)),
        (Event::Noted { note: Note::Blocked { reason, .. }, .. }, Instruction::Block { reason: told, .. }) => {
            (reason != told, None)
        }
        _ => (false, None),
    };
    if is_other || is_other_reason(known, told) { Err(Refusal::IdReused { amount }) } else { Ok(()) }
}

/// Where only one of them says why, it is the same.
fn is_other_reason(known: &Event, told: &Instruction) -> bool {
    let reason = |staff: Option<&Staff>| staff.map(|staff| staff.reason.clone()).filter(|reason| !reason.is_empty());
    reason(known.staff()).zip(reason(told.staff())).is_some_and(|(known, told)| known != told)
}

/// `amount` is what the correction came to. All that is left of a repayment is not the same as a part that was named, so that
/// nobody is told that all was taken back where only a part was.
fn is_same_correction(known: &Correction, told: &Correction, amount: Yen) -> bool {
    match (known, told) {
        (
            Correction::ReverseRepayment { repayment, amount: known, .. },
            Correction::ReverseRepayment { repayment: about, amount: told, .. },
        ) => repayment == about && told.map_or(known.is_none(), |told| told == amount),
        _ => known == told,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::commands::history::Archive;
    use crate::domain::commands::office::judge;
    use crate::domain::commands::past::{Past, Turn};
    use crate::domain::commands::refusal::{Step, Stop};
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::{CustomerId, Lsn};
    use crate::domain::model::payment::BillKey;
    use crate::domain::model::request::Staff;
    use crate::domain::model::settings::Settings;
    use crate::domain::model::time::{DAY, Month, Now};

    /// A minute that both customers and all news of the tables live in.
    struct House {
        state: State,
        now: Now,
        /// What was recorded, as a ledger keeps it.
        ledger: Known,
        archive: Archive,
    }

    fn id(text: &str) -> OfficeId {
        OfficeId::new(text).unwrap()
    }

    /// What is told of the one payment of the tables.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum News {
        Pending,
        Final,
        FinalWithout,
        Withdrawn,
        Repayment,
    }

    use News::*;

    const AMOUNT: Yen = Yen::new(500);

    impl House {
        fn new() -> Self {
            let now = Now::at(Millis::parse("2021-07-05T09:00:00+09:00").unwrap());
            let mut archive = Archive::default();
            let mut state = State::new(Settings::default());
            let policy = Box::from(include_str!("../../../config/policy.toml"));
            state.apply(&Event::PolicySet { version: 1, text: policy }, &now);
            for (ix, name) in [(0, "1001"), (1, "1002")] {
                let profile = Box::new(Profile::newcomer());
                let id = CustomerId::new(name).unwrap();
                let event = Event::CustomerSet { ix: CustomerIx(ix), id, profile };
                state.apply(&event, &now);
                archive.apply(&event, state.lsn, &now);
            }
            Self { state, now, ledger: Known { as_of: Lsn::ZERO, receipts: Vec::new() }, archive }
        }

        fn paid_at(&self) -> Millis {
            self.now.at.plus(-60_000)
        }

        fn news(&self, news: News) -> Instruction {
            let id = id("X-1");
            let amount = AMOUNT;
            let paid_at = Some(self.paid_at());
            match news {
                Pending => Instruction::Expect { id, amount, paid_at, expires_at: self.now.at.plus(60_000) },
                Final => Instruction::Confirm { id, said: Said { amount: Some(amount), paid_at, ..Said::default() } },
                FinalWithout => Instruction::Confirm { id, said: Said::default() },
                Withdrawn => Instruction::Withdraw { id, said: Said::default(), staff: None },
                Repayment => Instruction::Repay { id, amount, paid_at, slip: None },
            }
        }

        /// Tells it: whether it is posted, replayed, or why it is refused. `known` is what the ledger says.
        fn tell_with(&mut self, who: &str, told: &Instruction, known: Option<&Known>) -> Result<&'static str, Refusal> {
            let customer = CustomerId::new(who).unwrap();
            let kept = self.archive.kept(self.state.lsn, &customer);
            let turn = Turn {
                state: &self.state,
                past: &Past::NotAsked,
                kept: Some(&kept),
                now: &self.now,
                in_force: self.state.policy.as_ref().unwrap(),
                steps: 0,
            };
            let step = judge(&turn, &customer, (told, known), &mut || 0).map_err(|stop| match stop {
                Stop::Refused(refusal) => refusal,
                other => panic!("{other:?}"),
            })?;
            match step {
                Step::Answer(_) => Ok("replayed"),
                Step::Record(event) => {
                    self.state.apply(&event, &self.now);
                    let lsn = self.state.lsn;
                    self.archive.apply(&event, lsn, &self.now);
                    if matches!(event, Event::StoriesRecalled { .. }) {
                        return self.tell_with(who, told, known);
                    }
                    let at = self.now.at;
                    self.ledger.as_of = lsn;
                    self.ledger.receipts.push(Receipt { lsn, at, event: Arc::new(event) });
                    Ok("posted")
                }
            }
        }

        fn tell(&mut self, who: &str, told: &Instruction) -> Result<&'static str, Refusal> {
            self.tell_with(who, told, Some(&Known::nothing()))
        }

        fn credit(&self) -> u64 {
            self.state.account(CustomerIx(0)).unwrap().credit().get()
        }

        /// Memory lets go of all that the ledger has.
        fn forget(&mut self) {
            let later = self.now.at.plus(1);
            self.state.receipts.forget(later, self.state.lsn, usize::MAX);
            assert!(self.state.receipts.is_empty());
        }
    }

    const NEW: Result<&str, Refusal> = Ok("posted");
    const AGAIN: Result<&str, Refusal> = Ok("replayed");
    const IS_FINAL: Result<&str, Refusal> = Err(Refusal::PaymentFinal);
    const IS_WITHDRAWN: Result<&str, Refusal> = Err(Refusal::PaymentWithdrawn);
    const UNKNOWN: Result<&str, Refusal> = Err(Refusal::PaymentUnknown);

    const KINDS: [News; 5] = [Pending, Final, FinalWithout, Withdrawn, Repayment];

    /// What comes of a kind of news after one of another, by the first; the columns are in the order of [`KINDS`].
    const AFTER: [(News, [Result<&str, Refusal>; 5]); 5] = [
        (Pending, [AGAIN, NEW, NEW, NEW, NEW]),
        (Final, [AGAIN, AGAIN, AGAIN, IS_FINAL, AGAIN]),
        // Of an unknown id it says too little, and leaves no trace.
        (FinalWithout, [NEW, NEW, UNKNOWN, NEW, NEW]),
        (Withdrawn, [IS_WITHDRAWN, IS_WITHDRAWN, IS_WITHDRAWN, AGAIN, IS_WITHDRAWN]),
        (Repayment, [AGAIN, AGAIN, AGAIN, IS_FINAL, AGAIN]),
    ];

    #[test]
    fn every_ordered_pair_of_news() {
        for (first, after) in AFTER {
            for (second, expected) in KINDS.into_iter().zip(after) {
                for is_old in [false, true] {
                    let mut house = House::new();
                    let told = house.news(first);
                    let came = house.tell("1001", &told);
                    assert_eq!(came, if first == FinalWithout { UNKNOWN } else { NEW }, "{first:?}");
                    let told = house.news(second);
                    let known = house.ledger.clone();
                    if is_old && !known.receipts.is_empty() {
                        house.forget();
                        let blind = house.tell_with("1001", &told, None);
                        assert_eq!(blind, Err(Refusal::LedgerKnows), "{first:?}, {second:?}: nobody can tell");
                        let early = Known { as_of: Lsn(known.as_of.0 - 1), receipts: Vec::new() };
                        let behind = house.tell_with("1001", &told, Some(&early));
                        assert_eq!(behind, Err(Refusal::LedgerKnows), "read before it was posted");
                    }
                    let got = house.tell_with("1001", &told, Some(&known));
                    assert_eq!(got, expected, "{second:?} after {first:?}, forgotten: {is_old}");
                    assert!(house.credit() <= AMOUNT.get(), "{second:?} after {first:?}: it is one payment");
                }
            }
        }
    }

    #[test]
    fn a_payment_posts_once_in_every_order_of_three() {
        for first in KINDS {
            for second in KINDS {
                for third in KINDS {
                    let mut house = House::new();
                    let order = [first, second, third];
                    let came: Vec<_> = order
                        .iter()
                        .map(|news| {
                            let told = house.news(*news);
                            house.tell("1001", &told)
                        })
                        .collect();
                    // What is told last of all finds what was decided, and decides nothing more.
                    let settled = order.iter().zip(&came).find(|(news, came)| **came == NEW && **news != Pending);
                    let is_paid = settled.is_some_and(|(news, _)| *news != Withdrawn);
                    let is_withdrawn = settled.is_some_and(|(news, _)| *news == Withdrawn);
                    assert_eq!(house.credit(), if is_paid { 500 } else { 0 }, "{order:?}");
                    let posted = order.iter().zip(&came).filter(|(_, came)| **came == NEW).count();
                    assert!(posted <= 2, "{order:?}: news and its end");
                    let told = house.news(Withdrawn);
                    let end = if is_paid {
                        IS_FINAL
                    } else if is_withdrawn {
                        AGAIN
                    } else {
                        NEW
                    };
                    assert_eq!(house.tell("1001", &told), end, "{order:?}");
                    // Each that was answered well is answered well again, and posts nothing.
                    if is_paid {
                        for (news, came) in order.iter().zip(&came).filter(|(_, came)| came.is_ok()) {
                            let told = house.news(*news);
                            assert_eq!(house.tell("1001", &told), AGAIN, "{news:?} of {order:?}, first {came:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn provisional_news_that_was_answered_is_answered_so_again_after_its_end() {
        for end in [Final, FinalWithout, Withdrawn, Repayment] {
            let mut house = House::new();
            let pending = house.news(Pending);
            let told = house.news(end);
            assert_eq!((house.tell("1001", &pending), house.tell("1001", &told)), (NEW, NEW));
            assert!(house.state.account(CustomerIx(0)).unwrap().pending().is_empty(), "{end:?} ends it");
            assert_eq!(house.tell("1001", &pending), AGAIN, "after {end:?}");
        }
    }

    #[test]
    fn another_customer_or_other_content_is_another_payment() {
        for first in [Pending, Final, Withdrawn, Repayment] {
            let mut house = House::new();
            let told = house.news(first);
            assert_eq!(house.tell("1001", &told), NEW);
            for second in KINDS {
                let told = house.news(second);
                let got = house.tell("1002", &told);
                assert_eq!(got, Err(Refusal::IdReused { amount: None }), "{second:?} of another, after {first:?}");
            }
            if first == Withdrawn {
                continue;
            }
            let id = id("X-1");
            let at = house.paid_at();
            let later = house.now.at.plus(60_000);
            let other = Yen::new(501);
            let early = at.plus(-1);
            let repay = |amount, paid_at| Instruction::Repay { id, amount, paid_at, slip: None };
            let confirm = |amount, paid_at| {
                let said = Said { amount, paid_at, ..Said::default() };
                Instruction::Confirm { id, said }
            };
            let expect = |amount, paid_at, expires_at| Instruction::Expect { id, amount, paid_at, expires_at };
            let mut others = vec![
                repay(other, Some(at)),
                repay(AMOUNT, Some(early)),
                confirm(Some(other), None),
                confirm(None, Some(early)),
                expect(other, Some(at), later),
                expect(AMOUNT, Some(early), later),
            ];
            if first == Pending {
                others.push(expect(AMOUNT, Some(at), later.plus(1)));
            }
            if first == Repayment {
                others.push(Instruction::Repay { id, amount: AMOUNT, paid_at: None, slip: Some(7) });
            }
            for told in others {
                let got = house.tell("1001", &told);
                assert_eq!(got, Err(Refusal::IdReused { amount: Some(AMOUNT) }), "{told:?} after {first:?}");
            }
            // What is not said is not compared.
            let expected = if first == Pending { NEW } else { AGAIN };
            assert_eq!(house.tell("1001", &repay(AMOUNT, None)), expected, "after {first:?}");
        }
    }

    #[test]
    fn news_of_an_end_says_what_provisional_news_said_or_nothing() {
        for end in [Final, Withdrawn] {
            for is_told_before in [false, true] {
                let mut house = House::new();
                let pending = house.news(Pending);
                let plain = house.news(end);
                assert_eq!(house.tell("1001", &pending), NEW);
                if is_told_before {
                    assert_eq!(house.tell("1001", &plain), NEW);
                }
                let at = house.paid_at();
                let until = house.now.at.plus(60_000);
                let same = Said { amount: Some(AMOUNT), paid_at: Some(at), expires_at: Some(until), slip: None };
                let told = |said| match end {
                    Final => Instruction::Confirm { id: id("X-1"), said },
                    _ => Instruction::Withdraw { id: id("X-1"), said, staff: None },
                };
                for other in [
                    Said { amount: Some(Yen::new(501)), ..same },
                    Said { paid_at: Some(at.plus(-1)), ..same },
                    Said { expires_at: Some(until.plus(1)), ..same },
                    Said { expires_at: Some(until.plus(1)), ..Said::default() },
                ] {
                    let got = house.tell("1001", &told(other));
                    assert_eq!(got, Err(Refusal::IdReused { amount: Some(AMOUNT) }), "{end:?} {other:?}");
                }
                let expected = if is_told_before { AGAIN } else { NEW };
                assert_eq!(house.tell("1001", &told(same)), expected, "{end:?}");
            }
        }
    }

    fn pay_out(amount: u64, bank_reference: Option<&str>) -> Instruction {
        let (id, amount, bank_reference) = (id("X-1"), Yen::new(amount), bank_reference.map(Box::from));
        Instruction::PayOut { id, amount, bank_reference, staff: None }
    }

    fn bounce(payout: &str, reason: &str) -> Instruction {
        let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: reason.into() };
        Instruction::Bounce { payout: id(payout), staff }
    }

    #[test]
    fn final_news_that_nobody_expected_says_how_much_came_and_when() {
        let mut house = House::new();
        let (amount, paid_at) = (Some(AMOUNT), Some(house.paid_at()));
        let mut tell = |amount, paid_at| {
            let said = Said { amount, paid_at, ..Said::default() };
            house.tell("1001", &Instruction::Confirm { id: id("X-1"), said })
        };
        for (amount, paid_at) in [(None, None), (amount, None), (None, paid_at)] {
            assert_eq!(tell(amount, paid_at), Err(Refusal::PaymentUnknown));
        }
        assert_eq!((tell(amount, paid_at), tell(None, None)), (NEW, AGAIN));
    }

    #[test]
    fn a_payout_comes_back_once_at_any_age_with_the_day_of_its_money() {
        for days in [0, 1, 100] {
            let mut house = House::new();
            let told = house.news(Repayment);
            assert_eq!(house.tell("1001", &told), NEW);
            assert_eq!(house.tell("1001", &pay_out(300, Some("T/1"))), NEW);
            assert_eq!(house.tell("1001", &pay_out(300, None)), AGAIN, "what is left out is not compared");
            let reused = Err(Refusal::IdReused { amount: Some(Yen::new(300)) });
            assert_eq!(house.tell("1001", &pay_out(300, Some("T/2"))), reused);
            let paid_at = house.paid_at();
            house.now = Now::at(house.now.at.plus(days * DAY));
            if days > 0 {
                let known = house.ledger.clone();
                house.forget();
                assert_eq!(house.tell_with("1001", &bounce("X-1", "r"), None), Err(Refusal::LedgerKnows));
                house.ledger = known;
            }
            let known = house.ledger.clone();
            let mut tell = |who, told: Instruction| house.tell_with(who, &told, Some(&known));
            assert_eq!(tell("1002", bounce("X-1", "r")), Err(Refusal::PayoutUnknown), "another's is none");
            assert_eq!(tell("1001", bounce("X-2", "r")), Err(Refusal::PayoutUnknown));
            assert_eq!(tell("1001", bounce("X-1", "r")), NEW, "{days} days later");
            assert_eq!(tell("1001", bounce("X-1", "r")), AGAIN);
            assert_eq!(tell("1001", bounce("X-1", "other")), reused);
            let sums = house.state.account(CustomerIx(0)).unwrap().sums().to_vec();
            let sums: Vec<_> = sums.iter().map(|sum| (sum.money.day, sum.amount, sum.due)).collect();
            assert_eq!(sums, [(paid_at, AMOUNT, Yen::ZERO)], "{days} days later");
        }
    }

    fn reverse(reversal: Option<&str>, repayment: &str, amount: Option<u64>) -> Instruction {
        let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "r".into() };
        let (reversal, repayment, amount) = (reversal.map(id).map(Box::new), id(repayment), amount.map(Yen::new));
        Instruction::Correct { correction: Correction::ReverseRepayment { reversal, repayment, amount }, staff }
    }

    #[test]
    fn a_repayment_is_taken_back_part_by_part_and_never_more_than_it_was() {
        for days in [0, 1, 100, 600] {
            let mut house = House::new();
            let told = house.news(Repayment);
            assert_eq!(house.tell("1001", &told), NEW);
            let other = Instruction::Repay { id: id("X-2"), amount: AMOUNT, paid_at: None, slip: None };
            assert_eq!(house.tell("1001", &other), NEW);
            let reused = |amount| Err(Refusal::IdReused { amount: Some(Yen::new(amount)) });
            let gone = |left: u64, taken_back: u64| {
                Err(Refusal::AlreadyPaidOut { left: left.into(), paid_out: 0.into(), taken_back: taken_back.into() })
            };
            for (told, expected) in [
                (reverse(None, "X-9", None), Err(Refusal::RepaymentUnknown)),
                (reverse(None, "X-1", Some(200)), NEW),
                (reverse(None, "X-1", Some(200)), AGAIN),
                (reverse(Some("X-1"), "X-1", Some(200)), AGAIN),
                (reverse(None, "X-1", None), reused(200)),
                (reverse(None, "X-1", Some(300)), reused(200)),
                (reverse(None, "X-1", Some(500)), reused(200)),
                (reverse(Some("V-1"), "X-1", Some(301)), gone(300, 200)),
                (reverse(Some("V-1"), "X-1", Some(100)), NEW),
                (reverse(Some("V-1"), "X-2", Some(100)), reused(100)),
                (reverse(Some("V-1"), "X-1", None), reused(100)),
                (reverse(Some("V-2"), "X-1", None), NEW),
                (reverse(Some("V-2"), "X-1", None), AGAIN),
                (reverse(Some("V-2"), "X-1", Some(200)), AGAIN),
                (reverse(Some("V-3"), "X-1", None), gone(0, 500)),
                (reverse(Some("V-3"), "X-1", Some(1)), gone(0, 500)),
            ] {
                // Each part may be told after memory has let go of the one before.
                house.now = Now::at(house.now.at.plus(days * DAY));
                let known = house.ledger.clone();
                if days > 0 {
                    house.forget();
                }
                assert_eq!(house.tell_with("1001", &told, Some(&known)), expected, "{told:?}, {days} days later");
            }
            assert_eq!(house.credit(), AMOUNT.get(), "the other stays, {days} days later");
        }
    }

    #[test]
    fn an_id_of_a_reversal_is_one_customers_and_memory_knows_what_a_ledger_does_not_yet() {
        let mut house = House::new();
        let told = house.news(Repayment);
        assert_eq!(house.tell("1001", &told), NEW);
        let other = Instruction::Repay { id: id("X-2"), amount: AMOUNT, paid_at: None, slip: None };
        assert_eq!(house.tell("1002", &other), NEW);
        assert_eq!(house.tell("1001", &reverse(Some("V-1"), "X-1", Some(1))), NEW);
        assert_eq!(house.tell("1002", &reverse(None, "X-1", None)), Err(Refusal::RepaymentUnknown));
        assert_eq!(house.tell("1002", &reverse(Some("V-1"), "X-2", None)), Err(Refusal::IdReused { amount: None }));
        assert_eq!(house.tell_with("1001", &reverse(Some("V-2"), "X-1", None), None), Err(Refusal::LedgerKnows));
        // Long ago: the account has forgotten a reversal that this ledger does not know yet.
        house.now = Now::at(house.now.at.plus(200 * DAY));
        let early = Known { as_of: Lsn(house.state.lsn.0 - 1), ..house.ledger.clone() };
        let policy = Box::from(include_str!("../../../config/policy.toml"));
        house.state.apply(&Event::PolicySet { version: 2, text: policy }, &house.now);
        let known =
            Known { receipts: early.receipts.iter().filter(|of| of.lsn <= early.as_of).cloned().collect(), ..early };
        let all = reverse(Some("V-2"), "X-1", Some(AMOUNT.get()));
        let gone = Refusal::AlreadyPaidOut { left: 499.into(), paid_out: 0.into(), taken_back: 1.into() };
        assert_eq!(house.tell_with("1001", &all, Some(&known)), Err(gone));
        assert_eq!(house.tell_with("1001", &reverse(Some("V-2"), "X-1", None), Some(&known)), NEW);
        assert_eq!(house.credit(), 0);
    }

    #[test]
    fn other_ids_of_the_office_stand_for_one_thing_too() {
        let mut house = House::new();
        let told = house.news(Repayment);
        assert_eq!(house.tell("1001", &told), NEW);
        let block = |reason: &str| Instruction::Block { id: id("B-1"), reason: Box::from(reason), by: None, key: None };
        let release = |reason: Option<&str>| {
            let staff = |reason: &str| Staff { by: "tanaka".into(), key: "office".into(), reason: reason.into() };
            Instruction::Release { id: id("B-1"), staff: reason.map(staff).map(Box::new) }
        };
        let payout = |amount| pay_out(amount, None);
        assert_eq!((house.tell("1001", &block("a")), house.tell("1001", &block("a"))), (NEW, AGAIN));
        assert_eq!((house.tell("1001", &payout(3)), house.tell("1001", &payout(3))), (NEW, AGAIN));
        for is_old in [false, true] {
            let known = house.ledger.clone();
            if is_old {
                house.forget();
            }
            let mut tell = |who, told| house.tell_with(who, &told, Some(&known));
            assert_eq!(tell("1001", block("b")), Err(Refusal::IdReused { amount: None }));
            assert_eq!(tell("1002", block("a")), Err(Refusal::IdReused { amount: None }));
            assert_eq!(tell("1001", payout(4)), Err(Refusal::IdReused { amount: Some(Yen::new(3)) }));
            assert_eq!(tell("1002", payout(3)), Err(Refusal::IdReused { amount: None }));
            assert_eq!(tell("1002", release(None)), Err(Refusal::BlockUnknown));
            assert_eq!(tell("1001", payout(3)), AGAIN);
        }
        let month = Month::parse("2021-06").unwrap();
        let amount = Yen::new(1);
        for (reason, expected) in
            [(Some("a"), NEW), (Some("a"), AGAIN), (None, AGAIN), (Some("b"), Err(Refusal::IdReused { amount: None }))]
        {
            assert_eq!(house.tell("1001", &release(reason)), expected, "{reason:?}");
        }
        let damages = Instruction::PostDamages { id: id("D-1"), bill: BillKey::Month(month), amount, staff: None };
        assert_eq!(house.tell("1001", &damages), Err(Refusal::BillUnknown), "a kind of its own");
    }
}
