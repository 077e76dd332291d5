//! Lists, as PostgreSQL is asked for them.

use tokio_postgres::types::ToSql;

use super::accounts::{customer_ix, some_accounts};
use super::position;
use super::session::{Params, Session};
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerId, Lsn, MerchantId};
use crate::domain::model::merchant::Merchant;
use crate::ledger::lists::{
    BRIEF, Brief, Chunk, CustomersOf, List, Listed, Page, PageOf, Position, Range, Whose, customer_page, decision,
    decision_columns, merchant_page, page, range, rows, step, step_columns,
};
use crate::ledger::order_rows::{bits, order_step};
use crate::ledger::{LedgerError, answers};

fn position_of(session: &mut Session, stream: i16) -> Result<Position, LedgerError> {
    Ok(Position { stream, lsn: position(session, stream)? })
}

/// What rows are found by.
enum Key {
    Text(String),
    Number(i32),
}

pub(super) fn list(
    session: &mut Session,
    stream: i16,
    of: &PageOf,
    keep: &dyn Fn(&Listed) -> bool,
) -> Result<Page<Listed, Lsn>, LedgerError> {
    let position = position_of(session, stream)?;
    let decided = "SELECT lsn, decided_at FROM decision WHERE stream = $1 AND lsn >= $2 ORDER BY lsn LIMIT 1";
    let range = range(of, position.lsn, |from| {
        session.first(decided, &[&stream, &from], |cells| Ok((cells.int(0)?, cells.int(1)?)))
    })?;
    let key = match of.list {
        List::Decisions(whose) | List::Captures(whose) | List::Refunds(whose) => match whose {
            Whose::Merchant(merchant) => Some(Key::Text(merchant.to_string())),
            Whose::Customer(customer) => {
                let ix = customer_ix(session, stream, &customer)?;
                ix.map(|ix| Key::Number(ix.0.cast_signed()))
            }
        },
        List::Approved(code) => Some(Key::Text(code.end_of_ids().to_owned())),
        List::RefundsNamed(merchant, _) => Some(Key::Text(merchant.to_string())),
    };
    let Some(key) = key else { return Ok(Page { rows: Vec::new(), next: None, position }) };
    let named = match &of.list {
        List::RefundsNamed(_, id) => Some(id.as_str()),
        _ => None,
    };
    page(of, position, range, keep, |range, most| {
        Asked { stream, key: &key, named, range, most }.fetch(session, &of.list)
    })
}

/// One fetch.
struct Asked<'k> {
    stream: i16,
    key: &'k Key,
    /// The id of a refund, where that is looked for.
    named: Option<&'k str>,
    range: Range,
    most: usize,
}

