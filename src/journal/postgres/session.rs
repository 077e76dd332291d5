//! One connection with a server, which belongs to the thread that asks: the thread waits for each answer, and the driver runs
//! meanwhile.
//!
//! What is given up is left alone: the connection is closed, its statement neither cancelled nor its backend terminated, as that
//! would show everybody a commit that no standby has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::choose::{Said, Standing, choose};
use super::sql;
use super::table::{Acquired, Answer, Fault, Held, Node, Row, Session, Settings, Stream, View};
use crate::database::{self, Newest, POOLER, Server, Unconnected};
use crate::journal::Lsn;

/// All hosts are asked at once; one that has not said what it is by then is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A statement without an answer by then is in doubt.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What a member says it runs.
const BUILD: &str = env!("CARGO_PKG_VERSION");
/// Of who makes the tables.
const OWNER_PATIENCE: Duration = Duration::from_secs(60);

/// Set by the connection itself, whatever the server's files say. A statement that does not get its lock ends before our patience
/// does, and has done nothing; only a commit that waits for a standby outlasts it, so at most one connection is left behind.
const OPTIONS: &str = "-c search_path=public,pg_temp -c synchronous_commit=on -c client_min_messages=warning \
                       -c lock_timeout=1s -c statement_timeout=0 -c idle_in_transaction_session_timeout=15s -c jit=off \
                       -c TimeZone=UTC";
fn runtime() -> Answer<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Fault::Doubt(format!("no runtime: {error}")))
}

/// Asks all hosts at once, and gives the connection that is chosen, with its timeline.
async fn find(
    server: &Server,
    options: &'static str,
    choice: impl FnOnce(&[(String, Said)]) -> Result<usize, String>,
) -> Answer<(Opening, u32)> {
    let tls = server.authorities().map(|file| database::connector(file)).transpose().map_err(Fault::Unfit)?;
    let asked = server.hosts().into_iter().map(|host| {
        (named(&host), tokio::spawn(tokio::time::timeout(ANSWERS_WITHIN, Opening::ask(host, options, tls.clone()))))
    });
    let asked: Vec<_> = asked.collect();
    let (mut said, mut open, mut is_unfit) = (Vec::<(String, Said)>::new(), Vec::new(), false);
    for (name, asked) in asked {
        let late = || Err(Fault::Doubt(format!("did not answer within {} s", ANSWERS_WITHIN.as_secs())));
        let (opening, standing) = match asked.await.ok().and_then(Result::ok).unwrap_or_else(late) {
            Ok((opening, standing)) => (Some(opening), Ok(standing)),
            Err(fault) => {
                is_unfit |= matches!(fault, Fault::Unfit(_));
                (None, Err(fault.why().to_owned()))
            }
        };
        said.push((name, standing));
        open.push(opening);
    }
    // It ends by no failover: who has set the cluster so has to mend it.
    let is_asynchronous = |said: &Said| said.as_ref().is_ok_and(|it| !it.in_recovery && it.is_asynchronous);
    is_unfit |= said.iter().any(|(_, said)| is_asynchronous(said));
    let at = choice(&said).map_err(|why| if is_unfit { Fault::Unfit(why) } else { Fault::Doubt(why) })?;
    let timeline = said.get(at).and_then(|(_, said)| said.as_ref().ok()).map_or(0, |it| it.timeline);
    let opening = open.swap_remove(at).ok_or_else(|| Fault::Doubt("the server went away".to_owned()))?;
    Ok((opening, timeline))
}

/// As people call it.
fn named(host: &Config) -> String {
    let name = host.get_hosts().first().map_or_else(String::new, |host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(folder) => folder.display().to_string(),
    });
    let port = host.get_ports().first().copied().unwrap_or_default();
    format!("{name}:{port}")
}

/// A connection that is not chosen yet.
struct Opening {
    client: Client,
    was_cancelled: Arc<AtomicBool>,
}

