//! A customer's purchases over some days, and for each day what was bought, the limits and the exposure, for a graph.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::statements::both;
use crate::domain::model::customer::Limits;
use crate::domain::model::ids::{AuthorizationId, MerchantId, OrderId};
use crate::domain::model::policy::Policy;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::ledger::{Book, Entry, EntryKind, Graded};

/// Unpaid principal and open holds at the end of a day, as it was recorded by then.
#[derive(Clone, Copy, Serialize)]
struct Exposed {
    total: i64,
    /// Null where an older version did not tell the channels apart.
    in_store: Option<i64>,
}

#[derive(Serialize)]
struct Day {
    date: Date,
    purchases: u64,
    purchased: u64,
    refunded: u64,
    /// At the end of the day; null before the customer was known, or before that was kept.
    limit: Option<Limits>,
    exposure: Exposed,
}

#[derive(Serialize)]
struct Movement {
    authorization_id: AuthorizationId,
    order_id: OrderId,
    merchant_id: MerchantId,
    /// The shop's name by now; null of one without a contract.
    merchant_name: Option<Box<str>>,
    channel: Channel,
    kind: &'static str,
    /// Less than nothing for what was cancelled or refunded.
    amount: i64,
    month: Option<Month>,
    recorded_at: Millis,
}

#[derive(Serialize)]
struct HistoryShown {
    from: Date,
    to: Date,
    purchases: Vec<Movement>,
    /// Every day up to today.
    days: Vec<Day>,
}

/// A graph of more days is no graph.
const MOST_DAYS: i32 = 400;

/// `GET /v1/customers/{customer_id}/history?from=&to=`: days in Japan, both included; the last 31 days by default.
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["from", "to"])?;
    let (from, to) = (query.date("from")?, query.date("to")?);
    let (_, now, past) = both(asked, asked.customer()?).await?;
    let to = to.unwrap_or(now.date);
    let from = from.unwrap_or_else(|| to.plus_days(-30));
    if !(0..MOST_DAYS).contains(&to.days_since(from)) {
        return Err(Problem::parameter(
            "from",
            format!("must not be after `to`, and less than {MOST_DAYS} days before it"),
        ));
    }
    let within = |entry: &&Entry| (from..=to).contains(&entry.recorded_at.date());
    let mut purchases: Vec<_> = past.entries.iter().filter(within).filter_map(purchase).collect();
    name_shops(asked, &mut purchases).await?;
    let graph = Graph { exposures: exposures(&past.entries), limits: LimitsByDay::read(asked, from, to).await? };
    let last = to.min(now.date);
    let all = (0..=last.days_since(from)).map(|day| graph.day(from.plus_days(day)));
    let mut days: BTreeMap<Date, Day> = all.map(|day| (day.date, day)).collect();
    for purchase in &purchases {
        let Some(day) = days.get_mut(&purchase.recorded_at.date()) else { continue };
        if purchase.amount > 0 {
            day.purchases += 1;
            day.purchased += purchase.amount.unsigned_abs();
        } else {
            day.refunded += purchase.amount.unsigned_abs();
        }
    }
    Answer::ok(&HistoryShown { from, to, purchases, days: days.into_values().collect() })
}

/// Fills the names of the shops in, each asked for once.
async fn name_shops(asked: &Asked, purchases: &mut [Movement]) -> Result<(), Problem> {
    let shops: Vec<MerchantId> = purchases.iter().map(|purchase| purchase.merchant_id).collect();
    let shops: HashSet<MerchantId> = shops.into_iter().collect();
    let names = asked.edge.client.ledger.ask(move |books| {
        let name = |id: MerchantId| Ok(books.merchant(&id)?.map(|merchant| (id, merchant.name)));
        shops.into_iter().map(name).filter_map(Result::transpose).collect::<Result<HashMap<_, _>, _>>()
    });
    let names = names.await?.unwrap_or_default();
    for purchase in purchases {
        purchase.merchant_name = names.get(&purchase.merchant_id).cloned();
    }
    Ok(())
}

