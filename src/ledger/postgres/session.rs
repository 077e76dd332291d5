//! One connection to PostgreSQL, asked by a thread that may block: the driver runs while a question is asked.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::read::PostgresCells;
use crate::database::{self, Newest, Server, Unconnected};
use crate::ledger::LedgerError;
use crate::ledger::cells::Cells;

/// A host has so long to take a connection and to say what it is; where several are named, one of which may be frozen.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A question of the service, or a chunk's statement, is given up after so long: the server is frozen.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// A load, a migration, or a question of `verify` over all rows.
pub(crate) const LONG: Duration = Duration::from_secs(4 * 3_600);

/// Set by the connection itself, whatever the server's file says. No statement of ours waits for a lock for long; compiling
/// queries costs more than it saves; our tables are found first.
const SETTINGS: &str = "-c search_path=public,pg_temp -c jit=off -c client_min_messages=warning -c lock_timeout=2s \
                        -c TimeZone=UTC -c bytea_output=hex";
/// A commit is not waited for until it is on disk: what a crash of the server takes, it takes together with the position, and
/// the journal, which is the truth, is posted from there again (`secure` waits). A poster that froze in a chunk lets go.
const POSTING: &str = " -c synchronous_commit=off -c idle_in_transaction_session_timeout=15s";
const ASKING: &str = " -c default_transaction_read_only=on";

/// The timeline of a primary; null on a standby.
const TIMELINE: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

/// Begins a transaction whose questions are all answered by one moment.
pub(crate) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Posting,
    Asking,
    Migrating,
}

pub(crate) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

