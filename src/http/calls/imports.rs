//! `POST /v1/imports`: a file of what banks and convenience stores report. Every line has an id of its own and is posted
//! once, whatever file it comes in: a file read twice, or one that overlaps another by half, changes nothing. Bad
//! lines are named with their reason, good ones are posted.
//!
//! Lines go to the engine in the order of the file and wait together for the disk, so that they share its syncs.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use csv::StringRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::afterwards::refund_by;
use super::csv_lines::{Records, Span};
use super::office::instruct_with;
use crate::domain::billing::stories::may_be_let_go;
use crate::domain::commands::past::Past;
use crate::domain::commands::refusal::Refusal;
use crate::domain::model::bounds::MOST_YEN;
use crate::domain::model::ids::{AuthorizationId, CustomerId, OfficeId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::request::{Instruction, Refund, Said};
use crate::domain::model::time::{Date, Millis};
use crate::domain::state::receipts::Known;
use crate::hex;
use crate::http::Edge;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::past::{known, past_of};
use crate::http::problem::{ID_REUSED, MALFORMED, Problem};
use crate::http::refusal::{NotDone, refused};

/// One line. `type` says which of the others it needs.
#[derive(Deserialize)]
struct Row<'a> {
    id: &'a str,
    r#type: &'a str,
    #[serde(default)]
    customer_id: &'a str,
    #[serde(default)]
    amount: &'a str,
    #[serde(default)]
    paid_at: &'a str,
    #[serde(default)]
    expires_at: &'a str,
    #[serde(default)]
    authorization_id: &'a str,
}

const COLUMNS: [&str; 7] = ["id", "type", "customer_id", "amount", "paid_at", "expires_at", "authorization_id"];

/// What a line asks to be posted.
enum Posting {
    Office(CustomerId, Instruction),
    Refund(Refund),
}

impl Posting {
    /// Whether it reaches back to what memory may have let go of. `past` is the purchase of a refund.
    fn is_of_long_ago(&self, past: &Past, today: Date) -> bool {
        let paid_at = match self {
            Self::Office(_, instruction) => instruction.paid_at(),
            Self::Refund(refund) => refund.paid_at,
        };
        let is_over = |order: &Order| may_be_let_go(order.terms().due, today);
        paid_at.is_some_and(|at| may_be_let_go(at.date(), today))
            || matches!(past, Past::Orders(orders) if orders.iter().any(is_over))
    }
}

/// Number and id of a line.
type Place = (u64, String);

/// One line as it was read.
struct Line {
    /// Of the file, from 1, as an editor counts.
    number: u64,
    id: String,
    posting: Result<Posting, Problem>,
}

#[derive(Serialize)]
struct LineError {
    /// Of the file, from 1, as an editor counts.
    line: u64,
    id: String,
    reason: &'static str,
    detail: String,
}

#[derive(Default, Serialize)]
struct ImportShown {
    digest: String,
    lines: u64,
    posted: u64,
    /// Known already: nothing changed.
    replayed: u64,
    failed: u64,
    errors: Vec<LineError>,
}

/// Lines under way at once.
const TOGETHER: usize = 256;

/// `POST /v1/imports`
pub(crate) async fn import(asked: &Asked) -> Result<Answer, Problem> {
    let mut spans = Records::of(&asked.body);
    let columns = columns(&mut spans)?;
    let digest: [u8; 32] = Sha256::digest(&asked.body).into();
    let digest = format!("sha256:{}", hex::encode(&digest).as_str());
    let mut shown = ImportShown { digest, ..ImportShown::default() };
    let stopping = asked.edge.client.stopping();
    loop {
        let lines = next_lines(&mut spans, &columns);
        let Some(first) = lines.first() else { return Answer::ok(&shown) };
        if *stopping.borrow() {
            return Err(broken_off(first.number, &shown, Problem::not_ready()));
        }
        post_together(&asked.edge, lines, &mut shown).await?;
    }
}