impl Opening {
    async fn ask(host: Config, options: &str, tls: Option<MakeRustlsConnect>) -> Answer<(Self, Standing)> {
        let was_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&was_cancelled);
        // The server says so before the answer: a commit whose wait for standbys was cancelled is told as a success.
        let hears = move |message: &AsyncMessage| {
            if let AsyncMessage::Notice(notice) = message
                // By its code: the words may be in another language.
                && matches!(notice.code(), &SqlState::WARNING | &SqlState::ADMIN_SHUTDOWN)
            {
                cancelled.store(true, Ordering::Release);
            }
        };
        let client = database::connect(host, options, tls, hears).await.map_err(|error| match error {
            Unconnected::Unfit(why) => Fault::Unfit(why),
            Unconnected::Failed(error) => fault(error),
        })?;
        let row = client.query_one(sql::STANDING, &[]).await.map_err(fault)?;
        let timeline: Option<String> = row.try_get(1).map_err(fault)?;
        let standing = Standing {
            in_recovery: row.try_get(0).map_err(fault)?,
            has_sync_standby: row.try_get(2).map_err(fault)?,
            is_asynchronous: row.try_get(3).map_err(fault)?,
            timeline: timeline.and_then(|hex| u32::from_str_radix(&hex, 16).ok()).unwrap_or_default(),
        };
        Ok((Self { client, was_cancelled }, standing))
    }
}

