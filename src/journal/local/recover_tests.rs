//! Recovery's table, row by row, then every bit and every length of a small journal.

use std::collections::BTreeMap;

use super::disk::narrow;
use super::finding::{Damage, Finding};
use super::local_tests::{Reader, batch_at, payload, read_all, small};
use super::reader::LocalReader;
use super::segment::Header;
use super::sim::{Call, Fault, Rng, SimDisk};
use super::{recover, segment, *};
use crate::journal::cursor::Misplaced;
use crate::journal::record::{Meta, Parsed};
use crate::journal::{JournalReader, Record, record};

/// What is inside an error, if it is damage.
fn damage_in(error: &JournalError) -> Option<Damage> {
    let JournalError::Damaged { record, cause } = error else { return None };
    let damage = cause.downcast_ref::<Damage>().copied().expect("files tell where");
    assert_eq!(damage.record, *record);
    Some(damage)
}

type Image = BTreeMap<String, Vec<u8>>;

const START: usize = segment::HEADER;
/// Of each record in [`journal`]; three fill a segment.
const SIZE: usize = record::HEADER + 1_008;

/// Records 1 to 3, 4 to 6 and 7 to 9 in three segments. 1 to 7 were synced one by one, 8 and 9 together.
fn journal() -> Image {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    for n in 1..=7 {
        journal.commit(&batch_at(i64::try_from(n).unwrap(), &[payload(n, 1_000)])).unwrap();
    }
    journal.commit(&batch_at(8, &[payload(8, 1_000), payload(9, 1_000)])).unwrap();
    drop(journal);
    let mut image = disk.image();
    image.remove("next.tmp");
    image
}

fn name(first: u64) -> String {
    finding::file_name(Lsn(first))
}

fn file(image: &mut Image, first: u64) -> &mut Vec<u8> {
    image.get_mut(&name(first)).unwrap()
}

/// The bytes of record `n` of [`journal`].
fn bytes_of(image: &mut Image, n: usize) -> &mut [u8] {
    let at = START + (n - 1) % 3 * SIZE;
    &mut file(image, u64::try_from((n - 1) / 3 * 3 + 1).unwrap())[at..at + SIZE]
}

/// Writes record 9 anew with another meaning, its crc right.
fn forge(image: &mut Image, change: impl FnOnce(&mut Meta)) {
    let Parsed::Good(view) = record::parse(bytes_of(image, 9)) else { panic!() };
    let (mut meta, payload) = (view.meta, view.payload.to_vec());
    change(&mut meta);
    let mut forged = Vec::new();
    record::encode(&mut forged, &meta, &payload).unwrap();
    bytes_of(image, 9).copy_from_slice(&forged);
}

