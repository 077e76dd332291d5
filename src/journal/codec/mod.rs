//! Events as bytes: the payload of a journal record.
//!
//! Little-endian, fields in the order of their declaration, nothing implied by position in memory.
//! Numbers of kinds and of enum values are part of the format; `docs/journal-format.md` lists them and
//! golden files hold every released version. A new field goes to a new kind, never into an old one.

use std::sync::Arc;

use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::batch::TooLarge;
use crate::domain::model::advice::Booked;
use crate::domain::model::basis::Basis;
use crate::domain::model::customer::{Identity, Limits, Profile, Status};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{
    AuthorizationId, Category, CustomerId, CustomerIx, Handle, Lsn, MerchantId, OrderId, Part, RefundId, StoreId,
    TerminalId,
};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{
    CaptureTerms, Destination, FirstSale, Order, OrderState, RefundMade, Refunds, Sequence,
};
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, EntryMode, OrderKey, Payer, Post, Proof, Scanned};
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::event::{
    Advised, Approval, Captured, CodeIssued, Decided, Event, Outcome, Refunded, SuspenseEnd, SuspenseSettled, Undone,
};

/// Bytes that are no event of this version. The record itself was intact, so this is a newer version's
/// journal or a bug; either way nothing may be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event of this version: {0}")]
pub struct BadEvent(&'static str);

/// Appends the event's bytes. What the format has no room for is refused whole: nothing is ever cut to fit. The bytes
/// that were appended until then are the caller's to take away.
pub fn encode(event: &Event, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    match event {
        Event::Settled { cause, books } if is_old(books) && is_old_cause(cause) => {
            out.push(SETTLED);
            written(&OldSettled { cause: cause.clone(), books: books.as_ref().clone() }, out)
        }
        Event::Refunded(refund) if is_old(&refund.books) => {
            out.push(if refund.paid_at.is_some() { REFUNDED_AT } else { REFUNDED });
            written(&OldRefunded(refund.clone()), out)?;
            refund.paid_at.iter().try_for_each(|paid_at| written(paid_at, out))
        }
        Event::Decided(decided @ Decided { basis: Some(basis), .. }) => {
            out.push(JUDGED);
            written(decided, out)?;
            written(basis, out)
        }
        _ => written(event, out),
    }
}

/// The kinds of before a transfer said which money it moves. A settlement that moves none is still of them.
const REFUNDED: u8 = 12;
const SETTLED: u8 = 15;
/// A decision with its numbers: the fields of one without, and those.
const JUDGED: u8 = 28;
/// A refund that says when the shop gave it back: the fields of the plain one, and that time.
const REFUNDED_AT: u8 = 21;

fn written(value: &impl Field, bytes: &mut Vec<u8>) -> Result<(), TooLarge> {
    let mut out = Out { bytes, is_whole: true };
    value.put(&mut out);
    if out.is_whole { Ok(()) } else { Err(TooLarge) }
}

/// Where bytes go.
struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    /// Nothing had to be left out so far.
    is_whole: bool,
}

impl Out<'_> {
    fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A length, in as many bytes as the format gives it.
    fn length<N: TryFrom<usize> + Field + Default>(&mut self, length: usize) {
        let fits = N::try_from(length);
        self.is_whole &= fits.is_ok();
        fits.unwrap_or_default().put(self);
    }
}

/// Reads one event that fills `bytes` exactly.
pub fn decode(bytes: &[u8]) -> Result<Event, BadEvent> {
    let mut input = bytes;
    let event = match bytes.split_first() {
        Some((&SETTLED, fields)) => {
            input = fields;
            let OldSettled { cause, books } = OldSettled::get(&mut input)?;
            Event::Settled { cause, books: Box::new(books) }
        }
        Some((&kind @ (REFUNDED | REFUNDED_AT), fields)) => {
            input = fields;
            let OldRefunded(refund) = OldRefunded::get(&mut input)?;
            let paid_at = if kind == REFUNDED_AT { Some(Millis::get(&mut input)?) } else { None };
            Event::Refunded(Refunded { paid_at, ..refund })
        }
        Some((&JUDGED, fields)) => {
            input = fields;
            let decided = Decided::get(&mut input)?;
            Event::Decided(Decided { basis: Some(Basis::get(&mut input)?), ..decided })
        }
        _ => Event::get(&mut input)?,
    };
    if input.is_empty() { Ok(event) } else { Err(BadEvent("bytes left over")) }
}

type Got<T> = Result<T, BadEvent>;

