//! `/v1/authorizations`: decide, and look a decision up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::code;
use crate::domain::commands::reply::Reply;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, Category, CustomerId, MerchantId, OrderId, StoreId, TerminalId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::FirstSale;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, Currency, EntryMode, JPY, Named, OrderKey, Payer, Scanned};
use crate::domain::model::time::Millis;
use crate::engine::bad_codes::{Bound, Entry, Pass, Source};
use crate::engine::sale::Sale;
use crate::engine::times;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::decision::Decision;
use crate::http::fields;
use crate::http::fields::{Amount, Object, Text, Whole};
use crate::http::past::{Found, find, may_know, unknown};
use crate::http::problem::{ORDER_ID_REUSED, Problem, TOO_MANY_BAD_CODES};
use crate::http::query::Query;
use crate::metrics::Metrics;

const DEADLINE_MS: u64 = 1_000;

/// The body. It has no `Debug`: it holds a live code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purchase {
    order_id: Text<OrderId>,
    code: Option<String>,
    customer_id: Option<Text<CustomerId>>,
    channel: Option<Text<Channel>>,
    amount: Amount,
    currency: Option<Text<Currency>>,
    merchant: Object<Shop>,
    capture: Option<bool>,
    entry_mode: Option<Text<EntryMode>>,
    requested_at: Option<Text<Millis>>,
    deadline_ms: Option<Whole<1, 60_000>>,
    confirm_repeat: Option<bool>,
    items: Option<Vec<Object<Item>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shop {
    id: Text<MerchantId>,
    store_id: Option<Text<StoreId>>,
    terminal_id: Option<Text<TerminalId>>,
}

/// One line of the receipt. Only the category is judged. The rest is the register's own (discounts below zero,
/// weighed goods), and no line may cost a customer the sale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    category: Option<String>,
    #[serde(rename = "quantity")]
    _quantity: Option<IgnoredAny>,
    #[serde(rename = "unit_price")]
    _unit_price: Option<IgnoredAny>,
}

/// How a purchase is paid, before the code is looked at.
enum Means<'a> {
    Code(&'a str),
    Named(CustomerId, Channel),
}

impl Means<'_> {
    const fn channel(&self) -> Channel {
        match self {
            Self::Code(_) => Channel::InStore,
            Self::Named(_, channel) => *channel,
        }
    }

    /// Who pays, and how a scanned code must have come.
    fn payer(self, verify: impl FnOnce(&str) -> Scanned) -> (Payer, Option<EntryMode>) {
        match self {
            Self::Code(text) => {
                let digits = code::bare(text).bytes().all(|byte| byte.is_ascii_digit());
                let mode = if digits { EntryMode::Barcode } else { EntryMode::Qr };
                (Payer::Code(verify(text)), Some(mode))
            }
            Self::Named(customer, _) => (Payer::Customer(customer), None),
        }
    }
}

impl Purchase {
    /// A code, or a customer with a channel that needs none; not both, not neither.
    fn means(&self) -> Result<Means<'_>, Problem> {
        let channel = self.channel.as_ref().map(|channel| channel.0);
        match (&self.code, &self.customer_id) {
            (Some(_), Some(_)) => Err(Problem::field("/customer_id", "must be left out where `code` is given")),
            (None, None) => Err(Problem::field("/code", "is missing: send it, or `customer_id` with `channel`")),
            (Some(code), None) => match channel {
                None | Some(Channel::InStore) => Ok(Means::Code(code)),
                Some(_) => Err(Problem::field("/channel", "must be `in_store` where `code` is given")),
            },
            (None, Some(customer)) => match channel {
                Some(channel @ (Channel::Online | Channel::NpAtobarai)) => Ok(Means::Named(customer.0, channel)),
                Some(Channel::InStore) | None => {
                    Err(Problem::field("/channel", "must be `online` or `np_atobarai` where `customer_id` is given"))
                }
            },
        }
    }

    fn into_input(self, payer: Payer, channel: Channel, scanned_as: Option<EntryMode>) -> Authorize {
        let mut categories: Vec<Category> = Vec::new();
        for text in self.items.unwrap_or_default().into_iter().filter_map(|item| item.0.category) {
            // What no rule can be written for can't be ruled out by one.
            let Ok(category) = Category::new(&text.to_ascii_lowercase()) else { continue };
            if !categories.contains(&category) {
                categories.push(category);
            }
        }
        Authorize {
            merchant: self.merchant.0.id.0,
            order_id: self.order_id.0,
            store: self.merchant.0.store_id.map(|id| id.0),
            terminal: self.merchant.0.terminal_id.map(|id| id.0),
            payer,
            channel,
            amount: Yen::new(self.amount.0),
            currency: self.currency.map_or(JPY, |currency| currency.0),
            capture: self.capture.unwrap_or(true),
            confirm_repeat: self.confirm_repeat.unwrap_or(false),
            entry_mode: self.entry_mode.map(|mode| mode.0).or(scanned_as),
            categories,
            requested_at: self.requested_at.map(|at| at.0),
            late: false,
        }
    }
}

