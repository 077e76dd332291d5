//! The order book: every decision of the last days, found by the register's key or by its public id.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::account::Channel;
use super::chunks::Chunks;
use super::denial::Reason;
use super::event::{Destination, FirstSale};
use super::ids::{AuthorizationId, CustomerIx, Handle, Lsn, Part, RefundId};
use super::index::Index;
use super::jst::{Date, Millis, Month, Now};
use super::money::Yen;
use super::request::{Authorize, OrderKey, Payer};

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Cancelled before it came; no decision was made yet.
    Tombstone,
    Denied(Reason),
    /// Authorized, not captured; room is set aside until `expires_at`.
    Held {
        expires_at: Millis,
    },
    /// Captured, whole or in part; `refunded` of it has gone back.
    Captured {
        amount: Yen,
        refunded: Yen,
    },
    /// An approval taken back.
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundMade {
    pub id: RefundId,
    pub amount: Yen,
    /// What could still be refunded after it.
    pub left: Yen,
    pub destination: Destination,
}

/// What a hold's capture settled. The order keeps what was first answered beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureTerms {
    pub at: Millis,
    /// The month that bills it: a purchase's month is that of its capture.
    pub month: Month,
    pub due: Date,
    pub points: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: AuthorizationId,
    pub key: OrderKey,
    pub customer: Option<CustomerIx>,
    pub channel: Channel,
    pub handle: Option<Handle>,
    pub amount: Yen,
    /// Of the content, so that the same key with other content is told apart.
    pub fingerprint: u64,
    pub decided_at: Millis,
    pub state: OrderState,
    /// As first answered, and so answered again.
    pub month: Month,
    pub due: Date,
    pub points: u64,
    pub room: Yen,
    pub first: Option<Box<FirstSale>>,
    /// Set when a hold is captured.
    pub capture: Option<CaptureTerms>,
    pub refunds: Option<Box<Vec<RefundMade>>>,
    /// Last record and time that changed it.
    pub touched: Lsn,
    pub touched_at: Millis,
    /// Sequence of the same customer's approval before this one.
    pub earlier: Option<u64>,
}

/// The present status, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Authorized,
    Captured,
    Denied,
    Cancelled,
    Refunded,
    PartiallyRefunded,
    Expired,
}

impl OrderStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Expired => "expired",
        }
    }
}

impl Order {
    /// An order cancelled before it came; also where every decision starts from.
    pub fn tombstone(id: AuthorizationId, key: OrderKey, now: &Now) -> Self {
        Self {
            id,
            key,
            customer: None,
            channel: Channel::InStore,
            handle: None,
            amount: Yen::ZERO,
            fingerprint: 0,
            decided_at: now.at,
            state: OrderState::Tombstone,
            month: now.month,
            due: now.date,
            points: 0,
            room: Yen::ZERO,
            first: None,
            capture: None,
            refunds: None,
            touched: id.lsn,
            touched_at: now.at,
            earlier: None,
        }
    }

    pub fn status(&self, now: Millis) -> OrderStatus {
        match self.state {
            OrderState::Denied(_) => OrderStatus::Denied,
            OrderState::Tombstone | OrderState::Cancelled => OrderStatus::Cancelled,
            OrderState::Held { expires_at } if now < expires_at => OrderStatus::Authorized,
            OrderState::Held { .. } => OrderStatus::Expired,
            OrderState::Captured { refunded, .. } if refunded.is_zero() => OrderStatus::Captured,
            OrderState::Captured { amount, refunded } if refunded < amount => OrderStatus::PartiallyRefunded,
            OrderState::Captured { .. } => OrderStatus::Refunded,
        }
    }

    /// Under which terms it is billed: those of its capture.
    pub fn terms(&self) -> CaptureTerms {
        let at_once = CaptureTerms { at: self.decided_at, month: self.month, due: self.due, points: self.points };
        self.capture.unwrap_or(at_once)
    }

    pub fn is_tombstone(&self) -> bool {
        self.state == OrderState::Tombstone
    }

    /// Whether the customer still has this purchase: what the same-basket guard and velocity count.
    pub fn stands(&self, now: Millis) -> bool {
        matches!(self.status(now), OrderStatus::Authorized | OrderStatus::Captured | OrderStatus::PartiallyRefunded)
    }

    /// From when the retention counts: the last change, and a hold's running out is one.
    fn settled_at(&self) -> Millis {
        match self.state {
            OrderState::Held { expires_at } => self.touched_at.max(expires_at),
            _ => self.touched_at,
        }
    }

