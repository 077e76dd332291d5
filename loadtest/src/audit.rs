//! The audit of the books: everything that was answered is compared with what the service says afterwards, order
//! by order and customer by customer, and then with its ledger.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use crate::books::{Books, Told};
use crate::bulk::bulk;
use crate::crowd::{Customer, LIMIT};
use crate::game::Decided;
use crate::http::Role;
use crate::setup::{Standing, Target, pause, said};

/// What the audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    pub orders: u64,
    /// Decisions that were answered.
    pub answered: u64,
    /// Sent and never answered; decided all the same.
    pub decided_unanswered: u64,
    pub customers: u64,
    /// Yen owed by all customers of the run, by the answers.
    pub exposure_yen: u64,
    /// Decisions found in the ledger; none if it could not be read.
    pub in_ledger: Option<u64>,
    pub differences: u64,
    pub first_differences: Vec<String>,
}

/// Asks about every order and every customer. Gives the yen that each should owe.
pub fn over_api(target: &Target, books: &mut Books, crowd: &[Customer], audit: &mut Audit) -> Result<Vec<u64>> {
    let mut owed: Vec<u64> = crowd.iter().map(|customer| customer.before).collect();
    let (mut stored_ids, mut differences) = (vec![None; books.orders.len()], std::mem::take(&mut books.differences));
    let paths = |at: usize, out: &mut Vec<u8>| {
        let Some(order) = books.orders.get(at) else { return };
        let (merchant, order) = (books.merchant(order), books.order_id(at));
        let path = format_args!("/v1/authorizations?merchant_id={merchant}&order_id={order}");
        target.requests.get(out, Role::Register, path);
    };
    bulk(target.http, books.orders.len(), paths, |at, answer| {
        let Some(order) = books.orders.get(at) else { return Ok(()) };
        let is_answered = matches!(order.told, Told::Approved | Told::Denied);
        audit.answered += u64::from(is_answered);
        if answer.status == 404 && !is_answered {
            return Ok(());
        }
        if answer.status != 200 {
            let (id, told) = (books.order_id(at), order.told);
            differences.add(|| format!("{id}: told {told:?}, asked about: {}", said(answer.status, answer.body)));
            return Ok(());
        }
        let stored: Decided<'_> = serde_json::from_slice(answer.body).context("a stored decision")?;
        if stored.order_id != books.order_id(at) {
            differences.add(|| format!("{}: asked about, {} answered", books.order_id(at), stored.order_id));
        }
        if let Some(text) = order.disagreement(&stored) {
            differences.add(|| format!("{}: {text}", stored.order_id));
        }
        audit.decided_unanswered += u64::from(!is_answered);
        if let Some(owed) = order.customer.and_then(|customer| owed.get_mut(customer as usize)) {
            *owed += order.owed(&stored);
        }
        if let Some(id) = stored_ids.get_mut(at) {
            *id = Some(Box::from(stored.authorization_id));
        }
        Ok(())
    })?;
    for (order, id) in books.orders.iter_mut().zip(stored_ids) {
        order.id = id;
    }
    audit.orders = books.orders.len() as u64;
    let path = |at: usize, out: &mut Vec<u8>| {
        let id = books.customer_id(u32::try_from(at).unwrap_or(u32::MAX));
        target.requests.get(out, Role::Office, format_args!("/v1/customers/{id}"));
    };
    bulk(target.admin, crowd.len(), path, |at, answer| {
        ensure!(answer.status == 200, "a customer: {}", said(answer.status, answer.body));
        let (shown, expected) = (Standing::read(answer.body)?, owed.get(at).copied().unwrap_or(0));
        let id = || books.customer_id(u32::try_from(at).unwrap_or(u32::MAX));
        if shown != expected {
            differences.add(|| format!("{}: exposure is {shown} yen; the answers come to {expected}", id()));
        }
        if shown > LIMIT {
            differences.add(|| format!("{}: exposure of {shown} yen is above the limit of {LIMIT}", id()));
        }
        Ok(())
    })?;
    audit.customers = crowd.len() as u64;
    audit.exposure_yen = owed.iter().sum();
    books.differences = differences;
    Ok(owed)
}

