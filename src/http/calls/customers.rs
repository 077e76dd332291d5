//! `/v1/customers`: what staff may set, what the customer may spend and owes.

use serde::{Deserialize, Serialize};

use crate::domain::billing::account::Account;
use crate::domain::billing::lateness;
use crate::domain::billing::moment::BillAt;
use crate::domain::billing::standing::{Exposure, Spendable};
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::customer::{Identity, Limits, Status, Thin};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::CustomerId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::policy::Conditions;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::CustomerChange;
use crate::domain::model::time::{Date, Month, Now};
use crate::engine::board::Rules;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::fields;
use crate::http::fields::{LimitYen, Object, Text, Words, present};
use crate::http::past::bill_names;
use crate::http::problem::{CUSTOMER_UNKNOWN, DUE_DATE_UNKNOWN, Problem};

/// Born before this year is a typing error.
const OLDEST: i16 = 1900;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsBody {
    total: LimitYen,
    in_store: LimitYen,
}

/// What is absent stays as it is. `null` clears what a customer may be without, which is shown as null then; `limits`
/// without a value of their own are the ladder's. Everything else always has a value, and takes no `null`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    #[serde(default, deserialize_with = "present")]
    identity: Option<Text<Identity>>,
    #[serde(default, deserialize_with = "present")]
    identity_reason: Option<Option<Text<Words<200>>>>,
    #[serde(default, deserialize_with = "present")]
    birth_date: Option<Option<Text<Date>>>,
    #[serde(default, deserialize_with = "present")]
    guardian_consent: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    payment_method: Option<Text<PaymentMethod>>,
    #[serde(default, deserialize_with = "present")]
    status: Option<Text<Status>>,
    #[serde(default, deserialize_with = "present")]
    limits: Option<Option<Object<LimitsBody>>>,
}

impl ChangeBody {
    fn into_change(self, now: &Now, rules: &Rules) -> Result<CustomerChange, Problem> {
        let birth_date = self.birth_date.map(|date| date.map(|date| date.0));
        if birth_date.flatten().is_some_and(|born| born > now.date || born.year() < OLDEST) {
            return Err(Problem::field("/birth_date", "must be a day in the past, 1900 or later"));
        }
        let limits = match self.limits {
            Some(Some(Object(limits))) if limits.in_store.0 > limits.total.0 => {
                return Err(Problem::field("/limits/in_store", "must not be more than `total`: it lies inside it"));
            }
            Some(Some(Object(limits))) => {
                Some(Some(Limits { total: Yen::new(limits.total.0), in_store: Yen::new(limits.in_store.0) }))
            }
            Some(None) => Some(None),
            None => None,
        };
        let payment_method = self.payment_method.map(|method| method.0);
        if let Some(method) = payment_method {
            first_due(method, now.month, rules)?;
        }
        Ok(CustomerChange {
            identity: self.identity.map(|identity| identity.0),
            identity_reason: self.identity_reason.map(|reason| reason.map(|reason| reason.0.0)),
            birth_date,
            guardian_consent: self.guardian_consent,
            payment_method,
            status: self.status.map(|status| status.0),
            limits,
            rung: None,
            is_of_known: false,
        })
    }
}

/// Due date of the present month's bill, the first that a change of method applies to: it is issued on the 1st of
/// the next month. A debit whose banking day is not known is refused.
fn first_due(method: PaymentMethod, month: Month, rules: &Rules) -> Result<Date, Problem> {
    let due = rules.policy.terms.billing.due(method, month, &rules.calendar);
    if method == PaymentMethod::Debit && !rules.calendar.covers(due) {
        let problem = Problem::new(&DUE_DATE_UNKNOWN, "The bank calendar ends before the draw. Choose another method.");
        return Err(problem.with_field("/payment_method", "cannot be `debit` beyond the bank calendar"));
    }
    Ok(due)
}

#[derive(Serialize)]
struct RungShown {
    number: u8,
    limits: Limits,
}

#[derive(Serialize)]
struct NextRung {
    number: u8,
    limits: Limits,
    needs: Conditions,
}

/// For each channel the first reason against buying, or null.
#[derive(Serialize)]
struct BlockedChannels {
    in_store: Option<Reason>,
    online: Option<Reason>,
    np_atobarai: Option<Reason>,
}

#[derive(Serialize)]
struct NextBill {
    /// The month, or the authorization id of an NP Atobarai purchase.
    bill: String,
    month: Option<Month>,
    due: Date,
    principal: Yen,
    /// Fees included.
    total_due: Yen,
    /// Of a month's bill.
    payment_method: Option<PaymentMethod>,
}

