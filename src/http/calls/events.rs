//! `/v1/events`: every recorded event from a cursor on, as NDJSON up to the journal's end or as SSE that follows it.
//! NDJSON says in its last line where it ended and whether more is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::event_json::{Namer, bills_of, customers_of};
use super::notice_json::event_lines;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::ids::{CustomerId, CustomerIx, Lsn};
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::http::Edge;
use crate::http::answer::{Aborted, Answer};
use crate::http::asked::Asked;
use crate::http::framing::Heads;
use crate::http::past::{BillNames, invoices};
use crate::http::problem::{EVENTS_RELEASED, NOT_FOUND, Problem};
use crate::http::query::Query;
use crate::journal::{FeedError, Follower};

/// Events of one answer when nothing is said.
const DEFAULT_LIMIT: u64 = 1_000;
const MAX_LIMIT: u64 = 100_000;
/// What a position can be.
const POSITIONS: std::ops::RangeInclusive<u64> = 0..=u64::MAX >> 6;
/// What a reader sends that lost its connection.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Events read at once.
const PAGE: usize = 256;
/// Pages written ahead of a slow reader.
const AHEAD: usize = 2;
/// How often a live feed looks for new events.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a silent feed says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const ALIVE: Bytes = Bytes::from_static(b": alive\n\n");
/// Comments that tell a reader that is gone from one that only says no more: its side answers the first with a reset, and
/// the second can't be written.
const PROBES: u32 = 2;

/// `GET /v1/events?after=&limit=`
pub(crate) async fn follow(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["after", "limit"])?;
    let live = wants_events(asked.headers());
    let after = query.number("after", POSITIONS)?;
    let limit = query.number("limit", 1..=MAX_LIMIT)?;
    // A reader that comes back sends its first address again: what it saw since stands in the header.
    let after = Lsn(last_event_id(asked.headers())?.or(after).unwrap_or(0));
    let left = if live { limit } else { Some(limit.unwrap_or(DEFAULT_LIMIT)) };
    let Some(journal) = &asked.edge.journal else {
        return Err(Problem::new(&NOT_FOUND, "Events are not kept in this process. Ask a running `sokketsu serve`."));
    };
    let permit = Arc::clone(&asked.edge.feed_permits).try_acquire_owned().map_err(|_| Problem::busy())?;
    let (out, receiver) = mpsc::channel(AHEAD);
    let mut feed = Feed {
        edge: Arc::clone(&asked.edge),
        stopping: asked.edge.client.stopping(),
        journal: Some(journal.another()),
        after,
        left,
        live,
        names: HashMap::new(),
        bills: BillNames::default(),
        out,
        reader: asked.heads.clone(),
        _permit: permit,
    };
    // Before the head is sent: what can't be read at all is told by a status.
    let page = feed.page().await.map_err(|error| match error {
        FeedError::Gone { first } => gone(after, first),
        FeedError::Failed(_) => Problem::not_ready(),
    })?;
    tokio::spawn(feed.run(page));
    Ok(Answer::stream(if live { "text/event-stream" } else { "application/x-ndjson" }, receiver))
}

fn gone(after: Lsn, first: Lsn) -> Problem {
    let before = first.0.saturating_sub(1);
    let detail = format!(
        "Record {} is not kept, or can't be read, any more. Go on with `after={before}`; what came before stands in the \
         ledger.",
        after.next()
    );
    Problem::new(&EVENTS_RELEASED, detail).with("first", first.0)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

/// The position a reader has come to, if it says so. A broken one would begin it anew, or leave something out.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let position = digits.and_then(|text| text.parse().ok()).filter(|position| POSITIONS.contains(position));
    match (position, values.next()) {
        (Some(position), None) => Ok(Some(position)),
        _ => Err(Problem::in_header(LAST_EVENT_ID, "must be the position of the last event seen, once")),
    }
}

/// The last line of NDJSON: where it ended, and whether more is there.
fn end_line(after: Lsn, more: bool) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "end": { "after": after.0, "more": more } })))
}

type Page = Vec<(Lsn, Millis, Event)>;

/// One reader of the journal and where it writes.
struct Feed {
    edge: Arc<Edge>,
    stopping: watch::Receiver<bool>,
    /// Away while it reads.
    journal: Option<Follower>,
    after: Lsn,
    /// Events still to give; `None` has no end.
    left: Option<u64>,
    live: bool,
    /// Ids of customers met so far; emptied when it has grown.
    names: HashMap<CustomerIx, CustomerId>,
    /// Likewise the names of invoices.
    bills: BillNames,
    out: mpsc::Sender<Result<Bytes, Aborted>>,
    /// Where the reader's end can be seen.
    reader: Option<Heads>,
    _permit: OwnedSemaphorePermit,
}

/// Names remembered by one feed.
const NAMES: usize = 10_000;