/// One row of `decisions`.
struct Row {
    merchant: String,
    id: String,
    decision: String,
    amount: u32,
}

/// First and last possible text with this prefix, for a search by bounds.
fn bounds(prefix: &str) -> (String, String) {
    (prefix.to_owned(), format!("{prefix}~"))
}

fn decisions(ledger: &Connection, run: &str) -> Result<HashMap<String, Vec<Row>>> {
    let text = "SELECT order_id, merchant_id, authorization_id, decision, amount FROM decisions \
                WHERE order_id BETWEEN ?1 AND ?2";
    let mut query = ledger.prepare(text)?;
    let mut rows = query.query(bounds(run))?;
    let mut found: HashMap<String, Vec<Row>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let decision = Row { merchant: row.get(1)?, id: row.get(2)?, decision: row.get(3)?, amount: row.get(4)? };
        found.entry(row.get(0)?).or_default().push(decision);
    }
    Ok(found)
}

fn exposures(ledger: &Connection, prefix: &str) -> Result<HashMap<String, i64>> {
    let text = "SELECT customer_id, SUM(amount) FROM entries \
                WHERE account = 'exposure' AND customer_id BETWEEN ?1 AND ?2 GROUP BY customer_id";
    let mut query = ledger.prepare(text)?;
    let rows = query.query_map(bounds(prefix), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Compares with the ledger of a data directory. A server that still runs posts a little behind: `within` is how
/// long its last decision may take to get there.
pub fn over_ledger(data: &Path, books: &mut Books, owed: &[u64], within: Duration, audit: &mut Audit) -> Result<()> {
    let file = data.join("ledger.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ledger = Connection::open_with_flags(&file, flags).with_context(|| format!("open {}", file.display()))?;
    ledger.busy_timeout(Duration::from_secs(5))?;
    let expected = books.orders.iter().filter(|order| order.id.is_some()).count();
    let until = Instant::now() + within;
    let found = loop {
        let found = decisions(&ledger, &books.run)?;
        if found.len() >= expected || Instant::now() >= until {
            break found;
        }
        pause(Duration::from_millis(200));
    };
    audit.in_ledger = Some(found.values().map(|rows| rows.len() as u64).sum());
    let mut differences = std::mem::take(&mut books.differences);
    for (at, order) in books.orders.iter().enumerate() {
        let id = books.order_id(at);
        let rows = found.get(&id).map_or(&[][..], Vec::as_slice);
        let wanted = usize::from(order.id.is_some());
        if rows.len() != wanted {
            differences.add(|| format!("{id}: {} times in the ledger, should be {wanted}", rows.len()));
        }
        let (Some(row), Some(stored)) = (rows.first(), order.id.as_deref()) else { continue };
        let decision = match order.told {
            Told::Approved => "approved",
            Told::Denied => "denied",
            Told::NotSent | Told::Nothing | Told::NoDecision(_) => row.decision.as_str(),
        };
        let is_same = row.id == stored
            && row.decision == decision
            && row.amount == order.amount
            && row.merchant == books.merchant(order);
        if !is_same {
            let (a, b) = (format!("{stored} {decision} {} yen", order.amount), &row);
            differences.add(|| format!("{id}: answered {a}, in the ledger {} {} {} yen", b.id, b.decision, b.amount));
        }
    }
    let sums = exposures(&ledger, &books.customer_prefix)?;
    for (at, owed) in owed.iter().enumerate() {
        let id = books.customer_id(u32::try_from(at).unwrap_or(u32::MAX));
        let sum = sums.get(&id).copied().unwrap_or(0);
        if u64::try_from(sum) != Ok(*owed) {
            differences.add(|| format!("{id}: entries come to {sum} yen; the answers come to {owed}"));
        }
    }
    books.differences = differences;
    Ok(())
}