#[derive(Serialize)]
struct Standing {
    customer_id: CustomerId,
    status: Status,
    identity: Identity,
    identity_reason: Option<Thin>,
    birth_date: Option<Date>,
    guardian_consent: bool,
    minor: bool,
    payment_method: PaymentMethod,
    limits: Limits,
    /// `staff` where the limits were set by hand, else `ladder`.
    limits_from: &'static str,
    rung: RungShown,
    next_rung: Option<NextRung>,
    exposure: Exposure,
    credit: Yen,
    spendable: Spendable,
    /// Why a code would be refused now; null where none.
    blocked_by: Option<Reason>,
    blocked_channels: BlockedChannels,
    /// A lost phone was told of and not lifted: nothing is paid with codes.
    frozen: bool,
    next_bill: Option<NextBill>,
}

/// A customer's standing, with the name of the next bill.
async fn standing(asked: &Asked, account: &Account, now: &Now) -> Result<Standing, Problem> {
    let rules = asked.edge.rules()?;
    let account = &account.as_of(now, rules.by());
    let next_bill = match next_bill(account, now, rules.by()) {
        Some(at) => {
            let names = bill_names(&asked.edge, [at.bill.key]).await?;
            Some((names.of(at.bill.key).ok_or_else(Problem::internal)?, at))
        }
        None => None,
    };
    Ok(standing_with(account, now, &rules, next_bill))
}

fn standing_with(account: &Account, now: &Now, rules: &Rules, next_bill: Option<(String, BillAt)>) -> Standing {
    let policy = rules.policy.as_ref();
    let by = rules.by();
    let blocked = |channel| account.blocked_by(channel, now, by);
    let profile = &account.profile;
    let next_rung = policy.next_rung(profile.rung).map(|rung| NextRung {
        number: profile.rung + 1,
        limits: rung.limits,
        needs: rung.conditions,
    });
    Standing {
        customer_id: account.id,
        status: profile.status,
        identity: profile.identity,
        identity_reason: profile.identity_reason.clone(),
        birth_date: profile.birth_date,
        guardian_consent: profile.guardian_consent,
        minor: account.is_minor(now, policy),
        payment_method: profile.payment_method,
        limits: account.limits(policy),
        limits_from: if profile.limits.is_some() { "staff" } else { "ladder" },
        rung: RungShown { number: profile.rung.min(policy.top_rung()), limits: policy.rung(profile.rung).limits },
        next_rung,
        exposure: account.exposure(now, by),
        credit: account.credit(),
        spendable: account.spendable(now, by),
        blocked_by: blocked(Channel::InStore),
        blocked_channels: BlockedChannels {
            in_store: blocked(Channel::InStore),
            online: blocked(Channel::Online),
            np_atobarai: blocked(Channel::NpAtobarai),
        },
        frozen: account.is_frozen(),
        next_bill: next_bill.map(|(bill, at)| NextBill {
            bill,
            month: at.bill.key.month(),
            due: at.due,
            principal: at.owed.principal,
            total_due: at.owed.total(),
            payment_method: at.bill.key.month().map(|_| at.method),
        }),
    }
}

/// The bill with the oldest due date of those that are not paid; none that was given up.
fn next_bill(account: &Account, now: &Now, by: lateness::Rules<'_>) -> Option<BillAt> {
    account
        .bills_at(now, by)
        .into_iter()
        .find(|at| !at.owed.total().is_zero() && at.bill.written_off_at(now.at).is_none())
}

/// The answer where there is no such customer.
pub(crate) fn unknown() -> Problem {
    Problem::new(&CUSTOMER_UNKNOWN, "Check the id, or create the customer first.")
}

async fn change(asked: &Asked, id: CustomerId, change: CustomerChange) -> Result<(Box<Account>, bool, Now), Problem> {
    let question = Request::PutCustomer { id, change: Box::new(change) };
    let answered = asked.edge.client.ask(question, None).await?;
    match answered.reply {
        Reply::Customer { account, created } => Ok((account, created, answered.now)),
        Reply::Unknown => Err(unknown()),
        other => Err(out_of_place(&other)),
    }
}

/// `PUT /v1/customers/{customer_id}`
pub(crate) async fn put(asked: &Asked) -> Result<Answer, Problem> {
    let id = asked.customer()?;
    let body: ChangeBody = fields::read(&asked.body)?;
    let rules = asked.edge.rules()?;
    let wanted = body.into_change(&Now::at(asked.edge.client.now()), &rules)?;
    let (account, created, now) = change(asked, id, wanted).await?;
    Answer::put(created, &standing(asked, &account, &now).await?)
}

