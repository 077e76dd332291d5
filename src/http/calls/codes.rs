//! `/v1/codes`: what the customer's phone shows, and the mirror that tells it what the register did.

use std::time::{Duration, Instant};

use hyper::{StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::code;
use crate::code::{Form, Minted};
use crate::domain::billing::standing::Spendable;
use crate::domain::commands::reply::{CodeView, Reply, Tried};
use crate::domain::commands::request::Request;
use crate::domain::model::bilingual::{Bilingual, grouped};
use crate::domain::model::code::{Code, CodeState, VoidedBy};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CodeId, CustomerId, CustomerIx};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{OrderState, OrderStatus};
use crate::domain::model::policy::Policy;
use crate::domain::model::sale_words::Became;
use crate::domain::model::time::{Millis, Now, SECOND};
use crate::domain::model::wording;
use crate::engine::board::Board;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::fields::Text;
use crate::http::problem::{CODE_NOT_LIVE, CODE_UNKNOWN, Problem, TOO_MANY_CODES};
use crate::http::query::Query;
use crate::http::{Edge, fields};

/// Longest wait of a long poll, ms.
const LONGEST_WAIT: u64 = 30_000;
/// Shortest pause of a long poll between two looks, for a sandbox whose clock stands still.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Widths of the pictures in pixels. 561 is three a module of the barcode.
const WIDTHS: std::ops::RangeInclusive<u64> = 100..=2_000;
const BARCODE_WIDTH: u64 = 561;
const QR_WIDTH: u64 = 360;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueBody {
    customer_id: Text<CustomerId>,
    form: Option<Text<Form>>,
}

#[derive(Serialize)]
struct Issued {
    code_id: CodeId,
    barcode: String,
    qr: String,
    issued_at: Millis,
    refresh_at: Millis,
    expires_at: Millis,
    spendable: Spendable,
}

/// One try to pay with the code, as the customer may see it.
#[derive(Serialize)]
struct Attempt {
    authorization_id: AuthorizationId,
    decision: &'static str,
    status: OrderStatus,
    reason: Option<Reason>,
    amount: Yen,
    /// All 0 of a denial.
    #[serde(flatten)]
    became: Became,
    shop: Option<Box<str>>,
    decided_at: Millis,
    customer: Bilingual,
}

#[derive(Serialize)]
struct Mirror {
    code_id: CodeId,
    status: CodeState,
    version: u64,
    voided_by: Option<VoidedBy>,
    issued_at: Millis,
    refresh_at: Millis,
    expires_at: Millis,
    attempts: u32,
    /// `approved` once the code has paid, whatever is tried with it later; else of the last attempt.
    decision: Option<&'static str>,
    /// The purchase that the code paid.
    sale: Option<Attempt>,
    last_attempt: Option<Attempt>,
    spendable: Spendable,
}

fn refresh_at(code: &Code, policy: &Policy) -> Millis {
    code.issued_at.plus(i64::from(policy.codes.refresh_seconds) * SECOND).min(code.expires_at)
}

/// The texts of a code, made again from its record.
fn minted(edge: &Edge, code: &Code) -> Result<Minted, Problem> {
    let keys = edge.client.keyring.load();
    let issuer = edge.client.issuers.issuer(code.form).ok_or_else(Problem::internal)?;
    let life = u16::try_from((code.expires_at.0 - code.issued_at.0) / SECOND).unwrap_or(u16::MAX);
    let minted =
        code::mint(&keys, code.generation, &issuer, code.handle, code.issued_at.0, life, code.counter, code.random);
    minted.map_err(|error| {
        tracing::error!(%error, "a code cannot be minted");
        Problem::internal()
    })
}

/// `POST /v1/codes`
pub(crate) async fn issue(asked: &Asked) -> Result<Answer, Problem> {
    let body: IssueBody = fields::read(&asked.body)?;
    let form = body.form.map_or_else(|| asked.edge.client.issuers.first_form(), |form| form.0);
    if asked.edge.client.issuers.issuer(form).is_none() {
        return Err(Problem::field("/form", "must be the form of one of our prefixes: leave it out for the usual one"));
    }
    let generation = asked.edge.client.keyring.load().active();
    let request = Request::IssueCode { customer: body.customer_id.0, generation, form };
    let answered = asked.edge.client.ask(request, None).await?;
    let view = match answered.reply {
        Reply::Code(view) => view,
        Reply::CodeRefused(reason, circumstances) => return Err(Problem::code_refused(reason, &circumstances)),
        Reply::TooManyCodes { wait } => return Err(too_many_codes(wait)),
        other => return Err(out_of_place(&other)),
    };
    let rules = asked.edge.rules()?;
    let minted = minted(&asked.edge, &view.code)?;
    let issued = Issued {
        code_id: view.code.id,
        barcode: minted.barcode,
        qr: minted.qr,
        issued_at: view.code.issued_at,
        refresh_at: refresh_at(&view.code, &rules.policy),
        expires_at: view.code.expires_at,
        spendable: view.spendable,
    };
    let place = format!("/v1/codes/{}", issued.code_id);
    Ok(Answer::json(StatusCode::CREATED, &issued)?.with_header(header::LOCATION, place))
}

