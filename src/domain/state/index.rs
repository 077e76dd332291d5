//! A hash index that grows in small steps: many shards, each resized alone, so that no single
//! insertion into millions of entries pauses the engine. A shard that is nearly full is grown ahead,
//! between batches, so that an insertion does not even ask the allocator.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// At 20 million entries a shard holds 5,000, and a resize moves 60 kB.
const SHARDS: usize = 4_096;
/// Entries a shard has room for from the start; above [`SLACK`].
const FIRST: usize = 28;
/// With fewer free places a shard is grown ahead. A batch of 1,000 puts more than 8 entries into one shard
/// once in a million batches (Poisson, mean 0.25); then the insertion grows it, which is slower and as right.
const SLACK: usize = 8;
/// Work of one call of [`Index::make_room`], in entries moved; a shard to be visited counts as 64. Some 0.2 ms.
const WORK_AT_ONCE: usize = 4_096;
const VISIT: usize = 64;

/// An entry: 4 bytes of the hash, so that a resize need not visit the keys, and the value.
type Entry<V> = (u32, V);

/// Maps a key, which lives elsewhere, to a small value. The caller supplies hash and comparison.
#[derive(Clone, Debug)]
pub struct Index<V> {
    shards: Box<[HashTable<Entry<V>>]>,
    /// Shards that are nearly full, longest waiting first.
    tight: VecDeque<u16>,
    len: usize,
}

impl<V: Copy> Default for Index<V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::with_capacity(FIRST)).collect(),
            tight: VecDeque::with_capacity(SHARDS),
            len: 0,
        }
    }
}

/// The top 12 bits choose the shard, the lower half is the tag that is kept.
fn split(hash: u64) -> (u16, u32) {
    let [a, b, c, d, _, _, low, high] = hash.to_le_bytes();
    (u16::from_le_bytes([low, high]) >> 4, u32::from_le_bytes([a, b, c, d]))
}

/// What a shard's table sees of a hash: it places by the low bits and compares the top seven.
fn spread<V>((tag, _): &Entry<V>) -> u64 {
    u64::from(*tag) << 32 | u64::from(*tag)
}

