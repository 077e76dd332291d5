//! Nodes that own, answer, die and take over on the simulated servers, from a seed; [`History`] judges what they did.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::history::{Answer, History};
use super::reader::TableReader;
use super::sim::{Happened, SimDatabase, Trouble, World};
use super::table::Node;
use super::{Options, PostgresJournal};
use crate::journal::contract_tests::{Place, contract};
use crate::journal::local::sim::Rng;
use crate::journal::{Batch, Durable, Journal, JournalError, JournalReader, Lease, Lsn, Record};

const NODES: usize = 2;
/// A moment in the middle of a month, Unix ms.
const BIRTH: i64 = 1_790_000_000_000;

/// A process that owns the stream, as far as it knows.
struct Owner {
    journal: PostgresJournal<SimDatabase>,
    lease: Lease,
    /// What was written last and is in doubt, with its place.
    written: Vec<(u64, u64)>,
    /// What may leave as soon as the lease surely holds.
    ready: Vec<(u64, u64)>,
}

struct Stage {
    world: Arc<Mutex<World>>,
    owners: Mutex<Vec<Option<Box<Owner>>>>,
    answers: Mutex<Vec<Answer>>,
    rng: Mutex<Rng>,
    depth: Mutex<u32>,
    words: Mutex<u64>,
    steps: Mutex<u64>,
}