fn too_many_codes(wait: i64) -> Problem {
    let detail = "This customer was given as many codes as may be in an hour. Show the last one while it lives.";
    Problem::new(&TOO_MANY_CODES, detail).retry_after(u64::try_from(wait).unwrap_or(0).div_ceil(1_000))
}

fn code_id(asked: &Asked) -> Result<CodeId, Problem> {
    CodeId::parse(asked.param("code_id")).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(
        &CODE_UNKNOWN,
        "Check the id. A code is remembered for 20 minutes after its end, a used one for 48 hours.",
    )
}

async fn look(edge: &Edge, question: Request) -> Result<(Box<CodeView>, Now), Problem> {
    let answered = edge.client.ask(question, None).await?;
    match answered.reply {
        Reply::Code(view) => Ok((view, answered.now)),
        Reply::Unknown => Err(unknown()),
        other => Err(out_of_place(&other)),
    }
}

/// Watches a customer for changes until it is dropped, also when the phone hangs up.
struct Watcher<'a> {
    board: &'a Board,
    customer: CustomerIx,
    changes: Option<watch::Receiver<()>>,
}

impl<'a> Watcher<'a> {
    fn new(board: &'a Board, customer: CustomerIx) -> Self {
        Self { board, customer, changes: Some(board.watch(customer)) }
    }

    /// Waits for a change, at most this long.
    async fn wait(&mut self, most: Duration) {
        if let Some(changes) = &mut self.changes {
            drop(tokio::time::timeout(most, changes.changed()).await);
        }
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        drop(self.changes.take());
        self.board.unwatch(self.customer);
    }
}

/// What time alone changes, without a fact that a version could tell of.
fn by_time(view: &CodeView, now: &Now) -> (CodeState, Option<OrderStatus>) {
    (view.code.state(now.at), view.sale.as_ref().map(|sale| sale.order.status(now.at)))
}

/// How long until time alone changes something.
fn until_then(view: &CodeView, now: &Now) -> Duration {
    let hold = view.sale.as_ref().and_then(|sale| match sale.order.state {
        OrderState::Held { expires_at } => Some(expires_at),
        _ => None,
    });
    let code = view.code.ending.is_none().then_some(view.code.expires_at);
    let next = [code, hold].into_iter().flatten().filter(|at| now.at < *at).min();
    let ms = next.map_or(LONGEST_WAIT, |at| u64::try_from(at.0 - now.at.0).unwrap_or(LONGEST_WAIT));
    Duration::from_millis(ms).max(SHORTEST_PAUSE)
}

/// `GET /v1/codes/{code_id}?wait_ms=&after=`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["wait_ms", "after"])?;
    let after = query.number("after", 0..=u64::MAX >> 6)?;
    let unsaid = if after.is_some() { LONGEST_WAIT } else { 0 };
    let wait = Duration::from_millis(query.number("wait_ms", 0..=LONGEST_WAIT)?.unwrap_or(unsaid));
    let edge = &asked.edge;
    let id = code_id(asked)?;
    let end = Instant::now() + wait;
    let (view, now) = look(edge, Request::FindCode(id)).await?;
    // Without a version it is the code's life that is waited for.
    let is_over = after.is_none() && view.code.state(now.at) != CodeState::Live;
    let after = after.unwrap_or(view.version.0);
    if wait.is_zero() || is_over || view.version.0 > after {
        return show(edge, &view, &now);
    }
    let (view, now) = wait_for_change(asked, after, end, (view, now)).await?;
    show(edge, &view, &now)
}