/// What the server or the driver said. None of it has a value of a row.
pub(super) fn fault(error: tokio_postgres::Error) -> Fault {
    if let Some(told) = error.as_db_error() {
        let text = format!("{} ({})", told.message(), told.code().code());
        return match told.code().code().get(..2) {
            // Who we are, which database, what we may do, what tables there are.
            Some("28" | "3D" | "42") => Fault::Unfit(text),
            _ => Fault::Doubt(text),
        };
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Fault::Doubt(text)
}

type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// One connection with the server that was chosen.
pub(crate) struct PgSession {
    /// Taken when it is dropped, which may be inside of another runtime.
    runtime: Option<Runtime>,
    client: Client,
    /// The server said something that may mean that a wait for standbys was cancelled.
    was_cancelled: Arc<AtomicBool>,
    /// For an answer.
    patience: Duration,
    /// By the address of their text, made once; there are a handful.
    statements: Vec<(&'static str, Statement)>,
    /// The server's process, which stays the same unless somebody stands in between.
    backend: Option<i32>,
    /// The timeline of its server when the connection was made, and the highest one that this process knows of.
    served: Option<(u32, Newest)>,
    wall: fn() -> i64,
}

impl Drop for PgSession {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl PgSession {
    /// Of a node, with the one server that is chosen of what all of them said; and that one's timeline.
    pub fn of_node(
        server: &Server,
        wall: fn() -> i64,
        choice: impl FnOnce(&[(String, Said)]) -> Result<usize, String>,
    ) -> Answer<(Self, u32)> {
        let runtime = runtime()?;
        let (opening, timeline) = runtime.block_on(find(server, OPTIONS, choice))?;
        let newest = server.newest();
        if !newest.is(timeline) {
            return Err(Fault::Doubt(format!("the primary that answers is of timeline {timeline}, and was replaced")));
        }
        let mut session = Self::new(runtime, opening, PATIENCE, wall);
        session.served = Some((timeline, newest));
        Ok((session, timeline))
    }

    fn new(runtime: Runtime, opening: Opening, patience: Duration, wall: fn() -> i64) -> Self {
        let Opening { client, was_cancelled } = opening;
        let (statements, backend, served) = (Vec::new(), None, None);
        Self { runtime: Some(runtime), client, was_cancelled, patience, statements, backend, served, wall }
    }

    /// One that waits so long for an answer.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Of who makes the tables, with the primary, standbys or not.
    pub fn of_owner(server: &Server) -> Answer<Self> {
        let any = |said: &[(String, Said)]| {
            let with_standby = |said: &Said| said.clone().map(|it| Standing { has_sync_standby: true, ..it });
            let said: Vec<_> = said.iter().map(|(name, said)| (name.clone(), with_standby(said))).collect();
            choose(&said, 0)
        };
        let runtime = runtime()?;
        let (opening, _) = runtime.block_on(find(server, "-c search_path=public,pg_temp", any))?;
        Ok(Self::new(runtime, opening, OWNER_PATIENCE, || 0))
    }

    fn wait<T>(&self, asking: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Answer<T> {
        let Some(runtime) = &self.runtime else { return Err(Fault::Doubt("the connection is closed".to_owned())) };
        if self.served.as_ref().is_some_and(|(timeline, newest)| !newest.is(*timeline)) {
            return Err(Fault::Doubt("its server was replaced by one that was promoted".to_owned()));
        }
        match runtime.block_on(async { tokio::time::timeout(self.patience, asking).await }) {
            Err(_) => Err(Fault::Doubt(format!("no answer within {} ms", self.patience.as_millis()))),
            Ok(_) if self.was_cancelled.load(Ordering::Acquire) => {
                Err(Fault::Doubt("the wait for a standby was cancelled".to_owned()))
            }
            Ok(answer) => answer.map_err(fault),
        }
    }

    pub(super) fn rows(&mut self, sql: &'static str, params: Params<'_>) -> Answer<Vec<tokio_postgres::Row>> {
        let known = self.statements.iter().find(|(text, _)| std::ptr::eq(*text, sql));
        let statement = match known {
            Some((_, statement)) => statement.clone(),
            None => {
                let statement = self.wait(self.client.prepare(sql))?;
                self.statements.push((sql, statement.clone()));
                statement
            }
        };
        self.wait(self.client.query(&statement, params))
    }

    fn row(&mut self, sql: &'static str, params: Params<'_>) -> Answer<tokio_postgres::Row> {
        self.rows(sql, params)?
            .pop()
            .ok_or_else(|| Fault::Unfit("a row is missing: `sokketsu cluster init`".to_owned()))
    }

    /// A query without parameters that gives one text.
    pub fn text(&mut self, sql: &'static str) -> Answer<String> {
        self.row(sql, &[])?.try_get(0).map_err(fault)
    }

    /// Texts of a query without parameters.
    pub fn texts<const N: usize>(&mut self, sql: &'static str) -> Answer<Vec<[String; N]>> {
        let read = |row: &tokio_postgres::Row| {
            let mut texts = [const { String::new() }; N];
            for (at, text) in texts.iter_mut().enumerate() {
                *text = row.try_get(at).map_err(fault)?;
            }
            Ok(texts)
        };
        self.rows(sql, &[])?.iter().map(read).collect()
    }

    /// Statements without parameters, of the owner of the tables.
    pub fn run(&mut self, sql: &str) -> Answer<()> {
        self.wait(self.client.batch_execute(sql))
    }
}

/// Milliseconds as the database takes them.
fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn lsn(lsn: Lsn) -> i64 {
    i64::try_from(lsn.0).unwrap_or(i64::MAX)
}

fn read_row(row: &tokio_postgres::Row) -> Answer<Row> {
    let first: i64 = row.try_get(4).map_err(fault)?;
    Ok(Row {
        stream: row.try_get(0).map_err(fault)?,
        month: row.try_get(1).map_err(fault)?,
        batch: row.try_get(2).map_err(fault)?,
        epoch: row.try_get(3).map_err(fault)?,
        first: Lsn(first.unsigned_abs()),
        count: row.try_get(5).map_err(fault)?,
        body: row.try_get(6).map_err(fault)?,
    })
}

fn read_rows(rows: &[tokio_postgres::Row]) -> Answer<Vec<Row>> {
    rows.iter().map(read_row).collect()
}

/// What a member sees of its cluster.
impl PgSession {
    /// Says that the node lives. None: another process of its name does; else whether it is to own nothing.
    pub fn renew_member(&mut self, node: &Node, address: &str, lag: u64, lasts: Duration) -> Answer<Option<bool>> {
        let lag = i64::try_from(lag).unwrap_or(i64::MAX);
        let params: Params<'_> = &[&node.name, &node.boot, &address, &BUILD, &lag, &ms(lasts)];
        let rows = self.rows(sql::RENEW_MEMBER, params)?;
        rows.first().map(|row| row.try_get(0).map_err(fault)).transpose()
    }

    /// Says that it does so no more.
    pub fn leave(&mut self, node: &Node) -> Answer<()> {
        self.rows(sql::LEAVE, &[&node.name, &node.boot]).map(drop)
    }

    pub fn view(&mut self, stream: Stream, node: &Node) -> Answer<View> {
        let row = self.row(sql::VIEW, &[&stream, &node.name])?;
        let [before_us, last, posted] = [3, 4, 5].map(|at| row.try_get::<_, i64>(at).map_err(fault));
        Ok(View {
            owner: row.try_get(0).map_err(fault)?,
            address: row.try_get(1).map_err(fault)?,
            is_free: row.try_get(2).map_err(fault)?,
            before_us: u32::try_from(before_us?).unwrap_or(u32::MAX),
            last: Lsn(last?.unsigned_abs()),
            posted: Lsn(posted?.unsigned_abs()),
            epoch: row.try_get(6).map_err(fault)?,
            lease: row.try_get(7).map_err(fault)?,
        })
    }
}

impl Session for PgSession {
    fn settings(&mut self) -> Answer<Settings> {
        let before = (self.wall)();
        let row = self.row(sql::SETTINGS, &[])?;
        let ours = before.midpoint((self.wall)());
        let at = |at| row.try_get::<_, String>(at).map_err(fault);
        let is = |at| row.try_get::<_, bool>(at).map_err(fault);
        let number = |at| row.try_get::<_, i64>(at).map_err(fault);
        let backend: i32 = row.try_get(8).map_err(fault)?;
        if *self.backend.get_or_insert(backend) != backend {
            return Err(Fault::Unfit(POOLER.to_owned()));
        }
        Ok(Settings {
            in_recovery: is(0)?,
            synchronous_commit: at(1)?,
            client_min_messages: at(2)?,
            fsync: is(3)?,
            full_page_writes: is(4)?,
            sync_standbys: number(5)?,
            unseen_standbys: number(6)?,
            clock_ahead_ms: number(7)? - ours,
        })
    }

    fn register(&mut self, node: &Node, lasts: Duration) -> Answer<bool> {
        let rows = self.rows(sql::REGISTER, &[&node.name, &node.boot, &ms(lasts)])?;
        Ok(!rows.is_empty())
    }

    fn acquire(&mut self, stream: Stream, node: &Node, lasts: Duration) -> Answer<Option<Acquired>> {
        let rows = self.rows(sql::ACQUIRE, &[&vec![stream], &node.name, &ms(lasts), &node.boot])?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Acquired {
            epoch: row.try_get(1).map_err(fault)?,
            former_epoch: row.try_get(2).map_err(fault)?,
            former: Node { name: row.try_get(3).map_err(fault)?, boot: row.try_get(4).map_err(fault)? },
        }))
    }

    fn holder(&mut self, stream: Stream) -> Answer<Node> {
        let row = self.row(sql::HOLDER, &[&stream])?;
        Ok(Node { name: row.try_get(0).map_err(fault)?, boot: row.try_get(1).map_err(fault)? })
    }

    fn append(&mut self, held: Held<'_>, row: Option<&Row>, renewal: Option<Duration>) -> Answer<bool> {
        let of = |field: fn(&Row) -> i64| row.map(field).into_iter().collect::<Vec<_>>();
        let of_int = |field: fn(&Row) -> i32| row.map(field).into_iter().collect::<Vec<_>>();
        let (streams, months, counts) = (of_int(|it| it.stream), of_int(|it| it.month), of_int(|it| it.count));
        let (batches, epochs, firsts) = (of(|it| it.batch), of(|it| it.epoch), of(|it| lsn(it.first)));
        let bodies: Vec<&[u8]> = row.map(|it| it.body.as_slice()).into_iter().collect();
        let columns: [&(dyn ToSql + Sync); 7] = [&streams, &months, &batches, &epochs, &firsts, &counts, &bodies];
        let rows = match renewal {
            None => self.rows(sql::APPEND, &columns)?,
            Some(lasts) => {
                let (held_streams, held_epochs, lasts) = (vec![held.stream], vec![held.epoch], ms(lasts));
                let more: [&(dyn ToSql + Sync); 5] =
                    [&held_streams, &held_epochs, &lasts, &held.node.name, &held.node.boot];
                self.rows(sql::APPEND_AND_RENEW, &[columns.as_slice(), more.as_slice()].concat())?
            }
        };
        Ok(rows.iter().any(|row| row.try_get::<_, Stream>(0).is_ok_and(|stream| stream == held.stream)))
    }

    fn release(&mut self, held: Held<'_>) -> Answer<()> {
        self.rows(sql::RELEASE, &[&held.stream, &held.epoch, &held.node.name, &held.node.boot]).map(drop)
    }

    fn last(&mut self, stream: Stream) -> Answer<(Option<Row>, Option<Row>)> {
        let last = read_rows(&self.rows(sql::LAST, &[&stream])?)?.pop();
        let full = read_rows(&self.rows(sql::LAST_WITH_RECORDS, &[&stream])?)?.pop();
        Ok((last, full))
    }

    fn rows_from(&mut self, stream: Stream, month: i32, batch: i64) -> Answer<Vec<Row>> {
        read_rows(&self.rows(sql::ROWS_FROM, &[&stream, &month, &batch])?)
    }

    fn holding(&mut self, stream: Stream, record: Lsn) -> Answer<Vec<Row>> {
        read_rows(&self.rows(sql::HOLDING, &[&stream, &lsn(record)])?)
    }

    fn make_months(&mut self, month: i32) -> Answer<()> {
        self.rows(sql::MAKE_MONTHS, &[&month]).map(drop)
    }
}
