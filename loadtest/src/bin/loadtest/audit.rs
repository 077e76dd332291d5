//! The audit of the books: everything that was answered is compared with what the service says afterwards, order
//! by order and customer by customer, and then with its ledger.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use crate::books::{Books, Differences, Told};
use loadtest::bulk::bulk;
use loadtest::crowd::{Customer, LIMIT};
use loadtest::decided::Decided;
use loadtest::http::Role;
use loadtest::setup::{Standing, Target, pause, said};

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
    let mut stored_ids = vec![None; books.orders.len()];
    let mut differences = std::mem::take(&mut books.differences);
    let paths = |at: usize, out: &mut Vec<u8>| {
        let Some(order) = books.orders.get(at) else { return };
        let (merchant, order) = (books.merchant(order), books.order_id(at));
        let path = format_args!("/v1/authorizations?merchant_id={merchant}&order_id={order}");
        target.requests.get(out, Role::Register, path);
    };
    bulk(&target.http, books.orders.len(), paths, |at, answer| {
        let Some(order) = books.orders.get(at) else { return Ok(()) };
        let is_answered = matches!(order.told, Told::Approved | Told::Denied);
        audit.answered += u64::from(is_answered);
        if answer.status == 404 && !is_answered {
            return Ok(());
        }
        if answer.status != 200 {
            let id = books.order_id(at);
            let told = order.told;
            differences.add(|| format!("{id}: told {told:?}, asked about: {}", said(answer.status, answer.body)));
            return Ok(());
        }
        let stored = Decided::read(answer.body).with_context(|| said(answer.status, answer.body))?;
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
    bulk(&target.admin, crowd.len(), path, |at, answer| {
        ensure!(answer.status == 200, "a customer: {}", said(answer.status, answer.body));
        let shown = Standing::read(answer.body)?;
        let expected = owed.get(at).copied().unwrap_or(0);
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

/// Each answered decision is there once, as it was answered; nothing else is there.
fn compare_decisions(books: &Books, found: &HashMap<String, Vec<Row>>, differences: &mut Differences) {
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
            let told = format!("{stored} {decision} {} yen at {}", order.amount, books.merchant(order));
            let Row { merchant, id: stored, decision, amount } = row;
            differences
                .add(|| format!("{id}: answered {told}, in the ledger {stored} {decision} {amount} yen at {merchant}"));
        }
    }
    for id in found.keys().filter(|id| books.order_of(id).is_none()) {
        differences.add(|| format!("{id}: never sent, and yet in the ledger"));
    }
}

/// The movements of each customer come to what the answers come to.
fn compare_exposures(books: &Books, owed: &[u64], sums: &HashMap<String, i64>, differences: &mut Differences) {
    let ids: Vec<_> = (0..owed.len()).map(|at| books.customer_id(u32::try_from(at).unwrap_or(u32::MAX))).collect();
    for (id, owed) in ids.iter().zip(owed) {
        let sum = sums.get(id).copied().unwrap_or(0);
        if u64::try_from(sum) != Ok(*owed) {
            differences.add(|| format!("{id}: entries come to {sum} yen; the answers come to {owed}"));
        }
    }
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
    let sums = exposures(&ledger, &books.customer_prefix)?;
    let mut differences = std::mem::take(&mut books.differences);
    compare_decisions(books, &found, &mut differences);
    compare_exposures(books, owed, &sums, &mut differences);
    books.differences = differences;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::{Order, Undo};

    /// Two orders, one approved and one never answered and not decided; one customer, who owes 300.
    fn books() -> Books {
        let order = |told, id: Option<&str>| Order {
            customer: Some(0),
            amount: 300,
            merchant: 0,
            told,
            undo: Undo::None,
            id: id.map(Box::from),
        };
        Books {
            run: "L1".to_owned(),
            by_link: false,
            orders: vec![order(Told::Approved, Some("aut_1")), order(Told::Nothing, None)],
            merchants: vec!["m".to_owned()],
            customer_prefix: "load-".to_owned(),
            differences: Differences::default(),
        }
    }

    fn differences(rows: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Connection::open(folder.path().join("ledger.db")).unwrap();
        let tables = "CREATE TABLE decisions (order_id, merchant_id, authorization_id, decision, amount);
            CREATE TABLE entries (customer_id, account, amount);
            INSERT INTO decisions VALUES ('L1-0', 'm', 'aut_1', 'approved', 300), ('L2-0', 'm', 'aut_9', 'denied', 1);
            INSERT INTO entries VALUES ('load-000000', 'exposure', 300), ('load-000000', 'points', 1), ('1001', 'exposure', 7);";
        ledger.execute_batch(&format!("{tables}{rows}")).unwrap();
        let mut books = books();
        let mut audit = Audit::default();
        over_ledger(folder.path(), &mut books, &[300], Duration::ZERO, &mut audit).unwrap();
        assert_eq!(books.differences.count, books.differences.first.len() as u64);
        books.differences.first
    }

    #[test]
    fn a_ledger_that_agrees_is_silent() {
        assert_eq!(differences(""), [""; 0]);
    }

    #[test]
    fn every_false_row_of_the_ledger_is_named() {
        let cases = [
            ("INSERT INTO decisions VALUES ('L1-0', 'm', 'aut_1', 'approved', 300);", "L1-0: 2 times"),
            ("DELETE FROM decisions;", "L1-0: 0 times"),
            ("INSERT INTO decisions VALUES ('L1-1', 'm', 'aut_2', 'denied', 300);", "L1-1: 1 times"),
            ("INSERT INTO decisions VALUES ('L1-7', 'm', 'aut_2', 'denied', 300);", "L1-7: never sent"),
            ("UPDATE decisions SET decision = 'denied';", "L1-0: answered"),
            ("UPDATE decisions SET authorization_id = 'aut_3';", "L1-0: answered"),
            ("UPDATE decisions SET amount = 299;", "L1-0: answered"),
            ("UPDATE decisions SET merchant_id = 'x';", "L1-0: answered"),
            ("UPDATE entries SET amount = 299;", "load-000000: entries come to 299"),
        ];
        for (rows, expected) in cases {
            let found = differences(rows);
            assert!(matches!(found.as_slice(), [one] if one.starts_with(expected)), "{rows}: {found:?}");
        }
    }
}