    pub fn as_first(&self) -> FirstSale {
        FirstSale {
            authorization: self.id,
            order_id: self.key.order_id,
            decided_at: self.decided_at,
            amount: self.amount,
        }
    }

    /// Six signs for the receipt, from the id's random part; letters and digits that are hard to mistake.
    pub fn approval_code(&self) -> [u8; 6] {
        const SIGNS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
        let mut bits = self.id.random;
        std::array::from_fn(|_| {
            let sign = SIGNS[usize::from(bits.to_le_bytes()[0] & 31)];
            bits >>= 5;
            sign
        })
    }
}

/// What makes two requests with one key the same: the code's handle or the customer, channel, amount,
/// currency, shop, store, terminal, capture, confirm_repeat.
pub fn fingerprint(input: &Authorize) -> u64 {
    let (handle, customer) = match &input.payer {
        Payer::Code(scanned) => (scanned.handle(), None),
        Payer::Customer(id) => (None, Some(id)),
    };
    hasher().hash_one((
        (handle, customer),
        input.channel as u8,
        input.amount,
        input.currency,
        input.merchant,
        (input.store, input.terminal, input.capture, input.confirm_repeat),
    ))
}

/// Fixed, so that one seed gives one run; the keys are bounded and come from callers with a key of ours.
fn hasher() -> FixedState {
    FixedState::with_seed(0x736f_6b6b)
}

/// Where an order is kept: among the recent ones by sequence, or apart by lsn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Recent(u64),
    Kept(Lsn),
}

#[derive(Clone, Debug)]
pub struct OrderBook {
    /// In order of decision.
    recent: Chunks<Order>,
    /// Open holds and changed orders that outlived the retention, and orders recalled from the ledger.
    kept: HashMap<Lsn, Order>,
    kept_until: BTreeSet<(Millis, Lsn)>,
    by_key: Index<Place>,
    /// How long a decision is answered again, ms.
    retain: i64,
}

impl OrderBook {
    pub fn new(retain: i64) -> Self {
        Self {
            recent: Chunks::default(),
            kept: HashMap::new(),
            kept_until: BTreeSet::new(),
            by_key: Index::default(),
            retain,
        }
    }

