//! Facts. Whatever changes the state is one of these, journaled before it is answered.
//! An event holds every figure its effects need, so that nothing is judged again on replay.

use std::sync::Arc;

use crate::domain::billing::notes::{Cause, Note};
use crate::domain::billing::notices::Notice;
use crate::domain::billing::settlement::{Charge, Place, Settlement, Transfer};
use crate::domain::billing::stories::Recall;
use crate::domain::model::advice::{Booked, SuspenseAction};
use crate::domain::model::basis::Basis;
use crate::domain::model::code::Form;
use crate::domain::model::customer::Profile;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{
    AuthorizationId, CustomerId, CustomerIx, Handle, Lsn, OfficeId, RefundId, TerminalKey,
};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Applied, AppliedTo, CaptureTerms, Destination, FirstSale, Order, fingerprint};
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::purchase::{Channel, Purchase};
use crate::domain::model::request::{Authorize, OrderKey, Payer, Post, Staff};
use crate::domain::model::time::{Date, Millis, Month, Now};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// First record of a journal.
    Opened {
        sandbox: bool,
    },
    /// The text of the policy file from here on. `version` counts from 1.
    PolicySet {
        version: u32,
        text: Box<str>,
    },
    /// The text of the bank-holiday file from here on.
    HolidaysSet {
        text: Box<str>,
    },
    MerchantSet(Box<Merchant>),
    /// A customer's profile as it is from here on. A new `ix` is the next free one.
    CustomerSet {
        ix: CustomerIx,
        id: CustomerId,
        profile: Box<Profile>,
    },
    /// Of 24 digits.
    CodeIssued(CodeIssued),
    CodeVoided {
        handle: Handle,
    },
    Decided(Decided),
    /// A cancel that came before its order: the order, should it come, is denied.
    Tombstoned {
        key: OrderKey,
    },
    Cancelled(Undone),
    /// A sale was taken back after its bill was issued: money that had met it went back to where it came from.
    CancelledPaid {
        undone: Undone,
        books: Box<Settlement>,
    },
    Captured(Captured),
    Refunded(Refunded),
    /// A hold's time ran out without a capture. The room came back by itself at `expires_at`; this records it.
    HoldExpired(Undone),
    /// An order read back from the ledger because something old is to be refunded, with all its refunds: how it was
    /// recorded before [`Event::Recalled`]. It is read and no longer made.
    RecalledWhole(Box<Order>),
    /// Money met bills, or fees were charged.
    Settled {
        cause: Cause,
        books: Box<Settlement>,
    },
    /// Something about a customer that moves no money yet.
    Noted {
        customer: CustomerIx,
        note: Note,
    },
    /// A sale that the network approved for us. Boxed: it is rare and large.
    Advised(Box<Advised>),
    /// A sale in suspense was taken back.
    SuspenseCleared {
        order: Lsn,
        amount: Yen,
    },
    /// A code of 19 digits, which carry no seal.
    Tok19Issued(CodeIssued),
    /// An order read back from the ledger because something old is to be refunded. Its refunds so far, of which there may
    /// be many, stay there.
    Recalled {
        order: Box<Order>,
        refunds_made: u16,
    },
    /// What memory had let go of a customer's books, read back from the ledger because the fact after this one reaches
    /// so far back.
    StoriesRecalled {
        customer: CustomerIx,
        recall: Recall,
    },
    /// The office settled a sale in suspense. Boxed: it is rare and large.
    SuspenseSettled(Box<SuspenseSettled>),
    /// A customer is told how bills stand.
    Noticed {
        customer: CustomerIx,
        notices: Vec<Notice>,
    },
}

impl Event {
    /// The fact that takes an order back into memory: chained to nothing, and nothing asks any more how it was booked. Its
    /// refunds stay in the ledger, where a repeated one is looked for; only how many they are comes with it.
    pub fn recalled(order: &Order) -> Self {
        let made = order.refunds.as_ref().map_or(0, |refunds| refunds.count());
        let capture = order.capture.as_deref().map(|terms| Box::new(CaptureTerms { amount: Yen::ZERO, ..*terms }));
        let order = Order { earlier: None, terminal: None, advice: None, refunds: None, capture, ..order.clone() };
        Self::Recalled { order: Box::new(order), refunds_made: u16::try_from(made).unwrap_or(u16::MAX) }
    }

