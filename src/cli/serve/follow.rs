//! Readers of the live journal and of the ledger: the write-behind worker's source, the events feed, old orders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::Damage;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, OfficeId};
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Known, ReceiptKind};
use crate::http::{CustomerPast, EventSource, FeedError, Past, Readiness};
use crate::journal::local::segment::file_name;
use crate::journal::{Durable, JournalError, Reader, Record, codec};
use crate::ledger::sqlite::SqliteReader;
use crate::ledger::writer::Source;
use crate::ledger::{Entry, EntryKind, LedgerError, Posting};

/// The journal as the write-behind worker and the events feed read it.
struct Tail {
    reader: Reader,
    record: Record,
}

impl Tail {
    fn open(dir: &Path, after: Lsn, durable: Durable) -> Result<Self, JournalError> {
        Ok(Self { reader: Reader::open(dir, after, Some(durable))?, record: Record::default() })
    }

    fn next(&mut self) -> Result<Option<(Lsn, Millis, Event)>, TailError> {
        let Some(lsn) = self.reader.next(&mut self.record)? else { return Ok(None) };
        let event = codec::decode(&self.record.payload).map_err(|problem| {
            let (segment, offset) = self.reader.spot().unwrap_or_default();
            TailError::Event { segment, offset, record: lsn, problem }
        })?;
        Ok(Some((lsn, Millis(self.record.time_ms), event)))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal is damaged in {}, byte {offset}, record {record}: it is intact but {problem}", file_name(*segment))]
    Event { segment: Lsn, offset: u64, record: Lsn, problem: codec::BadEvent },
}

impl TailError {
    /// The segment that is damaged, if that is what was found.
    fn damaged(&self) -> Option<Lsn> {
        match self {
            Self::Journal(JournalError::Damaged { segment, .. }) | Self::Event { segment, .. } => Some(*segment),
            Self::Journal(_) => None,
        }
    }
}

/// Follows the journal for one reader, reopening where another position is asked for.
pub(crate) struct Follower {
    dir: PathBuf,
    durable: Durable,
    damage: Damage,
    tail: Option<(Lsn, Tail)>,
}

impl Follower {
    pub fn new(dir: &Path, durable: &Durable, damage: Damage) -> Self {
        Self { dir: dir.to_owned(), durable: durable.clone(), damage, tail: None }
    }

    /// Another reader of the same journal.
    pub fn another(&self) -> Self {
        Self::new(&self.dir, &self.durable, self.damage.clone())
    }

    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.damage.readiness
    }

    /// Reads on; damage that a start would refuse ends the process. What was read before another error is given first:
    /// the next call has the error.
    fn read(&mut self, after: Lsn, max: usize, mut each: impl FnMut(Lsn, Millis, Event)) -> Result<(), TailError> {
        let mut count = 0;
        let read = self.read_on(after, max, |lsn, time, event| {
            count += 1;
            each(lsn, time, event);
        });
        match read {
            Err(error) if error.damaged().is_some_and(|segment| self.damage.is_needed(segment)) => {
                self.damage.stop(&error)
            }
            Err(_) if count > 0 => Ok(()),
            read => read,
        }
    }

    fn read_on(&mut self, after: Lsn, max: usize, mut each: impl FnMut(Lsn, Millis, Event)) -> Result<(), TailError> {
        let mut tail = match self.tail.take() {
            Some((at, tail)) if at == after => tail,
            _ => Tail::open(&self.dir, after, self.durable.clone())?,
        };
        let mut at = after;
        for _ in 0..max {
            let Some((lsn, time, event)) = tail.next()? else { break };
            at = lsn;
            each(lsn, time, event);
        }
        self.tail = Some((at, tail));
        Ok(())
    }
}

impl Source for Follower {
    type Error = TailError;

    fn next_chunk(&mut self, after: Lsn, max: usize, out: &mut Vec<Posting>) -> Result<(), TailError> {
        let read = self.read(after, max, |lsn, time, event| out.push(Posting { lsn, time, event }));
        if let Err(error @ TailError::Journal(JournalError::Released { .. })) = &read {
            // The ledger needs a record that is not there any more: a start would refuse it too.
            self.damage.stop(error);
        }
        read
    }

    fn last(&self) -> Lsn {
        self.durable.get()
    }
}

impl EventSource for Follower {
    fn read_after(&mut self, after: Lsn, max: usize) -> Result<Vec<(Lsn, Millis, Event)>, FeedError> {
        let mut events = Vec::new();
        let read = self.read(after, max, |lsn, time, event| events.push((lsn, time, event)));
        read.map(|()| events).map_err(|error| self.to_feed(&error))
    }
}

impl Follower {
    /// Damage that a start would not notice ends the feed and not the service: nobody who may read events can stop it.
    fn to_feed(&self, error: &TailError) -> FeedError {
        if let TailError::Journal(JournalError::Released { first, .. }) = error {
            return FeedError::Gone { first: *first };
        }
        let Some(segment) = error.damaged() else { return FeedError::Failed(error.to_string()) };
        tracing::error!(%error, "an old part of the journal, which the ledger has, is damaged");
        match self.damage.behind(segment) {
            Some(first) => FeedError::Gone { first },
            None => FeedError::Failed(error.to_string()),
        }
    }
}

/// What the ledger remembers, from its own reader.
pub(crate) struct LedgerPast {
    pub file: PathBuf,
    pub durable: Durable,
}

impl LedgerPast {
    fn read<T>(&self, ask: impl FnOnce(&SqliteReader) -> Result<T, LedgerError>) -> Result<T, String> {
        SqliteReader::open(&self.file).and_then(|reader| ask(&reader)).map_err(|error| error.to_string())
    }
}

impl Past for LedgerPast {
    fn order(&self, id: AuthorizationId) -> Result<Option<Order>, String> {
        self.read(|reader| reader.past_order(id))
    }

    fn order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, String> {
        self.read(|reader| reader.past_order_by_key(key))
    }

    fn known(&self, ids: &[OfficeId]) -> Result<Known, String> {
        self.read(|reader| reader.known(ids))
    }

    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, String> {
        self.read(|reader| reader.names(orders))
    }

    fn customer(&self, customer: &CustomerId) -> Result<CustomerPast, String> {
        self.read(|reader| {
            let entries = reader.entries(customer, Millis(0), Millis(i64::MAX))?;
            let captured = |entry: &&Entry| matches!(entry.kind, EntryKind::Purchase | EntryKind::Capture);
            let ids = entries.iter().filter(captured).filter_map(|entry| Some(entry.purchase?.authorization));
            let orders = ids.map(|id| reader.past_order(id)).filter_map(Result::transpose).collect::<Result<_, _>>()?;
            let payments = reader.receipts(customer, &[ReceiptKind::Repayment, ReceiptKind::Ending])?;
            Ok(CustomerPast { entries, orders, payments, issued: reader.issued(customer)? })
        })
    }

    fn is_caught_up(&self) -> Result<bool, String> {
        let durable = self.durable.get();
        self.read(|reader| Ok(reader.position()? >= durable))
    }
}