    /// Orders in memory.
    pub fn len(&self) -> u64 {
        self.recent.len() + u64::try_from(self.kept.len()).unwrap_or(u64::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sequence that the next order will get.
    pub fn next_sequence(&self) -> u64 {
        self.recent.end()
    }

    pub fn get(&self, sequence: u64) -> Option<&Order> {
        self.recent.get(sequence)
    }

    fn at(&self, place: Place) -> Option<&Order> {
        match place {
            Place::Recent(sequence) => self.recent.get(sequence),
            Place::Kept(lsn) => self.kept.get(&lsn),
        }
    }

    fn place_of(&self, lsn: Lsn) -> Option<Place> {
        if self.kept.contains_key(&lsn) {
            return Some(Place::Kept(lsn));
        }
        self.recent.find_sorted(&lsn, |order| order.id.lsn).map(Place::Recent)
    }

    fn place_of_key(&self, key: &OrderKey) -> Option<Place> {
        let same = |place| self.at(place).is_some_and(|order| order.key == *key);
        self.by_key.find(hasher().hash_one((key.merchant, key.order_id)), same)
    }

    /// Whether an order is still answered for. Judged by time alone, however much memory was freed.
    pub fn is_remembered(&self, order: &Order, now: Millis) -> bool {
        now < order.settled_at().plus(self.retain)
    }

    /// The order with this key, within the retention.
    pub fn by_key(&self, key: &OrderKey, now: Millis) -> Option<&Order> {
        self.at(self.place_of_key(key)?).filter(|order| self.is_remembered(order, now))
    }

    pub fn by_lsn(&self, lsn: Lsn) -> Option<&Order> {
        self.at(self.place_of(lsn)?)
    }

    pub fn by_id(&self, id: AuthorizationId, now: Millis) -> Option<&Order> {
        self.by_lsn(id.lsn).filter(|order| order.id == id && !order.is_tombstone() && self.is_remembered(order, now))
    }

    pub fn by_lsn_mut(&mut self, lsn: Lsn) -> Option<&mut Order> {
        match self.place_of(lsn)? {
            Place::Recent(sequence) => self.recent.get_mut(sequence),
            Place::Kept(lsn) => self.kept.get_mut(&lsn),
        }
    }

    /// Adds a decision or a tombstone; it takes over the key. Gives its sequence.
    pub fn push(&mut self, order: Order) -> u64 {
        let hash = hasher().hash_one((order.key.merchant, order.key.order_id));
        if let Some(old) = self.place_of_key(&order.key) {
            self.by_key.remove(hash, |place| place == old);
        }
        let sequence = self.recent.push(order);
        self.by_key.insert(hash, Place::Recent(sequence));
        sequence
    }

    /// Takes back an order that is older than the retention. Its key is free for others, for good.
    pub fn recall(&mut self, order: Order) {
        let (hash, lsn) = (hasher().hash_one((order.key.merchant, order.key.order_id)), order.id.lsn);
        self.by_key.remove(hash, |place| place == Place::Kept(lsn));
        self.outlive(order);
    }

    /// Takes in an order older than the retention that never stopped being remembered, from the ledger.
    pub fn keep(&mut self, order: Order) {
        let (hash, lsn) = (hasher().hash_one((order.key.merchant, order.key.order_id)), order.id.lsn);
        if let Some(old) = self.place_of_key(&order.key) {
            self.by_key.remove(hash, |place| place == old);
        }
        self.outlive(order);
        self.by_key.insert(hash, Place::Kept(lsn));
    }

    fn outlive(&mut self, order: Order) {
        let lsn = order.id.lsn;
        self.kept_until.insert((order.settled_at().plus(self.retain), lsn));
        self.kept.insert(lsn, order);
    }

    /// Frees what is past its retention and already in the ledger, at most `most` orders.
    /// It only frees memory: lookups judge the retention by themselves.
    pub fn forget(&mut self, now: Millis, posted: Lsn, most: usize) {
        for _ in 0..most {
            let Some(order) = self.recent.front() else { break };
            if now < order.decided_at.plus(self.retain) || posted < order.touched {
                break;
            }
            let (key, sequence, lsn) = (order.key, self.recent.start(), order.id.lsn);
            let hash = hasher().hash_one((key.merchant, key.order_id));
            let had_key = self.by_key.remove(hash, |place| place == Place::Recent(sequence)).is_some();
            if self.is_remembered(order, now) {
                let order = order.clone();
                self.outlive(order);
                if had_key {
                    self.by_key.insert(hash, Place::Kept(lsn));
                }
            }
            self.recent.drop_front();
        }
        for _ in 0..most {
            let Some((at, lsn)) = self.kept_until.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.kept_until.remove(&(at, lsn));
            let Some(order) = self.kept.get(&lsn) else { continue };
            if self.is_remembered(order, now) || posted < order.touched {
                let again = order.settled_at().plus(self.retain).max(now.plus(self.retain / 4));
                self.kept_until.insert((again, lsn));
                continue;
            }
            let hash = hasher().hash_one((order.key.merchant, order.key.order_id));
            self.by_key.remove(hash, |place| place == Place::Kept(lsn));
            self.kept.remove(&lsn);
        }
    }

    /// All orders in memory, oldest decision first.
    pub fn all(&self) -> Vec<&Order> {
        // An order recalled before it was freed is in both; the recalled one is the present one.
        let recent = self.recent.iter().filter(|order| !self.kept.contains_key(&order.id.lsn));
        let mut all: Vec<_> = self.kept.values().chain(recent).collect();
        all.sort_by_key(|order| order.id.lsn);
        all
    }
}

/// Part of a decision: the customer's, or for an unknown payer that of the order's key.
pub fn part_of(input: &Authorize, customer: Option<Part>) -> Part {
    customer.unwrap_or_else(|| match input.payer {
        Payer::Code(scanned) => scanned.handle().map_or_else(Part::default, Handle::part),
        Payer::Customer(id) => Part::of(&id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{CustomerId, MerchantId, OrderId};

    #[test]
    fn the_fingerprint_is_stored_in_the_ledger_so_it_never_changes() {
        let input = Authorize::new(
            OrderKey { merchant: MerchantId::new("mrc_konbini").unwrap(), order_id: OrderId::new("R-1001").unwrap() },
            Payer::Customer(CustomerId::new("1001").unwrap()),
            Channel::Online,
            Yen::new(1_980),
        );
        assert_eq!(
            fingerprint(&input),
            9_484_996_743_091_212_211,
            "an upgrade of the hasher would refuse retries across it"
        );
    }
}
