//! The books against what the network was told: order by order and customer by customer over HTTP, then in the ledger.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::stage::Sold;
use crate::books::Differences;
use loadtest::bulk::bulk;
use loadtest::http::Role;
use loadtest::setup::{Standing, Target, said};

/// Among the statuses of an order that may as well not be there.
pub const ABSENT: &str = "absent";

/// What is in the books has to be one of these.
pub struct Books<'a> {
    /// Begin of the ids of all merchants and customers of the run.
    pub run: &'a str,
    pub sold: &'a [Sold],
    /// By customer, yen.
    pub owed: &'a [u64],
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    pub orders: u64,
    pub customers: u64,
    pub exposure_yen: u64,
    /// Decisions found in the ledger; none if it was not looked at.
    pub in_ledger: Option<u64>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    authorization_id: &'a str,
    order_id: &'a str,
    decision: &'a str,
    status: &'a str,
    amount: u64,
    response_code: Option<&'a str>,
}

impl Sold {
    fn must_be(&self) -> String {
        if self.statuses.is_empty() { "nowhere".to_owned() } else { self.statuses.join(" or ") }
    }

    fn disagreement(&self, stored: &Stored<'_>) -> Option<String> {
        let decision = if stored.status == "denied" { "denied" } else { "approved" };
        let is_same = stored.order_id == self.order_id
            && stored.amount == self.amount
            && stored.decision == decision
            && self.statuses.contains(&stored.status)
            && (self.code.is_empty() || stored.response_code == Some(&self.code));
        (!is_same).then(|| {
            let Stored { order_id, decision, status, amount, response_code, .. } = stored;
            let code = response_code.unwrap_or_default();
            format!(
                "should be {} {} of {} yen; is {order_id} {decision} {code}, {status}, {amount} yen",
                self.must_be(),
                self.code,
                self.amount
            )
        })
    }
}

/// What the service says of each order: its authorization and decision.
pub type Said = Vec<Option<(String, String)>>;

pub fn over_api(target: &Target, books: &Books<'_>, wrong: &mut Differences, audit: &mut Audit) -> Result<Said> {
    let mut told = vec![None; books.sold.len()];
    let path = |at: usize, out: &mut Vec<u8>| {
        let Some(Sold { merchant, order_id, .. }) = books.sold.get(at) else { return };
        let path = format_args!("/v1/authorizations?merchant_id={merchant}&order_id={order_id}");
        target.requests.get(out, Role::Register, path);
    };
    bulk(&target.http, books.sold.len(), path, |at, answer| {
        let Some(sold) = books.sold.get(at) else { return Ok(()) };
        if answer.status == 404 && (sold.statuses.is_empty() || sold.statuses.contains(&ABSENT)) {
            return Ok(());
        }
        if answer.status != 200 {
            let found = said(answer.status, answer.body);
            wrong.add(|| format!("{}: should be {}; asked about: {found}", sold.order_id, sold.must_be()));
            return Ok(());
        }
        let stored: Stored<'_> =
            serde_json::from_slice(answer.body).with_context(|| said(answer.status, answer.body))?;
        if let Some(text) = sold.disagreement(&stored) {
            wrong.add(|| format!("{} of story {}: {text}", sold.order_id, sold.story));
        }
        if let Some(told) = told.get_mut(at) {
            *told = Some((stored.authorization_id.to_owned(), stored.decision.to_owned()));
        }
        Ok(())
    })?;
    let run = books.run;
    let path = |at: usize, out: &mut Vec<u8>| {
        target.requests.get(out, Role::Office, format_args!("/v1/customers/{run}-{at:06}"));
    };
    bulk(&target.admin, books.owed.len(), path, |at, answer| {
        ensure!(answer.status == 200, "a customer: {}", said(answer.status, answer.body));
        let shown = Standing::read(answer.body)?;
        let owed = books.owed.get(at).copied().unwrap_or(0);
        if shown != owed {
            wrong.add(|| format!("{run}-{at:06}: exposure is {shown} yen; the answers come to {owed}"));
        }
        Ok(())
    })?;
    audit.orders = books.sold.len() as u64;
    audit.customers = books.owed.len() as u64;
    audit.exposure_yen = books.owed.iter().sum();
    Ok(told)
}

/// A row of `decisions`: authorization, decision, amount.
type Row = (String, String, u64);

