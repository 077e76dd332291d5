//! What the engine does not remember, read from the ledger off the hot path: old orders, old facts of the office, a
//! customer's history.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::Edge;
use super::asked::{Asked, out_of_place};
use super::fields::FromText;
use super::problem::{AUTHORIZATION_UNKNOWN, FORBIDDEN, Problem};
use super::trust::callers::Caller;
use crate::domain::commands::past::Past;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::{OnOrder, Request};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, OfficeId, TerminalKey};
use crate::domain::model::order::{FirstSale, Order};
use crate::domain::model::payment::BillKey;
use crate::domain::model::request::{Named, OrderKey, Refund};
use crate::domain::model::time::{Millis, Month};
use crate::domain::state::receipts::Known;
use crate::journal::Follower;
use crate::ledger::{CustomerPast, Far};

/// How long a bill may wait for the ledger.
const CATCH_UP: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The order of a refund, as the ledger has it where memory will ask for that: so the refund is one question.
pub(crate) async fn past_of(edge: &Edge, refund: &Refund) -> Past {
    let doing = OnOrder::Find(refund.sale);
    let Ok(answered) = edge.client.ask(doing.clone().into(), None).await else { return Past::NotAsked };
    let is_whole =
        matches!(&answered.reply, Reply::Order(order) if order.refunds.as_ref().is_none_or(|made| made.before == 0));
    if is_whole { Past::NotAsked } else { edge.client.ledger.orders(doing.names()).await }
}

/// What the ledger has of ids of the office, in one look. None where it can't tell: then only what memory knows is
/// answered, and nothing is posted, for it could be posted twice.
pub(crate) async fn known(edge: &Edge, ids: Vec<OfficeId>) -> Option<Known> {
    let found = edge.client.ledger.ask(move |books| books.known(&ids)).await;
    found.ok().map(|found| found.unwrap_or_else(Known::nothing))
}

/// What NP Atobarai invoices are called: by the authorization id of their purchase.
#[derive(Default)]
pub(crate) struct BillNames(HashMap<Lsn, AuthorizationId>);

impl BillNames {
    /// `2026-11`, or the authorization id of an NP Atobarai purchase.
    pub(crate) fn of(&self, bill: BillKey) -> Option<String> {
        match bill {
            BillKey::Month(month) => Some(month.to_string()),
            BillKey::Np(order) => self.0.get(&order).map(ToString::to_string),
        }
    }

    /// What lies at an end of a movement of money.
    pub(crate) fn end(&self, end: Far) -> Option<Cow<'static, str>> {
        Some(match end {
            Far::Received => "received".into(),
            Far::Refund => "refund".into(),
            Far::Bill(bill) => self.of(bill)?.into(),
            Far::Credit => "credit".into(),
            Far::PayoutDue => "payout_due".into(),
            Far::PaidOut => "payout".into(),
            Far::Reversed => "reversal".into(),
        })
    }

    /// Learns the names that are not known yet, from memory and, for purchases of long ago, from the ledger.
    pub(crate) async fn learn(&mut self, edge: &Edge, orders: Vec<Lsn>) -> Result<(), Problem> {
        let mut orders = orders;
        orders.retain(|order| !self.0.contains_key(order));
        orders.sort_unstable();
        orders.dedup();
        if orders.is_empty() {
            return Ok(());
        }
        match edge.client.ask(Request::NameOrders(orders.clone().into_boxed_slice()), None).await?.reply {
            Reply::OrderNames(names) => self.add(names),
            other => return Err(out_of_place(&other)),
        }
        orders.retain(|order| !self.0.contains_key(order));
        if !orders.is_empty() {
            let found = edge.client.ledger.ask(move |books| books.names(&orders)).await?;
            self.add(found.unwrap_or_default());
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, names: impl IntoIterator<Item = AuthorizationId>) {
        self.0.extend(names.into_iter().map(|id| (id.lsn, id)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A bill as a caller names it.
#[derive(Clone, Copy)]
pub(crate) enum BillName {
    Month(Month),
    /// An NP Atobarai purchase.
    Np(AuthorizationId),
}

impl BillName {
    pub(crate) const FORMS: &'static str = "must be `YYYY-MM`, or the authorization id of an NP Atobarai purchase";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let month = Month::parse(text).map(Self::Month);
        month.or_else(|| AuthorizationId::parse(text).map(Self::Np))
    }

    /// The bill of this name; none where no order has this id.
    pub(crate) async fn key(self, edge: &Edge) -> Result<Option<BillKey>, Problem> {
        match self {
            Self::Month(month) => Ok(Some(BillKey::Month(month))),
            Self::Np(id) => {
                let bill = BillKey::Np(id.lsn);
                let names = bill_names(edge, [bill]).await?;
                Ok((names.0.get(&id.lsn) == Some(&id)).then_some(bill))
            }
        }
    }
}

impl fmt::Display for BillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Month(month) => month.fmt(f),
            Self::Np(id) => id.fmt(f),
        }
    }
}

impl FromText for BillName {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| Self::FORMS.to_owned())
    }
}

