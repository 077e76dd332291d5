//! Three servers in memory, one of them the primary and two its quorum standbys, with one stream; and a network that loses,
//! delays and repeats statements. Servers freeze, crash, are promoted, come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::choose::{Said, Standing, choose};
use super::table::{Acquired, Answer, Database, Fault, Found, Held, Node, Row, Seen, Session, Settings, Stream};
use crate::journal::Lsn;
use crate::journal::local::sim::Rng;

impl Settings {
    pub fn good() -> Self {
        Self {
            in_recovery: false,
            synchronous_commit: "on".to_owned(),
            client_min_messages: "warning".to_owned(),
            fsync: true,
            full_page_writes: true,
            sync_standbys: 2,
            unseen_standbys: 0,
            clock_ahead_ms: 0,
        }
    }
}

/// After it a client gives up.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// After it a statement that waits for a lock ends, and has done nothing.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct Owner {
    epoch: i64,
    node: String,
    boot: String,
    /// By the primary's clock.
    until: Duration,
}

/// What a statement changed.
#[derive(Debug)]
struct Change {
    owner: Option<Owner>,
    row: Option<Row>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    owner: Owner,
    rows: Vec<Row>,
}

impl Table {
    fn apply(&mut self, change: &Change) {
        if let Some(owner) = &change.owner {
            self.owner = owner.clone();
        }
        self.rows.extend(change.row.clone());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Runs,
    Frozen,
    Down,
}

struct Server {
    power: Power,
    is_standby: bool,
    timeline: u32,
    /// Its sessions end where it changes.
    incarnation: u64,
    /// The log, all of it on this server's disk. On a primary the last entry may wait for a standby.
    log: Vec<Arc<Change>>,
    /// What everybody sees: the log without an entry that waits.
    table: Table,
    seen: usize,
    /// Of its clock against the others'.
    clock_ahead: Duration,
}

impl Server {
    fn is_waiting(&self) -> bool {
        self.seen < self.log.len()
    }

    fn show_all(&mut self) {
        for change in self.log.iter().skip(self.seen) {
            self.table.apply(change);
        }
        self.seen = self.log.len();
    }

    fn follow(&mut self, log: &[Arc<Change>]) {
        let same = self.log.iter().zip(log).take_while(|(a, b)| Arc::ptr_eq(a, b)).count();
        if same < self.log.len() {
            self.log.truncate(same);
            (self.table, self.seen) = (Table::default(), 0);
        }
        self.log.extend(log.iter().skip(self.log.len()).cloned());
        self.show_all();
    }
}

#[derive(Clone, Debug)]
enum Statement {
    Acquire { node: Node, lasts: Duration },
    Append { epoch: i64, row: Option<Row>, renewal: Option<Duration> },
    Release { epoch: i64 },
}

enum Reply {
    Acquired(Option<Acquired>),
    Held(bool),
}

/// What goes wrong, of 100 statements or moments; and what the program or the database could do wrong.
#[derive(Clone, Copy)]
pub struct Trouble {
    pub network: usize,
    pub servers: usize,
    /// A cancelled wait tells nobody, as with `client_min_messages = error`.
    pub hides_notices: bool,
    /// An append does not look whose the stream is.
    pub no_fence: bool,
    /// A commit is confirmed by the primary alone, as with `synchronous_commit = local`.
    pub local_commit: bool,
}

impl Trouble {
    pub const NONE: Self = Self { network: 0, servers: 0, hides_notices: false, no_fence: false, local_commit: false };
}

/// What happened, to see that everything does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    pub statements: u64,
    pub lost: u64,
    pub late: u64,
    pub repeated: u64,
    pub cancelled: u64,
    pub hung: u64,
    pub failovers: u64,
    pub restarts: u64,
}

pub struct World {
    pub rng: Rng,
    pub now: Duration,
    pub trouble: Trouble,
    pub happened: Happened,
    servers: Vec<Server>,
    primary: usize,
    /// On their way, or running for nobody.
    late: Vec<(usize, u64, Statement)>,
    members: HashMap<String, (String, Duration)>,
    kept: HashMap<String, Seen>,
}

impl World {
    pub fn new(seed: u64, trouble: Trouble) -> Self {
        let mut rng = Rng::new(seed);
        let servers = (0..3).map(|at| Server {
            power: Power::Runs,
            is_standby: at > 0,
            timeline: 1,
            incarnation: 0,
            log: Vec::new(),
            table: Table::default(),
            seen: 0,
            clock_ahead: Duration::from_millis(rng.next() % 700),
        });
        let servers = servers.collect();
        Self {
            rng,
            now: Duration::from_secs(100),
            trouble,
            happened: Happened::default(),
            servers,
            primary: 0,
            late: Vec::new(),
            members: HashMap::new(),
            kept: HashMap::new(),
        }
    }

