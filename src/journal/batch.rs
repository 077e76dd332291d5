//! What one commit writes: payloads with their times, side by side in one buffer that is kept from batch to batch.

use super::record;

/// A fact that no record can hold. It is refused before it becomes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fact is too large to be recorded")]
pub struct TooLarge;

#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The time of each payload, Unix ms, and where it ends in `bytes`.
    ends: Vec<(i64, usize)>,
    /// Bytes as records: headers and padding included.
    size: usize,
}

impl Batch {
    /// Adds one payload of this time: whatever `fill` appends. Of one that is too large nothing is added. Its time is
    /// checked when it is written.
    pub fn offer(
        &mut self,
        time_ms: i64,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        let start = self.bytes.len();
        let filled = fill(&mut self.bytes);
        if filled.is_err() || self.bytes.len() - start > record::MAX_PAYLOAD {
            self.bytes.truncate(start);
            return Err(TooLarge);
        }
        let end = self.bytes.len();
        assert!(end >= start, "a payload may only be appended");
        self.ends.push((time_ms, end));
        self.size += record::size_of(end - start);
        Ok(())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes these payloads take as records.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.size = 0;
    }

    /// Each payload with its time.
    pub fn payloads(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(|(start, &(time_ms, end))| (time_ms, self.bytes.get(start..end).unwrap_or_default()))
    }
}