impl Stage {
    fn new(seed: u64, trouble: Trouble) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::new(Mutex::new(World::new(seed, trouble))),
            owners: Mutex::new((0..NODES).map(|_| None).collect()),
            answers: Mutex::default(),
            rng: Mutex::new(Rng::new(seed ^ 0x5151)),
            depth: Mutex::new(0),
            words: Mutex::new(0),
            steps: Mutex::new(0),
        })
    }

    fn below(&self, n: usize) -> usize {
        self.rng.lock().below(n)
    }

    fn word(&self) -> u64 {
        let mut words = self.words.lock();
        *words += 1;
        *words
    }

    fn database(self: &Arc<Self>, node: usize) -> SimDatabase {
        let stage = Arc::downgrade(self);
        // Between two statements of one node the others do something; no deeper than that they are all under way.
        let others = move |me: usize| {
            let Some(stage) = stage.upgrade() else { return };
            if *stage.depth.lock() < 2 && stage.below(8) == 0 {
                *stage.depth.lock() += 1;
                stage.act((me + 1 + stage.below(NODES - 1)) % NODES);
                *stage.depth.lock() -= 1;
            }
        };
        SimDatabase { world: Arc::clone(&self.world), node, name: format!("n{node}"), others: Arc::new(others) }
    }

    /// One step of a node, unless the node is in the middle of one.
    fn act(self: &Arc<Self>, node: usize) {
        *self.steps.lock() += 1;
        let Some(owner) = self.owners.lock().get_mut(node).map(Option::take) else { return };
        let owner = match owner {
            Some(owner) => self.go_on(owner),
            None => self.begin(node),
        };
        let mut owners = self.owners.lock();
        // Deeper down the same node may have begun anew: one process of a name.
        if owners[node].is_none() {
            owners[node] = owner;
        }
    }

    fn begin(self: &Arc<Self>, node: usize) -> Option<Box<Owner>> {
        let database = self.database(node);
        let boot = self.word().to_string();
        let lease = Lease::new();
        let (now_ms, seen) = (self.now_ms(), self.world.lock().kept(&database.name));
        let node = Node { name: database.name.clone(), boot };
        match PostgresJournal::open(
            database,
            Options { node, stream: 0, now_ms, seen, durable: Durable::fixed(Lsn::ZERO) },
            lease.clone(),
        ) {
            Ok(journal) => {
                self.read_now_and_then(&journal);
                Some(Box::new(Owner { journal, lease, written: Vec::new(), ready: Vec::new() }))
            }
            Err(JournalError::Doubt(_) | JournalError::Fenced(_) | JournalError::InUse(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// What a recovery would read is whole.
    fn read_now_and_then(&self, journal: &PostgresJournal<SimDatabase>) {
        if self.below(10) > 0 {
            return;
        }
        let mut reader = journal.reader();
        let (mut record, last) = (Record::default(), reader.last());
        let mut at = Lsn(self.below(usize::try_from(last.0).unwrap() + 1) as u64);
        while at < last {
            match reader.next(at, &mut record) {
                Ok(true) => at = record.lsn,
                Ok(false) | Err(JournalError::Failed { .. }) => return,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(at, journal.durable().get());
    }

    fn now_ms(&self) -> i64 {
        // Months pass, so that rows lie in several.
        BIRTH + i64::try_from(self.world.lock().now.as_millis()).unwrap() * 10_000
    }

    fn go_on(self: &Arc<Self>, mut owner: Box<Owner>) -> Option<Box<Owner>> {
        let outcome = match self.below(20) {
            0 => {
                if self.below(10) == 0 {
                    return None;
                }
                owner.journal.tend()
            }
            1 if owner.written.is_empty() => {
                if self.below(4) == 0 {
                    // A hand-over.
                    owner.journal.leave().ok();
                    return None;
                }
                owner.journal.tend()
            }
            2..=4 => owner.journal.tend(),
            5..=7 => {
                self.answer(&owner, Vec::new());
                Ok(())
            }
            8 => {
                // The process stands still for a while, or others are in the way.
                let ms = 1 + self.below(4_000) as u64;
                self.world.lock().pass(ms);
                Ok(())
            }
            _ if owner.written.is_empty() => self.write(&mut owner),
            _ => owner.journal.sync(),
        };
        match outcome {
            Ok(()) => {
                if owner.journal.durable().get() == owner.journal.last() {
                    let durable = std::mem::take(&mut owner.written);
                    owner.ready.extend(durable);
                }
                let ready = std::mem::take(&mut owner.ready);
                if !ready.is_empty() && !self.answer(&owner, ready.clone()) {
                    owner.ready = ready;
                }
                Some(owner)
            }
            Err(JournalError::Doubt(_)) => Some(owner),
            // Nobody is answered.
            Err(JournalError::Fenced(_) | JournalError::InUse(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    fn write(&self, owner: &mut Owner) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        let time_ms = self.now_ms().max(owner.journal.written.last_time);
        for _ in 0..=self.below(3) {
            let word = self.word();
            batch.offer(time_ms, |out| {
                out.extend_from_slice(&word.to_le_bytes());
                Ok(())
            })?;
            owner.written.push((word, owner.journal.last().0 + batch.len() as u64));
        }
        owner.journal.write(&batch)?;
        owner.journal.sync()
    }

    /// An answer leaves if the lease surely holds.
    fn answer(&self, owner: &Owner, records: Vec<(u64, u64)>) -> bool {
        let at = self.world.lock().now;
        let may = owner.lease.holds_at(at);
        if may {
            let last = owner.journal.durable().get().0;
            self.answers.lock().push(Answer { at, epoch: owner.journal.epoch(), records, last });
        }
        may
    }

    /// Everything is healed, one node takes over, and what is in the table is judged.
    fn end(self: &Arc<Self>) -> (Result<usize, String>, u64, Happened) {
        self.owners.lock().iter_mut().for_each(|owner| drop(owner.take()));
        self.world.lock().heal();
        *self.depth.lock() = 9;
        let last = (0..20).find_map(|_| self.begin(0)).expect("a healed cluster has an owner");
        let rows = self.world.lock().rows();
        drop(last);
        let answers = std::mem::take(&mut *self.answers.lock());
        let happened = self.world.lock().happened;
        (History { answers, rows }.check(), *self.steps.lock() + happened.statements, happened)
    }
}

/// Runs a seed; how many records, answers, steps; what happened.
fn run(seed: u64, trouble: Trouble, turns: usize) -> (Result<usize, String>, usize, u64, Happened) {
    let stage = Stage::new(seed, trouble);
    for _ in 0..turns {
        stage.act(stage.below(NODES));
    }
    let answers = stage.answers.lock().len();
    let (checked, steps, happened) = stage.end();
    (checked, answers, steps, happened)
}

/// The table of sound servers, by one node after the other.
struct SimPlace(Arc<Stage>);

impl Place for SimPlace {
    fn open(&mut self) -> (Box<dyn Journal>, Box<dyn JournalReader>) {
        self.0.world.lock().now += Duration::from_secs(5);
        let owner = self.0.begin(0).unwrap();
        let reader = owner.journal.reader();
        (Box::new(owner.journal), Box::new(reader))
    }

    fn at_rest(&self) -> Box<dyn JournalReader> {
        Box::new(TableReader::new(self.0.database(0), 0, None))
    }
}

contract!({
    let stage = Stage::new(5, Trouble::NONE);
    *stage.depth.lock() = 9;
    SimPlace(stage)
});

const TURNS: usize = 300;

fn troubled(seed: u64) -> Trouble {
    let mut rng = Rng::new(seed ^ 77);
    Trouble { network: rng.below(12), servers: rng.below(12), ..Trouble::NONE }
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is no configuration of the service")]
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// `SOKKETSU_SIM_STEPS` sets how many steps are made; each statement, and each deed of a node, is one.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn nothing_is_lost_doubled_or_answered_by_an_old_epoch() {
    let (wanted, first) = (number("SOKKETSU_SIM_STEPS", 60_000), number("SOKKETSU_SIM_SEED", 1));
    let (mut steps, mut records, mut answers, mut all) = (0, 0, 0, Happened::default());
    let (began, mut seed) = (std::time::Instant::now(), first);
    while steps < wanted {
        let (checked, answered, made, happened) = run(seed, troubled(seed), TURNS);
        records += checked.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        (steps, answers) = (steps + made, answers + answered);
        all.add(&happened);
        seed += 1;
    }
    let took: Duration = began.elapsed();
    println!("{} seeds, {steps} steps in {took:?}, {records} records, {answers} answers, {all:?}", seed - first);
    assert!(answers > 0 && all.late > 0 && all.repeated > 0 && all.cancelled > 0, "{all:?}");
    assert!(all.hung > 0 && all.failovers > 0 && all.restarts > 0, "{all:?}");
}

/// What the database or we might do wrong is found by the same check within some seeds.
#[test]
fn each_known_trap_is_found() {
    let base = Trouble { network: 5, servers: 8, ..Trouble::NONE };
    for (name, trouble) in [
        ("no notice of a cancelled wait", Trouble { hides_notices: true, ..base }),
        ("an append that is not fenced", Trouble { no_fence: true, ..base }),
        ("a commit that waits for no standby", Trouble { local_commit: true, ..base }),
    ] {
        let found = (1..400).find_map(|seed| {
            std::panic::catch_unwind(|| run(seed, trouble, TURNS).0).unwrap_or(Err("it stopped".to_owned())).err()
        });
        assert!(found.is_some(), "{name}");
    }
}

/// Without trouble a node that is alone answers everything at once.
#[test]
fn a_sound_cluster_answers_everything() {
    let (checked, answers, _, _) = run(3, Trouble::NONE, TURNS);
    assert!(answers > 100 && checked.unwrap() > 100);
}

#[test]
fn a_database_that_was_restored_from_the_past_is_refused() {
    for lost in 1..4 {
        let stage = Stage::new(9, Trouble::NONE);
        let mut owner = stage.begin(0).unwrap();
        for _ in 0..5 {
            stage.write(&mut owner).unwrap();
        }
        stage.world.lock().pass(1);
        let seen = super::table::Seen {
            last: owner.journal.cursor.last(),
            link: owner.journal.cursor.link,
            ..stage.world.lock().kept("n0")
        };
        stage.world.lock().restore_without_last(lost);
        stage.world.lock().now += Duration::from_secs(1);
        let error = (0..4).filter_map(|_| owner.journal.tend().err()).last();
        assert!(matches!(error, Some(JournalError::Damaged { .. })), "{error:?}");
        drop(owner);
        let (database, lease) = (stage.database(0), Lease::new());
        let node = Node { name: "n0".to_owned(), boot: "new".to_owned() };
        stage.world.lock().now += Duration::from_secs(9);
        let opened = PostgresJournal::open(
            database,
            Options { node, stream: 0, now_ms: BIRTH, seen, durable: Durable::fixed(Lsn::ZERO) },
            lease,
        );
        let error = opened.err().unwrap();
        assert!(matches!(error, JournalError::Damaged { .. }) && error.to_string().contains("restored"), "{error}");
    }
}

/// Takes in what is there, as a follower does; where it ends.
fn follow(reader: &mut TableReader<SimDatabase>, mut at: Lsn) -> Result<Lsn, JournalError> {
    let mut record = Record::default();
    while reader.next(at, &mut record)? {
        at = record.lsn;
    }
    Ok(at)
}

/// A stage where nobody acts by himself, an owner that has written, and a follower that has read all of it.
fn followed() -> (Arc<Stage>, Box<Owner>, TableReader<SimDatabase>, Lsn) {
    let stage = Stage::new(9, Trouble::NONE);
    *stage.depth.lock() = 9;
    let mut owner = stage.begin(0).unwrap();
    for _ in 0..5 {
        stage.write(&mut owner).unwrap();
    }
    let mut reader = TableReader::new(stage.database(1), 0, None);
    let last = follow(&mut reader, Lsn::ZERO).unwrap();
    (stage, owner, reader, last)
}

/// Whoever takes over while nothing is written must know that what it has read is the journal's end.
#[test]
fn a_follower_that_lost_its_connection_knows_what_it_has_read() {
    let (stage, owner, mut reader, last) = followed();
    let read = reader.end();
    assert_eq!(read, Some(owner.journal.end()));
    // All connections end, and nothing is lost.
    stage.world.lock().restore_without_last(0);
    assert!(matches!(follow(&mut reader, last), Err(JournalError::Failed { .. })));
    assert_eq!(reader.end(), read);
    assert_eq!(follow(&mut reader, last).unwrap(), last);
    assert_eq!(reader.end(), read);
}

/// A primary shows rows that no standby has, and is lost: others come in their place.
#[test]
fn a_follower_is_not_led_on_from_a_record_that_a_failover_has_lost() {
    for written_since in [3, 2, 1] {
        let (stage, owner, mut reader, last) = followed();
        let read = reader.end();
        drop(owner);
        stage.world.lock().restore_without_last(1);
        stage.world.lock().now += Duration::from_secs(9);
        let mut next = stage.begin(1).unwrap();
        for _ in 0..written_since {
            stage.write(&mut next).unwrap();
        }
        assert!(matches!(follow(&mut reader, last), Err(JournalError::Failed { .. })));
        let outcome = follow(&mut reader, last);
        // Records of before are all that it may say, and that is not the journal's end.
        let is_refused = matches!(outcome, Err(JournalError::Damaged { .. }));
        assert!(is_refused || outcome.is_ok_and(|at| at == last), "it went on after {written_since}");
        assert_eq!(reader.end(), read);
        assert_ne!(reader.end(), Some(next.journal.end()));
    }
}
