//! The orders that a request speaks of: from memory, or as the ledger has them where memory has let go of them; each with
//! what stands beside it.

use std::borrow::Cow;

use super::refusal::{Refusal, Stop};
use crate::domain::billing::account::Account;
use crate::domain::billing::stories::{Kept, Reach};
use crate::domain::model::ids::{AuthorizationId, CustomerIx, RefundId, TerminalKey};
use crate::domain::model::order::{Order, OrderState, RefundMade};
use crate::domain::model::request::{Beside, Named, OrderKey};
use crate::domain::model::time::Now;
use crate::domain::state::event::Event;
use crate::domain::state::{PolicyInForce, State};

/// What the ledger has of the orders that a request names and of what stands beside them. The front end looks them up
/// where the owner asks for it, and puts the same request again with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Past {
    #[default]
    NotAsked,
    /// The ledger did not answer.
    Unavailable,
    /// All that it has.
    Orders(Vec<Order>),
}

/// One step of a request about an order, and what it is judged by.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub state: &'a State,
    pub past: &'a Past,
    /// What the ledger keeps of the customer whom the request is about, if it was read.
    pub kept: Option<&'a Kept>,
    pub now: &'a Now,
    pub in_force: &'a PolicyInForce,
    /// Facts that this request has recorded so far; none when it only repeats.
    pub steps: usize,
}

/// An order, wherever it was found.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub order: &'a Order,
    /// Memory does not answer for it any more: it is taken back into memory before it is changed.
    pub is_past: bool,
    /// As the ledger has it, where that was asked for: with the terminal and the refunds that memory let go of.
    pub old: Option<&'a Order>,
}

impl Past {
    /// Whether this name was blocked, the last time that it was heard of.
    pub(super) fn has_blocked(&self, key: &OrderKey) -> bool {
        let is_it = |order: &Order| order.key == *key && order.is_blocked();
        matches!(self, Self::Orders(orders) if orders.iter().any(is_it))
    }
}

impl Seen<'_> {
    pub fn terminal(&self) -> Option<TerminalKey> {
        self.order.terminal.or(self.old.and_then(|old| old.terminal))
    }
}

/// An order and what stands beside it: approvals of the network's own.
#[derive(Clone, Copy)]
pub(super) struct Family<'a> {
    pub own: Option<Seen<'a>>,
    pub stood_in: Option<Seen<'a>>,
    pub beyond: Option<Seen<'a>>,
}

impl<'a> Family<'a> {
    pub fn all(self) -> impl Iterator<Item = Seen<'a>> + Clone {
        [self.own, self.stood_in, self.beyond].into_iter().flatten()
    }

    pub fn beside(self) -> impl Iterator<Item = &'a Order> + Clone {
        [self.stood_in, self.beyond].into_iter().flatten().map(|seen| seen.order)
    }
}

