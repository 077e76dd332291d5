//! The writer on a disk that fails and loses power. The rule of all of them: what opens afterwards is a
//! prefix of what was written, and holds every record whose sync returned.

use super::disk::narrow;
use super::local_tests::{batch_at, payload, read_all, release_oldest, segments, small};
use super::sim::{Call, Fault, Rng, SimDisk};
use super::*;

/// What was handed to the journal, and how much of it the journal said is durable.
#[derive(Clone, Default)]
struct History {
    written: Vec<(i64, Vec<u8>)>,
    acknowledged: usize,
}

impl History {
    fn add(&mut self, time_ms: i64, rng: &mut Rng) -> Batch {
        let count = 1 + rng.below(5);
        let payloads: Vec<_> = (0..count).map(|_| payload(rng.next(), rng.below(1_200))).collect();
        let batch = batch_at(time_ms, &payloads);
        self.written.extend(payloads.into_iter().map(|payload| (time_ms, payload)));
        batch
    }

    fn commit(&mut self, journal: &mut LocalJournal<SimDisk>, rng: &mut Rng) -> Result<(), JournalError> {
        let time_ms = journal.last_time() + 1;
        let batch = self.add(time_ms, rng);
        let last = if rng.chance(40) {
            journal.write(&batch)?;
            let batch = self.add(time_ms, rng);
            journal.write(&batch)?;
            journal.sync()?;
            journal.last()
        } else {
            journal.commit(&batch)?
        };
        assert_eq!(narrow(last.0), self.written.len());
        self.acknowledged = self.written.len();
        assert_eq!(journal.durable().get(), last);
        Ok(())
    }

    /// One record that fits any segment.
    fn commit_one(&mut self, journal: &mut LocalJournal<SimDisk>) -> Result<(), JournalError> {
        self.written.push((5, payload(9, 700)));
        journal.commit(&batch_at(5, &[payload(9, 700)]))?;
        self.acknowledged = self.written.len();
        Ok(())
    }

    /// Compares with what opening found, then forgets what was lost.
    fn survive(&mut self, disk: &SimDisk, what: &str) {
        let records = read_all(disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        let kept = records.last().map_or(0, |record| narrow(record.lsn.0));
        assert!(kept >= self.acknowledged, "{what}: {kept} of {} acknowledged", self.acknowledged);
        for record in records {
            let (time_ms, payload) = &self.written[narrow(record.lsn.0) - 1];
            assert!(record.time_ms == *time_ms && record.payload == *payload, "{what}: record {}", record.lsn);
        }
        self.written.truncate(kept);
        self.acknowledged = kept;
    }
}

/// Some commits with a release among them; ends at the first error, after which nothing may work.
fn run(disk: &SimDisk, history: &mut History, rng: &mut Rng, commits: usize) -> Result<(), JournalError> {
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1)?;
    let mut outcome = Ok(());
    for i in 0..commits {
        outcome = history.commit(&mut journal, rng);
        if outcome.is_ok() && i % 8 == 7 {
            let half = Lsn(journal.last().0 / 2);
            // Where it fails the journal only keeps more than it need.
            release_oldest(disk, half, i64::MAX).ok();
        }
        if outcome.is_err() {
            break;
        }
    }
    if let Err(error) = &outcome {
        assert!(matches!(error, JournalError::Failed { .. }), "{error}");
        let syncs = disk.syncs();
        assert!(matches!(journal.sync(), Err(JournalError::Poisoned)));
        assert!(matches!(journal.write(&batch_at(i64::MAX, &[vec![1]])), Err(JournalError::Poisoned)));
        assert!(matches!(journal.commit(&Batch::default()), Err(JournalError::Poisoned)));
        assert_eq!(disk.syncs(), syncs, "no sync is tried again");
    }
    outcome
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let mut hits = std::collections::HashMap::new();
    for fault in [Fault::Eio, Fault::Enospc, Fault::Torn, Fault::Short] {
        for n in 1.. {
            let (disk, mut history) = (SimDisk::new(), History::default());
            disk.fail_at(n, fault, false);
            let outcome = run(&disk, &mut history, &mut Rng::new(7), 24);
            let Some(hit) = disk.hit() else {
                assert!(outcome.is_ok() && n > 100);
                break;
            };
            *hits.entry(hit).or_insert(0) += 1;
            assert!(outcome.is_ok() || fault != Fault::Short || hit != Call::Write, "a short write goes on");
            for seed in 0..4 {
                let (disk, mut history, mut rng) = (disk.fork(), history.clone(), Rng::new(seed));
                let what = format!("{fault:?} at call {n} ({hit:?}), seed {seed}");
                disk.heal();
                if seed > 0 {
                    disk.power_cut(&mut rng);
                }
                drop(LocalJournal::open_on(disk.clone(), &small(), 1).unwrap_or_else(|e| panic!("{what}: {e}")));
                history.survive(&disk, &what);
                run(&disk, &mut history, &mut rng, 5).unwrap_or_else(|e| panic!("{what}: {e}"));
                disk.power_cut(&mut rng);
                history.survive(&disk, &what);
            }
        }
    }
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::Remove, Call::SyncDir] {
        assert!(hits.get(&call).is_some_and(|&n| n > 2), "{call:?}: {hits:?}");
    }
}