/// Something with a place in the format.
trait Field: Sized {
    fn put(&self, out: &mut Out<'_>);
    fn get(input: &mut &[u8]) -> Got<Self>;
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Got<&'a [u8]> {
    let (head, tail) = input.split_at_checked(len).ok_or(BadEvent("it ends too early"))?;
    *input = tail;
    Ok(head)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Out<'_>) {
                out.extend(&self.to_le_bytes());
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                let bytes = take(input, size_of::<$number>())?;
                bytes.try_into().map(<$number>::from_le_bytes).map_err(|_| BadEvent("a number is cut"))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, i64);

impl Field for bool {
    fn put(&self, out: &mut Out<'_>) {
        out.extend(&[u8::from(*self)]);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        match u8::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadEvent("a flag is neither 0 nor 1")),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Out<'_>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        if bool::get(input)? { T::get(input).map(Some) } else { Ok(None) }
    }
}

macro_rules! pointers {
    ($($pointer:ident),*) => {$(
        impl<T: Field> Field for $pointer<T> {
            fn put(&self, out: &mut Out<'_>) {
                self.as_ref().put(out);
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                T::get(input).map($pointer::new)
            }
        }
    )*};
}
pointers!(Box, Arc);

/// A list is its length (u16) and its items; one of more than 65,535 is refused.
fn put_list<T: Field>(list: &[T], out: &mut Out<'_>) {
    out.length::<u16>(list.len());
    list.iter().for_each(|item| item.put(out));
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Out<'_>) {
        put_list(self, out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        (0..u16::get(input)?).map(|_| T::get(input)).collect()
    }
}

impl<T: Field> Field for ThinVec<T> {
    fn put(&self, out: &mut Out<'_>) {
        put_list(self, out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        (0..u16::get(input)?).map(|_| T::get(input)).collect()
    }
}

impl<T: Field, const N: usize> Field for SmallVec<[T; N]>
where
    [T; N]: smallvec::Array<Item = T>,
{
    fn put(&self, out: &mut Out<'_>) {
        put_list(self, out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        (0..u16::get(input)?).map(|_| T::get(input)).collect()
    }
}

/// Written as the list of those that are known; how many came before stands beside the order, where it matters.
impl Field for Refunds {
    fn put(&self, out: &mut Out<'_>) {
        self.made.put(out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        Ok(Self { before: 0, made: Field::get(input)? })
    }
}

/// A text is its length (u32) and its UTF-8.
impl Field for Box<str> {
    fn put(&self, out: &mut Out<'_>) {
        out.length::<u32>(self.len());
        out.extend(self.as_bytes());
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        let len = usize::try_from(u32::get(input)?).map_err(|_| BadEvent("a text is too long"))?;
        let bytes = take(input, len)?;
        std::str::from_utf8(bytes).map(Self::from).map_err(|_| BadEvent("a text is not UTF-8"))
    }
}

impl Field for [u8; 3] {
    fn put(&self, out: &mut Out<'_>) {
        out.extend(self);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        take(input, 3)?.try_into().map_err(|_| BadEvent("a currency is cut"))
    }
}

macro_rules! names {
    ($($name:ident),*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Out<'_>) {
                let text = self.as_bytes();
                out.length::<u8>(text.len());
                out.extend(text);
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                let len = usize::from(u8::get(input)?);
                let text = std::str::from_utf8(take(input, len)?).map_err(|_| BadEvent("a name is not ASCII"))?;
                $name::new(text).map_err(|_| BadEvent("a name is out of its bounds"))
            }
        }
    )*};
}
names!(CustomerId, MerchantId, StoreId, TerminalId, OrderId, RefundId, Category);

/// Values that are a number within bounds.
macro_rules! wrapped {
    ($($name:ty: $number:ty, $to:expr, $from:expr;)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Out<'_>) {
                let to: fn(&$name) -> $number = $to;
                to(self).put(out);
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                let from: fn($number) -> Option<$name> = $from;
                from(<$number>::get(input)?).ok_or(BadEvent(concat!("no such ", stringify!($name))))
            }
        }
    )*};
}

fn numbered<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number).checked_sub(1)?).copied()
}

