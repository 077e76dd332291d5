//! The journal: facts, in order, durable before they are answered.

pub mod codec;

use crate::domain::ids::Lsn;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal could not be written: {0}")]
    Failed(String),
}

/// Payloads to be written together.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    pub fn push(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        fill(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.bytes.get(from..*to).unwrap_or_default())
    }
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

pub trait Journal: Send {
    fn write(&mut self, time_ms: i64, batch: &Batch) -> Result<Lsn, JournalError>;
    fn sync(&mut self) -> Result<(), JournalError>;
}
