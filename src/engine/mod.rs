//! The engine: one owner of every account. It judges requests as they come, makes the facts of a group durable with
//! one write and one sync, shows the result to readers, and only then lets the answers go.
//!
//! [`owner`] judges into a [`group`]; [`committer`] makes it durable, on a thread of its own, at the pace of [`pacing`];
//! the group shows readers what it changed. [`serve`] drives them from the [`queues`] to those who wait ([`outlet`]), as a
//! task of the runtime that also serves the sockets, so that a request changes threads nowhere. [`Engine`] drives them step by step, as a start and the tests do.
//!
//! The doors ask through [`client`]; [`sale`] is the way of a sale with its code, [`bad_codes`] slows those who send bad
//! ones, [`readiness`] says whether anybody may ask, [`times`] where the time of a call goes.

mod backlog;
pub mod bad_codes;
pub mod board;
mod calendar;
pub mod client;
pub mod committer;
pub mod group;
pub mod inbox;
pub mod outlet;
pub mod owner;
pub mod pacing;
pub mod queues;
pub mod readiness;
pub mod recovery;
pub mod sale;
pub mod serve;
#[cfg(test)]
mod serve_tests;
pub mod times;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::journal::{Journal, JournalError, Lease, TooLarge};

use board::Board;
use committer::Committer;
use group::Group;
use owner::Owner;

/// When answers may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// After their records are on disk.
    BeforeAnswer,
    /// After the write and before the sync, while what would be lost with the group stays within this budget, in yen
    /// ([`Effect::at_risk`](crate::domain::state::effect::Effect::at_risk)).
    Bounded { at_risk_yen: u64 },
}

/// Owner and committer on one thread, one group at a time.
pub struct Engine {
    owner: Owner,
    committer: Committer,
    group: Group,
}

impl Engine {
    /// Takes over a recovered state and its journal. `seed` makes handles and ids: from the system in service,
    /// fixed in tests.
    pub fn new(
        state: State,
        journal: Box<dyn Journal>,
        sync: Sync,
        seed: [u8; 32],
        board: Arc<Board>,
        posted: Arc<AtomicU64>,
    ) -> Self {
        Self::of(Owner::new(state, seed, board, posted), journal, sync)
    }

    /// Of an owner that has followed the journal to its end.
    pub fn of(owner: Owner, journal: Box<dyn Journal>, sync: Sync) -> Self {
        Self { owner, committer: Committer::new(journal, sync), group: Group::default() }
    }

    pub fn state(&self) -> &State {
        self.owner.state()
    }

    pub fn board(&self) -> &Arc<Board> {
        self.owner.board()
    }

    /// Until when answers may leave.
    pub fn lease(&self) -> Lease {
        self.committer.lease()
    }

    /// Goes on at the time of the wall clock, or stays at the last one if the clock went back.
    pub fn begin(&mut self, wall: Millis) {
        self.owner.begin(wall, &mut self.group);
        self.owner.calendar_step(&mut self.group);
    }

    /// Judges one request and makes its fact true; its answer waits for [`Engine::commit`].
    pub fn take(&mut self, request: &Request) {
        self.owner.take(request, &mut self.group);
    }

    /// Makes a fact true, unless no record can hold it.
    pub fn record(&mut self, event: &Event) -> Result<(), TooLarge> {
        self.owner.record(event, &mut self.group)
    }

    /// Makes the group durable, shows what it changed and gives the answers in order of [`Engine::take`].
    /// After an error nothing may be answered any more.
    pub fn commit(&mut self) -> Result<Vec<Reply>, JournalError> {
        self.committer.commit(&self.group.records, self.group.at_risk_yen)?;
        self.group.show(self.owner.board());
        self.owner.set_gauges();
        let replies = std::mem::take(&mut self.group.replies);
        self.group.clear();
        Ok(replies)
    }

    /// Syncs what was answered ahead of its sync; nothing to do unless the mode is [`Sync::Bounded`].
    pub fn settle(&mut self) -> Result<(), JournalError> {
        self.committer.settle()
    }

    /// For [`serve::serve`].
    pub fn into_parts(self) -> (Owner, Committer) {
        (self.owner, self.committer)
    }
}
