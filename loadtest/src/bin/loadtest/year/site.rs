//! The service as the story meets it: its calls, its clock, and the ledger it leaves behind.

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::cli::Year;
use loadtest::bulk::once;
use loadtest::http::{Keys, Requests, Role};
use loadtest::server::{Options, Server};
use loadtest::setup::{Target, said};
use loadtest::tls::Peer;

pub struct Site {
    target: Target,
    ledger: Connection,
    _server: Server,
}

/// A row of the ledger's view `statements`.
#[derive(Clone, Debug)]
pub struct Booked {
    pub month: String,
    pub payment_method: Option<String>,
    pub due: Option<String>,
    /// Principal, bill fee, late fees, damages; what was paid; points.
    pub figures: [u64; 6],
}

impl Site {
    /// Starts a sandbox of its own, born at this time, with a ledger on a temporary folder.
    pub fn start(options: &Year, born: &str) -> Result<Self> {
        let options = Options { binary: options.serve.as_deref(), plain_since: Some(born), ..Options::default() };
        let server = Server::start(&options)?;
        let key = |name: &str| format!("sandbox-{name}");
        let keys = Keys { wallet: key("wallet"), register: key("register"), office: key("office"), ops: key("ops") };
        let requests = Requests::new(&server.http.to_string(), keys, None);
        let http = Peer::plain(server.http);
        let target = Target { admin: http.clone(), http, requests };
        // 503 until it is ready: the call is made again.
        let (status, body) = once(&target.http, |out| target.requests.get(out, Role::Ops, format_args!("/readyz")))?;
        ensure!(status == 200, "not ready: {}", said(status, &body));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = server.data.join("ledger.db");
        let ledger = Connection::open_with_flags(&file, flags).with_context(|| format!("open {}", file.display()))?;
        ledger.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self { target, ledger, _server: server })
    }

    pub fn get(&self, role: Role, path: &str) -> Result<(u16, Value)> {
        self.exchange(|out| self.target.requests.get(out, role, format_args!("{path}")))
    }

    pub fn send(&self, role: Role, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let body = body.to_string();
        self.exchange(|out| self.target.requests.send(out, method, role, format_args!("{path}"), body.as_bytes()))
    }

    pub fn delete(&self, role: Role, path: &str) -> Result<(u16, Value)> {
        self.exchange(|out| self.target.requests.bare(out, "DELETE", role, format_args!("{path}")))
    }

    pub fn import(&self, csv: &str) -> Result<(u16, Value)> {
        let requests = &self.target.requests;
        self.exchange(|out| requests.send_csv(out, Role::Office, format_args!("/v1/imports"), csv.as_bytes()))
    }

    /// An answer's status and JSON.
    fn exchange(&self, write: impl Fn(&mut Vec<u8>)) -> Result<(u16, Value)> {
        let (status, body) = once(&self.target.http, write)?;
        let json = serde_json::from_slice(&body).with_context(|| format!("JSON: {}", said(status, &body)))?;
        Ok((status, json))
    }

    /// Sets the clock to a time in Japan.
    pub fn set_clock(&self, time: &str) -> Result<()> {
        let (status, body) =
            self.send(Role::Ops, "POST", "/sandbox/clock", &json!({"now": format!("{time}+09:00")}))?;
        ensure!(status == 200, "the clock to {time}: {status} {body}");
        Ok(())
    }

    /// What the ledger's entries of an account come to.
    pub fn sum(&self, customer: &str, account: &str) -> Result<i64> {
        let sql = "SELECT coalesce(sum(amount), 0) FROM entries WHERE customer_id = ?1 AND account = ?2";
        Ok(self.ledger.prepare_cached(sql)?.query_row([customer, account], |row| row.get(0))?)
    }

    /// The month's bills as the ledger has them, oldest first.
    pub fn booked(&self, customer: &str) -> Result<Vec<Booked>> {
        let sql = "SELECT month, payment_method, due, principal, bill_fee, late_fees, damages, paid, points \
                   FROM statements WHERE customer_id = ?1 ORDER BY month";
        let mut query = self.ledger.prepare(sql)?;
        let rows = query.query_map([customer], |row| {
            let figure = |at: usize| row.get::<_, u32>(3 + at).map(u64::from);
            let figures = [figure(0)?, figure(1)?, figure(2)?, figure(3)?, figure(4)?, figure(5)?];
            Ok(Booked { month: row.get(0)?, payment_method: row.get(1)?, due: row.get(2)?, figures })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
