//! Before the run: merchants and customers of its own, made by the office's calls; codes, if they are to be
//! issued beforehand.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use crate::bulk::{bulk, once};
use crate::bytes::put;
use crate::crowd::{Code, Customer, LIMIT};
use crate::http::{Requests, Role};
use crate::json::text;
use crate::tls::Peer;

/// Where the calls go. Office and ops calls may have an address of their own.
#[derive(Clone)]
pub struct Target {
    pub http: Peer,
    pub admin: Peer,
    pub requests: Requests,
}

#[derive(Deserialize)]
struct Exposure {
    total: u64,
}

#[derive(Deserialize)]
pub struct Standing {
    exposure: Exposure,
}

impl Standing {
    /// Exposure in all, yen.
    pub fn read(body: &[u8]) -> Result<u64> {
        let standing: Self = serde_json::from_slice(body).context("a customer's standing")?;
        Ok(standing.exposure.total)
    }
}

/// A ledger that has not moved for so long has nothing left to post.
const STILL: Duration = Duration::from_millis(700);

pub fn said(status: u16, body: &[u8]) -> String {
    format!("{status} {}", String::from_utf8_lossy(body))
}

pub fn merchants(target: &Target, ids: &[String]) -> Result<()> {
    let body = br#"{"name":"Load test","mcc":"5499"}"#;
    let write = |at: usize, out: &mut Vec<u8>| {
        let id = ids.get(at).map_or("", String::as_str);
        target.requests.send(out, "PUT", Role::Office, format_args!("/v1/merchants/{id}"), body);
    };
    bulk(&target.admin, ids.len(), write, |_, answer| {
        ensure!(matches!(answer.status, 200 | 201), "make a merchant: {}", said(answer.status, answer.body));
        Ok(())
    })
}

/// A verified adult with these limits, yen.
pub fn standing(limit: u64) -> String {
    format!(
        r#"{{"identity":"verified","birth_date":"1990-04-01","status":"active","limits":{{"total":{limit},"in_store":{limit}}}}}"#
    )
}

/// Creates the customers, or sets those of a former run to the same standing.
pub fn customers(target: &Target, prefix: &str, count: usize) -> Result<Vec<Customer>> {
    let body = standing(LIMIT);
    let mut all = vec![Customer::default(); count];
    let write = |at: usize, out: &mut Vec<u8>| {
        let path = format_args!("/v1/customers/{prefix}{at:06}");
        target.requests.send(out, "PUT", Role::Office, path, body.as_bytes());
    };
    bulk(&target.admin, count, write, |at, answer| {
        ensure!(matches!(answer.status, 200 | 201), "make a customer: {}", said(answer.status, answer.body));
        if let Some(customer) = all.get_mut(at) {
            customer.before = Standing::read(answer.body)?;
            customer.at_most = customer.before;
        }
        Ok(())
    })?;
    Ok(all)
}

/// Sets one customer to a limit of their own.
pub fn limit(target: &Target, id: &str, limit: u64) -> Result<()> {
    let body = standing(limit);
    let path = format!("/v1/customers/{id}");
    let write = |out: &mut Vec<u8>| {
        target.requests.send(out, "PUT", Role::Office, format_args!("{path}"), body.as_bytes());
    };
    let (status, body) = once(&target.admin, write)?;
    ensure!(matches!(status, 200 | 201), "make a customer: {}", said(status, &body));
    Ok(())
}

/// A code for each customer.
pub fn codes(target: &Target, prefix: &str, all: &mut [Customer]) -> Result<()> {
    let mut body = Vec::new();
    let write = |at: usize, out: &mut Vec<u8>| {
        body.clear();
        put(&mut body, format_args!("{{\"customer_id\":\"{prefix}{at:06}\"}}"));
        target.requests.send(out, "POST", Role::Wallet, format_args!("/v1/codes"), &body);
    };
    let count = all.len();
    bulk(&target.http, count, write, |at, answer| {
        ensure!(answer.status == 201, "issue a code: {}", said(answer.status, answer.body));
        let barcode = text(answer.body, b"barcode").context("an issued code")?;
        if let Some(customer) = all.get_mut(at) {
            customer.code = Code::new(barcode).context("a barcode of at most 32 characters")?;
        }
        Ok(())
    })
}

/// Records that the ledger has not yet posted, by the metrics; `None` if those are not to be had.
pub fn ledger_lag(target: &Target) -> Option<u64> {
    let write = |out: &mut Vec<u8>| target.requests.get(out, Role::Ops, format_args!("/metrics"));
    let (status, body) = once(&target.admin, write).ok()?;
    let text = String::from_utf8(body).ok().filter(|_| status == 200)?;
    let line = text.lines().find_map(|line| line.strip_prefix("sokketsu_ledger_lag_records "))?;
    line.trim().parse().ok()
}

/// How far the ledger in this data directory has come.
fn position(data: &Path) -> Result<i64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ledger = Connection::open_with_flags(data.join("ledger.db"), flags)?;
    ledger.busy_timeout(Duration::from_secs(5))?;
    Ok(ledger.query_row("SELECT lsn FROM ledger_position", (), |row| row.get(0))?)
}

/// Waits until the books are up to date, and gives how long that took; `None` if it can't be told. Where the data
/// directory is known, that is when the ledger's position has come to rest: the metric moves with the traffic only.
pub fn settle(target: &Target, data: Option<&Path>, within: Duration) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut before = None;
    let mut changed = began;
    while began.elapsed() < within {
        let seen = match data {
            Some(data) => Some(position(data)?),
            None => ledger_lag(target).and_then(|lag| i64::try_from(lag).ok()),
        };
        if seen != before {
            before = seen;
            changed = Instant::now();
        }
        if data.is_none() && seen == Some(0) {
            return Ok(Some(began.elapsed()));
        }
        if changed.elapsed() > STILL {
            return Ok(data.map(|_| changed.duration_since(began)));
        }
        pause(Duration::from_millis(20));
    }
    bail!("the ledger still moves after {within:?}")
}

#[expect(clippy::disallowed_methods, reason = "between two looks at another process; every loop around it ends")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
