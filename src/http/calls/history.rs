//! A customer's purchases over some days, and their sums by day for a graph.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statements::both;
use crate::domain::model::ids::{AuthorizationId, MerchantId};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::ledger::{Book, Entry, EntryKind};

#[derive(Serialize)]
struct Day {
    date: Date,
    purchases: u64,
    purchased: u64,
    refunded: u64,
}

#[derive(Serialize)]
struct Movement {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
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
    let mut days: BTreeMap<Date, Day> = BTreeMap::new();
    let mut purchases = Vec::new();
    for entry in past.entries.iter().filter(within).filter(|entry| entry.account == Book::Exposure) {
        use EntryKind as Kind;
        let Some(purchase) = entry
            .purchase
            .filter(|_| matches!(entry.kind, Kind::Purchase | Kind::Capture | Kind::Cancel | Kind::Refund))
        else {
            continue;
        };
        let date = entry.recorded_at.date();
        let day = days.entry(date).or_insert_with(|| Day { date, purchases: 0, purchased: 0, refunded: 0 });
        match entry.kind {
            Kind::Purchase | Kind::Capture => {
                day.purchases += 1;
                day.purchased += entry.amount.unsigned_abs();
            }
            _ => day.refunded += entry.amount.unsigned_abs(),
        }
        purchases.push(Movement {
            authorization_id: purchase.authorization,
            merchant_id: purchase.merchant,
            channel: purchase.channel,
            kind: entry.kind.name(),
            amount: entry.amount,
            month: entry.month,
            recorded_at: entry.recorded_at,
        });
    }
    Answer::ok(&HistoryShown { from, to, purchases, days: days.into_values().collect() })
}