impl Asked<'_> {
    fn fetch(&self, session: &mut Session, list: &List) -> Result<Chunk, LedgerError> {
        let column = |whose: &Whose| match whose {
            Whose::Merchant(_) => "merchant_id",
            Whose::Customer(_) => "customer",
        };
        match list {
            List::Decisions(whose) => {
                let decided = self.decisions(session, &format!("d.{} = $2", column(whose)))?;
                match whose {
                    Whose::Merchant(_) => Ok(decided),
                    // What the office charged to a customer, whom the decision did not name.
                    Whose::Customer(_) => {
                        Ok(decided.and(self.decisions(session, "d.charged = $2 AND d.customer IS NULL")?))
                    }
                }
            }
            List::Captures(whose) => {
                let column = column(whose);
                let at_once = format!("d.{column} = $2 AND d.reason IS NULL AND d.hold_expires_at IS NULL");
                let later = self.steps(session, &format!("s.{column} = $2 AND s.kind = {}", order_step::CAPTURE))?;
                Ok(self.decisions(session, &at_once)?.and(later))
            }
            List::Refunds(whose) => {
                self.steps(session, &format!("s.{} = $2 AND s.kind = {}", column(whose), order_step::REFUND))
            }
            List::Approved(_) => self.decisions(session, "right(d.authorization_id, 6) = $2 AND d.reason IS NULL"),
            List::RefundsNamed(..) => self.steps(session, "s.merchant_id = $2 AND s.refund_id = $6"),
        }
    }

    fn decisions(&self, session: &mut Session, filter: &str) -> Result<Chunk, LedgerError> {
        let sql = format!(
            "SELECT {} FROM decided d LEFT JOIN decision f ON f.stream = d.stream AND f.lsn = d.first_lsn
            LEFT JOIN account a ON a.stream = d.stream AND a.customer = coalesce(d.customer, d.charged)
            WHERE d.stream = $1 AND {filter} AND d.lsn < $3 AND d.lsn >= $4 AND d.state <> 1
            ORDER BY d.lsn DESC LIMIT $5",
            decision_columns()
        );
        let found = self.with(|params| session.all(&sql, params, decision))?;
        Ok(Chunk::of(found, self.most))
    }

    fn steps(&self, session: &mut Session, filter: &str) -> Result<Chunk, LedgerError> {
        let sql = format!(
            "SELECT {} FROM order_step s JOIN decided d ON d.stream = s.stream AND d.lsn = s.order_lsn
            LEFT JOIN decision f ON f.stream = d.stream AND f.lsn = d.first_lsn
            LEFT JOIN refund r ON r.stream = s.stream AND r.order_lsn = s.order_lsn AND r.lsn = s.lsn
            LEFT JOIN account a ON a.stream = s.stream AND a.customer = s.customer
            WHERE s.stream = $1 AND {filter} AND s.lsn < $3 AND s.lsn >= $4 ORDER BY s.lsn DESC LIMIT $5",
            step_columns()
        );
        let found = self.with(|params| session.all(&sql, params, step))?;
        Ok(Chunk::of(found, self.most))
    }

    fn with<T>(&self, ask: impl FnOnce(Params<'_>) -> T) -> T {
        let (end, first, most) = (bits(self.range.end.0), bits(self.range.first.0), rows(self.most));
        let key: &(dyn ToSql + Sync) = match self.key {
            Key::Text(text) => text,
            Key::Number(number) => number,
        };
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&self.stream, key, &end, &first, &most];
        if let Some(named) = &self.named {
            params.push(named);
        }
        ask(&params)
    }
}

pub(super) fn customers(
    session: &mut Session,
    stream: i16,
    of: &CustomersOf,
    keep: &dyn Fn(&Account) -> bool,
) -> Result<Page<Account, CustomerId>, LedgerError> {
    let position = position_of(session, stream)?;
    let sql = format!(
        "SELECT {BRIEF} FROM account WHERE stream = $1 AND customer_id > $2 AND customer_id >= $3 AND customer_id < $4
        ORDER BY customer_id LIMIT $5"
    );
    let (from, to) = of.ids();
    let params: Params<'_> = &[&stream, &of.after(), &from, &to, &rows(of.looked_at())];
    let briefs = session.all(&sql, params, Brief::read)?;
    customer_page(of, position, &briefs, keep, |some| some_accounts(session, stream, some))
}

pub(super) fn merchants(
    session: &mut Session,
    stream: i16,
    after: Option<&MerchantId>,
    limit: usize,
) -> Result<Page<Merchant, MerchantId>, LedgerError> {
    let position = position_of(session, stream)?;
    let sql = format!(
        "SELECT {} FROM merchant WHERE stream = $1 AND merchant_id > $2 ORDER BY merchant_id LIMIT $3",
        answers::MERCHANT
    );
    let after = after.map_or("", MerchantId::as_str);
    let found = session.all(&sql, &[&stream, &after, &rows(limit + 1)], answers::merchant)?;
    Ok(merchant_page(found, limit, position))
}

pub(super) fn merchant(session: &mut Session, stream: i16, id: &MerchantId) -> Result<Option<Merchant>, LedgerError> {
    let sql = format!("SELECT {} FROM merchant WHERE stream = $1 AND merchant_id = $2", answers::MERCHANT);
    session.first(&sql, &[&stream, &id.as_str()], answers::merchant)
}