/// The ledger of a data directory that is up to date.
pub fn over_ledger(
    data: &Path,
    books: &Books<'_>,
    told: &Said,
    wrong: &mut Differences,
    audit: &mut Audit,
) -> Result<()> {
    let file = data.join("ledger.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ledger = Connection::open_with_flags(&file, flags).with_context(|| format!("open {}", file.display()))?;
    ledger.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut found = decisions(&ledger, books.run)?;
    audit.in_ledger = Some(found.values().map(|rows| rows.len() as u64).sum());
    for (sold, told) in books.sold.iter().zip(told) {
        let rows = found.remove(&(sold.merchant.clone(), sold.order_id.clone())).unwrap_or_default();
        if rows.len() != usize::from(told.is_some()) {
            wrong
                .add(|| format!("{}: {} times in the ledger, should be {}", sold.order_id, rows.len(), sold.must_be()));
        }
        let (Some((id, decision)), Some(row)) = (told, rows.first()) else { continue };
        if *row != (id.clone(), decision.clone(), sold.amount) {
            let amount = sold.amount;
            wrong.add(|| format!("{}: {id} {decision} {amount} yen, in the ledger {row:?}", sold.order_id));
        }
    }
    for ((merchant, id), rows) in &found {
        wrong.add(|| format!("{id} at {merchant}: no sale that was sent, and yet in the ledger: {rows:?}"));
    }
    let sums = exposures(&ledger, books.run)?;
    for (at, owed) in books.owed.iter().enumerate() {
        let customer = format!("{}-{at:06}", books.run);
        let sum = sums.get(&customer).copied().unwrap_or(0);
        if u64::try_from(sum) != Ok(*owed) {
            wrong.add(|| format!("{customer}: entries come to {sum} yen; the answers come to {owed}"));
        }
    }
    Ok(())
}

/// By merchant and order.
fn decisions(ledger: &Connection, run: &str) -> Result<HashMap<(String, String), Vec<Row>>> {
    let text = "SELECT merchant_id, order_id, authorization_id, decision, amount FROM decisions \
                WHERE merchant_id BETWEEN ?1 AND ?2";
    let mut query = ledger.prepare(text)?;
    let mut rows = query.query((run, format!("{run}~")))?;
    let mut found: HashMap<_, Vec<Row>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let decision = (row.get(2)?, row.get(3)?, u64::from(row.get::<_, u32>(4)?));
        found.entry((row.get(0)?, row.get(1)?)).or_default().push(decision);
    }
    Ok(found)
}

fn exposures(ledger: &Connection, run: &str) -> Result<HashMap<String, i64>> {
    let text = "SELECT customer_id, SUM(amount) FROM entries \
                WHERE account = 'exposure' AND customer_id BETWEEN ?1 AND ?2 GROUP BY customer_id";
    let mut query = ledger.prepare(text)?;
    let rows = query.query_map((run, format!("{run}~")), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(rows: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Connection::open(folder.path().join("ledger.db")).unwrap();
        let tables = "CREATE TABLE decisions (order_id, merchant_id, authorization_id, decision, amount);
            CREATE TABLE entries (customer_id, account, amount);
            INSERT INTO decisions VALUES ('1', 'r-01', 'aut_1', 'approved', 300), ('9', 'm', 'aut_9', 'denied', 1);
            INSERT INTO entries VALUES ('r-000000', 'exposure', 300), ('1001', 'exposure', 7);";
        ledger.execute_batch(&format!("{tables}{rows}")).unwrap();
        let sold = |order_id: &str, statuses| Sold {
            story: 0,
            order_id: order_id.to_owned(),
            merchant: "r-01".to_owned(),
            amount: 300,
            statuses,
            code: String::new(),
        };
        let sold = [sold("1", &["captured"]), sold("2", &[])];
        let told = vec![Some(("aut_1".to_owned(), "approved".to_owned())), None];
        let mut wrong = Differences::default();
        let mut audit = Audit::default();
        let books = Books { run: "r", sold: &sold, owed: &[300] };
        over_ledger(folder.path(), &books, &told, &mut wrong, &mut audit).unwrap();
        wrong.first
    }

    #[test]
    fn a_ledger_that_agrees_is_silent_and_every_false_row_is_named() {
        assert_eq!(differences(""), [""; 0]);
        for (rows, expected) in [
            ("INSERT INTO decisions VALUES ('1', 'r-01', 'aut_1', 'approved', 300);", "1: 2 times"),
            ("DELETE FROM decisions;", "1: 0 times"),
            ("INSERT INTO decisions VALUES ('2', 'r-01', 'aut_2', 'denied', 300);", "2: 1 times"),
            ("INSERT INTO decisions VALUES ('7', 'r-01', 'aut_2', 'denied', 300);", "7 at r-01: no sale"),
            ("UPDATE decisions SET amount = 299;", "1: aut_1 approved 300 yen"),
            ("UPDATE entries SET amount = 299;", "r-000000: entries come to 299"),
        ] {
            let found = differences(rows);
            assert!(matches!(found.as_slice(), [one] if one.starts_with(expected)), "{rows}: {found:?}");
        }
    }

    #[test]
    fn what_is_stored_has_to_be_what_was_told() {
        let sold = Sold {
            story: 0,
            order_id: "1".to_owned(),
            merchant: "m".to_owned(),
            amount: 300,
            statuses: &["denied"],
            code: "51".to_owned(),
        };
        let stored = |status, decision, code, amount| Stored {
            authorization_id: "aut_1",
            order_id: "1",
            decision,
            status,
            amount,
            response_code: Some(code),
        };
        assert_eq!(sold.disagreement(&stored("denied", "denied", "51", 300)), None);
        for lie in [
            stored("denied", "denied", "54", 300),
            stored("denied", "denied", "51", 301),
            stored("denied", "approved", "51", 300),
            stored("captured", "approved", "51", 300),
        ] {
            assert!(sold.disagreement(&lie).is_some(), "{}", lie.status);
        }
    }
}