impl Feed {
    async fn run(mut self, first: Page) {
        let mut silent_since = Instant::now();
        let mut probes = PROBES;
        let mut page = Some(first);
        while self.left != Some(0) && !*self.stopping.borrow() {
            let read = match page.take() {
                Some(page) => Ok(page),
                None => self.page().await,
            };
            let Ok(page) = read else {
                // A clean end would say that there is no more. If nobody listens any more, that is fine too.
                self.out.send(Err(Aborted)).await.ok();
                return;
            };
            if let Some(text) = self.render(&page).await {
                silent_since = Instant::now();
                if self.out.send(Ok(text)).await.is_err() {
                    return;
                }
                continue;
            }
            if !self.live {
                break;
            }
            let is_probed = probes > 0 && self.reader.as_ref().is_some_and(Heads::is_closed_by_peer);
            probes -= u32::from(is_probed);
            if is_probed || silent_since.elapsed() >= KEEP_ALIVE {
                silent_since = Instant::now();
                if self.out.send(Ok(ALIVE)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = self.stopping.changed() => return,
                () = self.out.closed() => return,
            }
        }
        if !self.live {
            let more = self.is_more_there().await;
            self.out.send(Ok(end_line(self.after, more))).await.ok();
        }
    }

    /// Whether something comes after what was given: at the limit, or where the process stops. What can't be read any
    /// more is there too; the next question is told so.
    async fn is_more_there(&mut self) -> bool {
        if self.left != Some(0) {
            return *self.stopping.borrow();
        }
        self.left = Some(1);
        self.page().await.map_or(true, |page| !page.is_empty())
    }

    /// The next events; an error ends the feed.
    async fn page(&mut self) -> Result<Page, FeedError> {
        let interrupted = || FeedError::Failed("reading was interrupted".to_owned());
        let most = self.left.map_or(PAGE, |left| usize::try_from(left).unwrap_or(PAGE).min(PAGE));
        let mut journal = self.journal.take().ok_or_else(interrupted)?;
        let after = self.after;
        let read = tokio::task::spawn_blocking(move || (journal.page(after, most), journal)).await;
        let (page, journal) = read.map_err(|_| interrupted())?;
        self.journal = Some(journal);
        page.inspect_err(|error| tracing::warn!(?error, after = after.0, "a feed of events ended"))
    }

    /// The page as text; `None` when it is empty.
    async fn render(&mut self, page: &Page) -> Option<Bytes> {
        let (last, ..) = page.last()?;
        self.learn_names(page).await;
        self.learn_bills(page).await;
        let mut text = String::new();
        for (lsn, at, event) in page {
            let namer = Namer { customers: &|ix| self.names.get(&ix).copied(), bills: &self.bills };
            let lines = event_lines(*lsn, *at, event, namer);
            for (number, json) in (1..).zip(&lines) {
                match self.live {
                    // Whoever loses the connection in the middle of a record's lines hears all of them again.
                    true if number == lines.len() => text += &format!("id: {lsn}\ndata: {json}\n\n"),
                    true => text += &format!("data: {json}\n\n"),
                    false => text += &format!("{json}\n"),
                }
            }
        }
        self.after = *last;
        let given = u64::try_from(page.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(given));
        Some(Bytes::from(text))
    }

    async fn learn_bills(&mut self, page: &Page) {
        if self.bills.len() > NAMES {
            self.bills = BillNames::default();
        }
        let bills = page.iter().flat_map(|(.., event)| bills_of(event));
        // Where the ledger can't tell, an event names no invoice; the next page asks again.
        self.bills.learn(&self.edge, invoices(bills)).await.ok();
    }

    async fn learn_names(&mut self, page: &Page) {
        if self.names.len() > NAMES {
            self.names.clear();
        }
        let mut unknown: Vec<CustomerIx> = page.iter().filter_map(|(.., event)| customers_of(event)).collect();
        unknown.retain(|ix| !self.names.contains_key(ix));
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return;
        }
        let question = Request::NameCustomers(unknown.clone().into_boxed_slice());
        if let Ok(answered) = self.edge.client.ask(question, None).await
            && let Reply::Names(names) = answered.reply
        {
            self.names.extend(unknown.into_iter().zip(names).filter_map(|(ix, name)| Some((ix, name?))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_feed_is_asked_for_by_accept() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, header::HeaderValue::from_static(value));
            wants_events(&headers)
        };
        assert!(with("text/event-stream") && with("application/json, text/event-stream;q=0.9"));
        assert!(!with("*/*") && !wants_events(&HeaderMap::new()));
    }

    #[test]
    fn a_position_is_said_once_and_in_digits() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LAST_EVENT_ID, header::HeaderValue::from_static(value));
            }
            last_event_id(&headers).map_err(|problem| problem.status())
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&["1226"]), Ok(Some(1_226)));
        for wrong in [&["x"][..], &[""], &["-1"], &["+1"], &["1.0"], &["18446744073709551615"], &["1", "1"]] {
            assert_eq!(with(wrong), Err(400), "{wrong:?}");
        }
    }
}
