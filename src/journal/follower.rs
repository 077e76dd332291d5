//! Events of a live journal, read by whoever follows it: the write-behind worker, the feeds of events. Damage that a start
//! would refuse ends the service, whoever finds it: no approval may rest on a journal that could not be recovered
//! (`docs/decisions/0015`).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{JournalError, JournalReader, Lsn, Record, codec};
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;

/// Ends the process.
type Stop = Arc<dyn Fn(&JournalError) -> Infallible + Send + Sync>;

/// What is done about damage that a start would refuse. Each follower has a clone.
#[derive(Clone)]
pub struct Alarm {
    /// The ledger's position.
    posted: Arc<AtomicU64>,
    stop: Stop,
}

impl Alarm {
    pub fn new(posted: &Arc<AtomicU64>, stop: Stop) -> Self {
        Self { posted: Arc::clone(posted), stop }
    }

    fn ring(&self, error: &JournalError) -> ! {
        match (self.stop)(error) {}
    }
}

/// Why a feed can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedError {
    /// The next record was released, or is in an old part of the journal that can't be read any more. Reading can go on
    /// with `first`.
    Gone { first: Lsn },
    /// The journal can't be read just now.
    Failed(String),
}

/// Follows the journal for one reader.
pub struct Follower {
    reader: Box<dyn JournalReader>,
    record: Record,
    alarm: Alarm,
}

impl Follower {
    pub fn new(reader: Box<dyn JournalReader>, alarm: Alarm) -> Self {
        Self { reader, record: Record::default(), alarm }
    }

    /// Another one of the same journal.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.reader.another(), self.alarm.clone())
    }

    /// The last durable record.
    pub fn last(&self) -> Lsn {
        self.reader.last()
    }

    /// Hands the events after `after` to `each`, at most `max`, for a reader that can do without none of them: one that
    /// was released ends the process too, as a start would be refused. An error is one that waiting may mend; what was
    /// read before it has been handed over then, or the next call has the error.
    pub fn read_all(
        &mut self,
        after: Lsn,
        max: usize,
        each: impl FnMut(Lsn, Millis, Event),
    ) -> Result<(), JournalError> {
        let read = self.read(after, max, each);
        if let Err(error @ JournalError::Released { .. }) = &read {
            self.alarm.ring(error);
        }
        read
    }

    /// At most `max` events after `after` for a feed; fewer, or none, at the journal's end.
    pub fn page(&mut self, after: Lsn, max: usize) -> Result<Vec<(Lsn, Millis, Event)>, FeedError> {
        let mut events = Vec::new();
        let read = self.read(after, max, |lsn, time, event| events.push((lsn, time, event)));
        read.map(|()| events).map_err(|error| self.to_feed(&error))
    }

    /// Reads on; damage that a start would refuse ends the process. What was read before another error is given first:
    /// the next call has the error.
    fn read(&mut self, after: Lsn, max: usize, mut each: impl FnMut(Lsn, Millis, Event)) -> Result<(), JournalError> {
        let mut at = after;
        for _ in 0..max {
            match self.next(at) {
                Ok(Some((lsn, time, event))) => {
                    at = lsn;
                    each(lsn, time, event);
                }
                Ok(None) => break,
                Err(error) if self.is_fatal(&error) => self.alarm.ring(&error),
                Err(_) if at > after => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn next(&mut self, after: Lsn) -> Result<Option<(Lsn, Millis, Event)>, JournalError> {
        if !self.reader.next(after, &mut self.record)? {
            return Ok(None);
        }
        let event = codec::decode(&self.record.payload).map_err(|problem| self.reader.unreadable(&problem))?;
        Ok(Some((self.record.lsn, Millis(self.record.time_ms), event)))
    }

    fn is_fatal(&self, error: &JournalError) -> bool {
        let JournalError::Damaged { record, .. } = error else { return false };
        self.reader.is_needed(*record, Lsn(self.alarm.posted.load(Ordering::Acquire)))
    }

    /// Damage that a start would not notice ends the feed and not the service: nobody who may read events can stop it.
    fn to_feed(&self, error: &JournalError) -> FeedError {
        match error {
            JournalError::Released { first, .. } => FeedError::Gone { first: *first },
            JournalError::Damaged { record, .. } => {
                tracing::error!(%error, "an old part of the journal, which the ledger has, is damaged");
                match self.reader.behind(*record) {
                    Some(first) => FeedError::Gone { first },
                    None => FeedError::Failed(error.to_string()),
                }
            }
            _ => FeedError::Failed(error.to_string()),
        }
    }
}
