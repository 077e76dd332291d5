//! A node of a cluster while another one owns the journal: it takes in what that one records, says how far it is, and takes
//! over when the lease runs out or is given back.
//!
//! What it reads may be gone after a failover of the database, so nobody is told anything of it; once the journal is ours, its end
//! must be ours too, or the state is dropped and read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ServeError;
use super::backends::{Cluster, End, Following, Joining, KEEP_EVERY, LOOK_EVERY, Membership, Node, Taken, View};
use crate::domain::model::ids::Lsn;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::engine::board::Board;
use crate::engine::owner::Owner;
use crate::engine::readiness::{self, Readiness};
use crate::engine::recovery::{RecoveryError, belongs};
use crate::journal::{Journal, JournalError, Record, codec};
use crate::ledger::Checkpoint;

/// Records taken in between two looks at who owns the journal.
const RECORDS_A_TURN: usize = 20_000;
/// Who comes next takes the journal so much later: two that try at once are no danger, only in each other's way.
const TURN: Duration = Duration::from_millis(300);
/// Once the database is back each node takes only what it had, for so long: the owner was cut off from it too.
const AFTER_ABSENCE: Duration = Duration::from_secs(2);
/// A process of our name that has just died is a member for no longer than this.
const NAME_IS_FREE_WITHIN: Duration = Duration::from_millis(4_500);

/// A node that may come to own the journal.
pub(crate) struct Standby {
    cluster: Cluster,
    node: Node,
    owner: Owner,
    following: Following,
    checkpoint: Box<dyn Checkpoint>,
    posted: Arc<AtomicU64>,
}

/// The journal, and all that is in it.
pub(crate) struct Owned {
    pub owner: Owner,
    pub journal: Box<dyn Journal>,
    pub checkpoint: Box<dyn Checkpoint>,
    pub member: Membership,
}

/// Who is told, and who says when to stop.
pub(crate) struct Around<'a> {
    /// Where callers reach this node.
    pub address: String,
    pub readiness: &'a Readiness,
    pub is_stopping: &'a AtomicBool,
}

/// What stands beside the looks.
struct Watch {
    began: Instant,
    /// When the database was last away.
    away: Option<Instant>,
    /// Since when the journal may be taken.
    free_since: Option<Instant>,
    told: Option<String>,
}

/// A node that is to stand by, and has read nothing yet.
pub(crate) struct Newcomer {
    pub joining: Joining,
    pub settings: Settings,
    pub seed: [u8; 32],
    pub board: Arc<Board>,
    pub posted: Arc<AtomicU64>,
}

impl Newcomer {
    /// An error where the database is not as it has to be; one that is away may come back.
    pub fn look(&self) -> Result<(), ServeError> {
        match self.joining.checkpoint() {
            Err(away) if is_away(&away) => {
                tracing::warn!(%away, "the database is waited for");
                Ok(())
            }
            joined => joined.map(drop),
        }
    }