fn next_lines(spans: &mut Records<'_>, columns: &StringRecord) -> Vec<Line> {
    spans.take(TOGETHER).map(|span| line(span, columns)).collect()
}

/// The names of the columns, from the first line that is not blank.
fn columns(spans: &mut Records<'_>) -> Result<StringRecord, Problem> {
    let missing = || Problem::new(&MALFORMED, "The first line must name the columns, `id` and `type` among them.");
    let columns = cells(spans.next().ok_or_else(missing)?)?;
    if let Some(unknown) = columns.iter().find(|name| !COLUMNS.contains(name)) {
        let detail = format!(
            "The column `{unknown}` is not known. Leave it out, or name it as it is meant: {}.",
            COLUMNS.join(", ")
        );
        return Err(Problem::new(&MALFORMED, detail));
    }
    let times = |wanted: &str| columns.iter().filter(|name| *name == wanted).count();
    if let Some(twice) = COLUMNS.into_iter().find(|name| times(name) > 1) {
        return Err(Problem::new(&MALFORMED, format!("The column `{twice}` is named twice. Leave one of them out.")));
    }
    if times("id") == 0 || times("type") == 0 { Err(missing()) } else { Ok(columns) }
}

fn cells(span: Span<'_>) -> Result<StringRecord, Problem> {
    if let Some(line) = span.unclosed {
        let detail = format!(
            "The quote that opens on line {line} is never closed, so nothing after it could be read. Close it, and send \
             the file again."
        );
        return Err(bad(detail));
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(span.bytes);
    let mut records = reader.byte_records();
    let (Some(Ok(record)), None) = (records.next(), records.next()) else {
        return Err(bad("This is no CSV. Write a quote inside a quoted field twice."));
    };
    StringRecord::from_byte_record(record).map_err(|_| bad("This line is not UTF-8. Send the file in UTF-8."))
}

fn line(span: Span<'_>, columns: &StringRecord) -> Line {
    let cells = match cells(span) {
        Ok(cells) => cells,
        Err(problem) => return Line { number: span.line, id: String::new(), posting: Err(problem) },
    };
    let id = columns.iter().position(|name| name == "id").and_then(|at| cells.get(at)).unwrap_or_default();
    let id = id.chars().take(64).collect();
    let posting = if cells.len() == columns.len() {
        cells.deserialize(Some(columns)).map_err(|error| bad(error.to_string())).and_then(read)
    } else {
        Err(bad(format!(
            "It has {} fields, and the first line names {}. Send as many, empty ones too.",
            cells.len(),
            columns.len()
        )))
    };
    Line { number: span.line, id, posting }
}

/// Nothing from this line on was read, or all of it may be sent again: the caller sends the whole file again, and what was
/// posted replays.
fn broken_off(line: u64, shown: &ImportShown, problem: Problem) -> Problem {
    let detail = format!(
        "The import ended before line {line}: {} lines were posted, {} were known, {} failed. Send the file again; what \
         was posted is not posted twice.",
        shown.posted, shown.replayed, shown.failed
    );
    problem.with_detail(detail).with("line", line).with("posted", shown.posted).with("replayed", shown.replayed)
}

/// Posts lines in their order, and waits for them together.
async fn post_together(edge: &Arc<Edge>, lines: Vec<Line>, shown: &mut ImportShown) -> Result<(), Problem> {
    let ids = lines.iter().filter_map(|line| match &line.posting {
        Ok(Posting::Office(_, instruction)) => instruction.receipt().map(|(_, id)| id),
        _ => None,
    });
    let known = known(edge, ids.collect()).await;
    let mut orders = past_orders(edge, &lines).await;
    let mut begun = Vec::new();
    let today = edge.client.now().date();
    for (at, line) in lines.into_iter().enumerate() {
        // A stop does not wait for the refunds of a group.
        if matches!(line.posting, Ok(Posting::Refund(_))) && *edge.client.stopping().borrow() {
            note(begun.drain(..), shown).await?;
            return Err(broken_off(line.number, shown, Problem::not_ready()));
        }
        // What may need stories from the ledger takes several questions: no line passes it, and none comes after it where
        // the ledger can't tell.
        let past = orders.remove(&at).unwrap_or_default();
        let is_long_ago = line.posting.as_ref().is_ok_and(|posting| posting.is_of_long_ago(&past, today));
        if is_long_ago {
            note(begun.drain(..), shown).await?;
        }
        let place = (line.number, line.id);
        begun.push((place, Begun::begin(post(edge, line.posting, known.as_ref(), past)).await));
        if is_long_ago {
            note(begun.drain(..), shown).await?;
        }
    }
    note(begun.drain(..), shown).await
}

/// Takes down what came of lines, in their order.
async fn note<F: Future<Output = Result<bool, Problem>>>(
    begun: impl Iterator<Item = (Place, Begun<F>)>,
    shown: &mut ImportShown,
) -> Result<(), Problem> {
    let mut broken = None;
    for ((line, id), begun) in begun {
        match begun.end().await {
            // Those after it are under way and end as they end; the answer tells of the first that did not.
            Err(problem) if problem.status() == 503 => broken = broken.or(Some((line, problem))),
            _ if broken.is_some() => {}
            outcome => shown.count(line, id, outcome),
        }
    }
    broken.map_or(Ok(()), |(line, problem)| Err(broken_off(line, shown, problem)))
}

impl ImportShown {
    fn count(&mut self, line: u64, id: String, outcome: Result<bool, Problem>) {
        self.lines += 1;
        match outcome {
            Ok(true) => self.replayed += 1,
            Ok(false) => self.posted += 1,
            Err(problem) => {
                self.failed += 1;
                let detail = problem.detail().to_owned();
                self.errors.push(LineError { line, id, reason: problem.reason(), detail });
            }
        }
    }
}

/// Something under way that has been asked for: the order of beginning is the order of asking.
enum Begun<F: Future> {
    Ended(F::Output),
    Waiting(Pin<Box<F>>),
}

impl<F: Future> Begun<F> {
    /// A question enters the engine's queue when it is first looked at.
    async fn begin(future: F) -> Self {
        let mut future = Box::pin(future);
        match std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            Poll::Ready(output) => Self::Ended(output),
            Poll::Pending => Self::Waiting(future),
        }
    }

    async fn end(self) -> F::Output {
        match self {
            Self::Ended(output) => output,
            Self::Waiting(future) => future.await,
        }
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(&MALFORMED, detail)
}

fn field(name: &str, wanted: &str) -> Problem {
    Problem::field(&format!("/{name}"), wanted)
}

/// What a line of this type has no use for is not taken for heard.
fn says_nothing(row: &Row<'_>, columns: &[(&str, &str)]) -> Result<(), Problem> {
    let said = columns.iter().find(|(_, cell)| !cell.is_empty());
    said.map_or(Ok(()), |(name, _)| Err(field(name, &format!("must be empty in a line of type `{}`", row.r#type))))
}

fn read(row: Row<'_>) -> Result<Posting, Problem> {
    let id = || OfficeId::new(row.id).map_err(|bad| field("id", &bad.to_string()));
    let customer = || CustomerId::new(row.customer_id).map_err(|bad| field("customer_id", &bad.to_string()));
    let amount = || {
        let amount = row.amount.parse().ok().filter(|yen| (1..=MOST_YEN).contains(yen));
        amount.map(Yen::new).ok_or_else(|| field("amount", &format!("must be a whole number from 1 to {MOST_YEN}")))
    };
    let time = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => Millis::parse(text).map(Some).ok_or_else(|| field(name, "must be a time as in RFC 3339")),
    };
    let paid_at = time("paid_at", row.paid_at)?;
    let expires_at = time("expires_at", row.expires_at)?;
    let expiry = ("expires_at", row.expires_at);
    let authorization = ("authorization_id", row.authorization_id);
    // Of the end of a payment; it is compared with what was said before.
    let said = || -> Result<Said, Problem> {
        let amount = if row.amount.is_empty() { None } else { Some(amount()?) };
        Ok(Said { amount, paid_at, expires_at, slip: None })
    };
    Ok(match row.r#type {
        "repayment" => {
            says_nothing(&row, &[expiry, authorization])?;
            Posting::Office(customer()?, Instruction::Repay { id: id()?, amount: amount()?, paid_at, slip: None })
        }
        "pending" => {
            says_nothing(&row, &[authorization])?;
            let expires_at = expires_at.ok_or_else(|| field("expires_at", "is needed for `pending`"))?;
            Posting::Office(customer()?, Instruction::Expect { id: id()?, amount: amount()?, paid_at, expires_at })
        }
        "final" | "debit_paid" => {
            says_nothing(&row, &[authorization])?;
            Posting::Office(customer()?, Instruction::Confirm { id: id()?, said: said()? })
        }
        "withdrawn" | "debit_failed" => {
            says_nothing(&row, &[authorization])?;
            Posting::Office(customer()?, Instruction::Withdraw { id: id()?, said: said()?, staff: None })
        }
        "refund" => {
            says_nothing(&row, &[expiry])?;
            let authorization = AuthorizationId::parse(row.authorization_id);
            let authorization =
                authorization.ok_or_else(|| field("authorization_id", "must be an authorization id, `aut_…`"))?;
            let refund_id = RefundId::new(row.id).map_err(|bad| field("id", &bad.to_string()))?;
            let customer = if row.customer_id.is_empty() { None } else { Some(customer()?) };
            Posting::Refund(Refund { customer, paid_at, ..Refund::new(authorization, refund_id, amount()?) })
        }
        _ => {
            let known =
                "must be one of `repayment`, `pending`, `final`, `withdrawn`, `debit_paid`, `debit_failed`, `refund`";
            return Err(field("type", known));
        }
    })
}

/// Looks of one import under way at once; they block a thread each.
const LOOKS: usize = 8;

/// The purchases of refunds that memory has let go of, by the places of their lines. They are looked up before the lines
/// begin, so that each is one question and none passes another.
async fn past_orders(edge: &Arc<Edge>, lines: &[Line]) -> HashMap<usize, Past> {
    let mut found = HashMap::new();
    let mut looks = JoinSet::new();
    let mut is_away = false;
    for (at, line) in lines.iter().enumerate() {
        let Ok(Posting::Refund(refund)) = line.posting else { continue };
        if looks.len() >= LOOKS
            && let Some(Ok((at, past))) = looks.join_next().await
        {
            is_away |= past == Past::Unavailable;
            found.insert(at, past);
        }
        // The first of these lines breaks the file off, so more looks would be for nothing.
        if is_away || *edge.client.stopping().borrow() {
            found.insert(at, Past::Unavailable);
            continue;
        }
        let edge = Arc::clone(edge);
        looks.spawn(async move { (at, past_of(&edge, &refund).await) });
    }
    while let Some(look) = looks.join_next().await {
        found.extend(look.ok());
    }
    found
}

/// Whether it was known already.
async fn post(
    edge: &Edge,
    posting: Result<Posting, Problem>,
    known: Option<&Known>,
    past: Past,
) -> Result<bool, Problem> {
    match posting? {
        Posting::Office(customer, instruction) => {
            let ledger = instruction.receipt().and_then(|(_, id)| Some(known?.of(id)));
            Ok(instruct_with(edge, customer, instruction, ledger).await?.replayed)
        }
        Posting::Refund(refund) => refund_by(edge, refund, past).await.map_err(|why| match why {
            // The id of a line has one name, whatever the line tells.
            NotDone::Refused(reused @ Refusal::RefundIdReused { .. }) => {
                Problem::new(&ID_REUSED, refused(reused).detail())
            }
            other => other.into(),
        }),
    }
}