impl<'a> Turn<'a> {
    /// An order by its register's key. What was blocked, a tombstone or a sale that came after it, counts only where
    /// nothing else has the name: it may hide a sale of long ago.
    pub fn by_key(&self, key: &OrderKey) -> Result<Option<Seen<'a>>, Stop> {
        let known = self.in_memory(key);
        if known.is_some_and(|seen| !seen.order.is_tombstone()) {
            return Ok(known);
        }
        let old = self.in_ledger(|order| order.key == *key)?;
        Ok(old.filter(|seen| !seen.order.is_blocked()).or(known).or(old))
    }

    /// Nothing where there is only a tombstone.
    pub fn by_name(&self, name: &Named) -> Result<Option<Seen<'a>>, Stop> {
        let found = match name {
            Named::Key(key) => self.by_key(key)?,
            Named::Id(id) => match self.state.orders.by_id(*id, self.now.at) {
                Some(order) => Some(self.now(order)),
                // However old, memory keeps it until the ledger has it.
                None => self.in_ledger(|order| order.id == *id)?.or_else(|| {
                    let order = self.state.orders.by_lsn(id.lsn).filter(|order| order.id == *id)?;
                    Some(self.now(order))
                }),
            },
        };
        Ok(found.filter(|seen| !seen.order.is_tombstone()))
    }

    pub fn by_id(&self, id: AuthorizationId) -> Result<Seen<'a>, Stop> {
        self.by_name(&Named::Id(id))?.ok_or(Refusal::AuthorizationUnknown.into())
    }

    pub fn in_memory(&self, key: &OrderKey) -> Option<Seen<'a>> {
        self.state.orders.by_key(key, self.now.at).map(|order| self.now(order))
    }

    fn now(&self, order: &'a Order) -> Seen<'a> {
        let old = match self.past {
            Past::Orders(orders) => orders.iter().find(|old| old.id == order.id),
            Past::NotAsked | Past::Unavailable => None,
        };
        Seen { order, is_past: false, old }
    }

    fn in_ledger(&self, is_it: impl Fn(&Order) -> bool) -> Result<Option<Seen<'a>>, Stop> {
        let orders = match self.past {
            Past::NotAsked => return Err(Stop::AskLedger),
            Past::Unavailable => return Err(Refusal::LedgerKnows.into()),
            Past::Orders(orders) => orders,
        };
        let Some(old) = orders.iter().find(|order| is_it(order)) else { return Ok(None) };
        // It may have been taken back into memory, where its key no longer finds it, or not be freed yet: memory is never
        // behind the ledger.
        let known = self.state.orders.by_lsn(old.id.lsn).filter(|order| order.id == old.id);
        let is_past = known.is_none_or(|order| !self.state.orders.is_remembered(order, self.now.at));
        Ok(Some(Seen { order: known.unwrap_or(old), is_past, old: Some(old) }))
    }

    /// With what stands beside it. A denied order has what the network approved in its stead.
    pub fn family(&self, key: &OrderKey, own: Option<Seen<'a>>) -> Result<Family<'a>, Stop> {
        let is_denied = own.is_some_and(|own| matches!(own.order.state, OrderState::Denied(_)));
        let stood_in = if is_denied { self.beside(key, own, Beside::StoodIn)? } else { None };
        let beyond = self.beside(key, own, Beside::Captured)?;
        Ok(Family { own, stood_in, beyond })
    }

    fn beside(&self, key: &OrderKey, own: Option<Seen<'a>>, what: Beside) -> Result<Option<Seen<'a>>, Stop> {
        let Some(key) = key.beside(what) else { return Ok(None) };
        Ok(self.of(own, &key)?.filter(|seen| is_approval(seen.order)))
    }

    /// What has this name beside an order. It was decided after the order, so while memory keeps all that was decided
    /// since, the ledger knows no more; and nothing but what is as young is captured beside a hold that is still open.
    pub fn of(&self, own: Option<Seen<'a>>, key: &OrderKey) -> Result<Option<Seen<'a>>, Stop> {
        let at = self.now.at;
        let is_young = |order: &Order| self.state.orders.keeps_all_since(order.decided_at, at) || order.is_open(at);
        let in_memory = own.is_some_and(|own| !own.is_past && is_young(own.order));
        if in_memory { Ok(self.in_memory(key)) } else { self.by_key(key) }
    }

    /// An order as it is told, with what stands beside it; as far as memory knows where the ledger does not answer.
    pub fn present(&self, seen: Seen<'a>) -> Result<Cow<'a, Order>, Stop> {
        match self.family(&seen.order.key, Some(seen)) {
            Ok(family) => Ok(seen.order.with_beside(family.beside(), self.now.at)),
            Err(Stop::Refused(_)) => Ok(self.present_in_memory(seen.order)),
            Err(asks) => Err(asks),
        }
    }

    pub fn present_in_memory(&self, order: &'a Order) -> Cow<'a, Order> {
        present_in_memory(self.state, order, self.now)
    }

    /// What is to be taken back into memory before a request that reaches so far back; none where memory has all that there
    /// is. What was read before the account last changed may lack something.
    pub fn recall(&self, customer: CustomerIx, account: &Account, reach: &Reach) -> Result<Option<Event>, Stop> {
        let reach = &account.widened(*reach);
        if !account.is_reached_past_memory(reach, self.now.date) {
            return Ok(None);
        }
        let is_present = |kept: &&Kept| account.touched.get() <= kept.as_of;
        let kept = self.kept.filter(is_present).ok_or(Stop::AskStories(account.id))?;
        let mut account = account.clone();
        account.tidy(self.now.date);
        let recall = account.to_recall(&kept.stories, reach);
        Ok(recall.map(|recall| Event::StoriesRecalled { customer, recall }))
    }

    /// The refund of this id, made at any time.
    pub fn made_before(&self, seen: Seen<'a>, id: RefundId) -> Result<Option<&'a RefundMade>, Stop> {
        let made = |order: &'a Order| order.refunds().iter().find(|made| made.id == id);
        let known = made(seen.order);
        let in_ledger = seen.order.refunds.as_ref().is_some_and(|refunds| refunds.before > 0);
        if known.is_some() || !in_ledger {
            return Ok(known);
        }
        match (seen.old, self.past) {
            (Some(old), _) => Ok(made(old)),
            (None, Past::NotAsked) => Err(Stop::AskLedger),
            (None, Past::Unavailable | Past::Orders(_)) => Err(Refusal::LedgerKnows.into()),
        }
    }
}

/// An order of memory as it is told, with what stands beside it in memory.
pub(super) fn present_in_memory<'a>(state: &'a State, order: &'a Order, now: &Now) -> Cow<'a, Order> {
    if order.key.beside(Beside::Captured).is_none() {
        return Cow::Borrowed(order);
    }
    order.with_beside(beside_in_memory(state, order, now), now.at)
}

/// What stands beside an order of memory, in memory.
pub(super) fn beside_in_memory<'a>(state: &'a State, order: &Order, now: &Now) -> impl Iterator<Item = &'a Order> {
    let is_denied = matches!(order.state, OrderState::Denied(_));
    let stood_in = order.key.beside(Beside::StoodIn).filter(|_| is_denied);
    let names = [stood_in, order.key.beside(Beside::Captured)].into_iter().flatten();
    let at = now.at;
    let found = names.filter_map(move |key| state.orders.by_key(&key, at));
    found.filter(|order| is_approval(order))
}

fn is_approval(order: &Order) -> bool {
    let is_none = matches!(order.state, OrderState::Tombstone | OrderState::Denied(_));
    !is_none
}
