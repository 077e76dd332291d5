//! Readers of the live journal and of the ledger: the write-behind worker's source, the events feed, old orders.

use std::path::{Path, PathBuf};

use crate::domain::event::Event;
use crate::domain::ids::{AuthorizationId, Lsn};
use crate::domain::jst::Millis;
use crate::domain::orders::Order;
use crate::domain::request::OrderKey;
use crate::journal::{Durable, JournalError, Reader, Record, codec};
use crate::ledger::Posting;
use crate::ledger::sqlite::SqliteReader;
use crate::ledger::writer::Source;
use crate::server::{EventSource, PastOrders};

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
        let event = codec::decode(&self.record.payload)?;
        Ok(Some((lsn, Millis(self.record.time_ms), event)))
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TailError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Event(#[from] codec::BadEvent),
}

/// Follows the journal for one reader, reopening where another position is asked for.
pub(super) struct Follower {
    dir: PathBuf,
    durable: Durable,
    tail: Option<(Lsn, Tail)>,
}

impl Follower {
    pub fn new(dir: &Path, durable: &Durable) -> Self {
        Self { dir: dir.to_owned(), durable: durable.clone(), tail: None }
    }

    fn read(&mut self, after: Lsn, max: usize, mut each: impl FnMut(Lsn, Millis, Event)) -> Result<(), TailError> {
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
        self.read(after, max, |lsn, time, event| out.push(Posting { lsn, time, event }))
    }

    fn last(&self) -> Lsn {
        self.durable.get()
    }
}

impl EventSource for Follower {
    fn read_after(&mut self, after: Lsn, max: usize) -> Result<Vec<(Lsn, Millis, Event)>, String> {
        let mut events = Vec::new();
        self.read(after, max, |lsn, time, event| events.push((lsn, time, event))).map_err(|error| error.to_string())?;
        Ok(events)
    }
}

/// Old orders, from the ledger's own reader.
pub(super) struct LedgerOrders {
    pub file: PathBuf,
}

impl PastOrders for LedgerOrders {
    fn by_id(&self, id: AuthorizationId) -> Result<Option<Order>, String> {
        let reader = SqliteReader::open(&self.file).map_err(|error| error.to_string())?;
        reader.past_order(id).map_err(|error| error.to_string())
    }

    fn by_key(&self, key: &OrderKey) -> Result<Option<Order>, String> {
        let reader = SqliteReader::open(&self.file).map_err(|error| error.to_string())?;
        reader.past_order_by_key(key).map_err(|error| error.to_string())
    }
}