/// Looks until there is something newer than this version, time has changed what is shown, or the wait is over.
async fn wait_for_change(
    asked: &Asked,
    after: u64,
    end: Instant,
    (mut view, mut now): (Box<CodeView>, Now),
) -> Result<(Box<CodeView>, Now), Problem> {
    let edge = &asked.edge;
    let id = view.code.id;
    let first = by_time(&view, &now);
    let mut stopping = edge.client.stopping();
    let mut watcher = Watcher::new(&edge.client.board, view.code.customer);
    loop {
        // The first time because nobody has listened since the look before.
        (view, now) = look(edge, Request::FindCode(id)).await?;
        let left = end.saturating_duration_since(Instant::now());
        let has_changed = view.version.0 > after || by_time(&view, &now) != first;
        if has_changed || left.is_zero() || *stopping.borrow() {
            return Ok((view, now));
        }
        tokio::select! {
            () = watcher.wait(until_then(&view, &now).min(left)) => {}
            _ = stopping.changed() => {}
            // A phone that is gone shall not keep its place until the end of its wait.
            () = asked.is_done_speaking() => return Ok((view, now)),
        }
    }
}

/// `DELETE /v1/codes/{code_id}`
pub(crate) async fn void(asked: &Asked) -> Result<Answer, Problem> {
    let (view, now) = look(&asked.edge, Request::VoidCode { code: code_id(asked)? }).await?;
    show(&asked.edge, &view, &now)
}

fn show(edge: &Edge, view: &CodeView, now: &Now) -> Result<Answer, Problem> {
    let rules = edge.rules()?;
    let sale = view.sale.as_ref().map(|tried| attempt(view, tried, now));
    let last_attempt = view.latest.as_ref().map(|tried| attempt(view, tried, now));
    Answer::ok(&Mirror {
        code_id: view.code.id,
        status: view.code.state(now.at),
        version: view.version.0,
        voided_by: view.code.voided_by(),
        issued_at: view.code.issued_at,
        refresh_at: refresh_at(&view.code, &rules.policy),
        expires_at: view.code.expires_at,
        attempts: view.code.attempts,
        decision: sale.as_ref().or(last_attempt.as_ref()).map(|attempt| attempt.decision),
        sale,
        last_attempt,
        spendable: view.spendable,
    })
}

fn attempt(view: &CodeView, tried: &Tried, now: &Now) -> Attempt {
    let order = &tried.order;
    let reason = order.state.reason();
    let became = order.became(now.at);
    // What a later try is told about: the sale that used the code, and where that was.
    let used_by = view.sale.as_ref().filter(|_| reason == Some(Reason::CodeUsed));
    let of_used = used_by.and_then(|sale| wording::of_used(sale.order.status(now.at)));
    let of_denial = |reason| (of_used.unwrap_or_else(|| view.circumstances.words(reason)), order.amount);
    let (words, yen) = reason.map_or_else(|| order.sale_words(now.at), of_denial);
    let place = used_by.unwrap_or(tried).shop.as_deref().unwrap_or("—");
    Attempt {
        authorization_id: order.id,
        decision: if reason.is_none() { "approved" } else { "denied" },
        status: order.status(now.at),
        reason,
        amount: order.amount,
        became,
        shop: tried.shop.clone(),
        decided_at: order.decided_at,
        customer: Bilingual::filled(
            words,
            &[
                ("amount", &grouped(yen.get())),
                ("room", &grouped(order.room.get())),
                ("refunded", &grouped(became.refunded.get())),
                ("shop", place),
                ("why", view.circumstances.why().unwrap_or_default()),
            ],
        ),
    }
}

/// The texts of a live code and the width asked for. An ended code has no picture: it would only be denied.
async fn picture(asked: &Asked, default: u64) -> Result<(Minted, u32), Problem> {
    let query = Query::read(asked.query(), &["width"])?;
    let width = query.number("width", WIDTHS)?.unwrap_or(default);
    let (view, now) = look(&asked.edge, Request::FindCode(code_id(asked)?)).await?;
    let state = view.code.state(now.at);
    if state != CodeState::Live {
        let problem = Problem::new(&CODE_NOT_LIVE, "Issue a new code and show that one.");
        return Err(problem.with("code_status", state.name()));
    }
    Ok((minted(&asked.edge, &view.code)?, u32::try_from(width).unwrap_or(u32::MAX)))
}

fn svg(picture: Option<String>) -> Result<Answer, Problem> {
    picture.map(|svg| Answer::new(StatusCode::OK, "image/svg+xml", svg)).ok_or_else(Problem::internal)
}

/// `GET /v1/codes/{code_id}/barcode.svg?width=`
pub(crate) async fn barcode(asked: &Asked) -> Result<Answer, Problem> {
    let (minted, width) = picture(asked, BARCODE_WIDTH).await?;
    svg(code::barcode::svg(&minted.barcode, width))
}

/// `GET /v1/codes/{code_id}/qr.svg?width=`
pub(crate) async fn qr(asked: &Asked) -> Result<Answer, Problem> {
    let (minted, width) = picture(asked, QR_WIDTH).await?;
    svg(code::qr::svg(&minted.qr, width))
}