    /// The rows that stay.
    pub fn rows(&self) -> Vec<Row> {
        self.servers[self.primary].table.rows.clone()
    }

    /// A database from a copy of before: its last rows are gone.
    pub fn restore_without_last(&mut self, rows: usize) {
        for server in &mut self.servers {
            let mut log = server.log.clone();
            log.truncate(log.len().saturating_sub(rows));
            server.incarnation += 1;
            server.follow(&log);
        }
    }

    pub fn kept(&self, node: &str) -> Seen {
        self.kept.get(node).cloned().unwrap_or_default()
    }

    fn clock(&self, server: usize) -> Duration {
        self.now + self.servers[server].clock_ahead
    }

    fn is_running(&self, server: usize) -> bool {
        self.servers[server].power == Power::Runs
    }

    fn standbys(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|&at| self.servers[at].is_standby).collect()
    }

    /// A moment passes, and whatever may happen does.
    pub fn pass(&mut self, at_most_ms: u64) {
        self.now += Duration::from_millis(1 + self.rng.next() % at_most_ms);
        if self.rng.chance(self.trouble.servers) {
            self.strike();
        }
        if !self.late.is_empty() && self.rng.chance(20) {
            let (server, incarnation, statement) = self.late.swap_remove(0);
            let takes = self.is_running(server) && self.servers[server].incarnation == incarnation;
            if takes && !self.servers[server].is_waiting() && !self.servers[server].is_standby {
                self.execute(server, &statement);
            }
        }
        self.replicate();
    }

    /// The standbys that run write what the primary sends, and its commit is confirmed.
    fn replicate(&mut self) {
        if !self.is_running(self.primary) {
            return;
        }
        let log = self.servers[self.primary].log.clone();
        let mut is_confirmed = self.trouble.local_commit;
        for at in self.standbys() {
            if self.is_running(at) && self.rng.chance(90) {
                self.servers[at].follow(&log);
                is_confirmed = true;
            }
        }
        if is_confirmed {
            self.servers[self.primary].show_all();
        }
    }

    fn strike(&mut self) {
        let standbys = self.standbys();
        let any = standbys[self.rng.below(standbys.len())];
        match self.rng.below(14) {
            0 | 1 => self.servers[any].power = Power::Frozen,
            2 => standbys.iter().for_each(|&at| self.servers[at].power = Power::Frozen),
            3..=6 => standbys.iter().for_each(|&at| self.servers[at].power = Power::Runs),
            7 => self.servers[self.primary].power = Power::Frozen,
            8 => self.servers[self.primary].power = Power::Runs,
            9 => self.crash(self.primary),
            10 => {
                self.servers[self.primary].power = Power::Down;
                self.fail_over();
            }
            11 => self.fail_over(),
            12 if self.servers[self.primary].is_waiting() => {
                // A wait for standbys that is cancelled, or whose backend is terminated: everybody sees what no standby has.
                self.happened.cancelled += 1;
                self.servers[self.primary].show_all();
            }
            _ => self.rejoin(),
        }
    }

    /// It starts again and shows all of its log.
    fn crash(&mut self, at: usize) {
        self.happened.restarts += 1;
        let server = &mut self.servers[at];
        server.incarnation += 1;
        server.power = Power::Runs;
        server.show_all();
    }

    /// The standby with most of the log becomes the primary; the old one may run on by itself.
    fn fail_over(&mut self) {
        let standbys = self.standbys();
        if standbys.len() < 2 {
            return;
        }
        self.happened.failovers += 1;
        let best = standbys.into_iter().max_by_key(|&at| self.servers[at].log.len()).unwrap();
        let timeline = self.servers[self.primary].timeline + 1;
        let new = &mut self.servers[best];
        (new.is_standby, new.timeline, new.power, new.incarnation) =
            (false, timeline, Power::Runs, new.incarnation + 1);
        self.primary = best;
    }

    /// An old primary becomes a standby of the new one, which takes from it what the new one does not have.
    fn rejoin(&mut self) {
        let log = self.servers[self.primary].log.clone();
        for at in 0..self.servers.len() {
            if at != self.primary && !self.servers[at].is_standby {
                let server = &mut self.servers[at];
                (server.is_standby, server.power, server.incarnation) = (true, Power::Runs, server.incarnation + 1);
                server.follow(&log);
            }
        }
    }

    /// Everything runs again, and nothing is on its way.
    pub fn heal(&mut self) {
        self.trouble = Trouble::NONE;
        self.late.clear();
        self.servers.iter_mut().for_each(|server| server.power = Power::Runs);
        self.rejoin();
        self.now += Duration::from_secs(60);
        for _ in 0..50 {
            self.replicate();
        }
    }

    /// At the server: what it changes is in the log and waits for a standby. None: it changes nothing.
    fn execute(&mut self, server: usize, statement: &Statement) -> (Reply, bool) {
        let (clock, no_fence) = (self.clock(server), self.trouble.no_fence);
        let it = &mut self.servers[server];
        let owner = &it.table.owner;
        let (reply, change) = match statement {
            Statement::Acquire { node, lasts } => {
                if owner.until >= clock && owner.node != node.name {
                    return (Reply::Acquired(None), false);
                }
                let former = Node { name: owner.node.clone(), boot: owner.boot.clone() };
                let acquired = Acquired { epoch: owner.epoch + 1, former_epoch: owner.epoch, former };
                let (name, boot) = (node.name.clone(), node.boot.clone());
                let owner = Owner { epoch: acquired.epoch, node: name, boot, until: clock + *lasts };
                (Reply::Acquired(Some(acquired)), Change { owner: Some(owner), row: None })
            }
            Statement::Append { epoch, row, renewal } => {
                // The key of a row is its month and batch.
                let is_there = |row: &Row| it.table.rows.iter().rev().any(|other| other.batch == row.batch);
                let is_fenced = owner.epoch != *epoch || row.as_ref().is_some_and(is_there);
                if is_fenced && !no_fence {
                    return (Reply::Held(false), false);
                }
                let owner = renewal.map(|lasts| Owner { until: clock + lasts, ..owner.clone() });
                (Reply::Held(true), Change { owner, row: row.clone() })
            }
            Statement::Release { epoch } => {
                if owner.epoch != *epoch {
                    return (Reply::Held(false), false);
                }
                let owner = Owner { until: Duration::ZERO, ..owner.clone() };
                (Reply::Held(true), Change { owner: Some(owner), row: None })
            }
        };
        it.log.push(Arc::new(change));
        (reply, true)
    }
}

