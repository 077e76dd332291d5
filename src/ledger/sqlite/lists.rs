//! Lists, as SQLite is asked for them. The indexes on decisions begin with a block of 65,536 records, so that posting writes to
//! its last blocks only: a fetch goes through the blocks from the newest on, and stops after so many.

use rusqlite::{Connection, params};

use super::accounts::accounts;
use super::position;
use super::read::{DECIDED_FROM, all, first};
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerId, CustomerIx, Lsn, MerchantId};
use crate::domain::model::merchant::Merchant;
use crate::ledger::lists::{
    BRIEF, Brief, Chunk, CustomersOf, List, Listed, Page, PageOf, Position, Range, Whose, customer_page, decision,
    decision_columns, merchant_page, page, range, rows, step, step_columns,
};
use crate::ledger::order_rows::{bits, order_step};
use crate::ledger::tables::Value;
use crate::ledger::{LedgerError, answers};

/// Blocks of one fetch: sixteen million records.
const BLOCKS: i64 = 256;
const BLOCK_BITS: u32 = 16;

fn position_of(db: &Connection) -> Result<Position, LedgerError> {
    Ok(Position { stream: 0, lsn: position(db)? })
}

pub(super) fn list(
    db: &Connection,
    of: &PageOf,
    keep: &dyn Fn(&Listed) -> bool,
) -> Result<Page<Listed, Lsn>, LedgerError> {
    let tx = db.unchecked_transaction()?;
    let position = position_of(&tx)?;
    let next = |from: i64| first(&tx, DECIDED_FROM, [from], |cells| Ok((cells.int(0)?, cells.int(1)?)));
    let range = range(of, position.lsn, next)?;
    let whose = |whose: Whose| -> Result<Option<Value<'static>>, LedgerError> {
        match whose {
            Whose::Merchant(merchant) => Ok(Some(merchant.to_string().into())),
            Whose::Customer(customer) => {
                let sql = "SELECT customer FROM account WHERE customer_id = ?1";
                Ok(first(&tx, sql, [customer.as_str()], |cells| cells.int(0))?.map(Value::Int))
            }
        }
    };
    let key = match of.list {
        List::Decisions(of) | List::Captures(of) | List::Refunds(of) => whose(of)?,
        List::Approved(code) => Some(code.end_of_ids().to_owned().into()),
        List::RefundsNamed(merchant, _) => whose(Whose::Merchant(merchant))?,
    };
    let Some(key) = key else { return Ok(Page { rows: Vec::new(), next: None, position }) };
    page(of, position, range, keep, |range, most| fetch(&tx, &of.list, &key, range, most))
}

fn fetch(db: &Connection, list: &List, key: &Value<'_>, range: Range, most: usize) -> Result<Chunk, LedgerError> {
    let column = |whose: &Whose| match whose {
        Whose::Merchant(_) => "d.merchant_id",
        Whose::Customer(_) => "d.customer",
    };
    match list {
        List::Decisions(whose) => {
            let decided = decisions(db, &format!("{} = ?2", column(whose)), key, range, most)?;
            match whose {
                Whose::Merchant(_) => Ok(decided),
                Whose::Customer(_) => Ok(decided.and(charged(db, key, range, most)?)),
            }
        }
        List::Captures(whose) => {
            let at_once = format!("{} = ?2 AND d.reason IS NULL AND d.hold_expires_at IS NULL", column(whose));
            let later = steps(db, whose, order_step::CAPTURE, key, range, most)?;
            Ok(decisions(db, &at_once, key, range, most)?.and(later))
        }
        List::Refunds(whose) => steps(db, whose, order_step::REFUND, key, range, most),
        List::Approved(_) => {
            decisions(db, "substr(d.authorization_id, -6) = ?2 AND d.reason IS NULL", key, range, most)
        }
        List::RefundsNamed(_, id) => {
            let sql = of_steps("s.merchant_id = ?1 AND s.refund_id = ?5");
            let of = params![key, bits(range.end.0), bits(range.first.0), rows(most), id.as_str()];
            Ok(Chunk::of(all(db, &sql, of, step)?, most))
        }
    }
}

