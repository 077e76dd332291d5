//! Customers by their ids, for the office's staff.

use std::collections::BTreeMap;

use serde::Serialize;

use super::lists::Shown;
use crate::domain::billing::account::Account;
use crate::domain::billing::standing::Exposure;
use crate::domain::model::customer::{Identity, Limits, Status};
use crate::domain::model::ids::CustomerId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::time::{Date, Now};
use crate::engine::board::Rules;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::cursor::{self, CURSOR, End};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::ledger::lists::CustomersOf;

#[derive(Serialize)]
struct CustomerShown {
    customer_id: CustomerId,
    status: Status,
    identity: Identity,
    payment_method: PaymentMethod,
    limits: Limits,
    exposure: Exposure,
    credit: Yen,
    /// The oldest due date that has passed unpaid; null where none has.
    overdue_since: Option<Date>,
    frozen: bool,
}

impl CustomerShown {
    fn of(account: &Account, now: &Now, rules: &Rules) -> Self {
        let account = &account.as_of(now, rules.by());
        Self {
            customer_id: account.id,
            status: account.profile.status,
            identity: account.profile.identity,
            payment_method: account.profile.payment_method,
            limits: account.limits(&rules.policy),
            exposure: account.exposure(now, rules.by()),
            credit: account.credit(),
            overdue_since: account.overdue_since(now, rules.by()),
            frozen: account.is_frozen(),
        }
    }
}

/// `true` or `false`, if it is there.
fn overdue(query: &Query<'_>) -> Result<Option<bool>, Problem> {
    match query.text("overdue") {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Problem::parameter("overdue", "must be `true` or `false`")),
    }
}

/// What an id may begin with: nothing, or what an id may be.
fn prefix(query: &Query<'_>) -> Result<String, Problem> {
    match query.text("prefix") {
        None | Some("") => Ok(String::new()),
        Some(text) => {
            CustomerId::new(text).map(|id| id.to_string()).map_err(|bad| Problem::parameter("prefix", bad.to_string()))
        }
    }
}

/// `GET /v1/customers?prefix=&status=&identity=&overdue=&cursor=&limit=`
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["prefix", "status", "identity", "overdue", CURSOR, "limit"])?;
    let (stream, after) = cursor::id(&query, |text| CustomerId::new(text).ok())?;
    let (limit, overdue) = (cursor::limit(&query)?, overdue(&query)?);
    let of = CustomersOf {
        prefix: prefix(&query)?,
        after,
        status: query.read_as("status")?,
        identity: query.read_as("identity")?,
        owing: overdue == Some(true),
        limit,
    };
    let (rules, now) = (asked.edge.rules()?, Now::at(asked.edge.client.now()));
    let by = (rules.clone(), now);
    let keep = move |account: &Account| {
        overdue.is_none_or(|wanted| account.overdue_since(&by.1, by.0.by()).is_some() == wanted)
    };
    let found = asked.edge.client.ledger.ask(move |books| books.customers(&of, &keep)).await?;
    let page = found.ok_or_else(Problem::not_ready)?;
    stream.check(page.position)?;
    let rows = page.rows.iter().map(|account| CustomerShown::of(account, &now, &rules)).collect();
    let (end, position) = (End::of_ids(&page, limit), page.position.into());
    Answer::ok(&Shown { rows: BTreeMap::from([("customers", rows)]), end, position })
}