/// The invoices among bills, by the record of their purchase.
pub(crate) fn invoices(bills: impl IntoIterator<Item = BillKey>) -> Vec<Lsn> {
    let order = |bill| match bill {
        BillKey::Np(order) => Some(order),
        BillKey::Month(_) => None,
    };
    bills.into_iter().filter_map(order).collect()
}

/// The names of some bills.
pub(crate) async fn bill_names(edge: &Edge, bills: impl IntoIterator<Item = BillKey>) -> Result<BillNames, Problem> {
    let mut names = BillNames::default();
    names.learn(edge, invoices(bills)).await?;
    Ok(names)
}

/// All that the ledger has of a customer.
pub(crate) async fn customer_past(edge: &Edge, customer: CustomerId) -> Result<CustomerPast, Problem> {
    Ok(edge.client.ledger.ask(move |books| books.past_of(&customer)).await?.unwrap_or_default())
}

/// Waits until the ledger knows everything that was answered before. It is behind by some 0.5 s at most, unless the
/// database is away or much is waiting.
pub(crate) async fn caught_up(edge: &Edge) -> Result<(), Problem> {
    let deadline = tokio::time::Instant::now() + CATCH_UP;
    let mut stopping = edge.client.stopping();
    loop {
        // What is durable now; it grows while the ledger is waited for.
        let durable = edge.journal.as_ref().map_or(Lsn::ZERO, Follower::last);
        match edge.client.ledger.ask(move |books| Ok(books.as_of()? >= durable)).await? {
            // A stop does not wait for a ledger that somebody holds.
            Some(false) if tokio::time::Instant::now() < deadline && !*stopping.borrow() => {
                drop(tokio::time::timeout(LOOK_AGAIN, stopping.changed()).await);
            }
            Some(true) | None => return Ok(()),
            Some(false) => return Err(Problem::not_ready()),
        }
    }
}

/// An order as it is told, with what stands beside it.
pub(crate) struct Found {
    pub(crate) order: Order,
    /// The engine's time.
    pub(crate) at: Millis,
}

pub(crate) fn unknown() -> Problem {
    Problem::new(&AUTHORIZATION_UNKNOWN, "Check the id. Orders of other merchants are not shown.")
}

/// An order, in memory or in the ledger, if there is one.
async fn order(edge: &Edge, name: Named) -> Result<Option<Found>, Problem> {
    let answered = edge.client.ask_on_order(OnOrder::Find(name)).await?;
    match answered.reply {
        Reply::Order(order) => Ok(Some(Found { order: *order, at: answered.now.at })),
        Reply::Unknown => Ok(None),
        other => Err(out_of_place(&other)),
    }
}

/// An order that the caller may see.
pub(crate) async fn find(asked: &Asked, name: Named) -> Result<Found, Problem> {
    find_if_known(asked, name).await?.ok_or_else(unknown)
}

/// As [`find`]. An order of a merchant for whom the caller does not speak is none.
async fn find_if_known(asked: &Asked, name: Named) -> Result<Option<Found>, Problem> {
    let caller = &asked.known()?.caller;
    let found = order(&asked.edge, name).await?.filter(|found| caller.sees(&found.order.key.merchant));
    match &found {
        Some(found) if !caller.is_at(sold_at(&asked.edge, caller, found).await?) => Err(other_terminal()),
        _ => Ok(found),
    }
}

/// Where an order was sold. One that was taken back into memory has left that in the ledger.
async fn sold_at(edge: &Edge, caller: &Caller, found: &Found) -> Result<Option<TerminalKey>, Problem> {
    if caller.terminals.is_none() || found.order.terminal.is_some() {
        return Ok(found.order.terminal);
    }
    let id = found.order.id;
    match edge.client.ledger.orders(vec![Named::Id(id)]).await {
        Past::Orders(orders) => Ok(orders.into_iter().find(|order| order.id == id).and_then(|order| order.terminal)),
        Past::NotAsked | Past::Unavailable => Err(Problem::not_ready()),
    }
}

/// Refuses a caller who is bound to terminals and names an order of another one. An order that nobody knows is nobody's.
pub(crate) async fn check_terminal(asked: &Asked, key: OrderKey) -> Result<(), Problem> {
    if asked.known()?.caller.terminals.is_none() {
        return Ok(());
    }
    find_if_known(asked, Named::Key(key)).await.map(drop)
}

pub(crate) fn other_terminal() -> Problem {
    Problem::new(
        &FORBIDDEN,
        "This sale was made at a terminal that this key does not speak for. Use that terminal's key.",
    )
}

/// Whether the caller may be told of the sale that a denial points to. The same basket was bought at the same shop; a code
/// may have been used anywhere.
pub(crate) async fn may_know(asked: &Asked, reason: Option<Reason>, first: &FirstSale) -> Result<bool, Problem> {
    let caller = &asked.known()?.caller;
    if reason != Some(Reason::CodeUsed) || caller.sees_any_merchant() {
        return Ok(true);
    }
    let found = order(&asked.edge, Named::Id(first.authorization)).await.ok().flatten();
    Ok(found.is_some_and(|found| caller.sees(&found.order.key.merchant)))
}
