//! One call, from its head to its answer. The steps stand here in their order and nowhere else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::answer::{Answer, Body};
use super::asked::Asked;
use super::body::{check_media_type, linger, read_body};
use super::calls::{
    account, account_statement, afterwards, authorizations, codes, corrections, customer_list, customers, events,
    health, history, imports, lists, merchants, office, payments, payouts, sandbox, slips, statements, suspense,
};
use super::framing::{Framed, Heads};
use super::problem::{FORBIDDEN, MALFORMED, NOT_FOUND, Problem};
use super::query::check_no_query;
use super::routes::{Call, Route, UNMATCHED, timer_of};
use super::trust::callers::{Known, Role};
use super::trust::request_guard::check_head;
use super::{Edge, timing};

/// Through which listener a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// There is one address for everything.
    Only,
    /// Staff calls and metrics are elsewhere.
    Public,
    Admin,
}

/// Answers one request; it always has an answer.
pub(crate) async fn answer(
    edge: Arc<Edge>,
    door: Door,
    heads: Heads,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let received = Instant::now();
    let framed = heads.next();
    let (head, body) = request.into_parts();
    let mut body = (!body.is_end_stream()).then_some(body);
    let request_id = request_id(&edge, &head.headers);
    let waits_to_send = head.headers.contains_key(header::EXPECT);
    let mut route = None;
    let served = match admit(&edge, door, head, &mut body, framed, received, &mut route).await {
        Ok(call) => carry_out(call, heads).await,
        Err(problem) => Err(problem),
    };
    let label = route.map_or(UNMATCHED, |route| route.label);
    let answer = match served {
        Ok(answer) => answer,
        Err(problem) => {
            tracing::debug!(request_id = ?request_id, call = label, reason = problem.reason(), "refused");
            problem.into_answer()
        }
    };
    // A body that was not read whole would be taken for the next request.
    let close = body.is_some() || framed != Framed::Well;
    if let Some(body) = body.filter(|_| !waits_to_send) {
        tokio::spawn(linger(body));
    }
    let took = received.elapsed();
    edge.timers.record(timer_of(route), took);
    tracing::debug!(request_id = ?request_id, call = label, status = answer.status.as_u16(), ?took, "answered");
    Ok(answer.into_response(request_id, close))
}

/// The whole call, if it may be made.
async fn admit(
    edge: &Arc<Edge>,
    door: Door,
    head: Parts,
    body: &mut Option<Incoming>,
    framed: Framed,
    received: Instant,
    found: &mut Option<&'static Route>,
) -> Result<Asked, Problem> {
    check_head(&head, framed, edge.tls.is_some())?;
    let (route, params) = edge.router.find(&head.method, head.uri.path())?;
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    *found = Some(route);
    is_served_here(edge, door, route)?;
    let known = identify(edge, door, route, &head.headers)?;
    let signature = known.as_deref().and_then(|known| known.caller.signature.as_deref());
    if signature.is_none() {
        may_call(edge, door, route, known.as_deref())?;
    }
    let bytes = if route.takes_body {
        let kind = route.body();
        if body.is_some() || !kind.may_be_absent {
            check_media_type(&head.headers, kind)?;
        }
        read_body(body, kind.most, edge.options.body_timeout).await?
    } else if body.is_some() {
        return Err(Problem::new(&MALFORMED, "This call takes no body. Leave it out."));
    } else {
        Bytes::new()
    };
    // After the body, so that the caller keeps its connection for the next try.
    may_answer(edge, route)?;
    if let Some(signature) = signature {
        signature.check(&head, &bytes)?;
        may_call(edge, door, route, known.as_deref())?;
    }
    if !route.reads_query() {
        check_no_query(head.uri.query())?;
    }
    Ok(Asked { edge: Arc::clone(edge), route, params, known, received, head, heads: None, body: bytes })
}

/// A call that changes something is carried out by a task of its own: a caller that hangs up changes nothing of it.
async fn carry_out(mut asked: Asked, heads: Heads) -> Result<Answer, Problem> {
    if asked.route.runs_by_itself() {
        return tokio::spawn(run(asked)).await.map_err(|_| Problem::internal())?;
    }
    asked.heads = Some(heads);
    let (edge, route) = (Arc::clone(&asked.edge), asked.route);
    let answer = run(asked).await;
    // A read may have waited, as a phone does for its sale: what it found may be an old owner's by now. A decision was made while
    // this node owned the journal, and is told.
    if route.method == Method::GET {
        may_answer(&edge, route)?;
    }
    answer
}

/// Whether this node may answer for the journal now.
fn may_answer(edge: &Edge, route: &Route) -> Result<(), Problem> {
    let readiness = &edge.client.readiness;
    if route.is_open() || readiness.may_serve() {
        return Ok(());
    }
    Err(readiness.standby().map_or_else(Problem::not_ready, |standby| Problem::not_owner(&standby)))
}

async fn run(asked: Asked) -> Result<Answer, Problem> {
    timing::timed(asked.received, dispatch(asked.route.call, &asked)).await
}