wrapped! {
    Yen: u64, |yen| yen.get(), |n| Some(Yen::new(n));
    Lsn: u64, |lsn| lsn.0, |n| Some(Lsn(n));
    Sequence: u64, |sequence| sequence.get(), |n| Some(Sequence::new(n));
    CustomerIx: u32, |ix| ix.0, |n| Some(CustomerIx(n));
    Handle: u32, |handle| handle.get(), Handle::new;
    Part: u8, |part| part.get(), |n| (n < Part::COUNT).then(|| Part::from_number(u64::from(n)));
    Millis: i64, |at| at.0, |n| Some(Millis(n));
    Date: u32, |date| date.to_number(), Date::from_number;
    Month: u16, |month| month.to_number(), Month::from_number;
    Reason: u8, |reason| reason.number(), Reason::from_number;
    Channel: u8, |value| *value as u8, |n| numbered(&Channel::ALL, n);
    Identity: u8, |value| *value as u8, |n| numbered(&Identity::ALL, n);
    Status: u8, |value| *value as u8, |n| numbered(&Status::ALL, n);
    PaymentMethod: u8, |value| *value as u8, |n| numbered(&PaymentMethod::ALL, n);
    Booked: u8, |booked| booked.number(), Booked::from_number;
    EntryMode: u8, |value| *value as u8, |n| numbered(&EntryMode::ALL, n);
    Destination: u8, |value| *value as u8, |n| numbered(&Destination::ALL, n);
    MerchantStatus: u8, |value| *value as u8, |n| numbered(&[MerchantStatus::Active, MerchantStatus::Inactive], n);
}

/// Structs: their fields in order. What stands behind the minus is not written; it is read as its default.
macro_rules! records {
    ($($name:ident { $($field:ident),* $(,)? } $(- { $($left_out:ident),* })?)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Out<'_>) {
                $(self.$field.put(out);)*
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                Ok(Self { $($field: Field::get(input)?,)* $($($left_out: Default::default(),)*)? })
            }
        }
    )*};
}

records! {
    Limits { total, in_store }
    Profile { identity, identity_reason, birth_date, guardian_consent, payment_method, status, limits, rung }
    MerchantLimits { per_payment, in_store }
    Merchant { id, name, mcc, status, limits }
    OrderKey { merchant, order_id }
    CodeIssued { customer, handle, generation, id_random, counter, random, expires_at }
    Authorize {
        merchant, order_id, store, terminal, payer, channel, amount, currency, capture, confirm_repeat, entry_mode,
        categories, requested_at, late,
    }
    Approval { month, due, points, hold_expires_at }
    AuthorizationId { part, lsn, random }
    FirstSale { authorization, order_id, decided_at, amount }
    Decided { random, policy, input, customer, room, outcome } - { basis }
    Undone { order, customer, channel, amount, was_hold, month, bought_at, points }
    Captured { order, customer, channel, amount, released, month, due, points }
    Refunded { order, refund_id, customer, channel, amount, month, bought_at, destination, points, books, paid_at }
    CaptureTerms { at, month, due, points } - { amount }
    RefundMade { id, amount, left, destination, applied, restored } - { paid_at }
    Order {
        id, key, customer, channel, handle, amount, fingerprint, decided_at, state, month, due, points, room, first, capture,
        refunds, touched, touched_at, earlier,
    } - { advice, terminal }
    Advised { decided, original, post, booked, known }
    SuspenseSettled { id, order, amount, end, staff }
}

/// Enums with content: a tag from 1, then the fields of the variant. A later tag may be of the same variant: a value is of
/// the first whose fields behind `with` it has, and they are not written.
macro_rules! choices {
    ($($name:ident { $(
        $tag:literal = $variant:ident $(($($item:ident),*))? $({ $($field:ident),* } $(with { $($fixed:ident = $value:ident),* })?)?,
    )* })*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Out<'_>) {
                match self {
                    $(Self::$variant $(($($item),*))? $({ $($field,)* $($($fixed: $value),*)? })? => {
                        out.extend(&[$tag]);
                        $($($item.put(out);)*)?
                        $($($field.put(out);)*)?
                    })*
                }
            }
            fn get(input: &mut &[u8]) -> Got<Self> {
                match u8::get(input)? {
                    $($tag => {
                        $($(let $item = Field::get(input)?;)*)?
                        $($(let $field = Field::get(input)?;)*)?
                        Ok(Self::$variant $(($($item),*))? $({ $($field,)* $($($fixed: $value),*)? })?)
                    })*
                    _ => Err(BadEvent(concat!("unknown kind of ", stringify!($name)))),
                }
            }
        }
    )*};
}

// After the macros, which it uses.
mod basis;
mod books;
mod old_books;
pub use books::{
    Dossier, applied_from_bytes, applied_to_bytes, bill_from_bytes, bill_to_bytes, change_from_bytes, change_to_bytes,
    story_from_bytes, story_to_bytes,
};
use old_books::{OldRefunded, OldSettled, is_old, is_old_cause};