impl<V: Copy> Index<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64, mut same: impl FnMut(V) -> bool) -> Option<V> {
        let (shard, tag) = split(hash);
        let found = self.shards[usize::from(shard)].find(spread(&(tag, ())), |(t, v)| *t == tag && same(*v));
        found.map(|(_, value)| *value)
    }

    /// Reads the lines of memory in which [`Self::find`] and [`Self::insert`] will look.
    pub fn touch(&self, hash: u64) -> bool {
        let (shard, tag) = split(hash);
        self.shards[usize::from(shard)].find(spread(&(tag, ())), |(t, _)| *t == tag).is_some()
    }

    /// Puts a value in the place of the one for which `same` holds, or adds it.
    pub fn put(&mut self, hash: u64, value: V, mut same: impl FnMut(V) -> bool) {
        let (shard, tag) = split(hash);
        let table = &mut self.shards[usize::from(shard)];
        match table.find_mut(spread(&(tag, ())), |(t, v)| *t == tag && same(*v)) {
            Some(entry) => entry.1 = value,
            None => self.insert(hash, value),
        }
    }

    /// Adds an entry; the caller has made sure that the key is not there.
    pub fn insert(&mut self, hash: u64, value: V) {
        let (shard, tag) = split(hash);
        let table = &mut self.shards[usize::from(shard)];
        table.insert_unique(spread(&(tag, ())), (tag, value), spread);
        self.len += 1;
        if table.capacity() - table.len() < SLACK && self.tight.len() < SHARDS {
            self.tight.push_back(shard);
        }
    }

    /// Adds many, whose keys are not there. They are put in order of their shards first, so that each shard is visited
    /// once and grown once: with millions of entries a visit is a miss of every cache.
    pub fn insert_all(&mut self, entries: &mut [(u64, V)]) {
        entries.sort_unstable_by_key(|(hash, _)| split(*hash).0);
        for of_one in entries.chunk_by(|(a, _), (b, _)| split(*a).0 == split(*b).0) {
            let Some((hash, _)) = of_one.first() else { continue };
            let table = &mut self.shards[usize::from(split(*hash).0)];
            table.reserve(of_one.len() + SLACK, spread);
            for (hash, value) in of_one {
                let tag = split(*hash).1;
                table.insert_unique(spread(&(tag, ())), (tag, *value), spread);
            }
        }
        self.len += entries.len();
    }

    /// Removes the entry for which `same` holds and gives its value.
    pub fn remove(&mut self, hash: u64, mut same: impl FnMut(V) -> bool) -> Option<V> {
        let (shard, tag) = split(hash);
        let table = &mut self.shards[usize::from(shard)];
        let entry = table.find_entry(spread(&(tag, ())), |(t, v)| *t == tag && same(*v)).ok()?;
        let ((_, value), _) = entry.remove();
        self.len -= 1;
        Some(value)
    }

    /// Grows shards that are nearly full, a bounded piece of work.
    pub fn make_room(&mut self) {
        let mut work = 0;
        while work < WORK_AT_ONCE
            && let Some(shard) = self.tight.pop_front()
        {
            let table = &mut self.shards[usize::from(shard)];
            work += VISIT + table.len();
            table.reserve(SLACK, spread);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;

    use super::*;

    const MANY: u32 = 300_000;

    fn hash(n: u32) -> u64 {
        FixedState::with_seed(1).hash_one(n)
    }

    fn filled() -> Index<u32> {
        let mut index = Index::default();
        for n in 0..MANY {
            index.insert(hash(n), n);
            if n % 256 == 0 {
                index.make_room();
            }
        }
        index
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_removed() {
        let mut index = filled();
        for n in 0..MANY {
            assert_eq!(index.find(hash(n), |v| v == n), Some(n));
            assert_eq!(index.find(hash(n), |_| false), None, "only what the caller takes for the same");
        }
        assert_eq!(index.find(hash(MANY), |v| v == MANY), None);
        index.put(hash(7), MANY, |v| v == 7);
        assert_eq!((index.find(hash(7), |_| true), index.len()), (Some(MANY), 300_000), "put replaces");
        index.put(hash(MANY), MANY, |v| v == MANY);
        assert_eq!(index.len(), 300_001, "and adds");
        assert_eq!(index.remove(hash(8), |v| v == 8), Some(8));
        assert_eq!((index.remove(hash(8), |v| v == 8), index.find(hash(8), |v| v == 8)), (None, None));
        assert_eq!(index.len(), 300_000);
    }

    #[test]
    fn many_at_once_are_found_as_if_put_in_one_by_one() {
        let mut index = Index::default();
        index.insert(hash(MANY), MANY);
        let mut entries: Vec<_> = (0..MANY).map(|n| (hash(n), n)).collect();
        index.insert_all(&mut entries[..1_000]);
        index.insert_all(&mut entries[1_000..]);
        index.insert_all(&mut []);
        assert_eq!(index.len(), 300_001);
        for n in 0..=MANY {
            assert_eq!(index.find(hash(n), |v| v == n), Some(n));
        }
        assert!(index.tight.is_empty(), "each shard has room for what comes next");
        assert!(index.shards.iter().all(|shard| shard.capacity() - shard.len() >= SLACK));
    }

    #[test]
    fn shards_grow_ahead_and_are_evenly_filled() {
        let mut index = filled();
        index.make_room();
        assert!(index.tight.is_empty());
        let free = index.shards.iter().map(|shard| shard.capacity() - shard.len()).min().unwrap();
        assert!(free >= SLACK, "a shard has only {free} free places");
        // 73 on average; the farthest of 4,096 shards lies some four deviations (8.6) off.
        let largest = index.shards.iter().map(HashTable::len).max().unwrap();
        assert!(largest < 73 + 60, "a shard holds {largest}");
    }
}