async fn dispatch(call: Call, asked: &Asked) -> Result<Answer, Problem> {
    match call {
        Call::Authorize => authorizations::authorize(asked).await,
        Call::FindAuthorization => authorizations::find_by_key(asked).await,
        Call::GetAuthorization => authorizations::get(asked).await,
        Call::Capture => afterwards::capture(asked).await,
        Call::Refund => afterwards::refund(asked).await,
        Call::Cancel => afterwards::cancel(asked).await,
        Call::IssueCode => codes::issue(asked).await,
        Call::GetCode => codes::get(asked).await,
        Call::VoidCode => codes::void(asked).await,
        Call::Barcode => codes::barcode(asked).await,
        Call::Qr => codes::qr(asked).await,
        Call::PutCustomer => customers::put(asked).await,
        Call::GetCustomer => customers::get(asked).await,
        Call::PutPaymentMethod => customers::put_payment_method(asked).await,
        Call::Repay => payments::repay(asked).await,
        Call::IssueSlip => slips::issue(asked).await,
        Call::PostDamages => office::damages(asked).await,
        Call::Block => office::block(asked).await,
        Call::ReleaseBlock => office::release(asked).await,
        Call::Freeze => office::freeze(asked).await,
        Call::Unfreeze => office::unfreeze(asked).await,
        Call::PayOut => payouts::pay_out(asked).await,
        Call::BouncePayout => payouts::bounce(asked).await,
        Call::ReverseRepayment => corrections::reverse_repayment(asked).await,
        Call::WaiveFee => corrections::waive_fee(asked).await,
        Call::ReverseDamages => corrections::reverse_damages(asked).await,
        Call::WriteOff => corrections::write_off(asked).await,
        Call::ReleaseWriteOff => corrections::release_write_off(asked).await,
        Call::ApplyCredit => corrections::apply_credit(asked).await,
        Call::ListPayouts => payouts::list(asked).await,
        Call::ListRepayments => account::repayments(asked).await,
        Call::ListPending => account::payments_pending(asked).await,
        Call::ListBlocks => account::blocks(asked).await,
        Call::GetCredit => account::credit(asked).await,
        Call::GetPoints => account::points(asked).await,
        Call::GetLadder => account::ladder(asked).await,
        Call::GetAccount => account_statement::get(asked).await,
        Call::ExpectPayment => payments::expect(asked).await,
        Call::ConfirmPayment => payments::confirm(asked).await,
        Call::WithdrawPayment => payments::withdraw(asked).await,
        Call::ListStatements => statements::list(asked).await,
        Call::GetStatement => statements::get(asked).await,
        Call::History => history::get(asked).await,
        Call::Import => Box::pin(imports::import(asked)).await,
        Call::ListSuspense => suspense::list(asked).await,
        Call::SettleSuspense => suspense::settle(asked).await,
        Call::PutMerchant => merchants::put(asked).await,
        Call::GetMerchant => merchants::get(asked).await,
        Call::ListMerchants => merchants::list(asked).await,
        Call::ListShopAuthorizations => lists::shop_authorizations(asked).await,
        Call::ListShopCaptures => lists::shop_captures(asked).await,
        Call::ListShopRefunds => lists::shop_refunds(asked).await,
        Call::ListCustomers => customer_list::list(asked).await,
        Call::ListCustomerAuthorizations => lists::customer_authorizations(asked).await,
        Call::ListCustomerCaptures => lists::customer_captures(asked).await,
        Call::ListCustomerRefunds => lists::customer_refunds(asked).await,
        Call::FindApproved => lists::approved(asked).await,
        Call::FindRefund => lists::refund_named(asked).await,
        Call::Events => events::follow(asked).await,
        Call::Livez => health::livez(),
        Call::Readyz => health::readyz(&asked.edge),
        Call::Metrics => health::metrics_page(&asked.edge),
        Call::OpenApi => Ok(health::openapi()),
        Call::SetClock => sandbox::set_clock(asked).await,
    }
}

fn is_served_here(edge: &Edge, door: Door, route: &Route) -> Result<(), Problem> {
    if route.call == Call::SetClock && edge.clock_setter.is_none() {
        return Err(Problem::new(
            &NOT_FOUND,
            "Only the sandbox has a clock to set. Use one that `serve --sandbox` started.",
        ));
    }
    if door == Door::Public && route.is_staff_only() {
        return Err(Problem::new(&NOT_FOUND, "This call is served on the admin address only. Send it there."));
    }
    Ok(())
}

/// Who calls; nobody in particular where anybody may.
fn identify(edge: &Edge, door: Door, route: &Route, headers: &HeaderMap) -> Result<Option<Arc<Known>>, Problem> {
    if roles(edge, door, route).is_empty() {
        return Ok(None);
    }
    let key = bearer(headers).ok_or_else(|| Problem::unauthorized(false))?;
    edge.callers.load().find(key).map(Some).ok_or_else(|| Problem::unauthorized(true))
}

fn roles(edge: &Edge, door: Door, route: &Route) -> &'static [Role] {
    let guarded_metrics = route.call == Call::Metrics && door == Door::Only && !edge.options.open_metrics;
    if guarded_metrics { &[Role::Ops] } else { route.roles }
}

/// Whether this role may.
fn may_call(edge: &Edge, door: Door, route: &Route, known: Option<&Known>) -> Result<(), Problem> {
    let Some(known) = known else { return Ok(()) };
    let roles = roles(edge, door, route);
    if !roles.contains(&known.caller.role) {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let detail = format!("This call is for a key with the role {}. Use such a key.", names.join(" or "));
        return Err(Problem::new(&FORBIDDEN, detail));
    }
    if door == Door::Public && matches!(known.caller.role, Role::Office | Role::Ops) {
        return Err(Problem::new(&FORBIDDEN, "Staff keys are served on the admin address only. Send it there."));
    }
    Ok(())
}

/// The key of the one `Authorization: Bearer KEY`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// The caller's own id if it is harmless, or one of ours.
fn request_id(edge: &Edge, headers: &HeaderMap) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
    };
    let given = headers.get("x-request-id").filter(harmless);
    given.cloned().unwrap_or_else(|| edge.request_ids.make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_one_header_only() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["Bearer abc"]), Some("abc".into()));
        assert_eq!(with(&["bearer abc"]), Some("abc".into()));
        for wrong in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &[], &["Bearer a", "Bearer a"]] {
            assert_eq!(with(wrong), None, "{wrong:?}");
        }
    }
}