    /// Who of the staff told of it, and why, where that was said.
    pub fn staff(&self) -> Option<&Staff> {
        match self {
            Self::Settled { cause, .. } => match cause {
                Cause::Damages { staff, .. }
                | Cause::NpDamages { staff, .. }
                | Cause::Payout { staff, .. }
                | Cause::Withdrawn { staff, .. } => staff.as_deref(),
                Cause::Bounced { staff, .. } | Cause::Corrected { staff, .. } => Some(staff),
                Cause::Calendar | Cause::Repayment(_) | Cause::Final(_) => None,
            },
            Self::Noted { note: Note::Withdrawn { staff, .. } | Note::Released { staff, .. }, .. } => staff.as_deref(),
            Self::Noted { note: Note::Unfrozen { staff, .. }, .. } => Some(staff),
            _ => None,
        }
    }

    pub const fn issued(form: Form, issued: CodeIssued) -> Self {
        match form {
            Form::L24 => Self::CodeIssued(issued),
            Form::Tok19 => Self::Tok19Issued(issued),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeIssued {
    pub customer: CustomerIx,
    pub handle: Handle,
    /// Key generation of its seals, so that its pictures can be made again.
    pub generation: u8,
    /// Of the public id.
    pub id_random: u64,
    /// Of the QR (9F36, 9F37).
    pub counter: u16,
    pub random: u32,
    pub expires_at: Millis,
}

/// One decision with its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Of the public id; the approval code comes from it too.
    pub random: u64,
    /// Version of the policy it was judged by.
    pub policy: u32,
    /// Shared with the request it came in.
    pub input: Arc<Authorize>,
    pub customer: Option<CustomerIx>,
    /// Room left in the channel after an approval, or found at a denial; for the customer's phone.
    pub room: Yen,
    pub outcome: Outcome,
    /// None where the customer was not known, of an advice, and of a record of before it was kept.
    pub basis: Option<Basis>,
}

impl Decided {
    /// What a decision is about, before its outcome.
    pub fn order(&self, id: AuthorizationId, now: &Now) -> Order {
        let input = &self.input;
        let handle = match &input.payer {
            Payer::Code(scanned) => scanned.handle(),
            Payer::Customer(_) => None,
        };
        let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
        Order {
            terminal: input.terminal.and_then(TerminalKey::of),
            customer: self.customer,
            channel: input.channel,
            handle,
            amount: input.amount,
            fingerprint: fingerprint(input),
            room: self.room,
            ..Order::tombstone(id, key, now)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Approved(Approval),
    Denied { reason: Reason, first: Option<Box<FirstSale>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The month that bills it (a hold's is that of its capture, told provisionally here).
    pub month: Month,
    pub due: Date,
    pub points: u64,
    /// Set for a hold; `None` when captured at once.
    pub hold_expires_at: Option<Millis>,
}

/// What an advice came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advised {
    /// An approval; without a customer in suspense.
    pub decided: Decided,
    pub original: Option<OrderKey>,
    /// What its link might post.
    pub post: Post,
    pub booked: Booked,
    /// The customer it names, charged or not.
    pub known: Option<CustomerIx>,
}

/// What became of a sale in suspense, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspenseSettled {
    /// The office's.
    pub id: OfficeId,
    pub order: AuthorizationId,
    pub amount: Yen,
    pub end: SuspenseEnd,
    pub staff: Staff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspenseEnd {
    /// A purchase from its record on.
    Charged(Captured),
    /// To the shop: nothing is owed for it.
    Returned,
    /// We bear it.
    Lost,
}

impl SuspenseEnd {
    pub const fn action(&self) -> SuspenseAction {
        match self {
            Self::Charged(_) => SuspenseAction::Charge,
            Self::Returned => SuspenseAction::Return,
            Self::Lost => SuspenseAction::Loss,
        }
    }

    pub const fn charged(&self) -> Option<&Captured> {
        match self {
            Self::Charged(captured) => Some(captured),
            Self::Returned | Self::Lost => None,
        }
    }
}

/// An approval taken back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    pub order: Lsn,
    pub customer: CustomerIx,
    pub channel: Channel,
    /// Principal given back, or the hold released.
    pub amount: Yen,
    pub was_hold: bool,
    /// Month that had billed it, for a captured one.
    pub month: Month,
    /// When it was captured.
    pub bought_at: Millis,
    pub points: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    pub order: Lsn,
    pub customer: CustomerIx,
    pub channel: Channel,
    pub amount: Yen,
    /// Part of the hold that was not captured.
    pub released: Yen,
    pub month: Month,
    pub due: Date,
    pub points: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    pub order: Lsn,
    pub refund_id: RefundId,
    pub customer: CustomerIx,
    pub channel: Channel,
    pub amount: Yen,
    pub month: Month,
    /// When it was captured.
    pub bought_at: Millis,
    pub destination: Destination,
    /// Points taken back with it.
    pub points: u64,
    /// What its money did besides making the purchase smaller.
    pub books: Box<Settlement>,
    /// When the shop gave it back, where that was told: it counts from then, and else from its record.
    pub paid_at: Option<Millis>,
}

/// From when a refund counts.
pub fn counts_from(paid_at: Option<Millis>, bought_at: Millis, now: &Now) -> Millis {
    paid_at.unwrap_or(now.at).max(bought_at).min(now.at)
}

impl Undone {
    pub fn purchase(&self) -> Purchase {
        let &Self { order, channel, amount, month, bought_at: at, .. } = self;
        Purchase { order, channel, amount, month, at }
    }
}

impl Refunded {
    /// From when it counts; not before the purchase.
    pub fn counts_from(&self, now: &Now) -> Millis {
        counts_from(self.paid_at, self.bought_at, now)
    }

    /// Where its money went, the first destination first; then the bill fee that was waived with it.
    pub fn applied(&self) -> Vec<Applied> {
        let purchase = self.purchase();
        let mut applied: Vec<Applied> = Vec::new();
        let mut add = |to, amount: Yen| match applied.iter_mut().find(|part| part.to == to) {
            Some(part) => part.amount += amount,
            None => applied.push(Applied { to, amount }),
        };
        let freed: Vec<_> = self.freed().collect();
        let own = self.amount.minus_or_zero(self.freed_principal());
        if !own.is_zero() {
            add(AppliedTo::Bill(purchase.bill()), own);
        }
        for transfer in freed {
            add(
                match transfer.to {
                    Place::Line { bill, .. } | Place::Freed { bill, .. } => AppliedTo::Bill(bill),
                    Place::PayoutDue | Place::PaidOut { .. } | Place::Reversed { .. } => AppliedTo::Payout,
                    Place::Credit | Place::Received | Place::Refund | Place::Bounced { .. } => AppliedTo::Credit,
                },
                transfer.amount,
            );
        }
        for charge in &self.books.charges {
            if let Charge::BillFeeWaived { month, amount } = *charge
                && purchase.bill() == BillKey::Month(month)
            {
                add(AppliedTo::WaivedFee(month), amount);
            }
        }
        applied
    }

    /// Money that it set free on the purchase's own bill, or that met no bill of its own.
    pub fn freed(&self) -> impl Iterator<Item = &Transfer> {
        let bill = self.purchase().bill();
        let is_freed = move |transfer: &&Transfer| match transfer.from {
            Place::Freed { bill: on, .. } => on == bill,
            Place::Refund => true,
            _ => false,
        };
        self.books.own().filter(is_freed)
    }

    /// Of the freed money, what had been paid of the purchase; the rest is a waived bill fee.
    pub fn freed_principal(&self) -> Yen {
        let is_fee = |place: Place| matches!(place.line(), Some((_, Line::BillFee)));
        self.freed().filter(|transfer| !is_fee(transfer.from)).map(|transfer| transfer.amount).sum()
    }

    /// Room that came back: principal that is no longer owed, here or on another bill that its money met.
    pub fn restored(&self) -> Yen {
        let met = self.books.own().filter(|transfer| transfer.to.is_principal() && transfer.from != Place::Credit);
        let out = self.books.own().filter(|transfer| transfer.is_out_of_principal());
        let met: Yen = met.map(|transfer| transfer.amount).sum();
        (self.amount + met).minus_or_zero(out.map(|transfer| transfer.amount).sum())
    }

    pub fn purchase(&self) -> Purchase {
        let &Self { order, channel, amount, month, bought_at: at, .. } = self;
        Purchase { order, channel, amount, month, at }
    }
}

impl Advised {
    /// The customer it speaks of, charged or not.
    pub fn about(&self) -> Option<CustomerIx> {
        self.decided.customer.or(self.known)
    }
}