#[test]
fn whichever_read_fails_opening_fails_and_changes_nothing_for_good() {
    let (disk, mut history) = (SimDisk::new(), History::default());
    run(&disk, &mut history, &mut Rng::new(9), 20).unwrap();
    for n in 1.. {
        let (disk, mut history) = (disk.fork(), history.clone());
        disk.fail_read_at(n);
        let opened = LocalJournal::open_on(disk.clone(), &small(), 1).map(|_| ());
        if disk.hit().is_none() {
            assert!(n > 10);
            break;
        }
        assert!(matches!(opened, Err(JournalError::Failed { .. })), "read {n}");
        disk.heal();
        history.survive(&disk, "after a failed read");
    }
}

#[test]
fn power_cuts_kills_and_failures_in_any_order() {
    let (mut cuts, mut lost) = (0, 0);
    for seed in 0..2_000 {
        let (disk, mut history, mut rng) = (SimDisk::new(), History::default(), Rng::new(seed));
        for life in 0..5 {
            if rng.chance(50) {
                let fault = [Fault::Eio, Fault::Torn, Fault::Short, Fault::Enospc][rng.below(4)];
                let crash = rng.chance(50);
                disk.fail_at(1 + rng.below(40), fault, crash);
            }
            let commits = rng.below(12);
            let failed = run(&disk, &mut history, &mut rng, commits).is_err();
            if !failed && rng.chance(50) {
                // Killed between write and sync.
                if let Ok((mut journal, _)) = LocalJournal::open_on(disk.clone(), &small(), 1) {
                    let batch = history.add(journal.last_time(), &mut rng);
                    journal.write(&batch).ok();
                }
            }
            disk.heal();
            if rng.chance(60) {
                disk.power_cut(&mut rng);
                cuts += 1;
            }
            let before = history.written.len();
            let opened = match rng.chance(20) {
                // Recovery itself fails at some call, and the machine may lose power again.
                true => {
                    disk.fail_at(1 + rng.below(12), Fault::Eio, true);
                    drop(LocalJournal::open_on(disk.clone(), &small(), 1));
                    disk.heal();
                    if rng.chance(50) {
                        disk.power_cut(&mut rng);
                    }
                    LocalJournal::open_on(disk.clone(), &small(), 1)
                }
                false => LocalJournal::open_on(disk.clone(), &small(), 1),
            };
            let what = format!("SEED={seed} life {life}");
            drop(opened.unwrap_or_else(|e| panic!("{what}: {e}")));
            history.survive(&disk, &what);
            lost += before - history.written.len();
        }
    }
    assert!(cuts > 3_000 && lost > 1_000, "{cuts} cuts, {lost} unacknowledged records lost: too tame a test");
}

#[test]
fn recovery_twice_or_interrupted_gives_the_same_bytes() {
    let bytes_of = |disk: &SimDisk| {
        let mut image = disk.image();
        image.retain(|name, _| segment::parse_name(name).is_some());
        image
    };
    let mut torn = 0;
    for seed in 0..150 {
        let (disk, mut history, mut rng) = (SimDisk::new(), History::default(), Rng::new(seed));
        disk.fail_at(20 + rng.below(60), Fault::Torn, true);
        run(&disk, &mut history, &mut rng, 20).ok();
        disk.power_cut(&mut rng);
        let once = disk.fork();
        let Ok((_, recovery)) = LocalJournal::open_on(once.clone(), &small(), 1) else { panic!("SEED={seed}") };
        torn += usize::from(recovery.torn.is_some());
        history.survive(&once, &format!("SEED={seed}"));
        let expected = bytes_of(&once);
        drop(LocalJournal::open_on(once.clone(), &small(), 1).unwrap());
        assert!(bytes_of(&once) == expected, "SEED={seed}: twice");
        for n in 1.. {
            let again = disk.fork();
            again.fail_at(n, Fault::Torn, true);
            drop(LocalJournal::open_on(again.clone(), &small(), 1));
            let done = again.hit().is_none();
            again.power_cut(&mut rng);
            drop(LocalJournal::open_on(again.clone(), &small(), 1).unwrap_or_else(|e| panic!("SEED={seed} {n}: {e}")));
            assert!(bytes_of(&again) == expected, "SEED={seed}: interrupted at call {n}");
            if done {
                break;
            }
        }
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_full_disk_stops_the_journal_only_when_a_commit_needs_it() {
    let (disk, mut history, mut rng) = (SimDisk::new(), History::default(), Rng::new(5));
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    assert!(journal.preparer.is_ready());
    disk.set_full(true);
    while segments(&disk) == 1 {
        history.commit_one(&mut journal).unwrap();
    }
    assert!(!journal.preparer.is_ready() && journal.offset < journal.size && journal.room().is_err());
    assert!(!disk.image().contains_key("next.tmp"), "nothing of the failed attempt stays");
    // Space is freed in time: nobody notices.
    disk.set_full(false);
    while segments(&disk) == 2 {
        history.commit_one(&mut journal).unwrap();
    }
    assert_eq!(journal.room(), Ok(()));
    // It is not: the commit that needs it fails, and only that one.
    disk.set_full(true);
    let error = loop {
        if let Err(error) = history.commit_one(&mut journal) {
            break error;
        }
    };
    assert!(matches!(error, JournalError::Failed { doing: "begin a new segment", .. }), "{error}");
    assert_eq!(segments(&disk), 4, "the prepared one was still used");
    drop(journal);
    // A start on a full disk is refused or served; either way nothing is lost.
    drop(LocalJournal::open_on(disk.clone(), &small(), 1));
    history.survive(&disk, "while full");
    disk.heal();
    run(&disk, &mut history, &mut rng, 9).unwrap();
}