/// What was bought, cancelled or refunded.
fn purchase(entry: &Entry) -> Option<Movement> {
    use EntryKind as Kind;
    let is_told = matches!(entry.kind, Kind::Purchase | Kind::Capture | Kind::Cancel | Kind::Refund);
    let purchase = entry.purchase.filter(|_| is_told && entry.account == Book::Exposure)?;
    Some(Movement {
        authorization_id: purchase.authorization,
        order_id: purchase.order_id,
        merchant_id: purchase.merchant,
        merchant_name: None,
        channel: purchase.channel,
        kind: entry.kind.name(),
        amount: entry.amount,
        month: entry.month,
        recorded_at: entry.recorded_at,
    })
}

/// The exposure at the end of each day on which it changed.
fn exposures(entries: &[Entry]) -> BTreeMap<Date, Exposed> {
    let mut exposed = Exposed { total: 0, in_store: Some(0) };
    let mut by_day = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.account == Book::Exposure) {
        exposed.total += entry.amount;
        let in_store = entry.channel.map(|channel| if channel == Channel::InStore { entry.amount } else { 0 });
        exposed.in_store = exposed.in_store.zip(in_store).map(|(sum, amount)| sum + amount);
        by_day.insert(entry.recorded_at.date(), exposed);
    }
    by_day
}

struct Graph {
    exposures: BTreeMap<Date, Exposed>,
    limits: LimitsByDay,
}

impl Graph {
    fn day(&self, date: Date) -> Day {
        let exposed = self.exposures.range(..=date).next_back().map(|(_, exposed)| *exposed);
        Day {
            date,
            purchases: 0,
            purchased: 0,
            refunded: 0,
            limit: self.limits.at(date.plus_days(1).start()),
            exposure: exposed.unwrap_or(Exposed { total: 0, in_store: Some(0) }),
        }
    }
}

/// What the limits of one customer come from: both oldest first, each from its moment on.
struct LimitsByDay {
    graded: Vec<(Millis, Graded)>,
    policies: Vec<(Millis, Policy)>,
}

impl LimitsByDay {
    async fn read(asked: &Asked, from: Date, to: Date) -> Result<Self, Problem> {
        let (customer, span) = (asked.customer()?, (from.start(), to.plus_days(1).start()));
        let question =
            asked.edge.client.ledger.ask(move |books| Ok((books.graded(&customer)?, books.policies(span.0, span.1)?)));
        let (graded, texts) = question.await?.unwrap_or_default();
        // What was journaled was read before.
        let read = |(at, text): (Millis, String)| Policy::parse(&text).map(|policy| (at, policy));
        let policies = texts.into_iter().map(read).collect::<Result<_, _>>().map_err(|_| Problem::internal())?;
        Ok(Self { graded, policies })
    }

    /// Just before a moment.
    fn at(&self, end: Millis) -> Option<Limits> {
        let graded = latest(&self.graded, end)?;
        graded.limits.or_else(|| Some(latest(&self.policies, end)?.rung(graded.rung).limits))
    }
}

/// What is in force just before a moment.
fn latest<T>(list: &[(Millis, T)], end: Millis) -> Option<&T> {
    list.iter().rev().find(|(at, _)| *at < end).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::money::Yen;

    #[test]
    fn a_limit_is_staffs_own_or_that_of_the_rung_by_the_policy_of_then() {
        let shipped = include_str!("../../../config/policy.toml");
        let lower = shipped.replace("in_store_yen = 2_000", "in_store_yen = 1_000");
        let own = Limits { total: Yen::new(9_000), in_store: Yen::new(700) };
        let rung = |rung, limits| Graded { rung, limits };
        let policy = |text: &str| Policy::parse(text).unwrap();
        let limits = LimitsByDay {
            graded: vec![(Millis(10), rung(0, None)), (Millis(20), rung(1, None)), (Millis(40), rung(1, Some(own)))],
            policies: vec![(Millis(0), policy(shipped)), (Millis(12), policy(&lower))],
        };
        let in_store = |end| limits.at(Millis(end)).map(|limits| limits.in_store.get());
        assert_eq!([10, 11, 13, 21, 41].map(in_store), [None, Some(2_000), Some(1_000), Some(5_000), Some(700)]);
    }
}