type OthersAct = Arc<dyn Fn(usize) + Send + Sync>;

/// The database as one node knows it.
#[derive(Clone)]
pub struct SimDatabase {
    pub world: Arc<Mutex<World>>,
    pub node: usize,
    pub name: String,
    /// Lets the other nodes act before a statement of this one gets to the server.
    pub others: OthersAct,
}

pub struct SimSession {
    database: SimDatabase,
    server: usize,
    incarnation: u64,
}

fn doubt<T>(why: &str) -> Answer<T> {
    Err(Fault::Doubt(why.to_owned()))
}

impl Database for SimDatabase {
    type Session = SimSession;

    fn connect(&mut self, least_timeline: u32) -> Answer<(SimSession, Found)> {
        (self.others)(self.node);
        let mut world = self.world.lock();
        world.pass(400);
        let said: Vec<(String, Said)> = (0..world.servers.len()).map(|at| (at.to_string(), world.ask(at))).collect();
        let server = choose(&said, least_timeline).map_err(Fault::Doubt)?;
        let Server { incarnation, timeline, .. } = world.servers[server];
        let session = SimSession { database: self.clone(), server, incarnation };
        Ok((session, Found { cluster: "c".to_owned(), timeline }))
    }

    fn now(&self) -> Duration {
        self.world.lock().now
    }

    fn keep(&mut self, seen: &Seen) -> Result<(), String> {
        self.world.lock().kept.insert(self.name.clone(), seen.clone());
        Ok(())
    }

    fn another(&self) -> Self {
        self.clone()
    }
}

impl World {
    fn ask(&self, at: usize) -> Said {
        let server = &self.servers[at];
        if server.power != Power::Runs {
            return Err("did not answer".to_owned());
        }
        let has_sync_standby = at == self.primary && self.standbys().iter().any(|&at| self.is_running(at));
        Ok(Standing {
            in_recovery: server.is_standby,
            has_sync_standby,
            is_asynchronous: false,
            timeline: server.timeline,
        })
    }
}

impl SimSession {
    fn is_alive(&self, world: &World) -> bool {
        let server = &world.servers[self.server];
        server.power == Power::Runs && server.incarnation == self.incarnation
    }

    /// Sends a statement and waits for its answer, as long as a client does.
    fn run(&self, statement: &Statement) -> Answer<Reply> {
        (self.database.others)(self.database.node);
        let mut world = self.database.world.lock();
        world.happened.statements += 1;
        world.pass(20);
        let late = (self.server, self.incarnation, statement.clone());
        let percent = world.trouble.network;
        let is_troubled = world.rng.chance(percent);
        match world.rng.below(if is_troubled { 3 } else { usize::MAX }) {
            0 => {
                world.happened.lost += 1;
                return doubt("the statement was lost");
            }
            1 => {
                world.happened.late += 1;
                world.now += PATIENCE;
                world.late.push(late);
                return doubt("the statement is late");
            }
            2 => {
                world.happened.repeated += 1;
                world.late.push(late);
            }
            _ => {}
        }
        let begun = world.now;
        while world.servers[self.server].is_waiting() {
            world.pass(200);
            if !self.is_alive(&world) || world.now > begun + LOCK_TIMEOUT {
                return doubt("the lock was not had in time");
            }
        }
        if !self.is_alive(&world) {
            return doubt("the connection is lost");
        }
        let (reply, is_change) = world.execute(self.server, statement);
        let place = world.servers[self.server].log.len();
        if is_change {
            self.wait_for_standby(&mut world, place)?;
        }
        if world.rng.chance(percent) {
            world.happened.lost += 1;
            return doubt("the answer was lost");
        }
        Ok(reply)
    }

