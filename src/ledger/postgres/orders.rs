//! Orders, read back from PostgreSQL's tables with their refunds.

use std::collections::HashMap;

use super::session::{Params, Session};
use crate::domain::model::ids::Lsn;
use crate::domain::model::order::{Order, RefundMade};
use crate::domain::state::checkpoint::OrderLoad;
use crate::ledger::LedgerError;
use crate::ledger::order_rows::{ORDER_COLUMNS, REFUND_COLUMNS, ReadOrder, bits, refund_made};

fn orders_where(filter: &str) -> String {
    format!(
        "SELECT {ORDER_COLUMNS} FROM decided d LEFT JOIN decision f ON f.stream = d.stream AND f.lsn = d.first_lsn
        WHERE {filter}"
    )
}

type RefundsOf = HashMap<Lsn, Vec<(Lsn, RefundMade)>>;

/// Orders as their rows say it, and the refunds of them all.
fn read_orders(
    session: &mut Session,
    stream: i16,
    filter: &str,
    params: Params<'_>,
) -> Result<(Vec<ReadOrder>, RefundsOf), LedgerError> {
    let orders = session.all(&orders_where(filter), params, ReadOrder::read)?;
    let refunded: Vec<i64> =
        orders.iter().filter(|order| order.was_refunded).map(|order| bits(order.lsn().0)).collect();
    let mut of = RefundsOf::new();
    if !refunded.is_empty() {
        let sql = format!("SELECT {REFUND_COLUMNS} FROM refund WHERE stream = $1 AND order_lsn = ANY($2) ORDER BY lsn");
        let made = session.all(&sql, &[&stream, &refunded], |cells| Ok((cells.lsn(8)?, refund_made(cells)?)))?;
        made.into_iter().for_each(|(order, made)| of.entry(order).or_default().push(made));
    }
    Ok((orders, of))
}

/// Orders as memory has them.
pub(crate) fn remembered(
    session: &mut Session,
    stream: i16,
    filter: &str,
    params: Params<'_>,
) -> Result<Vec<OrderLoad>, LedgerError> {
    let (orders, mut refunds) = read_orders(session, stream, filter, params)?;
    let remembered = |order: ReadOrder| {
        let refunds = refunds.remove(&order.lsn()).unwrap_or_default();
        order.remembered(refunds)
    };
    orders.into_iter().map(remembered).collect()
}

/// The first that is found, with all its refunds.
pub(crate) fn order(
    session: &mut Session,
    stream: i16,
    filter: &str,
    params: Params<'_>,
) -> Result<Option<Order>, LedgerError> {
    let (orders, mut refunds) = read_orders(session, stream, filter, params)?;
    let first = orders.into_iter().next();
    Ok(first.map(|order| {
        let refunds = refunds.remove(&order.lsn()).unwrap_or_default();
        order.whole(refunds)
    }))
}
