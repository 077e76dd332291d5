//! The engine without sockets, on one thread: requests in, durable answers out. It prints decisions a second, the
//! median of five runs, with the journal's bytes in memory and on disk.
//!
//! `cargo bench --bench engine` takes 100,000 customers; `CUSTOMERS=1000000 cargo bench --bench engine` a million.
//! Each pays once with a code issued beforehand, in an order that caches do not guess.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a bench reads its own size from the environment")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

mod shop;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::State;
use sokketsu::engine::Sync;
use sokketsu::engine::board::Board;
use sokketsu::engine::committer::Committer;
use sokketsu::engine::group::Group;
use sokketsu::engine::owner::Owner;
use sokketsu::journal::Journal;
use sokketsu::journal::local::disk::{Disk, DiskFile};
use sokketsu::journal::local::{LocalJournal, Options};

use shop::{START, purchase, visit, with_codes};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests judged and committed together.
const GROUP: usize = 256;
const RUNS: usize = 5;

/// Files in memory: all the journal's work but the kernel's.
#[derive(Clone, Default)]
struct Ram(Arc<Mutex<BTreeMap<String, RamFile>>>);

#[derive(Clone, Default)]
struct RamFile(Arc<Mutex<Vec<u8>>>);

impl Disk for Ram {
    type File = RamFile;
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }
    fn open(&self, name: &str) -> io::Result<RamFile> {
        self.0.lock().get(name).cloned().ok_or(io::ErrorKind::NotFound.into())
    }
    fn open_write(&self, name: &str) -> io::Result<RamFile> {
        self.open(name)
    }
    fn create(&self, name: &str) -> io::Result<RamFile> {
        let file = RamFile::default();
        self.0.lock().insert(name.to_owned(), file.clone());
        Ok(file)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for RamFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock();
        let from = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = from.len().min(buf.len());
        buf[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = self.0.lock();
        let begin = usize::try_from(offset).unwrap();
        let end = begin + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[begin..end].copy_from_slice(buf);
        Ok(buf.len())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

fn purchases(customers: u32) -> Vec<Request> {
    let input = |order| Arc::new(purchase(visit(order, customers), order));
    (0..customers).map(|order| Request::Authorize { input: input(order), throttled: false, sealed_by: None }).collect()
}

/// Decisions a second; all must be approved.
fn run(state: State, journal: impl Journal + 'static, purchases: &[Request]) -> u128 {
    let posted = Arc::new(AtomicU64::new(0));
    let mut owner = Owner::new(state, [7; 32], Arc::new(Board::default()), posted);
    let mut committer = Committer::new(Box::new(journal), Sync::BeforeAnswer);
    let mut group = Group::default();
    let began = Instant::now();
    for requests in purchases.chunks(GROUP) {
        owner.begin(Millis(START + 1_000), &mut group);
        owner.look_ahead(requests.iter());
        requests.iter().for_each(|request| owner.take(request, &mut group));
        committer.commit(&group.records, group.at_risk_yen).unwrap();
        group.show(owner.board());
        assert!(group.replies.iter().all(|reply| matches!(reply, Reply::Decision { replayed: false, .. })));
        group.clear();
    }
    let took = began.elapsed();
    let (state, now) = (owner.state(), owner.now());
    let rules = state.rules().unwrap();
    let owed: u64 = state.accounts().map(|a| a.exposure(&now, rules).total.get()).sum();
    assert_eq!(owed, 1_980 * purchases.len() as u64, "everything was approved");
    purchases.len() as u128 * 1_000_000_000 / took.as_nanos()
}

fn report(what: &str, mut runs: Vec<u128>) {
    runs.sort_unstable();
    println!("{what}: {} decisions/s [{} to {}]", runs[runs.len() / 2], runs[0], runs[runs.len() - 1]);
}

fn main() {
    let customers = std::env::var("CUSTOMERS").map_or(100_000, |text| text.parse().expect("a number of customers"));
    let (fresh, purchases) = (with_codes(customers), purchases(customers));
    println!("{customers} customers, groups of {GROUP}, one thread");
    let in_memory = |_| {
        let (journal, _) = LocalJournal::open_on(Ram::default(), &Options::default(), 0).unwrap();
        run(fresh.clone(), journal, &purchases)
    };
    report("journal in memory", (0..RUNS).map(in_memory).collect());
    let on_disk = |_| {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = LocalJournal::open(folder.path(), &Options::default(), 0).unwrap();
        run(fresh.clone(), journal, &purchases)
    };
    report("journal on disk, each group synced before its answers", (0..RUNS).map(on_disk).collect());
}
