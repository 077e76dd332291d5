//! A queue of fixed-size chunks: it grows without ever moving what it holds, so that growth
//! at millions of entries is never a pause.

use std::collections::VecDeque;

/// Entries a chunk. With 256-byte entries a chunk is 1 MiB.
pub const CHUNK: usize = 4_096;

/// Entries are numbered from 0 for ever; the oldest may be dropped, the numbers of the others stay.
#[derive(Clone, Debug)]
pub struct Chunks<T> {
    chunks: VecDeque<Vec<T>>,
    /// Number of the first entry of the first chunk; a multiple of [`CHUNK`].
    base: u64,
    /// Number of the first entry not yet dropped.
    start: u64,
    /// Number of the next entry.
    end: u64,
    /// The next chunk, made ahead or kept from one that was emptied.
    spare: Option<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), base: 0, start: 0, end: 0, spare: None }
    }
}

impl<T> Chunks<T> {
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the oldest entry.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Number that the next entry will get.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn push(&mut self, entry: T) -> u64 {
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            let next = self.spare.take().unwrap_or_else(|| Vec::with_capacity(CHUNK));
            self.chunks.push_back(next);
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(entry);
        }
        self.end += 1;
        self.end - 1
    }

    /// Adds these. A vector with room for exactly [`CHUNK`] entries becomes the next chunk as it is, if the last one
    /// is full: nothing is moved.
    pub fn append(&mut self, entries: Vec<T>) {
        let fits = entries.capacity() == CHUNK && self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK);
        if fits && !entries.is_empty() {
            self.end += entries.len() as u64;
            self.chunks.push_back(entries);
        } else {
            for entry in entries {
                self.push(entry);
            }
        }
    }

    fn place(&self, number: u64) -> Option<(usize, usize)> {
        if number < self.start || number >= self.end {
            return None;
        }
        let at = usize::try_from(number - self.base).ok()?;
        Some((at / CHUNK, at % CHUNK))
    }

    pub fn get(&self, number: u64) -> Option<&T> {
        let (chunk, at) = self.place(number)?;
        self.chunks.get(chunk)?.get(at)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (chunk, at) = self.place(number)?;
        self.chunks.get_mut(chunk)?.get_mut(at)
    }

    pub fn front(&self) -> Option<&T> {
        self.get(self.start)
    }

    /// Drops the oldest entry; memory goes back chunk by chunk.
    pub fn drop_front(&mut self) {
        if self.is_empty() {
            return;
        }
        self.start += 1;
        let size = CHUNK as u64;
        if self.start - self.base == size {
            self.base += size;
            if let Some(mut emptied) = self.chunks.pop_front() {
                emptied.clear();
                self.spare.get_or_insert(emptied);
            }
        }
    }

    /// Makes the next chunk ahead of need, so that no entry waits for the allocator.
    pub fn make_room(&mut self) {
        self.spare.get_or_insert_with(|| Vec::with_capacity(CHUNK));
        self.chunks.reserve(1);
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let skip = usize::try_from(self.start - self.base).unwrap_or(usize::MAX);
        self.chunks.iter().flatten().skip(skip)
    }

    /// Number of the entry whose key is `key`, where keys rise with the numbers.
    pub fn find_sorted<K: Ord>(&self, key: &K, key_of: impl Fn(&T) -> K) -> Option<u64> {
        let (mut low, mut high) = (self.start, self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match key_of(self.get(middle)?).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_while_the_oldest_go() {
        let mut chunks = Chunks::default();
        for n in 0..10_000u64 {
            assert_eq!(chunks.push(n * 2), n);
        }
        for _ in 0..5_000 {
            chunks.drop_front();
        }
        assert_eq!((chunks.start(), chunks.end(), chunks.len()), (5_000, 10_000, 5_000));
        assert_eq!(chunks.get(4_999), None);
        assert_eq!(chunks.get(5_000), Some(&10_000));
        assert_eq!(chunks.front(), Some(&10_000));
        assert_eq!(chunks.iter().copied().collect::<Vec<_>>(), (5_000..10_000).map(|n| n * 2).collect::<Vec<_>>());
        for n in 5_000..10_000 {
            assert_eq!(chunks.find_sorted(&(n * 2), |x| *x), Some(n));
            assert_eq!(chunks.find_sorted(&(n * 2 + 1), |x| *x), None);
        }
        while !chunks.is_empty() {
            chunks.drop_front();
        }
        assert_eq!(chunks.push(7), 10_000);
        assert_eq!(chunks.get(10_000), Some(&7));
    }
    #[test]
    fn whole_chunks_are_taken_over_and_others_are_added() {
        let block = |from: usize, to: usize| {
            let mut block = Vec::with_capacity(CHUNK);
            block.extend(from..to);
            block
        };
        let mut chunks = Chunks::default();
        let first = block(0, CHUNK);
        let place = first.as_ptr();
        chunks.append(first);
        assert_eq!(chunks.get(0).map(std::ptr::from_ref), Some(place), "nothing was moved");
        chunks.append(block(CHUNK, CHUNK + 10));
        chunks.append(block(CHUNK + 10, CHUNK + 20));
        chunks.append((CHUNK + 20..3 * CHUNK).collect());
        chunks.append(Vec::new());
        chunks.push(3 * CHUNK);
        assert_eq!(chunks.iter().copied().collect::<Vec<_>>(), (0..=3 * CHUNK).collect::<Vec<_>>());
        assert!((0..=3 * CHUNK).all(|n| chunks.get(n as u64) == Some(&n)));
    }
}
