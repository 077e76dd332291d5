//! A hash index that grows in small steps: many shards, each resized alone, so that no single
//! insertion into millions of entries pauses the engine.

use hashbrown::HashTable;

/// At 20 million entries a shard holds 5,000, and a resize moves 80 kB.
const SHARDS: usize = 4_096;

/// Maps a key, which lives elsewhere, to a small value. The caller supplies hash and comparison.
#[derive(Clone, Debug)]
pub struct Index<V> {
    shards: Box<[HashTable<(u64, V)>]>,
    len: usize,
}

impl<V: Copy> Default for Index<V> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

/// High bits choose the shard; the table inside uses the low ones and the top seven.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or(0) % SHARDS
}

impl<V: Copy> Index<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64, mut same: impl FnMut(V) -> bool) -> Option<V> {
        self.shards[shard_of(hash)].find(hash, |(h, v)| *h == hash && same(*v)).map(|(_, v)| *v)
    }

    /// Adds an entry; the caller has made sure that the key is not there.
    pub fn insert(&mut self, hash: u64, value: V) {
        self.shards[shard_of(hash)].insert_unique(hash, (hash, value), |(h, _)| *h);
        self.len += 1;
    }

    /// Removes the entry for which `same` holds and gives its value.
    pub fn remove(&mut self, hash: u64, mut same: impl FnMut(V) -> bool) -> Option<V> {
        let shard = &mut self.shards[shard_of(hash)];
        let (_, value) = shard.find_entry(hash, |(h, v)| *h == hash && same(*v)).ok()?.remove().0;
        self.len -= 1;
        Some(value)
    }
}