/// `GET /v1/customers/{customer_id}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let id = asked.customer()?;
    if let Some((account, shown_at)) = asked.edge.client.board.customer(&id) {
        let now = Now::at(asked.edge.client.now().max(shown_at));
        return Answer::ok(&standing(asked, &account, &now).await?);
    }
    let answered = asked.edge.client.ask(Request::FindCustomer(id), None).await?;
    match answered.reply {
        Reply::Customer { account, .. } => Answer::ok(&standing(asked, &account, &answered.now).await?),
        Reply::Unknown => Err(unknown()),
        other => Err(out_of_place(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodBody {
    payment_method: Text<PaymentMethod>,
}

#[derive(Serialize)]
struct FirstBill {
    month: Month,
    due: Date,
}

#[derive(Serialize)]
struct MethodShown {
    payment_method: PaymentMethod,
    first_bill: FirstBill,
}

/// `PUT /v1/customers/{customer_id}/payment-method`
pub(crate) async fn put_payment_method(asked: &Asked) -> Result<Answer, Problem> {
    let id = asked.customer()?;
    let method = fields::read::<MethodBody>(&asked.body)?.payment_method.0;
    let rules = asked.edge.rules()?;
    first_due(method, Now::at(asked.edge.client.now()).month, &rules)?;
    let wanted = CustomerChange { payment_method: Some(method), is_of_known: true, ..CustomerChange::default() };
    let (_, _, now) = change(asked, id, wanted).await?;
    let due = rules.policy.terms.billing.due(method, now.month, &rules.calendar);
    Answer::ok(&MethodShown { payment_method: method, first_bill: FirstBill { month: now.month, due } })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::policy::Policy;
    use crate::domain::model::terms::TermsByDay;
    use crate::domain::model::time::{BankCalendar, Millis};

    fn rules(holidays: &str) -> Rules {
        let policy = Policy::parse(include_str!("../../../config/policy.toml")).unwrap();
        Rules {
            terms: Arc::new(TermsByDay::always(policy.terms.clone())),
            policy: Arc::new(policy),
            calendar: Arc::new(BankCalendar::parse(holidays).unwrap()),
        }
    }

    fn now() -> Now {
        Now::at(Millis::parse("2026-11-23T12:00:00+09:00").unwrap())
    }

    fn change_of(body: &str) -> Result<CustomerChange, String> {
        let body: ChangeBody = fields::read(body.as_bytes()).map_err(|problem| problem.reason().to_owned())?;
        let rules = rules("2026-01-01,x\n2026-12-31,y\n");
        body.into_change(&now(), &rules).map_err(|problem| problem.reason().to_owned())
    }

    #[test]
    fn absent_and_null_limits_are_not_the_same() {
        assert_eq!(change_of("{}").unwrap().limits, None);
        assert_eq!(change_of(r#"{"limits":null}"#).unwrap().limits, Some(None));
        let limits = Limits { total: Yen::new(9), in_store: Yen::new(5) };
        assert_eq!(change_of(r#"{"limits":{"total":9,"in_store":5}}"#).unwrap().limits, Some(Some(limits)));
        for wrong in [
            r#"{"limits":{"total":4,"in_store":5}}"#,
            r#"{"limits":{"total":4}}"#,
            r#"{"status":null}"#,
            r#"{"birth_date":"2026-11-24"}"#,
            r#"{"birth_date":"1899-12-31"}"#,
            r#"{"rung":3}"#,
            r#"{"identity_reason":""}"#,
        ] {
            assert_eq!(change_of(wrong), Err("invalid_field".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn null_clears_what_a_customer_may_be_without() {
        let cleared = change_of(r#"{"birth_date":null,"identity_reason":null,"limits":null}"#).unwrap();
        assert_eq!((cleared.birth_date, cleared.identity_reason, cleared.limits), (Some(None), Some(None), Some(None)));
        for always in ["identity", "guardian_consent", "payment_method", "status"] {
            assert_eq!(change_of(&format!(r#"{{"{always}":null}}"#)), Err("invalid_field".to_owned()), "{always}");
        }
    }

    #[test]
    fn a_debit_beyond_the_bank_calendar_is_refused() {
        assert!(first_due(PaymentMethod::Debit, now().month, &rules("2026-01-01,x\n")).is_ok());
        assert!(first_due(PaymentMethod::Debit, now().month.next(), &rules("2026-01-01,x\n")).is_err());
        assert!(first_due(PaymentMethod::Konbini, now().month.next(), &rules("")).is_ok());
    }

    #[test]
    fn a_standing_tells_the_next_rung_and_what_blocks() {
        let account = Account::new(CustomerId::new("1002").unwrap(), Profile::newcomer());
        let shown = serde_json::to_value(standing_with(&account, &now(), &rules(""), None)).unwrap();
        assert_eq!(shown["limits"], serde_json::json!({"total": 50_000, "in_store": 2_000}));
        assert_eq!(shown["next_rung"]["needs"]["purchases"], 1);
        assert_eq!(shown["next_rung"]["number"], 1);
        let blocked = serde_json::json!({
            "in_store": "identity_required", "online": "consent_required", "np_atobarai": null,
        });
        assert_eq!(shown["blocked_channels"], blocked);
        assert_eq!(shown["blocked_by"], "identity_required");
        assert!(shown["next_bill"].is_null());
    }
}
