//! One connection to PostgreSQL, asked by a thread that may block: the driver runs while a question is asked.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::read::PostgresCells;
use crate::database::{Server, connector};
use crate::ledger::LedgerError;
use crate::ledger::cells::Cells;

/// A host has so long to take a connection and to say what it is.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);
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
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    /// Connects to the first host that is a primary.
    pub fn open(server: &Server, purpose: Purpose) -> Result<Self, LedgerError> {
        let tls = server.authorities().map(|file| connector(file)).transpose().map_err(LedgerError::Refused)?;
        let mut why = LedgerError::Io("no host is named".to_owned());
        for mut host in server.hosts() {
            host.options(match purpose {
                Purpose::Posting => format!("{SETTINGS}{POSTING}"),
                Purpose::Asking => format!("{SETTINGS}{ASKING}"),
                Purpose::Migrating => SETTINGS.to_owned(),
            });
            match Self::connect(&host, tls.clone()) {
                Ok(session) => return Ok(session),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn connect(host: &Config, tls: Option<MakeRustlsConnect>) -> Result<Self, LedgerError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| LedgerError::Io(error.to_string()))?;
        let connecting = async {
            let client = match tls {
                Some(tls) => {
                    let (client, connection) = host.connect(tls).await?;
                    tokio::spawn(connection);
                    client
                }
                None => {
                    let (client, connection) = host.connect(NoTls).await?;
                    tokio::spawn(connection);
                    client
                }
            };
            let is_standby: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)?;
            if is_standby { Err(LedgerError::Io("this server is a standby".to_owned())) } else { Ok(client) }
        };
        let connected = runtime.block_on(async { tokio::time::timeout(CONNECT_WITHIN, connecting).await });
        let client = connected.map_err(|_| unanswered(CONNECT_WITHIN))??;
        Ok(Self { runtime: Some(runtime), client, statements: HashMap::default(), limit: SOON })
    }

    /// Waits for an answer. After an error the connection is of no use any more.
    fn wait<T>(&self, asking: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let Some(runtime) = &self.runtime else { return Err(LedgerError::Io("the connection is closed".to_owned())) };
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
