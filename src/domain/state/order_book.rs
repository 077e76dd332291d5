//! The order book: every decision of the last days, found by the register's key or by its public id.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::chunks::Chunks;
use super::index::Index;
use crate::domain::model::ids::{AuthorizationId, Lsn};
use crate::domain::model::order::{Order, Sequence, hasher};
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;

/// Of an order's key; nowhere stored. Only the bytes in use are hashed.
fn key_hash(key: &OrderKey) -> u64 {
    let mut hasher = hasher().build_hasher();
    hasher.write(key.merchant.as_bytes());
    hasher.write(key.order_id.as_bytes());
    hasher.finish()
}

/// Where an order is kept: among the recent ones by sequence, or apart by lsn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Recent(u64),
    Kept(Lsn),
}

/// A [`Place`] in 8 bytes, of which the highest bit tells which: neither number comes near 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed(u64);

impl Packed {
    const KEPT: u64 = 1 << 63;

    const fn new(place: Place) -> Self {
        match place {
            Place::Recent(sequence) => Self(sequence),
            Place::Kept(lsn) => Self(lsn.0 | Self::KEPT),
        }
    }

    const fn place(self) -> Place {
        if self.0 & Self::KEPT == 0 { Place::Recent(self.0) } else { Place::Kept(Lsn(self.0 & !Self::KEPT)) }
    }
}

#[derive(Clone, Debug)]
pub struct OrderBook {
    /// In order of decision.
    recent: Chunks<Order>,
    /// Open holds and changed orders that outlived the retention, and orders recalled from the ledger.
    kept: Kept,
    kept_until: BTreeSet<(Millis, Lsn)>,
    by_key: Index<Packed>,
    /// How long a decision is answered again, ms.
    retain: i64,
}

impl OrderBook {
    pub fn new(retain: i64) -> Self {
        Self {
            recent: Chunks::default(),
            kept: HashMap::default(),
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
    pub fn next_sequence(&self) -> Sequence {
        Sequence::new(self.recent.end())
    }

    pub fn get(&self, sequence: Sequence) -> Option<&Order> {
        self.recent.get(sequence.get())
    }

    /// The order decided last.
    pub fn newest(&self) -> Option<&Order> {
        self.recent.get(self.recent.end().checked_sub(1)?)
    }

    /// Makes ahead what the next orders need; see `Index::make_room`.
    pub fn make_room(&mut self) {
        self.recent.make_room();
        self.by_key.make_room();
    }

    fn place_of(&self, lsn: Lsn) -> Option<Place> {
        if self.kept.contains_key(&lsn) {
            return Some(Place::Kept(lsn));
        }
        self.recent.find_sorted(&lsn, |order| order.id.lsn).map(Place::Recent)
    }

    fn place_of_key(&self, key: &OrderKey) -> Option<Place> {
        let same = |packed: Packed| at(&self.recent, &self.kept, packed.place()).is_some_and(|order| order.key == *key);
        self.by_key.find(key_hash(key), same).map(Packed::place)
    }

    /// Gives the key of `order` to it, whoever had it.
    fn own_key(&mut self, key: &OrderKey, place: Place) {
        let Self { recent, kept, by_key, .. } = self;
        let same = |packed: Packed| at(recent, kept, packed.place()).is_some_and(|order| order.key == *key);
        by_key.put(key_hash(key), Packed::new(place), same);
    }

    /// Takes the key from the order kept there, if it has it.
    fn disown_key(&mut self, key: &OrderKey, place: Place) -> bool {
        self.by_key.remove(key_hash(key), |packed| packed == Packed::new(place)).is_some()
    }

    /// Whether an order is still answered for. Judged by time alone, however much memory was freed.
    pub fn is_remembered(&self, order: &Order, now: Millis) -> bool {
        now < order.settled_at().plus(self.retain)
    }

    /// Whether memory answers for every order that was decided since.
    pub fn keeps_all_since(&self, decided: Millis, now: Millis) -> bool {
        now < decided.plus(self.retain)
    }

    /// See [`Index::touch`].
    pub(crate) fn touch(&self, key: &OrderKey) -> bool {
        self.by_key.touch(key_hash(key))
    }

    /// The order with this key, within the retention.
    pub fn by_key(&self, key: &OrderKey, now: Millis) -> Option<&Order> {
        at(&self.recent, &self.kept, self.place_of_key(key)?).filter(|order| self.is_remembered(order, now))
    }

    pub fn by_lsn(&self, lsn: Lsn) -> Option<&Order> {
        at(&self.recent, &self.kept, self.place_of(lsn)?)
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

    /// Adds a decision or a tombstone; it takes over the key.
    pub fn push(&mut self, order: Order) {
        let key = order.key;
        // The order first: its copy would otherwise wait for the index's lines of memory.
        let sequence = self.recent.push(order);
        self.own_key(&key, Place::Recent(sequence));
    }

    /// Takes back an order that is older than the retention. Its key is free for others, for good.
    pub fn recall(&mut self, order: Order) {
        self.disown_key(&order.key, Place::Kept(order.id.lsn));
        self.outlive(order);
    }

    /// Takes in an order older than the retention that never stopped being remembered, from the ledger.
    pub fn keep(&mut self, order: Order) {
        self.own_key(&order.key, Place::Kept(order.id.lsn));
        self.outlive(order);
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
            let key = order.key;
            let sequence = self.recent.start();
            let lsn = order.id.lsn;
            let outliving = self.is_remembered(order, now).then(|| order.clone());
            let had_key = self.disown_key(&key, Place::Recent(sequence));
            if let Some(order) = outliving {
                self.outlive(order);
                if had_key {
                    self.own_key(&key, Place::Kept(lsn));
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
            let key = order.key;
            self.disown_key(&key, Place::Kept(lsn));
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

type Kept = HashMap<Lsn, Order, RandomState>;

fn at<'a>(recent: &'a Chunks<Order>, kept: &'a Kept, place: Place) -> Option<&'a Order> {
    match place {
        Place::Recent(sequence) => recent.get(sequence),
        Place::Kept(lsn) => kept.get(&lsn),
    }
}
