//! `/v1/merchants`: the shops we have a contract with.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::lists::Shown;
use crate::domain::commands::reply::Reply;
use crate::domain::model::ids::MerchantId;
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::cursor::{self, CURSOR, End};
use crate::http::fields;
use crate::http::fields::{LimitYen, Mcc, Object, Text, Words};
use crate::http::past::caught_up;
use crate::http::problem::{MERCHANT_UNKNOWN, Problem};
use crate::http::query::Query;

/// The whole of a merchant: what is left out has its default, not its former value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantBody {
    name: Text<Words<100>>,
    mcc: Text<Mcc>,
    status: Option<Text<MerchantStatus>>,
    limits: Option<Object<LimitsBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsBody {
    per_payment: Option<LimitYen>,
    in_store: Option<LimitYen>,
}

/// The same with its id, as an answer shows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantLine {
    merchant_id: Text<MerchantId>,
    name: Text<Words<100>>,
    mcc: Text<Mcc>,
    status: Option<Text<MerchantStatus>>,
    limits: Option<Object<LimitsBody>>,
}

/// One of many, outside of a call.
pub(crate) fn read(line: &[u8]) -> Result<Merchant, Problem> {
    let MerchantLine { merchant_id, name, mcc, status, limits } = fields::read(line)?;
    Ok(merchant(merchant_id.0, MerchantBody { name, mcc, status, limits }))
}

fn merchant(id: MerchantId, body: MerchantBody) -> Merchant {
    let yen = |limit: LimitYen| Yen::new(limit.0);
    let limits = body.limits.map_or_else(MerchantLimits::default, |Object(limits)| MerchantLimits {
        per_payment: limits.per_payment.map(yen),
        in_store: limits.in_store.map(yen),
    });
    Merchant {
        id,
        name: body.name.0.0,
        mcc: body.mcc.0.0,
        status: body.status.map_or(MerchantStatus::Active, |status| status.0),
        limits,
    }
}

fn id_in_path(asked: &Asked) -> Result<MerchantId, Problem> {
    MerchantId::new(asked.param("merchant_id")).map_err(|bad| Problem::parameter("merchant_id", bad.to_string()))
}

/// `PUT /v1/merchants/{merchant_id}`
pub(crate) async fn put(asked: &Asked) -> Result<Answer, Problem> {
    let id = id_in_path(asked)?;
    let body: MerchantBody = fields::read(&asked.body)?;
    let answered = asked.edge.client.put_merchant(merchant(id, body)).await?;
    match answered.reply {
        Reply::Merchant { merchant, created } => Answer::put(created, &merchant),
        other => Err(out_of_place(&other)),
    }
}

/// `GET /v1/merchants/{merchant_id}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let id = id_in_path(asked)?;
    // One that was set a moment ago is there.
    caught_up(&asked.edge).await?;
    let found = asked.edge.client.ledger.ask(move |books| books.merchant(&id)).await?.flatten();
    let unknown = || Problem::new(&MERCHANT_UNKNOWN, "Check the id, or create the merchant first.");
    Answer::ok(&found.ok_or_else(unknown)?)
}

/// `GET /v1/merchants?cursor=&limit=`
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &[CURSOR, "limit"])?;
    let (stream, after) = cursor::id(&query, |text| MerchantId::new(text).ok())?;
    let limit = cursor::limit(&query)?;
    let found = asked.edge.client.ledger.ask(move |books| books.merchants(after.as_ref(), limit)).await?;
    let page = found.ok_or_else(Problem::not_ready)?;
    stream.check(page.position)?;
    let (end, position) = (End::of_ids(&page, limit), page.position.into());
    Answer::ok(&Shown { rows: BTreeMap::from([("merchants", page.rows)]), end, position })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<serde_json::Value> {
        let body = fields::read(body.as_bytes()).ok()?;
        serde_json::to_value(merchant(MerchantId::new("m").unwrap(), body)).ok()
    }

    #[test]
    fn what_is_shown_of_a_merchant_is_read_again() {
        let shown = read(r#"{"name":"\"あ\"","mcc":"0742","status":"inactive","limits":{"in_store":0}}"#).unwrap();
        let again = super::read(&serde_json::to_vec(&shown).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), shown);
        let wrong = super::read(br#"{"merchant_id":"m","name":"a","mcc":"549"}"#).unwrap_err();
        assert_eq!(wrong.in_words(), "/mcc must be four digits of ISO 18245");
    }

    #[test]
    fn a_merchant_is_put_whole() {
        let shown = read(r#"{"name":"コンビニ","mcc":"0742","limits":{"per_payment":10000}}"#).unwrap();
        assert_eq!((&shown["mcc"], &shown["status"]), (&"0742".into(), &"active".into()));
        assert_eq!(shown["limits"], serde_json::json!({"per_payment": 10_000, "in_store": null}));
        for wrong in [
            r#"{"mcc":"5499"}"#,
            r#"{"name":"a","mcc":"549"}"#,
            r#"{"name":"a","mcc":5499}"#,
            r#"{"name":"a","mcc":"+499"}"#,
            r#"{"name":"","mcc":"5499"}"#,
            r#"{"name":"a","mcc":"5499","status":"open"}"#,
            r#"{"name":"a","mcc":"5499","limits":{"total":1}}"#,
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