pub(crate) struct Session {
    /// Taken when it is dropped, which may be inside of another runtime.
    runtime: Option<Runtime>,
    client: Client,
    /// By their text; made once a connection.
    statements: HashMap<String, Statement, RandomState>,
    pub limit: Duration,
    /// Of its server when the connection was made.
    timeline: u32,
    newest: Newest,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    /// Connects to the host that is a primary: of the highest timeline, as one that was frozen while another was promoted in its
    /// place still takes writes.
    pub fn open(server: &Server, purpose: Purpose) -> Result<Self, LedgerError> {
        let tls =
            server.authorities().map(|file| database::connector(file)).transpose().map_err(LedgerError::Refused)?;
        let hosts = server.hosts();
        let within = if hosts.len() > 1 { ANSWERS_WITHIN } else { CONNECT_WITHIN };
        let options = match purpose {
            Purpose::Posting => format!("{SETTINGS}{POSTING}"),
            Purpose::Asking => format!("{SETTINGS}{ASKING}"),
            Purpose::Migrating => SETTINGS.to_owned(),
        };
        let asked: Vec<_> = std::thread::scope(|scope| {
            let ask = |host| {
                let (options, tls, newest) = (&options, tls.clone(), server.newest());
                scope.spawn(move || Self::connect(host, options, tls, within, newest))
            };
            let asking: Vec<_> = hosts.into_iter().map(ask).collect();
            asking.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(unanswered(within)))).collect()
        });
        let mut why = LedgerError::Io("no host is named".to_owned());
        let mut best: Option<Self> = None;
        for connected in asked {
            match connected {
                Ok(session) if best.as_ref().is_none_or(|best| session.timeline > best.timeline) => {
                    best = Some(session)
                }
                Ok(_) => {}
                Err(error) => why = error,
            }
        }
        let best = best.ok_or(why)?;
        best.is_of_today()?;
        Ok(best)
    }

    /// Whether its server was not replaced since by one that was promoted.
    fn is_of_today(&self) -> Result<(), LedgerError> {
        if self.newest.is(self.timeline) {
            return Ok(());
        }
        Err(LedgerError::Io(format!("the primary that answers is of timeline {}, and was replaced", self.timeline)))
    }

    /// A session with a primary.
    fn connect(
        host: Config,
        options: &str,
        tls: Option<MakeRustlsConnect>,
        within: Duration,
        newest: Newest,
    ) -> Result<Self, LedgerError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| LedgerError::Io(error.to_string()))?;
        let connecting = async {
            let client = database::connect(host, options, tls, |_| ()).await.map_err(|error| match error {
                Unconnected::Unfit(why) => LedgerError::Refused(why),
                Unconnected::Failed(error) => error.into(),
            })?;
            let timeline: Option<String> = client.query_one(TIMELINE, &[]).await?.try_get(0)?;
            let timeline = timeline.and_then(|hex| u32::from_str_radix(&hex, 16).ok());
            let timeline = timeline.ok_or_else(|| LedgerError::Io("this server is a standby".to_owned()))?;
            Ok((timeline, client))
        };
        let connected = runtime.block_on(async { tokio::time::timeout(within, connecting).await });
        let connected: Result<(u32, Client), LedgerError> = connected.map_err(|_| unanswered(within))?;
        let (timeline, client) = connected?;
        let statements = HashMap::default();
        Ok(Self { runtime: Some(runtime), client, statements, limit: SOON, timeline, newest })
    }

    /// Waits for an answer. After an error the connection is of no use any more.
    fn wait<T>(&self, asking: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let Some(runtime) = &self.runtime else { return Err(LedgerError::Io("the connection is closed".to_owned())) };
        self.is_of_today()?;
        let answer = runtime.block_on(async { tokio::time::timeout(self.limit, asking).await });
        answer.map_err(|_| unanswered(self.limit))?
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, LedgerError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.wait(async { Ok(self.client.prepare(sql).await?) })?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Statements without parameters.
    pub fn run(&self, sql: &str) -> Result<(), LedgerError> {
        self.wait(async { Ok(self.client.batch_execute(sql).await?) })
    }

    /// How many rows it changed.
    pub fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, LedgerError> {
        let statement = self.prepared(sql)?;
        self.wait(async { Ok(self.client.execute(&statement, params).await?) })
    }

    /// Every row that a query finds.
    pub fn all<T>(
        &mut self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&dyn Cells) -> Result<T, LedgerError>,
    ) -> Result<Vec<T>, LedgerError> {
        let statement = self.prepared(sql)?;
        let rows = self.wait(async { Ok(self.client.query(&statement, params).await?) })?;
        rows.iter().map(|row| read(&PostgresCells(row))).collect()
    }

    /// The first row that a query finds.
    pub fn first<T>(
        &mut self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&dyn Cells) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        Ok(self.all(sql, params, read)?.into_iter().next())
    }

    /// The one row that a query of a sum or a setting gives.
    pub fn one<T>(
        &mut self,
        sql: &str,
        params: Params<'_>,
        read: impl Fn(&dyn Cells) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.first(sql, params, read)?.ok_or_else(|| LedgerError::Corrupt("a row is missing".to_owned()))
    }

    /// Rows one by one, more than are held at once.
    pub fn each(
        &mut self,
        sql: &str,
        params: Params<'_>,
        mut take: impl FnMut(&dyn Cells) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let statement = self.prepared(sql)?;
        self.wait(async {
            let rows = self.client.query_raw(&statement, params.iter().copied()).await?;
            let mut rows = pin!(rows);
            while let Some(row) = rows.try_next().await? {
                take(&PostgresCells(&row))?;
            }
            Ok(())
        })
    }

    /// Adds rows by binary COPY; `row` gives the cells of one.
    pub fn copy<'r>(
        &mut self,
        sql: &str,
        types: &[tokio_postgres::types::Type],
        rows: impl Iterator<Item = Vec<&'r (dyn ToSql + Sync)>>,
    ) -> Result<u64, LedgerError> {
        let statement = self.prepared(sql)?;
        self.wait(async {
            let sink = self.client.copy_in(&statement).await?;
            let mut writer = pin!(tokio_postgres::binary_copy::BinaryCopyInWriter::new(sink, types));
            for row in rows {
                writer.as_mut().write(&row).await?;
            }
            Ok(writer.finish().await?)
        })
    }
}

fn unanswered(limit: Duration) -> LedgerError {
    LedgerError::Io(format!("it did not answer within {} s", limit.as_secs()))
}
