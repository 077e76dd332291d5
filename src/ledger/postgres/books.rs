//! Answers about the past, as PostgreSQL is asked for them: each question in a transaction of its own that only reads, and
//! sees one moment.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{customer_ix, some_accounts};
use super::orders::order;
use super::session::{LONG, Purpose, SNAPSHOT, SOON, Session};
use super::{STREAM, audit, lists, load, position, schema};
use crate::database::Server;
use crate::domain::billing::account::Account;
use crate::domain::billing::stories::Kept;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};
use crate::ledger::lists::{CustomersOf, Listed, Page, PageOf, rows};
use crate::ledger::order_rows::{bits, key_hash};
use crate::ledger::pool::Pool;
use crate::ledger::{
    Book, Books, CustomerSums, Entry, Graded, InSuspense, Issued, LedgerError, OwedInCash, PaidOut, RecordId, Snapshot,
    Stepped, answers,
};

/// How long a question waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections for questions to a ledger that a writer has made; its tables are checked when one is opened.
pub struct PostgresBooks {
    server: Arc<Server>,
    stream: i16,
    pool: Pool<Session>,
}

impl PostgresBooks {
    pub fn new(server: Arc<Server>) -> Self {
        Self { server, stream: STREAM, pool: Pool::new(PATIENCE) }
    }

    fn ask<T>(&self, question: impl FnOnce(&mut Session, i16) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let open = || {
            let mut session = Session::open(&self.server, Purpose::Asking)?;
            schema::check(&mut session).map(|()| session)
        };
        let begin = |session: &mut Session| session.run(SNAPSHOT);
        self.pool.ask(open, begin, |session| {
            let answer = question(session, self.stream)?;
            session.run("COMMIT")?;
            Ok(answer)
        })
    }

    /// Over all rows: that takes its time.
    fn ask_long<T>(
        &self,
        question: impl FnOnce(&mut Session, i16) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.ask(|session, stream| {
            session.limit = LONG;
            let answer = question(session, stream);
            session.limit = SOON;
            answer
        })
    }
}

fn numbers(records: &[Lsn]) -> Vec<i64> {
    records.iter().map(|record| bits(record.0)).collect()
}

/// A query of sales in suspense.
fn in_suspense(filter: &str) -> String {
    format!(
        "SELECT {} FROM suspense s JOIN decided d ON d.stream = s.stream AND d.lsn = s.order_lsn
        LEFT JOIN account a ON a.stream = s.stream AND a.customer = s.customer
        WHERE s.stream = $1 AND s.cleared_lsn IS NULL AND {filter}",
        answers::IN_SUSPENSE
    )
}

impl Snapshot for PostgresBooks {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        self.ask_long(|session, stream| load::load(session, &self.server, stream, state))
    }
}

impl Books for PostgresBooks {
    fn as_of(&self) -> Result<Lsn, LedgerError> {
        self.ask(position)
    }

    fn past_order(&self, id: AuthorizationId) -> Result<Option<Order>, LedgerError> {
        let found = self.ask(|session, stream| {
            order(session, stream, "d.stream = $1 AND d.lsn = $2", &[&stream, &bits(id.lsn.0)])
        })?;
        Ok(found.filter(|order| order.id == id && !order.is_tombstone()))
    }

    fn past_order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, LedgerError> {
        let filter = "d.stream = $1 AND d.key_hash = $2 AND d.merchant_id = $3 AND d.order_id = $4 AND d.state <> 1
            ORDER BY d.lsn DESC LIMIT 1";
        let hash = key_hash(key).cast_signed();
        let (merchant, order_id) = (key.merchant.as_str(), key.order_id.as_str());
        self.ask(|session, stream| order(session, stream, filter, &[&stream, &hash, &merchant, &order_id]))
    }

    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError> {
        let sql = "SELECT d.authorization_id FROM unnest($2::bigint[]) WITH ORDINALITY AS o(lsn, at)
            JOIN decision d ON d.stream = $1 AND d.lsn = o.lsn ORDER BY o.at";
        let orders = numbers(orders);
        self.ask(|session, stream| session.all(sql, &[&stream, &orders], |cells| cells.text(0, AuthorizationId::parse)))
    }