/// A body into the question, and how long its caller waits. `permit` says whether the caller may ask it, before `verify`
/// judges the scanned text.
pub(crate) fn read_input(
    body: &[u8],
    permit: impl FnOnce(&Shop, Channel) -> Result<(), Problem>,
    verify: impl FnOnce(&str) -> Scanned,
) -> Result<(Authorize, Duration), Problem> {
    let purchase: Purchase = fields::read(body)?;
    let means = purchase.means()?;
    let channel = means.channel();
    permit(&purchase.merchant.0, channel)?;
    let (payer, scanned_as) = means.payer(verify);
    let patience = Duration::from_millis(purchase.deadline_ms.map_or(DEADLINE_MS, |ms| ms.0));
    Ok((purchase.into_input(payer, channel, scanned_as), patience))
}

/// `POST /v1/authorizations`
pub(crate) async fn authorize(asked: &Asked) -> Result<Answer, Problem> {
    let known = asked.known()?;
    let mut scan = None;
    let permit = |shop: &Shop, channel: Channel| {
        known.caller.may_sell(&shop.id.0, shop.terminal_id.as_ref().map(|id| &id.0), channel)?;
        times::parsed();
        Ok(())
    };
    let judge = |text: &str| (*scan.insert(asked.edge.client.read_scan(text))).into();
    let (input, patience) = read_input(&asked.body, permit, judge)?;
    let source = Source {
        key: known.number,
        name: &known.caller.name,
        own_limit: known.caller.bad_codes_per_minute,
        merchant: input.merchant,
        terminal: input.terminal,
    };
    let sale = Sale { input: Arc::new(input), scan, deadline: asked.received + patience };
    decide(asked, source, sale).await
}

/// Past the parsing: the limit on bad codes, the engine, the answer.
async fn decide(asked: &Asked, source: Source<'_>, sale: Sale) -> Result<Answer, Problem> {
    let client = Arc::clone(&asked.edge.client);
    let entry = client.enter(source, &sale, Instant::now());
    let answered = if client.is_guessable(&sale) {
        // Who guesses and hangs up is counted too.
        let judged = times::in_own_task(async move { client.decide(sale, entry).await });
        judged.await.map_err(|_| Problem::internal())??
    } else {
        client.decide(sale, entry).await?
    };
    let (order, replayed) = match answered.reply {
        Reply::Decision { order, replayed } => (order, replayed),
        reply => return Err(not_decided(asked, &reply, &entry)),
    };
    let decision = Decision::answered(&order, replayed, answered.now.at);
    Answer::ok(&for_caller(asked, decision, order.denial(), order.first.as_deref()).await?)
}

/// A decision as this caller may see it.
async fn for_caller(
    asked: &Asked,
    decision: Decision,
    reason: Option<Reason>,
    first: Option<&FirstSale>,
) -> Result<Decision, Problem> {
    match first {
        Some(first) if !may_know(asked, reason, first).await? => Ok(decision.without_first()),
        _ => Ok(decision),
    }
}

