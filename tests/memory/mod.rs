//! A journal in memory, for tests that drive the engine by hand: what is synced survives, nothing else does.

use std::sync::Arc;

use parking_lot::Mutex;
use sokketsu::domain::model::ids::Lsn;
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::event::Event;
use sokketsu::journal::{Batch, Journal, JournalError, codec};

#[derive(Default)]
struct Records {
    synced: Vec<(Millis, Event)>,
    written: Vec<(Millis, Event)>,
}

#[derive(Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Records>>);

impl MemoryJournal {
    pub fn durable(&self) -> Vec<(Millis, Event)> {
        self.0.lock().synced.clone()
    }
}

impl Journal for MemoryJournal {
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        let mut records = self.0.lock();
        for (time_ms, payload) in batch.payloads() {
            let event = codec::decode(payload).expect("the engine writes whole events");
            records.written.push((Millis(time_ms), event));
        }
        let last = records.synced.len() + records.written.len();
        Ok(Lsn(u64::try_from(last).expect("fits")))
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let mut records = self.0.lock();
        let written = std::mem::take(&mut records.written);
        records.synced.extend(written);
        Ok(())
    }

    fn room(&self) -> Result<(), String> {
        Ok(())
    }
}