choices! {
    Proof {
        1 = Barcode { epoch },
        2 = Qr { counter, random, issued_at, ttl },
        3 = Tok19,
    }
    Scanned {
        1 = Sealed { handle, proof },
        2 = Stale { handle },
        3 = Forged { handle },
        4 = Invalid,
        5 = Foreign,
        6 = Unverifiable { handle },
    }
    Payer {
        1 = Code(scanned),
        2 = Customer(id),
    }
    Post {
        1 = WithinLimits,
        2 = UpTo(cap),
        3 = Never,
    }
    Outcome {
        1 = Approved(approval),
        2 = Denied { reason, first },
    }
    OrderState {
        1 = Tombstone,
        2 = Denied(reason),
        3 = Held { expires_at },
        4 = Captured { amount, refunded },
        5 = Cancelled,
        6 = Lost,
    }
    SuspenseEnd {
        1 = Charged(captured),
        2 = Returned,
        3 = Lost,
    }
    Event {
        1 = Opened { sandbox },
        2 = PolicySet { version, text },
        3 = HolidaysSet { text },
        4 = MerchantSet(merchant),
        5 = CustomerSet { ix, id, profile },
        6 = CodeIssued(issued),
        7 = CodeVoided { handle },
        8 = Decided(decided),
        9 = Tombstoned { key },
        10 = Cancelled(undone),
        11 = Captured(captured),
        13 = HoldExpired(undone),
        14 = RecalledWhole(order),
        16 = Noted { customer, note },
        17 = Advised(advised),
        18 = SuspenseCleared { order, amount },
        19 = Tok19Issued(issued),
        20 = Recalled { order, refunds_made },
        22 = Settled { cause, books },
        23 = Refunded(refunded),
        24 = CancelledPaid { undone, books },
        25 = StoriesRecalled { customer, recall },
        26 = SuspenseSettled(settled),
        27 = Noticed { customer, notices },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::notes::Cause;
    use crate::domain::billing::settlement::Settlement;
    use crate::domain::model::order::{Applied, AppliedTo};
    use crate::domain::model::payment::BillKey;

    fn decided() -> Event {
        let input = Authorize {
            merchant: MerchantId::new("mrc_konbini").unwrap(),
            order_id: OrderId::new("R-1001").unwrap(),
            store: Some(StoreId::new("S001").unwrap()),
            terminal: None,
            payer: Payer::Code(Scanned::Sealed {
                handle: Handle::new(314_159_265).unwrap(),
                proof: Proof::Barcode { epoch: 2_992_372 },
            }),
            channel: Channel::InStore,
            amount: Yen::new(1_980),
            currency: *b"JPY",
            capture: true,
            confirm_repeat: false,
            entry_mode: Some(EntryMode::Qr),
            categories: vec![Category::new("food").unwrap()],
            requested_at: Some(Millis(-1)),
            late: false,
        };
        let first = FirstSale {
            authorization: AuthorizationId { part: Part::from_number(7), lsn: Lsn(9), random: 3 },
            order_id: input.order_id,
            decided_at: Millis(5),
            amount: Yen::new(1),
        };
        let outcome = Outcome::Denied { reason: Reason::CodeUsed, first: Some(Box::new(first)) };
        let customer = Some(CustomerIx(3));
        Event::Decided(Decided {
            random: 42,
            policy: 1,
            input: Arc::new(input),
            customer,
            room: Yen::new(9),
            outcome,
            basis: None,
        })
    }

    fn judged() -> Event {
        let Event::Decided(decided) = decided() else { panic!("a decision") };
        Event::Decided(Decided { basis: Some(basis::example()), ..decided })
    }

    fn advised() -> Advised {
        use crate::domain::model::advice::SuspenseWhy;
        let Event::Decided(decided) = decided() else { panic!("a decision") };
        let approval = Approval {
            month: Month::parse("2026-11").unwrap(),
            due: Date::new(2026, 11, 23).unwrap(),
            points: 0,
            hold_expires_at: Some(Millis(1_796_028_300_000)),
        };
        Advised {
            original: Some(OrderKey { merchant: decided.input.merchant, order_id: OrderId::new("R-1000").unwrap() }),
            decided: Decided { customer: None, outcome: Outcome::Approved(approval), ..decided },
            post: Post::UpTo(Yen::new(20_000)),
            booked: Booked::Suspense(SuspenseWhy::OverDayCap),
            known: Some(CustomerIx(3)),
        }
    }

    fn order() -> Order {
        let Event::Decided(decided) = decided() else { panic!("a decision") };
        Order {
            id: AuthorizationId { part: Part::from_number(63), lsn: Lsn(77), random: u64::MAX },
            key: OrderKey { merchant: decided.input.merchant, order_id: decided.input.order_id },
            terminal: None,
            customer: Some(CustomerIx(3)),
            channel: Channel::NpAtobarai,
            handle: None,
            amount: Yen::new(3_000),
            fingerprint: 5,
            decided_at: Millis(1_795_423_500_000),
            state: OrderState::Captured { amount: Yen::new(3_000), refunded: Yen::new(1_000) },
            month: Month::parse("2026-11").unwrap(),
            due: Date::new(2026, 12, 10).unwrap(),
            points: 10,
            room: Yen::ZERO,
            first: None,
            capture: Some(Box::new(CaptureTerms {
                at: Millis(1_795_423_500_500),
                amount: Yen::ZERO,
                month: Month::parse("2026-12").unwrap(),
                due: Date::new(2027, 1, 10).unwrap(),
                points: 9,
            })),
            refunds: Some(Arc::new(Refunds {
                before: 0,
                made: vec![RefundMade {
                    id: RefundId::new("F-1").unwrap(),
                    amount: Yen::new(1_000),
                    left: Yen::new(2_000),
                    destination: Destination::OtherBill,
                    applied: vec![
                        Applied {
                            to: AppliedTo::Bill(BillKey::Month(Month::parse("2026-10").unwrap())),
                            amount: Yen::new(600),
                        },
                        Applied { to: AppliedTo::Credit, amount: Yen::new(400) },
                    ],
                    restored: Yen::new(600),
                    paid_at: None,
                }],
            })),
            touched: Lsn(78),
            touched_at: Millis(1_795_423_501_000),
            earlier: None,
            advice: None,
        }
    }

    fn settled(end: SuspenseEnd) -> Event {
        let (id, staff) = (books::payment().id, books::staff());
        let order = AuthorizationId { part: Part::from_number(7), lsn: Lsn(9), random: 3 };
        Event::SuspenseSettled(Box::new(SuspenseSettled { id, order, amount: Yen::new(1_980), end, staff }))
    }

    /// One event of each kind, in order of their numbers.
    #[expect(clippy::too_many_lines, reason = "a list: one event a kind")]
    fn one_of_each() -> Vec<Event> {
        let merchant = MerchantId::new("mrc_konbini").unwrap();
        let month = Month::parse("2026-11").unwrap();
        let due = Date::new(2026, 12, 10).unwrap();
        let (customer, channel, amount) = (CustomerIx(3), Channel::InStore, Yen::new(1_980));
        let bought_at = Millis(1_795_423_500_000);
        let undone = Undone { order: Lsn(9), customer, channel, amount, was_hold: true, month, bought_at, points: 9 };
        let refunded = Refunded {
            order: Lsn(9),
            refund_id: RefundId::new("F-1").unwrap(),
            customer,
            channel,
            amount,
            month,
            bought_at,
            destination: Destination::BillReduced,
            points: 9,
            books: Box::new(old_books::example(customer)),
            paid_at: None,
        };
        let limits = MerchantLimits { per_payment: Some(Yen::new(5_000)), in_store: None };
        let profile = Profile {
            identity: Identity::Rejected,
            identity_reason: Some(Box::new("書類不鮮明".into())),
            birth_date: Date::new(1990, 4, 1),
            limits: Some(Box::new(Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) })),
            ..Profile::newcomer()
        };
        vec![
            Event::Opened { sandbox: true },
            Event::PolicySet { version: 2, text: "label = 1".into() },
            Event::HolidaysSet { text: "2026-11-23,勤労感謝の日".into() },
            Event::MerchantSet(Box::new(Merchant {
                id: merchant,
                name: "コンビニ".into(),
                mcc: 5_499,
                status: MerchantStatus::Active,
                limits,
            })),
            Event::CustomerSet { ix: customer, id: CustomerId::new("1001").unwrap(), profile: Box::new(profile) },
            Event::CodeIssued(CodeIssued {
                customer,
                handle: Handle::new(314_159_265).unwrap(),
                generation: 1,
                id_random: 42,
                counter: 7,
                random: 0xA1B2_C3D4,
                expires_at: Millis(1_795_423_800_000),
            }),
            Event::CodeVoided { handle: Handle::new(7).unwrap() },
            decided(),
            Event::Tombstoned { key: OrderKey { merchant, order_id: OrderId::new("R-9").unwrap() } },
            Event::Cancelled(undone),
            Event::Captured(Captured {
                order: Lsn(9),
                customer,
                channel,
                amount,
                released: Yen::new(20),
                month,
                due,
                points: 9,
            }),
            Event::Refunded(refunded.clone()),
            Event::HoldExpired(undone),
            Event::RecalledWhole(Box::new(order())),
            Event::Settled { cause: Cause::Repayment(books::payment()), books: Box::new(old_books::example(customer)) },
            Event::Noted { customer, note: books::note() },
            Event::Advised(Box::new(advised())),
            Event::SuspenseCleared { order: Lsn(9), amount },
            Event::Tok19Issued(CodeIssued {
                customer,
                handle: Handle::new(314_159_265).unwrap(),
                generation: 1,
                id_random: 42,
                counter: 8,
                random: 0xA1B2_C3D4,
                expires_at: Millis(1_795_423_560_000),
            }),
            Event::Recalled { order: Box::new(Order { refunds: None, ..order() }), refunds_made: 258 },
            Event::Refunded(Refunded { paid_at: Some(Millis(1_795_423_400_000)), ..refunded.clone() }),
            Event::Settled { cause: Cause::Repayment(books::payment()), books: Box::new(books::example(customer)) },
            Event::Refunded(Refunded { books: Box::new(books::example(customer)), ..refunded }),
            Event::CancelledPaid { undone, books: Box::new(books::example(customer)) },
            Event::Settled {
                cause: Cause::Withdrawn { id: books::payment().id, staff: None },
                books: Box::new(books::example(customer)),
            },
            Event::Settled { cause: books::payout(), books: Box::new(old_books::example(customer)) },
            Event::Settled { cause: books::bounced(), books: Box::new(books::example(customer)) },
            Event::Settled {
                cause: Cause::NpDamages { id: books::payment().id, order: Lsn(9), amount, staff: None },
                books: Box::new(Settlement::nothing(customer)),
            },
            Event::StoriesRecalled { customer, recall: books::recall() },
            Event::Noted { customer, note: books::frozen() },
            Event::Noted { customer, note: books::unfrozen() },
            settled(SuspenseEnd::Charged(Captured {
                order: Lsn(9),
                customer,
                channel,
                amount,
                released: Yen::ZERO,
                month,
                due,
                points: 9,
            })),
            settled(SuspenseEnd::Returned),
            settled(SuspenseEnd::Lost),
            Event::Noticed { customer, notices: books::notices() },
        ]
        .into_iter()
        .chain(books::corrections(customer))
        .chain([books::clamped(customer)])
        .chain(books::told_by_staff(customer))
        .chain([judged()])
        .collect()
    }

    /// The file only ever gains lines: what a released version wrote stays readable.
    #[test]
    fn golden_events_stay_readable_and_are_written_the_same() {
        let golden = include_str!("../../../tests/golden/events.txt");
        let known: Vec<_> = golden.lines().collect();
        let events = one_of_each();
        if std::env::var_os("BLESS").is_some() {
            let mut text = golden.to_owned();
            for event in events.iter().skip(known.len()) {
                let mut bytes = Vec::new();
                encode(event, &mut bytes).unwrap();
                text += &(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
            }
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/events.txt"), text).unwrap();
            return;
        }
        assert_eq!(known.len(), events.len(), "BLESS=1 adds the lines of new kinds");
        for (line, event) in known.iter().zip(&events) {
            let mut bytes = Vec::new();
            encode(event, &mut bytes).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(*line, hex, "{event:?}");
            assert_eq!(decode(&bytes).as_ref(), Ok(event));
        }
    }

    #[test]
    fn an_event_survives_its_bytes_and_no_prefix_is_one() {
        let mut bytes = Vec::new();
        encode(&decided(), &mut bytes).unwrap();
        assert_eq!(decode(&bytes), Ok(decided()));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "a prefix of {end} bytes is no event");
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(BadEvent("bytes left over")));
    }

    #[test]
    fn bytes_changed_anywhere_never_panic() {
        let mut bytes = Vec::new();
        encode(&judged(), &mut bytes).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(event) = decode(&changed) {
                    let mut again = Vec::new();
                    encode(&event, &mut again).unwrap();
                    assert_eq!(again, changed, "one event, one form");
                }
            }
        }
    }
}
