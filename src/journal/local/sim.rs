//! A disk in memory that forgets what was not synced, fails when told to, and loses power.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// A small generator of its own: a seed gives the same run on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
    SyncDir,
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Eio,
    Enospc,
    /// Half is written and said to be.
    Short,
    /// Half is written, then it fails.
    Torn,
}

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync that returned or failed.
    dirty: Vec<usize>,
    /// Live and durable bytes may differ.
    stale: bool,
}

impl Inode {
    fn persist(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.live.len());
        if from >= to {
            return;
        }
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        self.durable[from..to].copy_from_slice(&self.live[from..to]);
    }
}

#[derive(Clone)]
enum Entry {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes of the directory not yet synced.
    pending: Vec<Entry>,
    /// Calls made, reads apart.
    calls: usize,
    reads: usize,
    /// Fail the call of this number; `down` makes all later ones fail too.
    fail_at: Option<(usize, Fault)>,
    fail_read_at: Option<usize>,
    crash_then: bool,
    down: bool,
    hit: Option<Call>,
    syncs: usize,
    /// New space is refused.
    full: bool,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}
fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl State {
    fn call(&mut self, call: Call) -> io::Result<Option<Fault>> {
        if self.down {
            return Err(eio());
        }
        if call == Call::Read {
            self.reads += 1;
            if self.fail_read_at == Some(self.reads) {
                self.hit = Some(call);
                return Err(eio());
            }
            return Ok(None);
        }
        self.calls += 1;
        let Some((at, fault)) = self.fail_at else { return Ok(None) };
        if self.calls != at {
            return Ok(None);
        }
        self.hit = Some(call);
        self.down = self.crash_then;
        match (fault, call) {
            (Fault::Short | Fault::Torn, Call::Write) => Ok(Some(fault)),
            (Fault::Enospc, _) => Err(enospc()),
            _ => Err(eio()),
        }
    }

    fn link(&mut self, entry: &Entry, names: fn(&mut Self) -> &mut BTreeMap<String, usize>) {
        let names = names(self);
        match entry {
            Entry::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Entry::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Entry::Unlink(name) => {
                names.remove(name);
            }
        }
    }

    fn change(&mut self, entry: Entry) {
        self.link(&entry, |s| &mut s.live);
        self.pending.push(entry);
    }
}

#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// The same contents as a disk of its own.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    pub fn fail_at(&self, n: usize, fault: Fault, crash_then: bool) {
        let mut state = self.0.lock();
        (state.calls, state.fail_at, state.crash_then, state.hit) = (0, Some((n, fault)), crash_then, None);
    }

    pub fn fail_read_at(&self, n: usize) {
        let mut state = self.0.lock();
        (state.reads, state.fail_read_at, state.hit) = (0, Some(n), None);
    }

    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// What the armed fault hit, if it did.
    pub fn hit(&self) -> Option<Call> {
        self.0.lock().hit
    }

    pub fn syncs(&self) -> usize {
        self.0.lock().syncs
    }

    /// No more faults; what is in the page cache stays.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        (state.fail_at, state.fail_read_at, state.down, state.full) = (None, None, false, false);
    }

    /// The power goes: of what was not synced, any sectors and any changes of the directory are kept.
    pub fn power_cut(&self, rng: &mut Rng) {
        self.heal();
        let mut state = self.0.lock();
        let keep = [0, 10, 50, 90, 100][rng.below(5)];
        for inode in &mut state.inodes {
            if !std::mem::take(&mut inode.stale) {
                continue;
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if rng.chance(keep) {
                    inode.persist(sector);
                }
            }
            inode.live.clone_from(&inode.durable);
        }
        for entry in std::mem::take(&mut state.pending) {
            if rng.chance(50) {
                state.link(&entry, |s| &mut s.durable);
            }
        }
        state.live = state.durable.clone();
    }

    /// All files as a reader sees them now.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.live.iter().map(|(name, &inode)| (name.clone(), state.inodes[inode].live.clone())).collect()
    }

    /// A disk at rest with these files.
    pub fn from_image(image: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new();
        for (name, bytes) in image {
            disk.set(name, bytes.clone());
        }
        disk
    }

    /// Puts a file there, durably.
    pub fn set(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode { live: bytes.clone(), durable: bytes, dirty: Vec::new(), stale: false });
        state.live.insert(name.to_owned(), inode);
        state.durable.insert(name.to_owned(), inode);
    }

    fn at(&self, name: &str) -> io::Result<SimFile> {
        let inode = *self.0.lock().live.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.clone(), inode })
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.call(Call::Read)?;
        Ok(state.live.keys().cloned().collect())
    }
    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.0.lock().call(Call::Read)?;
        self.at(name)
    }
    fn open_write(&self, name: &str) -> io::Result<SimFile> {
        self.0.lock().call(Call::Read)?;
        self.at(name)
    }
    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.0.lock();
        state.call(Call::Create)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(Entry::Link(name.to_owned(), inode));
        Ok(SimFile { disk: self.clone(), inode })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(Call::Rename)?;
        if !state.live.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Entry::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(Call::Remove)?;
        if !state.live.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Entry::Unlink(name.to_owned()));
        Ok(())
    }
    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(Call::SyncDir)?;
        for entry in std::mem::take(&mut state.pending) {
            state.link(&entry, |s| &mut s.durable);
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        state.call(Call::Read)?;
        let live = &state.inodes[self.inode].live;
        let from = usize::try_from(offset).unwrap().min(live.len());
        let n = buf.len().min(live.len() - from);
        buf[..n].copy_from_slice(&live[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let fault = state.call(Call::Write)?;
        let n = if fault.is_some() { buf.len() / 2 } else { buf.len() };
        let full = state.full;
        let inode = &mut state.inodes[self.inode];
        let from = usize::try_from(offset).unwrap();
        if full && from + n > inode.live.len() {
            return Err(enospc());
        }
        if inode.live.len() < from + n {
            inode.live.resize(from + n, 0);
        }
        inode.live[from..from + n].copy_from_slice(&buf[..n]);
        inode.stale = true;
        if n > 0 {
            for sector in from / SECTOR..=(from + n - 1) / SECTOR {
                if !inode.dirty.contains(&sector) {
                    inode.dirty.push(sector);
                }
            }
        }
        if fault == Some(Fault::Torn) { Err(eio()) } else { Ok(n) }
    }

    /// A sync that fails leaves the pages clean: some (of a full disk: none) got to the disk, the others never
    /// will, and reads go on showing them until the power goes.
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.syncs += 1;
        let outcome = state.call(Call::Sync);
        let some = outcome.as_ref().is_err_and(|e| e.raw_os_error() == Some(5));
        let inode = &mut state.inodes[self.inode];
        for (i, sector) in std::mem::take(&mut inode.dirty).into_iter().enumerate() {
            if outcome.is_ok() || (some && i % 3 == 1) {
                inode.persist(sector);
            }
        }
        outcome.map(|_| ())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