/// Block by block, as far as they are of the range.
fn decisions(db: &Connection, filter: &str, key: &Value<'_>, range: Range, most: usize) -> Result<Chunk, LedgerError> {
    let sql = format!(
        "{} WHERE d.lsn >> 16 = ?1 AND {filter} AND d.lsn < ?3 AND d.lsn >= ?4 AND d.state <> 1
        ORDER BY d.lsn DESC LIMIT ?5",
        of_decisions()
    );
    let (end, from) = (bits(range.end.0), bits(range.first.0));
    let (newest, oldest) = ((end - 1).max(0) >> BLOCK_BITS, from >> BLOCK_BITS);
    let last = oldest.max(newest - BLOCKS + 1);
    let mut found = Vec::new();
    for block in (last..=newest).rev() {
        let left = most - found.len();
        found.extend(all(db, &sql, params![block, key, end, from, rows(left)], decision)?);
        if found.len() >= most {
            return Ok(Chunk::of(found, most));
        }
    }
    let next = (last > oldest).then(|| Lsn((last << BLOCK_BITS).cast_unsigned()));
    Ok(Chunk { rows: found, next })
}

fn of_decisions() -> String {
    format!(
        "SELECT {} FROM decision d LEFT JOIN decision f ON f.lsn = d.first_lsn
        LEFT JOIN account a ON a.customer = coalesce(d.customer, d.charged)",
        decision_columns()
    )
}

/// What the office charged to a customer, whom the decision did not name.
fn charged(db: &Connection, key: &Value<'_>, range: Range, most: usize) -> Result<Chunk, LedgerError> {
    let sql = format!(
        "{} WHERE d.charged = ?1 AND d.lsn < ?2 AND d.lsn >= ?3 AND d.customer IS NULL ORDER BY d.lsn DESC LIMIT ?4",
        of_decisions()
    );
    let of = params![key, bits(range.end.0), bits(range.first.0), rows(most)];
    Ok(Chunk::of(all(db, &sql, of, decision)?, most))
}

fn of_steps(filter: &str) -> String {
    format!(
        "SELECT {} FROM order_step s JOIN decision d ON d.lsn = s.order_lsn LEFT JOIN decision f ON f.lsn = d.first_lsn
        LEFT JOIN refund r ON r.order_lsn = s.order_lsn AND r.lsn = s.lsn LEFT JOIN account a ON a.customer = s.customer
        WHERE {filter} AND s.lsn < ?2 AND s.lsn >= ?3 ORDER BY s.lsn DESC LIMIT ?4",
        step_columns()
    )
}

fn steps(
    db: &Connection,
    whose: &Whose,
    kind: u8,
    key: &Value<'_>,
    range: Range,
    most: usize,
) -> Result<Chunk, LedgerError> {
    let column = match whose {
        Whose::Merchant(_) => "merchant_id",
        Whose::Customer(_) => "customer",
    };
    let sql = of_steps(&format!("s.{column} = ?1 AND s.kind = {kind}"));
    let of = params![key, bits(range.end.0), bits(range.first.0), rows(most)];
    Ok(Chunk::of(all(db, &sql, of, step)?, most))
}

pub(super) fn customers(
    db: &Connection,
    of: &CustomersOf,
    keep: &dyn Fn(&Account) -> bool,
) -> Result<Page<Account, CustomerId>, LedgerError> {
    let tx = db.unchecked_transaction()?;
    let position = position_of(&tx)?;
    let sql = format!(
        "SELECT {BRIEF} FROM account WHERE customer_id > ?1 AND customer_id >= ?2 AND customer_id < ?3
        ORDER BY customer_id LIMIT ?4"
    );
    let (from, to) = of.ids();
    let briefs = all(&tx, &sql, params![of.after(), from, to, rows(of.looked_at())], Brief::read)?;
    customer_page(of, position, &briefs, keep, |some| {
        let one = |ix: &CustomerIx| {
            let at = i64::from(ix.0);
            Ok(accounts(&tx, at, at + 1)?.pop().map(|account| (*ix, account)))
        };
        some.iter().filter_map(|ix| one(ix).transpose()).collect()
    })
}

pub(super) fn merchants(
    db: &Connection,
    after: Option<&MerchantId>,
    limit: usize,
) -> Result<Page<Merchant, MerchantId>, LedgerError> {
    let tx = db.unchecked_transaction()?;
    let position = position_of(&tx)?;
    let sql =
        format!("SELECT {} FROM merchant WHERE merchant_id > ?1 ORDER BY merchant_id LIMIT ?2", answers::MERCHANT);
    let after = after.map_or("", MerchantId::as_str);
    let found = all(&tx, &sql, params![after, rows(limit + 1)], answers::merchant)?;
    Ok(merchant_page(found, limit, position))
}

pub(super) fn merchant(db: &Connection, id: &MerchantId) -> Result<Option<Merchant>, LedgerError> {
    let sql = format!("SELECT {} FROM merchant WHERE merchant_id = ?1", answers::MERCHANT);
    first(db, &sql, [id.as_str()], answers::merchant)
}
