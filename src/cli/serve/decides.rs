//! The task of whoever decides: at once where the journal is in files, once the stream is ours in a cluster.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, never};

use super::merchants::Merchants;
use super::standby::{Around, Newcomer, Owned};
use super::start::{Decider, Half, configured, decider, right_kind};
use super::stays::Stays;
use super::stop::{self, Stop};
use super::{ServeError, journal_exit, system};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::model::ids::Lsn;
use crate::engine;
use crate::engine::client::MerchantPut;
use crate::engine::inbox::Inbox;
use crate::engine::queues::Queues;
use crate::engine::readiness::{Condition, Readiness};
use crate::http::trust::callers::Callers;
use crate::journal::{Follower, JournalError};
use crate::ledger::writer::Writer;

/// What it needs beside the journal.
pub(super) struct Decides {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub readiness: Arc<Readiness>,
    /// The ledger's.
    pub follower: Follower,
    pub posted: Arc<AtomicU64>,
    /// Set once there is one.
    pub writer: Arc<OnceLock<Writer>>,
    pub stop: Stop,
    pub inbox: Inbox,
    /// In a cluster merchants come this way.
    pub merchants: Receiver<MerchantPut>,
    pub callers: Arc<ArcSwap<Callers>>,
}

impl Decides {
    /// Decides until `told` ends and everything that waits is answered; gives the last record. Where the journal is in files
    /// it is ready when this returns. `address` is where callers reach this node.
    pub fn run(
        mut self,
        half: Half,
        address: String,
        queues: Queues,
        told: impl Future<Output = ()> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Lsn> + Send>> {
        match half {
            Half::Ours(decider) => Box::pin(self.begin(*decider, queues, told)),
            Half::Theirs(newcomer) => Box::pin(async move {
                match self.takes_over(*newcomer, address, Arc::clone(&queues.is_stopping)).await {
                    Ok(Some(decider)) => {
                        self.callers.load().begin_at(Clock::system().now());
                        self.begin(decider, queues, told).await
                    }
                    Ok(None) => Lsn::ZERO,
                    Err(error) => give_up(&error),
                }
            }),
        }
    }

    fn begin(self, decider: Decider, queues: Queues, told: impl Future<Output = ()>) -> impl Future<Output = Lsn> {
        let Decider { engine, checkpoint } = decider;
        self.readiness.watch(engine.lease());
        let chunk = self.config.records.ledger.chunk_records;
        match Writer::start(checkpoint, self.follower, self.posted, chunk).map_err(system("start the ledger")) {
            Ok(writer) => drop(self.writer.set(writer)),
            Err(error) => give_up(&error),
        }
        for condition in [Condition::Recovered, Condition::JournalWritable, Condition::LeaseHeld] {
            self.readiness.set(condition, true);
        }
        self.readiness.set_standby(None);
        let writable = self.readiness;
        // A disk that is filling shows before a commit fails.
        let tell_room = move |room: Result<(), String>| writable.set(Condition::JournalWritable, room.is_ok());
        let serving = engine::serve::serve(engine, queues, self.clock, tell_room, told);
        async {
            match serving.await {
                Ok(owner) => owner.state().lsn,
                Err(error) => give_up(&error.into()),
            }
        }
    }

    /// Waits, on a thread that may, until this node owns the journal. None: it was told to stop before.
    async fn takes_over(
        &mut self,
        newcomer: Newcomer,
        address: String,
        is_stopping: Arc<AtomicBool>,
    ) -> Result<Option<Decider>, ServeError> {
        let (config, clock) = (Arc::clone(&self.config), self.clock.clone());
        let (readiness, stop, inbox) = (Arc::clone(&self.readiness), self.stop.clone(), self.inbox.clone());
        let most = self.config.records.settings.merchants_max;
        // With the thread that reads it, it ends: whoever comes later is told so.
        let merchants = std::mem::replace(&mut self.merchants, never());
        let waits = move || {
            let around = Around { address, readiness: &readiness, is_stopping: &is_stopping };
            let Some(standby) = newcomer.load(&around)? else { return Ok(None) };
            right_kind(&config.records.data, standby.state(), config.sandbox)?;
            let Some(Owned { owner, journal, checkpoint, member }) = standby.wait(&around)? else { return Ok(None) };
            right_kind(&config.records.data, owner.state(), config.sandbox)?;
            let mut stays = Stays::new(member, configured(&config));
            let rules = stays.rules();
            let decider = decider(&config, clock.now(), (owner, journal, checkpoint), rules)?;
            stays.begin(stop, is_stopping, inbox.clone(), Merchants::new(merchants, inbox, most))?;
            Ok(Some(decider))
        };
        tokio::task::spawn_blocking(waits).await.unwrap_or_else(|_| {
            // The panic hook has told why.
            Err(JournalError::Poisoned.into())
        })
    }
}

/// Nothing of the last group was answered, and nothing more may be: the process ends at once, or begins anew where another node has
/// replaced it.
fn give_up(error: &ServeError) -> ! {
    match error {
        // Our state may be an old one; what waits is not answered.
        ServeError::Ghost | ServeError::Journal(JournalError::Fenced(_)) => stop::begin_anew(&error.to_string()),
        ServeError::Journal(error @ (JournalError::Failed { .. } | JournalError::Poisoned)) => {
            tracing::error!(%error, "the journal could not be written; stopping");
            std::process::exit(i32::from(journal_exit(error)));
        }
        error => {
            tracing::error!(%error, "stopping");
            std::process::exit(i32::from(error.exit_code()));
        }
    }
}