/// Changes record bytes and makes the crc right again.
fn patch(image: &mut Image, n: usize, at: usize, value: u8) {
    let bytes = bytes_of(image, n);
    bytes[at] = value;
    let seed = crc32c::crc32c_append(0x4a6f_524e, &bytes[..4]);
    let crc = crc32c::crc32c_append(seed, &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn re_header(image: &mut Image, first: u64, change: impl FnOnce(&mut Header)) {
    let mut header = Header::parse(file(image, first)).unwrap();
    change(&mut header);
    file(image, first)[..START].copy_from_slice(&header.encode());
}

/// A prepared and named segment after record 9.
fn add_empty_segment(image: &mut Image) {
    let Parsed::Good(view) = record::parse(bytes_of(image, 9)) else { panic!() };
    let mut cursor = Cursor { next: Lsn(9), link: view.meta.prev, last_time: 8 };
    cursor.accept(&view).unwrap();
    let mut bytes = Header::after(&cursor, 8_192, 9).encode();
    bytes.resize(8_192, 0);
    image.insert(name(10), bytes);
}

struct Row {
    what: &'static str,
    damage: fn(&mut Image),
    /// What is left of the records, or why it is refused.
    result: Result<Left, Finding>,
}

/// How many records are kept, and whether something behind them is cut as torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    kept: usize,
    is_torn: bool,
}

const fn clean(what: &'static str, damage: fn(&mut Image), kept: usize) -> Row {
    Row { what, damage, result: Ok(Left { kept, is_torn: false }) }
}

const fn torn(what: &'static str, damage: fn(&mut Image), kept: usize) -> Row {
    Row { what, damage, result: Ok(Left { kept, is_torn: true }) }
}

const fn refused(what: &'static str, damage: fn(&mut Image), finding: Finding) -> Row {
    Row { what, damage, result: Err(finding) }
}

const fn proven(lsn: u64, proof: u64) -> Finding {
    Finding::DurableDamaged { lsn: Lsn(lsn), proof: Lsn(proof) }
}

const fn early(lsn: u64) -> Finding {
    Finding::DamagedBeforeLastSegment { lsn: Lsn(lsn) }
}

const fn missing(expected: u64, found: u64) -> Finding {
    Finding::SegmentMissing { expected: Lsn(expected), found: Lsn(found) }
}

const fn version(version: u8, kind: u8) -> Finding {
    Finding::UnknownVersion { version, kind }
}

const fn size(found: u64) -> Finding {
    Finding::SegmentSize { expected: 8_192, found }
}

/// The journal goes on.
fn kept() -> Vec<Row> {
    vec![
        clean("nothing yet", Image::clear, 0),
        clean("sound", |_| {}, 9),
        clean("a prepared segment in place, not used", add_empty_segment, 9),
        clean("zeros cut off", |i| file(i, 7).truncate(8_000), 9),
        torn("a bit of the last record", |i| bytes_of(i, 9)[100] ^= 1, 8),
        clean("the last record never came", |i| bytes_of(i, 9).fill(0), 8),
        torn("the file ends in the last record", |i| file(i, 7).truncate(START + 2 * SIZE + 99), 8),
        torn("torn, one of its sync group is whole", |i| bytes_of(i, 8)[100] ^= 1, 7),
        torn("a hole, one of its sync group is whole", |i| bytes_of(i, 8).fill(0), 7),
        torn("a torn header in the last sync group", |i| bytes_of(i, 8)[..48].fill(0), 7),
        torn("bytes behind the end", |i| file(i, 7)[8_100] = 1, 9),
    ]
}

/// Records that were durable, or that are newer than this program.
fn damaged() -> Vec<Row> {
    vec![
        refused("a bit of a durable record", |i| bytes_of(i, 7)[100] ^= 1, proven(7, 8)),
        refused("a durable record zeroed", |i| bytes_of(i, 7).fill(0), proven(7, 8)),
        refused("a durable record and half the next", |i| file(i, 7)[START..START + SIZE + 500].fill(0), proven(7, 9)),
        refused("a durable record's length", |i| bytes_of(i, 7)[1] ^= 1, proven(7, 8)),
        refused("the last record of an earlier segment", |i| bytes_of(i, 6)[100] ^= 1, early(6)),
        refused("the same, zeroed", |i| bytes_of(i, 6).fill(0), missing(6, 7)),
        refused("the same, before an empty segment", |i| (add_empty_segment(i), bytes_of(i, 9)[9] ^= 1).1, early(9)),
        refused("bytes behind the end of an earlier segment", |i| file(i, 1)[8_100] = 1, early(4)),
        refused("a newer record", |i| patch(i, 9, 8, 2), version(2, 1)),
        refused("a record of a newer kind", |i| patch(i, 9, 9, 7), version(1, 7)),
        refused("a reserved byte in use", |i| patch(i, 9, 10, 1), version(1, 1)),
        refused("a newer record after a bad one", |i| (patch(i, 9, 8, 2), bytes_of(i, 8)[99] ^= 1).1, version(2, 1)),
    ]
}

/// Whole records and files in the wrong place.
fn misplaced() -> Vec<Row> {
    use Finding as F;
    vec![
        refused("a gap", |i| forge(i, |m| m.lsn = Lsn(10)), Misplaced::Gap { expected: Lsn(9), found: Lsn(10) }.into()),
        refused(
            "a repeat",
            |i| forge(i, |m| (m.lsn, m.durable) = (Lsn(8), Lsn(7))),
            Misplaced::Repeat { expected: Lsn(9), found: Lsn(8) }.into(),
        ),
        refused("another past", |i| forge(i, |m| m.prev.0[0] ^= 1), Misplaced::ChainBreak { lsn: Lsn(9) }.into()),
        refused("time goes back", |i| forge(i, |m| m.time_ms = 7), Misplaced::TimeBackwards { lsn: Lsn(9) }.into()),
        refused("a segment missing in the middle", |i| assert!(i.remove(&name(4)).is_some()), missing(4, 7)),
        refused(
            "a segment that begins too early",
            |i| {
                re_header(i, 7, |h| h.first = Lsn(6));
                let f = i.remove(&name(7)).unwrap();
                i.insert(name(6), f);
            },
            Misplaced::Repeat { expected: Lsn(7), found: Lsn(6) }.into(),
        ),
        refused(
            "a segment of another past",
            |i| re_header(i, 7, |h| h.prev.0[3] ^= 1),
            Misplaced::ChainBreak { lsn: Lsn(7) }.into(),
        ),
        refused("a header's bit", |i| file(i, 7)[17] ^= 1, F::HeaderDamaged),
        refused("a header zeroed", |i| file(i, 7)[..START].fill(0), F::HeaderDamaged),
        refused("an empty file", |i| file(i, 7).clear(), F::HeaderDamaged),
        refused(
            "a file of another name",
            |i| {
                let f = i.remove(&name(7)).unwrap();
                i.insert(name(8), f);
            },
            F::HeaderDamaged,
        ),
        refused("a newer segment", |i| newer_header(file(i, 7)), F::UnknownSegmentVersion { version: 2 }),
        refused("an earlier file cut short", |i| file(i, 1).truncate(8_191), size(8_191)),
        refused("a file too long", |i| file(i, 7).push(0), size(8_193)),
    ]
}

fn newer_header(file: &mut [u8]) {
    file[8] = 2;
    let seed = crc32c::crc32c_append(0x5365_674d, &file[..12]);
    let crc = crc32c::crc32c_append(seed, &file[16..START]);
    file[12..16].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn each_finding_has_its_action() {
    for Row { what, damage, result } in kept().into_iter().chain(damaged()).chain(misplaced()) {
        let mut image = journal();
        damage(&mut image);
        let disk = SimDisk::from_image(&image);
        let opened = LocalJournal::open_on(disk.clone(), &small(), 1);
        let Left { kept, is_torn } = match result {
            Ok(left) => left,
            Err(finding) => {
                let refused = opened.map(|(_, recovery)| recovery).unwrap_err();
                assert_eq!(damage_in(&refused).map(|damage| damage.finding), Some(finding), "{what}: {refused}");
                assert!(disk.image() == image, "{what}: a refusal touches nothing");
                continue;
            }
        };
        let (mut journal, recovery) = opened.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((narrow(recovery.last.0), read_all(&disk).unwrap().len()), (kept, kept), "{what}");
        assert_eq!(recovery.torn.map(|t| narrow(t.lsn.0)), is_torn.then_some(kept + 1), "{what}");
        journal.commit(&batch_at(50, &[payload(50, 1_000), payload(51, 10)])).unwrap();
        assert_eq!(read_all(&disk).unwrap().len(), kept + 2, "{what}: it goes on");
        drop(journal);
        let (_, again) = LocalJournal::open_on(disk, &small(), 1).unwrap();
        assert_eq!((again.torn, again.last), (None, Lsn(kept as u64 + 2)), "{what}: nothing resurfaces");
    }
}

/// What, the damage, the ledger's position; where the journal then ends, or what is found and which record it names.
type PostedRow = (&'static str, fn(&mut Image), u64, Result<u64, (Finding, u64)>);

const fn lost(lsn: u64, posted: u64) -> Result<u64, (Finding, u64)> {
    Err((Finding::PostedDamaged { lsn: Lsn(lsn), posted: Lsn(posted) }, lsn))
}

/// What the ledger's position proves, and what it does not.
fn posted() -> Vec<PostedRow> {
    vec![
        ("sound", |_| {}, 9, Ok(9)),
        ("a bit of the last record", |i| bytes_of(i, 9)[100] ^= 1, 9, lost(9, 9)),
        ("a bit of the last record, not posted", |i| bytes_of(i, 9)[100] ^= 1, 8, Ok(8)),
        ("the last record never came", |i| bytes_of(i, 9).fill(0), 9, lost(9, 9)),
        ("the file ends in the last record", |i| file(i, 7).truncate(START + 2 * SIZE + 99), 9, lost(9, 9)),
        ("the file ends before it", |i| file(i, 7).truncate(START + 2 * SIZE), 9, lost(9, 9)),
        ("zeros cut off", |i| file(i, 7).truncate(8_000), 9, Ok(9)),
        ("torn in its sync group", |i| bytes_of(i, 8)[100] ^= 1, 8, lost(8, 8)),
        ("a hole in its sync group", |i| bytes_of(i, 8).fill(0), 9, lost(8, 9)),
        ("the sync group behind the position", |i| bytes_of(i, 8)[100] ^= 1, 7, Ok(7)),
        ("bytes behind the end", |i| file(i, 7)[8_100] = 1, 9, Ok(9)),
        ("the ledger ahead", |_| {}, 12, lost(10, 12)),
        ("no segment at all", Image::clear, 9, lost(1, 9)),
        ("the last segment is gone", |i| drop(i.remove(&name(7))), 9, lost(7, 9)),
        ("the same, not posted", |i| drop(i.remove(&name(7))), 6, Ok(6)),
        ("a prepared segment in place, not used", add_empty_segment, 9, Ok(9)),
        ("an empty segment, and the ledger ahead", add_empty_segment, 10, lost(10, 10)),
        (
            "damage in the segment of the position",
            |i| bytes_of(i, 4)[100] ^= 1,
            5,
            Err((Finding::DamagedBeforeLastSegment { lsn: Lsn(4) }, 4)),
        ),
        ("damage in an older segment", |i| bytes_of(i, 4)[100] ^= 1, 7, Ok(9)),
        ("an older header", |i| file(i, 1)[17] ^= 1, 4, Ok(9)),
    ]
}

#[test]
fn what_the_ledger_has_once_was_durable() {
    for (what, damage, posted, result) in posted() {
        let mut image = journal();
        damage(&mut image);
        let disk = SimDisk::from_image(&image);
        let options = Options { posted: Lsn(posted), ..small() };
        match (LocalJournal::open_on(disk.clone(), &options, 1).map(|(_, recovery)| recovery), result) {
            (Ok(recovery), Ok(last)) => assert_eq!(recovery.last, Lsn(last), "{what}"),
            (Err(error), Err((wanted, named))) => {
                let Damage { finding, record, .. } = damage_in(&error).unwrap_or_else(|| panic!("{what}: {error}"));
                assert_eq!((finding, record), (wanted, Lsn(named)), "{what}");
                assert!(disk.image() == image, "{what}: a refusal touches nothing");
            }
            (found, _) => panic!("{what}: {found:?}"),
        }
    }
    let mut image = journal();
    drop((image.remove(&name(1)), image.remove(&name(4))));
    let options = Options { posted: Lsn(3), ..small() };
    let refused = LocalJournal::open_on(SimDisk::from_image(&image), &options, 1).err();
    assert!(matches!(refused, Some(JournalError::Released { wanted: Lsn(4), first: Lsn(7) })), "{refused:?}");
}

#[test]
fn what_is_cut_is_copied_aside_first_and_eight_copies_are_kept() {
    let mut image = journal();
    bytes_of(&mut image, 8)[100] ^= 1;
    let torn = file(&mut image, 7)[START + SIZE..START + 3 * SIZE].to_vec();
    let disk = SimDisk::from_image(&image);
    // Whichever call of the copy fails, the segments are as they were.
    for call in 2..=6 {
        let disk = disk.fork();
        disk.fail_at(call, Fault::Eio, true);
        let error = LocalJournal::open_on(disk.clone(), &small(), 77).err();
        assert!(matches!(error, Some(JournalError::Failed { doing: "copy the torn tail aside", .. })), "{error:?}");
        disk.power_cut(&mut Rng::new(1));
        let after = disk.image();
        assert!([1, 4, 7].iter().all(|&first| after[&name(first)] == image[&name(first)]), "call {call}");
    }
    for n in 0..9 {
        disk.set(&format!("{:020}-{n}.cut", 90 - n), vec![1]);
    }
    let (_, recovery) = LocalJournal::open_on(disk.clone(), &small(), 77).unwrap();
    let copy = format!("{:020}-77.cut", 8);
    assert_eq!(recovery.copy.as_deref(), Some(copy.as_str()));
    disk.power_cut(&mut Rng::new(0));
    let after = disk.image();
    assert!(after[&copy] == torn, "what was torn, with its damage");
    let copies: Vec<_> = after.keys().filter(|name| name.ends_with(".cut")).collect();
    assert_eq!(copies.len(), 8, "{copies:?}");
    assert!(!after.contains_key(&format!("{:020}-0.cut", 90)), "the oldest went");
}

#[test]
fn left_over_temporary_files_are_deleted_and_strangers_left_alone() {
    let disk = SimDisk::from_image(&journal());
    for name in ["next.tmp", "large.tmp", "first.tmp", "notes.txt", "00000000000000000001.seg.bak"] {
        disk.set(name, vec![9; 100]);
    }
    let (_, recovery) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    assert_eq!(recovery.last, Lsn(9));
    let image = disk.image();
    assert_eq!(image["next.tmp"].len(), 8_192, "the next segment, prepared anew");
    assert!(!image.contains_key("large.tmp") && !image.contains_key("first.tmp"));
    assert!(image.contains_key("notes.txt") && image.contains_key("00000000000000000001.seg.bak"));
}

#[test]
fn a_tail_whose_cut_was_not_synced_never_comes_back() {
    let mut image = journal();
    bytes_of(&mut image, 8)[100] ^= 1;
    let disk = SimDisk::from_image(&image);
    // The directory's sync, five calls for the copy, the zeros, their sync: that one fails, the page cache shows zeros,
    // the disk has record 9.
    disk.fail_at(8, Fault::Enospc, false);
    assert!(matches!(LocalJournal::open_on(disk.clone(), &small(), 1), Err(JournalError::Failed { .. })));
    assert_eq!(disk.hit(), Some(Call::Sync));
    disk.heal();
    let (mut journal, recovery) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    assert_eq!((recovery.torn, recovery.last), (None, Lsn(7)));
    journal.commit(&batch_at(8, &[payload(77, 1_000)])).unwrap();
    drop(journal);
    disk.power_cut(&mut Rng::new(1));
    let (_, recovery) = LocalJournal::open_on(disk, &small(), 1).unwrap();
    assert_eq!((recovery.torn, recovery.last), (None, Lsn(8)));
}

/// A smaller one, so that every bit can be tried: record 1 fills a segment; 2 durable, 3 and 4 a sync group.
fn smaller() -> Image {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    journal.commit(&batch_at(1, &[payload(1, 3_950)])).unwrap();
    journal.commit(&batch_at(2, &[payload(2, 90)])).unwrap();
    journal.commit(&batch_at(3, &[payload(3, 90), payload(4, 90)])).unwrap();
    drop(journal);
    let mut image = disk.image();
    image.remove("next.tmp");
    image
}

#[test]
fn every_bit_flip_is_refused_or_shortens_only_the_last_sync_group() {
    let image = smaller();
    let size = record::size_of(98);
    let (mut refused, mut cut) = (0, 0);
    for first in [1, 2] {
        for at in 0..8_192 {
            for bit in 0..8 {
                let mut flipped = image.clone();
                file(&mut flipped, first)[at] ^= 1 << bit;
                let result =
                    recover::plan(&SimDisk::from_image(&flipped), Lsn::ZERO, Lsn::ZERO).map(|plan| plan.recovery);
                if first == 2 {
                    // With a ledger that has all four, only what lies behind them may go.
                    let posted = recover::plan(&SimDisk::from_image(&flipped), Lsn::ZERO, Lsn(4));
                    assert_eq!(posted.is_ok(), at >= START + 3 * size, "byte {at} bit {bit}");
                }
                // The first record that may be lost; none where everything is proven durable.
                let may_lose = (first == 2 && at >= START + size).then(|| 2 + ((at - START) / size).min(3) as u64);
                match (result, may_lose) {
                    (Err(error), None) => {
                        assert!(damage_in(&error).is_some(), "{error}");
                        refused += 1;
                    }
                    (Ok(recovery), Some(lsn)) => {
                        assert_eq!(recovery.torn.map(|torn| torn.lsn), Some(Lsn(lsn)), "byte {at} bit {bit}");
                        assert_eq!(recovery.last, Lsn(lsn - 1));
                        cut += 1;
                    }
                    (other, _) => panic!("segment {first} byte {at} bit {bit}: {other:?}"),
                }
            }
        }
    }
    assert_eq!((refused, cut), (8 * (8_192 + START + size), 8 * (8_192 - START - size)));
}

#[test]
fn cut_at_every_byte_only_what_the_cut_took_is_lost() {
    let image = journal();
    let whole = read_all(&SimDisk::from_image(&image)).unwrap();
    for len in START..=8_192 {
        let mut cut = image.clone();
        file(&mut cut, 7).truncate(len);
        let disk = SimDisk::from_image(&cut);
        let (_, recovery) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
        let kept = 6 + ((len - START) / SIZE).min(3);
        assert_eq!(narrow(recovery.last.0), kept, "cut at {len}");
        assert_eq!(read_all(&disk).unwrap(), whole[..kept]);
        assert_eq!(disk.image()[&name(7)].len(), 8_192);
    }
}

#[test]
fn the_reader_verifies_as_it_goes() {
    let mut record = Record::default();
    for n in 1..=9 {
        let mut image = journal();
        bytes_of(&mut image, n)[60] ^= 4;
        let disk = SimDisk::from_image(&image);
        for durable in [None, Some(Durable::fixed(Lsn(9)))] {
            let mut reader = Reader::open_on(disk.clone(), Lsn::ZERO, durable);
            for good in 1..n {
                assert_eq!(reader.next(&mut record).unwrap(), Some(Lsn(good as u64)));
            }
            for _ in 0..2 {
                let error = reader.next(&mut record).unwrap_err();
                assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
            }
        }
    }
    // Missing what the writer calls durable is damage too; at rest it is the end.
    let mut image = journal();
    bytes_of(&mut image, 9).fill(0);
    let disk = SimDisk::from_image(&image);
    let mut live = Reader::open_on(disk.clone(), Lsn(8), Some(Durable::fixed(Lsn(9))));
    assert!(matches!(live.next(&mut record), Err(JournalError::Damaged { .. })));
    assert_eq!(Reader::open_on(disk, Lsn(8), None).next(&mut record).unwrap(), None);
    let mut image = journal();
    image.remove(&name(4));
    let mut reader = Reader::open_on(SimDisk::from_image(&image), Lsn(2), None);
    assert_eq!(reader.next(&mut record).unwrap(), Some(Lsn(3)));
    let error = reader.next(&mut record).unwrap_err();
    let finding = damage_in(&error).map(|damage| damage.finding);
    assert!(matches!(finding, Some(Finding::SegmentMissing { .. })), "{error}");
}

#[test]
fn what_a_start_would_read_is_needed_and_the_rest_can_be_passed_over() {
    let disk = SimDisk::from_image(&journal());
    let reader = LocalReader::new(disk, Some(Durable::fixed(Lsn(9))));
    // Three records to a segment; recovery begins with the one of the ledger's position.
    for (record, posted, needed) in [
        (1, 0, true),
        (3, 3, true),
        (3, 4, false),
        (4, 5, true),
        (6, 4, true),
        (6, 7, false),
        (7, 9, true),
        (9, 2, true),
    ] {
        assert_eq!(reader.is_needed(Lsn(record), Lsn(posted)), needed, "record {record}, posted {posted}");
    }
    assert_eq!(
        [1, 3, 4, 6, 7, 9].map(|record| reader.behind(Lsn(record))),
        [4, 4, 7, 7, 0, 0].map(|first| { (first > 0).then_some(Lsn(first)) })
    );
    let mut image = journal();
    image.remove(&name(1));
    let released = LocalReader::new(SimDisk::from_image(&image), Some(Durable::fixed(Lsn(9))));
    assert!(!released.is_needed(Lsn(2), Lsn(8)), "what was released meanwhile needs nobody");
    assert_eq!(released.behind(Lsn(2)), Some(Lsn(4)));
}

#[test]
fn a_reader_goes_where_it_is_asked_and_names_the_place_of_what_means_nothing() {
    let disk = SimDisk::from_image(&journal());
    let mut reader = LocalReader::new(disk.clone(), None);
    let found = reader.examine(Lsn(9)).unwrap();
    assert_eq!((found.first, found.last, found.torn_bytes), (Lsn(1), Lsn(9), 0));
    assert_eq!((found.kept_in.as_str(), reader.last()), ("3 segments", Lsn(9)));
    let mut record = Record::default();
    for after in [0, 1, 2, 7, 3, 4, 8] {
        assert!(reader.next(Lsn(after), &mut record).unwrap());
        assert_eq!((record.lsn.0, record.payload), (after + 1, payload(after + 1, 1_000)));
        record = Record::default();
    }
    assert!(!reader.next(Lsn(9), &mut record).unwrap());
    assert!(reader.next(Lsn(4), &mut record).unwrap());
    let error = reader.unreadable(&"of no kind that is known");
    assert!(matches!(error, JournalError::Damaged { record: Lsn(5), .. }));
    let at = START + SIZE;
    assert_eq!(
        error.to_string(),
        format!(
            "the journal is damaged in 00000000000000000004.seg, byte {at}, record 5: it is intact but of no kind that is \
             known"
        )
    );
}