    fn wait_for_standby(&self, world: &mut World, place: usize) -> Answer<()> {
        let begun = world.now;
        loop {
            let cancelled = world.happened.cancelled;
            world.pass(50);
            if !self.is_alive(world) {
                return doubt("the connection is lost");
            }
            if world.happened.cancelled > cancelled && !world.trouble.hides_notices {
                return doubt("canceling wait for synchronous replication");
            }
            if world.servers[self.server].seen >= place {
                return Ok(());
            }
            if world.now > begun + PATIENCE {
                world.happened.hung += 1;
                return doubt("no answer in time");
            }
        }
    }

    fn read<T>(&self, read: impl FnOnce(&World, &Server) -> T) -> Answer<T> {
        (self.database.others)(self.database.node);
        let mut world = self.database.world.lock();
        world.happened.statements += 1;
        world.pass(10);
        if !self.is_alive(&world) {
            return doubt("the connection is lost");
        }
        Ok(read(&world, &world.servers[self.server]))
    }
}

impl Session for SimSession {
    fn settings(&mut self) -> Answer<Settings> {
        self.read(|world, server| {
            let has_standby = world.ask(self.server).is_ok_and(|it| it.has_sync_standby);
            Settings { in_recovery: server.is_standby, sync_standbys: i64::from(has_standby), ..Settings::good() }
        })
    }

    fn register(&mut self, node: &Node, lasts: Duration) -> Answer<bool> {
        let mut world = self.database.world.lock();
        let now = world.now;
        let another = world.members.get(&node.name).is_some_and(|(boot, until)| *boot != node.boot && *until >= now);
        if !another {
            world.members.insert(node.name.clone(), (node.boot.clone(), now + lasts));
        }
        Ok(!another)
    }

    fn acquire(&mut self, _: Stream, node: &Node, lasts: Duration) -> Answer<Option<Acquired>> {
        match self.run(&Statement::Acquire { node: node.clone(), lasts })? {
            Reply::Acquired(acquired) => Ok(acquired),
            Reply::Held(_) => doubt("another answer"),
        }
    }

    fn holder(&mut self, _: Stream) -> Answer<Node> {
        self.read(|_, server| {
            let Owner { node, boot, .. } = server.table.owner.clone();
            Node { name: node, boot }
        })
    }

    fn append(&mut self, held: Held<'_>, row: Option<&Row>, renewal: Option<Duration>) -> Answer<bool> {
        match self.run(&Statement::Append { epoch: held.epoch, row: row.cloned(), renewal })? {
            Reply::Held(held) => Ok(held),
            Reply::Acquired(_) => doubt("another answer"),
        }
    }

    fn release(&mut self, held: Held<'_>) -> Answer<()> {
        self.run(&Statement::Release { epoch: held.epoch }).map(drop)
    }

    fn last(&mut self, _: Stream) -> Answer<(Option<Row>, Option<Row>)> {
        self.read(|_, server| {
            let rows = &server.table.rows;
            (rows.last().cloned(), rows.iter().rev().find(|row| row.count > 0).cloned())
        })
    }

    fn rows_from(&mut self, _: Stream, month: i32, batch: i64) -> Answer<Vec<Row>> {
        self.read(|_, server| {
            let rows = server.table.rows.iter();
            rows.filter(|row| row.month >= month && row.batch >= batch).cloned().collect()
        })
    }

    fn holding(&mut self, _: Stream, record: Lsn) -> Answer<Vec<Row>> {
        self.read(|_, server| {
            let end = |row: &Row| row.first.0 + u64::try_from(row.count).unwrap();
            let full = server.table.rows.iter().filter(|row| row.count > 0);
            full.filter(|row| end(row) > record.0).take(64).cloned().collect()
        })
    }

    fn make_months(&mut self, _: i32) -> Answer<()> {
        Ok(())
    }
}

impl Happened {
    pub fn add(&mut self, other: &Self) {
        self.statements += other.statements;
        self.lost += other.lost;
        self.late += other.late;
        self.repeated += other.repeated;
        self.cancelled += other.cancelled;
        self.hung += other.hung;
        self.failovers += other.failovers;
        self.restarts += other.restarts;
    }
}