    fn known(&self, ids: &[OfficeId]) -> Result<Known, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event FROM unnest($2::text[]) WITH ORDINALITY AS o(id, at)
            JOIN receipt r ON r.stream = $1 AND (r.id = o.id OR r.about = o.id) ORDER BY o.at, r.lsn";
        let ids: Vec<&str> = ids.iter().map(OfficeId::as_str).collect();
        self.ask(|session, stream| {
            let as_of = position(session, stream)?;
            Ok(Known { as_of, receipts: session.all(sql, &[&stream, &ids], answers::receipt)? })
        })
    }

    fn entries(&self, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM entry e LEFT JOIN decision d ON d.stream = e.stream AND d.lsn = e.order_lsn
            WHERE e.stream = $1 AND e.customer = $2 AND e.recorded_at >= $3 AND e.recorded_at < $4
            ORDER BY e.lsn, e.kind, e.id",
            answers::ENTRY
        );
        self.ask(|session, stream| {
            let Some(ix) = customer_ix(session, stream, customer)? else { return Ok(Vec::new()) };
            session.all(&sql, &[&stream, &ix.0.cast_signed(), &from.0, &to.0], answers::entry)
        })
    }

    fn record_ids(&self, records: &[Lsn]) -> Result<Vec<(Lsn, RecordId)>, LedgerError> {
        let sql =
            "SELECT r.kind, r.id, o.lsn FROM unnest($2::bigint[]) WITH ORDINALITY AS o(lsn, at) CROSS JOIN LATERAL (
                SELECT kind, id FROM receipt WHERE stream = $1 AND lsn = o.lsn
                UNION ALL SELECT NULL, refund_id FROM refund WHERE stream = $1 AND lsn = o.lsn
            ) r ORDER BY o.at";
        let records = numbers(records);
        self.ask(|session, stream| {
            session.all(sql, &[&stream, &records], |cells| Ok((cells.lsn(2)?, answers::record_id(cells)?)))
        })
    }

    fn receipts(&self, customer: &CustomerId, kinds: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event FROM receipt r
            JOIN account a ON a.stream = r.stream AND a.customer = r.customer
            WHERE r.stream = $1 AND a.customer_id = $2 AND r.kind = ANY($3) ORDER BY r.lsn";
        let kinds: Vec<i16> = kinds.iter().map(|kind| i16::from(*kind as u8)).collect();
        self.ask(|session, stream| session.all(sql, &[&stream, &customer.as_str(), &kinds], answers::receipt))
    }

    fn issued(&self, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
        let sql = "SELECT b.month, b.method, b.due FROM bill b
            JOIN account a ON a.stream = b.stream AND a.customer = b.customer
            WHERE b.stream = $1 AND a.customer_id = $2 ORDER BY b.month";
        self.ask(|session, stream| session.all(sql, &[&stream, &customer.as_str()], answers::issued))
    }

    fn ladder_steps(&self, customer: &CustomerId) -> Result<Vec<Stepped>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM ladder_step s JOIN account a ON a.stream = s.stream AND a.customer = s.customer
            WHERE s.stream = $1 AND a.customer_id = $2 ORDER BY s.lsn, s.id",
            answers::STEPPED
        );
        self.ask(|session, stream| session.all(&sql, &[&stream, &customer.as_str()], answers::stepped))
    }

    fn graded(&self, customer: &CustomerId) -> Result<Vec<(Millis, Graded)>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM grade g JOIN account a ON a.stream = g.stream AND a.customer = g.customer
            WHERE g.stream = $1 AND a.customer_id = $2 ORDER BY g.lsn",
            answers::GRADED
        );
        self.ask(|session, stream| session.all(&sql, &[&stream, &customer.as_str()], answers::graded))
    }

    fn policies(&self, from: Millis, to: Millis) -> Result<Vec<(Millis, String)>, LedgerError> {
        let sql = "SELECT set_at, text FROM policy WHERE stream = $1 AND set_at < $3
            AND lsn >= (SELECT coalesce(max(lsn), 0) FROM policy WHERE stream = $1 AND set_at <= $2) ORDER BY lsn";
        self.ask(|session, stream| session.all(sql, &[&stream, &from.0, &to.0], answers::policy))
    }

    fn payouts_due(&self, after: Option<&CustomerId>, most: usize) -> Result<Vec<OwedInCash>, LedgerError> {
        let sql = "SELECT a.customer_id, a.status, d.body
            FROM account a JOIN dossier d ON d.stream = a.stream AND d.customer = a.customer
            WHERE a.stream = $1 AND a.payout_due > 0 AND a.customer_id > $2 ORDER BY a.customer_id LIMIT $3";
        let after = after.map_or("", CustomerId::as_str);
        self.ask(|session, stream| session.all(sql, &[&stream, &after, &rows(most)], answers::owed_in_cash))
    }

    fn payouts_made(&self, after: Lsn, most: usize) -> Result<Vec<PaidOut>, LedgerError> {
        let sql = format!(
            "SELECT r.lsn, r.recorded_at, r.event, a.customer_id, b.recorded_at
            FROM receipt r JOIN account a ON a.stream = r.stream AND a.customer = r.customer
            LEFT JOIN receipt b ON b.stream = r.stream AND b.customer = r.customer AND b.kind = {} AND b.id = r.id
            WHERE r.stream = $1 AND r.kind = 3 AND r.lsn > $2 ORDER BY r.lsn LIMIT $3",
            ReceiptKind::Bounce as u8
        );
        self.ask(|session, stream| session.all(&sql, &[&stream, &bits(after.0), &rows(most)], answers::paid_out))
    }

    fn kept(&self, customer: &CustomerId) -> Result<Kept, LedgerError> {
        self.ask(|session, stream| {
            let as_of = position(session, stream)?;
            let Some(ix) = customer_ix(session, stream, customer)? else {
                return Ok(Kept { as_of, stories: Vec::new() });
            };
            let past = "SELECT body FROM past_story WHERE stream = $1 AND customer = $2 ORDER BY kind, number";
            let mut stories = session.all(past, &[&stream, &ix.0.cast_signed()], answers::past_story)?;
            for (_, account) in some_accounts(session, stream, &[ix])? {
                stories.extend(account.debt.iter().flat_map(|debt| answers::listed_stories(debt)));
            }
            Ok(Kept { as_of, stories })
        })
    }

    fn suspense(&self, after: Lsn, most: usize) -> Result<Vec<InSuspense>, LedgerError> {
        let sql = in_suspense("s.order_lsn > $2 ORDER BY s.order_lsn LIMIT $3");
        self.ask(|session, stream| session.all(&sql, &[&stream, &bits(after.0), &rows(most)], answers::in_suspense))
    }

    fn suspense_of(&self, order: AuthorizationId) -> Result<Option<InSuspense>, LedgerError> {
        let sql = in_suspense("s.order_lsn = $2");
        self.ask(|session, stream| session.first(&sql, &[&stream, &bits(order.lsn.0)], answers::in_suspense))
    }

    fn list(&self, of: &PageOf, keep: &dyn Fn(&Listed) -> bool) -> Result<Page<Listed, Lsn>, LedgerError> {
        self.ask(|session, stream| lists::list(session, stream, of, keep))
    }

    fn customers(
        &self,
        of: &CustomersOf,
        keep: &dyn Fn(&Account) -> bool,
    ) -> Result<Page<Account, CustomerId>, LedgerError> {
        self.ask(|session, stream| lists::customers(session, stream, of, keep))
    }

    fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Page<Merchant, MerchantId>, LedgerError> {
        self.ask(|session, stream| lists::merchants(session, stream, after, limit))
    }

    fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, LedgerError> {
        self.ask(|session, stream| lists::merchant(session, stream, id))
    }

    /// Tombstones are none.
    fn count_decisions(&self, upto: Lsn) -> Result<u64, LedgerError> {
        let count = "SELECT count(*) FROM decided WHERE stream = $1 AND state <> 1 AND lsn <= $2";
        self.ask_long(|session, stream| session.one(count, &[&stream, &bits(upto.0)], |cells| cells.bits(0)))
    }

    fn totals(&self, upto: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError> {
        self.ask_long(|session, stream| audit::totals(session, stream, upto))
    }

    fn sums(&self, upto: Lsn, each: &mut dyn FnMut(CustomerSums)) -> Result<(), LedgerError> {
        self.ask_long(|session, stream| audit::sums(session, stream, upto, each))
    }

    fn unclear(&self, upto: Lsn) -> Result<Vec<Lsn>, LedgerError> {
        self.ask_long(|session, stream| audit::unclear(session, stream, upto))
    }
}
