//! Journals of every released version stay readable, and this version's bytes do not change by accident.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::StdDisk;
use super::local_tests::{batch_at, read_all, small};
use super::sim::SimDisk;
use super::*;
use crate::journal::Record;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal/v1")
}

/// What the golden journal holds: lengths 0 to 640 in steps of 40, two to a batch, so that it rolls over.
fn written() -> (SimDisk, Vec<Record>) {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1_600_000_000_000).unwrap();
    let payloads: Vec<Vec<u8>> = (0..17_u8).map(|n| vec![b'a' + n; usize::from(n) * 40]).collect();
    let mut records = Vec::new();
    for (i, pair) in payloads.chunks(2).enumerate() {
        let time_ms = 1_600_000_000_000 + 1_000 * i64::try_from(i).unwrap();
        journal.commit(&batch_at(time_ms, pair)).unwrap();
        for payload in pair {
            let lsn = Lsn(records.len() as u64 + 1);
            records.push(Record { lsn, time_ms, payload: payload.clone(), ..Record::default() });
        }
    }
    drop(journal);
    (disk, records)
}

#[test]
fn version_1_is_readable_and_written_byte_for_byte() {
    let (disk, records) = written();
    assert_eq!(read_all(&StdDisk::new(&golden())).unwrap(), records);
    let mut image = disk.image();
    image.remove("next.tmp");
    assert_eq!(image.len(), 2);
    for (name, bytes) in image {
        assert!(fs::read(golden().join(&name)).unwrap() == bytes, "{name} would be written differently");
    }
}

/// Writes the files of a new version, once: `BLESS=1 cargo test write_golden`.
#[test]
fn write_golden() {
    if std::env::var_os("BLESS").is_none() {
        return;
    }
    fs::create_dir_all(golden()).unwrap();
    let (disk, _) = written();
    for (name, bytes) in disk.image() {
        if super::segment::parse_name(&name).is_some() {
            fs::write(golden().join(name), bytes).unwrap();
        }
    }
}