fn not_decided(asked: &Asked, reply: &Reply, entry: &Entry) -> Problem {
    match (reply, entry.pass) {
        (Reply::OrderIdReused { first, terminal }, _) => {
            let problem = Problem::new(&ORDER_ID_REUSED, "Nothing was recorded. Use a new order id for a new sale.");
            // Another terminal's sale is not told of.
            let is_own = asked.known.as_ref().is_some_and(|known| known.caller.is_at(*terminal));
            if is_own { problem.with("authorization_id", first.to_string()) } else { problem }
        }
        (Reply::Throttled, Pass::Shut { by, wait }) => {
            Metrics::shed("bad_codes");
            let whose = match by {
                Bound::Terminal => "this terminal: check its scanner",
                Bound::Key => "all terminals of this key together: check which of them misreads",
            };
            let detail =
                format!("Too many bad codes came from {whose}. No decision was made. Try again after Retry-After.");
            let wait = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Problem::new(&TOO_MANY_BAD_CODES, detail).with("source", by.name()).retry_after(wait)
        }
        (other, _) => out_of_place(other),
    }
}

/// The id of an order in the path; what is no id is no order.
pub(crate) fn id_in_path(asked: &Asked) -> Result<AuthorizationId, Problem> {
    AuthorizationId::parse(asked.param("authorization_id")).ok_or_else(unknown)
}

/// `GET /v1/authorizations/{authorization_id}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    stored(asked, Named::Id(id_in_path(asked)?)).await
}

async fn stored(asked: &Asked, name: Named) -> Result<Answer, Problem> {
    let Found { order, at } = find(asked, name).await?;
    let decision = Decision::stored(&order, true, at);
    Answer::ok(&for_caller(asked, decision, order.told().denial(), order.first.as_deref()).await?)
}

/// `GET /v1/authorizations?merchant_id=&order_id=`
pub(crate) async fn find_by_key(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["merchant_id", "order_id"])?;
    let text = |name: &str| query.text(name).ok_or_else(|| Problem::parameter(name, "is missing"));
    let merchant =
        MerchantId::new(text("merchant_id")?).map_err(|bad| Problem::parameter("merchant_id", bad.to_string()))?;
    let order_id = OrderId::new(text("order_id")?).map_err(|bad| Problem::parameter("order_id", bad.to_string()))?;
    stored(asked, Named::Key(OrderKey { merchant, order_id })).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means_of(rest: &str) -> Result<&'static str, u16> {
        let body = format!(r#"{{"order_id":"R","amount":1,"merchant":{{"id":"m"}}{rest}}}"#);
        let purchase: Purchase = fields::read(body.as_bytes()).map_err(|problem| problem.status())?;
        match purchase.means() {
            Ok(Means::Code(_)) => Ok("code"),
            Ok(Means::Named(_, channel)) => Ok(channel.name()),
            Err(problem) => Err(problem.status()),
        }
    }

    #[test]
    fn a_code_or_a_customer_with_a_channel() {
        assert_eq!(means_of(r#","code":"1""#), Ok("code"));
        assert_eq!(means_of(r#","code":"1","channel":"in_store""#), Ok("code"));
        assert_eq!(means_of(r#","customer_id":"1001","channel":"online""#), Ok("online"));
        assert_eq!(means_of(r#","customer_id":"1001","channel":"np_atobarai""#), Ok("np_atobarai"));
        for wrong in [
            "",
            r#","code":"1","customer_id":"1001","channel":"online""#,
            r#","code":"1","channel":"online""#,
            r#","customer_id":"1001""#,
            r#","customer_id":"1001","channel":"in_store""#,
            r#","code":7"#,
            r#","code":"1","deadline_ms":0"#,
            r#","code":"1","deadline_ms":60001"#,
            r#","code":"1","currency":"YEN!""#,
            r#","code":"1","items":[{"category":"x","sku":"y"}]"#,
        ] {
            assert_eq!(means_of(wrong), Err(422), "{wrong}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let body = br#"{"order_id":"R","amount":5,"merchant":{"id":"m"},"code":"1",
            "items":[{"name":"a","category":"food"},{"category":"FOOD","quantity":1.5,"unit_price":-50},{},
            {"name":"","category":"a b","quantity":null}]}"#;
        let purchase: Purchase = fields::read(body).ok().unwrap();
        let input = purchase.into_input(Payer::Code(Scanned::Invalid), Channel::InStore, Some(EntryMode::Barcode));
        assert!(input.capture && !input.confirm_repeat && !input.late);
        assert_eq!((input.currency, input.entry_mode), (JPY, Some(EntryMode::Barcode)));
        assert_eq!(input.categories.len(), 1);
    }
}