    /// Loads what the ledger has, as soon as the database is there. None: it was told to stop before.
    pub fn load(self, around: &Around<'_>) -> Result<Option<Standby>, ServeError> {
        let mut watch = Watch::new();
        while !around.is_stopping.load(Ordering::Relaxed) {
            match self.try_load() {
                Err(away) if is_away(&away) => {
                    tell_blind(around.readiness);
                    watch.told(away.to_string());
                    rest();
                }
                Ok((state, following, checkpoint)) => {
                    let customers = state.next_customer().0;
                    tracing::info!(records = state.lsn.0, customers, "loaded from the ledger");
                    let Self { joining: Joining { cluster, node, .. }, seed, board, posted, .. } = self;
                    posted.store(state.lsn.0, Ordering::Release);
                    let owner = Owner::new(state, seed, board, Arc::clone(&posted));
                    return Ok(Some(Standby { cluster, node, owner, following, checkpoint, posted }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn try_load(&self) -> Result<(State, Following, Box<dyn Checkpoint>), ServeError> {
        let checkpoint = self.joining.checkpoint()?;
        let mut following = self.joining.cluster.following();
        let mut state = State::new(self.settings);
        checkpoint.load(&mut state).map_err(RecoveryError::from)?;
        belongs(&state, |after, record| following.next(after, record))?;
        Ok((state, following, checkpoint))
    }
}

/// Whether the database was away, or went away meanwhile: another try may find it.
fn is_away(error: &ServeError) -> bool {
    match error {
        ServeError::Journal(error) | ServeError::Recovery(RecoveryError::Journal(error)) => {
            matches!(error, JournalError::Doubt(_) | JournalError::Failed { .. })
        }
        ServeError::Ledger(error) | ServeError::Recovery(RecoveryError::Ledger(error)) => error.is_retriable(),
        _ => false,
    }
}

/// The journal can't be looked at; what was seen last stays.
fn tell_blind(readiness: &Readiness) {
    let before = readiness.standby().as_deref().cloned().unwrap_or_default();
    readiness.set_standby(Some(readiness::Standby { is_blind: true, ..before }));
}

impl Standby {
    pub fn state(&self) -> &State {
        self.owner.state()
    }

    /// Takes in until the journal is ours. None: it was told to stop before.
    pub fn wait(mut self, around: &Around<'_>) -> Result<Option<Owned>, ServeError> {
        let mut member = self.cluster.member(self.node.clone(), around.address.clone());
        let mut watch = Watch::new();
        let mut confirmed = Confirmed::new();
        let mut last = Lsn::ZERO;
        loop {
            if around.is_stopping.load(Ordering::Relaxed) {
                confirmed.keep(&mut member)?;
                member.leave();
                return Ok(None);
            }
            let turn = self.take_in(None).and_then(|is_at_end| {
                let view = member.look(last.0.saturating_sub(self.state().lsn.0))?;
                member.keep_timeline()?;
                confirmed.look(self.following.end(), &view);
                if confirmed.kept.elapsed() >= KEEP_EVERY {
                    confirmed.keep(&mut member)?;
                }
                Ok((is_at_end, view))
            });
            match turn {
                Ok((is_at_end, view)) => {
                    last = view.last;
                    self.tell(&view, around.readiness);
                    // Orders stay in memory until the ledger has them; by what was not read here nothing is forgotten.
                    self.posted.store(view.posted.min(self.state().lsn).0, Ordering::Release);
                    if is_at_end && !member.is_draining() && watch.is_our_turn(&view, &self.node) {
                        match self.take() {
                            Ok((mut journal, end)) => {
                                if self.following.end() != end || self.state().lsn != end.last {
                                    // The next one may have it at once, and this node's name is free.
                                    if let Err(error) = journal.leave() {
                                        tracing::debug!(%error, "the journal was not given back");
                                    }
                                    return Err(ServeError::Ghost);
                                }
                                self.owner.take_over();
                                let Self { owner, checkpoint, .. } = self;
                                return Ok(Some(Owned { owner, journal, checkpoint, member }));
                            }
                            Err(error) => self.heard(error, &mut watch)?,
                        }
                    } else if is_at_end {
                        rest();
                    }
                }
                Err(error) => {
                    self.heard(error, &mut watch)?;
                    tell_blind(around.readiness);
                    rest();
                }
            }
        }
    }

    /// Takes the journal, and in all that is in it; by one try.
    fn take(&mut self) -> Result<(Box<dyn Journal>, End), JournalError> {
        let Taken { journal, end } = self.cluster.take(&self.node)?;
        self.take_in(Some(end.last))?;
        Ok((journal, end))
    }

    fn heard(&self, error: JournalError, watch: &mut Watch) -> Result<(), ServeError> {
        match error {
            error @ JournalError::Damaged { .. } => match self.is_ghost() {
                Ok(true) => Err(ServeError::Ghost),
                Ok(false) => Err(error.into()),
                // It is found again.
                Err(away) => watch.heard(away),
            },
            error => watch.heard(error),
        }
    }

    /// Applies what is in the table: up to a record, or a turn's worth. Whether that, or the present end, was reached.
    fn take_in(&mut self, until: Option<Lsn>) -> Result<bool, JournalError> {
        let mut record = Record::default();
        let mut left = until.map_or(RECORDS_A_TURN, |_| usize::MAX);
        let mut lsn = self.state().lsn;
        while left > 0 && until.is_none_or(|until| lsn < until) {
            if !self.following.next(lsn, &mut record)? {
                self.owner.free_what_is_over();
                return Ok(true);
            }
            lsn = record.lsn;
            let event = codec::decode(&record.payload).map_err(|problem| self.following.unreadable(&problem))?;
            self.owner.take_in(&event, Millis(record.time_ms));
            left -= 1;
        }
        self.owner.free_what_is_over();
        Ok(until.is_some())
    }

    /// Whether the record that was read last is not in the table any more: what follows on another one is no damage.
    fn is_ghost(&self) -> Result<bool, JournalError> {
        let (mut again, end) = (self.cluster.following(), self.following.end());
        if end.last == Lsn::ZERO {
            return Ok(false);
        }
        match again.next(Lsn(end.last.0.saturating_sub(1)), &mut Record::default()) {
            // It was read whole, and is not any more.
            Err(JournalError::Damaged { .. }) => Ok(false),
            found => Ok(found? && again.end() != end),
        }
    }

    fn tell(&self, view: &View, readiness: &Readiness) {
        // It was this node, which does not own it now: callers are not to be sent here.
        let is_ours = view.owner == self.node.name;
        let told = |text: &String| if is_ours { String::new() } else { text.clone() };
        readiness.set_standby(Some(readiness::Standby {
            of: told(&view.owner),
            address: told(&view.address),
            behind: view.last.0.saturating_sub(self.state().lsn.0),
            is_blind: false,
        }));
    }
}

/// What a standby has read and is on a standby of the database too: since it was read, its owner has renewed the lease or given it
/// back, and an owner sends no statement before it is sure of the one before.
struct Confirmed {
    /// The last record read, and the owner's epoch and lease afterwards.
    noted: Option<(End, i64, String)>,
    sure: Option<(End, i64)>,
    kept: Instant,
}

impl Confirmed {
    fn new() -> Self {
        Self { noted: None, sure: None, kept: Instant::now() }
    }

    /// `end` was read before the view.
    fn look(&mut self, end: End, view: &View) {
        match &self.noted {
            Some((_, epoch, lease)) if *epoch == view.epoch && *lease == view.lease => return,
            Some((noted, epoch, _)) if *epoch == view.epoch => self.sure = Some((*noted, *epoch)),
            _ => {}
        }
        self.noted = Some((end, view.epoch, view.lease.clone()));
    }

    fn keep(&mut self, member: &mut Membership) -> Result<(), JournalError> {
        self.kept = Instant::now();
        self.sure.map_or(Ok(()), |(end, epoch)| member.keep(end, epoch))
    }
}

impl Watch {
    fn new() -> Self {
        Self { began: Instant::now(), away: None, free_since: None, told: None }
    }

    /// Whether the journal is ours to take by now.
    fn is_our_turn(&mut self, view: &View, node: &Node) -> bool {
        if !view.is_free {
            self.free_since = None;
            self.told(format!("{} owns the journal", view.owner));
            return false;
        }
        let since = *self.free_since.get_or_insert_with(Instant::now);
        let is_back = self.away.is_none_or(|at| at.elapsed() >= AFTER_ABSENCE);
        (view.owner == node.name || is_back) && since.elapsed() >= TURN * view.before_us
    }

    /// What can be waited for is; anything else is an error.
    fn heard(&mut self, error: JournalError) -> Result<(), ServeError> {
        match error {
            JournalError::Doubt(why) => {
                self.away = Some(Instant::now());
                self.told(why);
            }
            // Another one was faster.
            JournalError::Fenced(by) => self.told(format!("{by} owns the journal")),
            JournalError::InUse(_) if self.began.elapsed() < NAME_IS_FREE_WITHIN => self.told(error.to_string()),
            // The reader could not ask.
            JournalError::Failed { .. } => {
                self.away = Some(Instant::now());
                self.told(error.to_string());
            }
            // While it runs, a setting is mended by whoever changed it.
            JournalError::Unfit(why) | JournalError::Newer(why) => self.told(why),
            other => return Err(other.into()),
        }
        Ok(())
    }

    fn told(&mut self, what: String) {
        if self.told.as_ref() != Some(&what) {
            tracing::info!(what, "standing by");
            self.told = Some(what);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it hides no race: the table is looked at anew each time")]
fn rest() {
    std::thread::sleep(LOOK_EVERY);
}
