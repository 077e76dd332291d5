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

    fn raise(&self, error: &JournalError) -> ! {
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

    /// Gives the events after `after` to `each`, at most `max`, for a reader that can do without none of them: one that
    /// was released ends the process too, as a start would be refused. An error is one that waiting may mend; what was
    /// read before it has been given then, or the next call has the error.
    pub fn read_all(
        &mut self,
        after: Lsn,
        max: usize,
        each: impl FnMut(Lsn, Millis, Event),
    ) -> Result<(), JournalError> {
        let read = self.read(after, max, each);
        if let Err(error @ JournalError::Released { .. }) = &read {
            self.alarm.raise(error);
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
                Err(error) if self.is_fatal(&error) => self.alarm.raise(&error),
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::journal::Examined;

    /// Records 1 to 9 in parts of three; the one at `bad` can't be read, or means nothing.
    #[derive(Clone)]
    struct Parts {
        bad: Lsn,
        why: fn(Lsn) -> JournalError,
        nonsense: Option<Lsn>,
    }

    fn damaged(record: Lsn) -> JournalError {
        JournalError::Damaged { record, cause: "it is damaged".into() }
    }

    fn failed(_: Lsn) -> JournalError {
        JournalError::failed("read records")("too many open files")
    }

    fn released(wanted: Lsn) -> JournalError {
        JournalError::Released { wanted, first: Lsn(7) }
    }

    impl JournalReader for Parts {
        fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
            let lsn = after.next();
            if lsn == self.bad {
                return Err((self.why)(lsn));
            }
            (out.lsn, out.time_ms) = (lsn, 5);
            out.payload.clear();
            if self.nonsense != Some(lsn) {
                codec::encode(&Event::Opened { sandbox: true }, &mut out.payload)?;
            }
            Ok(lsn <= Lsn(9))
        }
        fn last(&self) -> Lsn {
            Lsn(9)
        }
        fn examine(&mut self, _: Lsn) -> Result<Examined, JournalError> {
            Err(JournalError::Poisoned)
        }
        fn unreadable(&self, _: &dyn std::fmt::Display) -> JournalError {
            damaged(self.nonsense.unwrap_or_default())
        }
        fn is_needed(&self, record: Lsn, posted: Lsn) -> bool {
            (record.0 - 1) / 3 >= posted.0.saturating_sub(1) / 3
        }
        fn behind(&self, record: Lsn) -> Option<Lsn> {
            [4, 7].map(Lsn).into_iter().find(|&first| first > record)
        }
        fn another(&self) -> Box<dyn JournalReader> {
            Box::new(self.clone())
        }
    }

    /// With a ledger that has posted up to record 5.
    fn follow(bad: u64, why: fn(Lsn) -> JournalError, nonsense: Option<u64>) -> Follower {
        let alarm = Alarm::new(&Arc::new(AtomicU64::new(5)), Arc::new(|error| panic!("the alarm: {error}")));
        Follower::new(Box::new(Parts { bad: Lsn(bad), why, nonsense: nonsense.map(Lsn) }), alarm)
    }

    fn positions(follower: &mut Follower, after: u64) -> Result<Vec<u64>, FeedError> {
        follower.page(Lsn(after), 100).map(|page| page.iter().map(|(lsn, ..)| lsn.0).collect())
    }

    fn rings(act: impl FnOnce() -> bool) -> bool {
        catch_unwind(AssertUnwindSafe(act)).is_err()
    }

    #[test]
    fn damage_that_a_start_would_refuse_calls_the_alarm_and_older_damage_ends_a_feed() {
        for nonsense in [None, Some(2)] {
            let bad = if nonsense.is_some() { 99 } else { 2 };
            let mut feed = follow(bad, damaged, nonsense);
            assert_eq!(positions(&mut feed, 0), Ok(vec![1]), "what was read before is given first");
            assert_eq!(positions(&mut feed, 1), Err(FeedError::Gone { first: Lsn(4) }), "it can go on behind it");
            assert!(matches!(
                feed.read_all(Lsn(1), 9, |_, _, _| ()),
                Err(JournalError::Damaged { record: Lsn(2), .. })
            ));
        }
        assert_eq!(
            positions(&mut follow(3, damaged, None), 3),
            Ok((4..=9).collect()),
            "who does not read it is not told"
        );
        for needed in [4, 6, 7, 9] {
            assert!(rings(|| follow(needed, damaged, None).page(Lsn(3), 9).is_ok()), "record {needed}");
            assert!(rings(|| follow(99, damaged, Some(needed)).page(Lsn(3), 9).is_ok()), "record {needed}");
        }
    }

    #[test]
    fn only_who_needs_every_record_calls_the_alarm_for_one_that_was_released() {
        assert_eq!(positions(&mut follow(5, released, None), 4), Err(FeedError::Gone { first: Lsn(7) }));
        assert!(rings(|| follow(5, released, None).read_all(Lsn(4), 9, |_, _, _| ()).is_ok()));
    }

    #[test]
    fn what_waiting_may_mend_is_told_after_what_was_read_before_it() {
        let mut feed = follow(4, failed, None);
        assert_eq!(positions(&mut feed, 0), Ok(vec![1, 2, 3]));
        let why = "the journal could not read records: too many open files".to_owned();
        assert_eq!(positions(&mut feed, 3), Err(FeedError::Failed(why)));
        let mut read = Vec::new();
        assert!(feed.another().read_all(Lsn(0), 2, |lsn, _, _| read.push(lsn.0)).is_ok());
        assert_eq!(read, [1, 2], "no more than was asked for");
    }
}
