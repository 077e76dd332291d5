//! Orders older than the engine remembers, read from the ledger off the hot path.

use std::sync::Arc;

use super::Edge;
use super::flow::{Asked, ask, out_of_place};
use super::problem::{AUTHORIZATION_UNKNOWN, Problem};
use crate::domain::ids::AuthorizationId;
use crate::domain::jst::Millis;
use crate::domain::orders::Order;
use crate::domain::request::{OrderKey, Request};
use crate::domain::rule::Reply;

/// The ledger's memory of orders. Blocking; called from threads that may block.
pub trait PastOrders: Send + Sync {
    fn by_id(&self, id: AuthorizationId) -> Result<Option<Order>, String>;
    /// The newest decision with this key.
    fn by_key(&self, key: &OrderKey) -> Result<Option<Order>, String>;
}

#[derive(Clone, Copy)]
pub(super) enum Which {
    Id(AuthorizationId),
    Key(OrderKey),
}

/// The ledger did not answer, or not in time.
pub(super) struct Unavailable;

/// Looks an old order up. Nothing is known where there is no ledger.
pub(super) async fn look(edge: &Edge, which: Which) -> Result<Option<Order>, Unavailable> {
    let Some(past) = edge.past_orders.as_ref().map(Arc::clone) else { return Ok(None) };
    let Ok(permit) = Arc::clone(&edge.past_permits).try_acquire_owned() else { return Err(Unavailable) };
    let look = tokio::task::spawn_blocking(move || {
        // Held until the ledger lets go, also when nobody waits any more.
        let _permit = permit;
        match which {
            Which::Id(id) => past.by_id(id),
            Which::Key(key) => past.by_key(&key),
        }
    });
    match tokio::time::timeout(edge.options.past_order_timeout, look).await {
        Ok(Ok(Ok(order))) => Ok(order),
        Ok(Ok(Err(error))) => {
            tracing::warn!(error, "an old order could not be read");
            Err(Unavailable)
        }
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

/// An order, and where it was found.
pub(super) struct Found {
    pub(super) order: Order,
    /// The engine's time, or ours for an old one.
    pub(super) at: Millis,
    pub(super) is_past: bool,
}

pub(super) fn unknown() -> Problem {
    Problem::new(&AUTHORIZATION_UNKNOWN, "Check the id. Orders of other merchants are not shown.")
}

/// An order that the caller may see, in memory or in the ledger.
pub(super) async fn find(asked: &Asked<'_>, which: Which) -> Result<Found, Problem> {
    let question = match which {
        Which::Id(id) => Request::FindOrder(id),
        Which::Key(key) => Request::FindOrderByKey(key),
    };
    let answered = ask(asked.edge, question, None).await?;
    let found = match answered.reply {
        Reply::Order(order) => Found { order: *order, at: answered.now.at, is_past: false },
        Reply::Unknown => match look(asked.edge, which).await {
            Ok(Some(order)) if !order.is_tombstone() => Found { order, at: asked.edge.clock.now(), is_past: true },
            Ok(_) => return Err(unknown()),
            Err(Unavailable) => return Err(Problem::not_ready()),
        },
        other => return Err(out_of_place(&other)),
    };
    if asked.known()?.caller.sees(&found.order.key.merchant) { Ok(found) } else { Err(unknown()) }
}
