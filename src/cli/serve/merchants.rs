//! Merchants of a cluster: the table `setting` has them. A call to the owner writes there, and is answered once the owner has journaled what
//! the table says; what an operator writes (`sokketsu cluster apply`) is journaled the same way.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam::channel::Receiver;

use super::backends::{Membership, merchant_body};
use crate::domain::commands::request::Request;
use crate::domain::model::bounds::Full;
use crate::domain::model::ids::MerchantId;
use crate::engine::client::{Client, MerchantPut, NoAnswer};
use crate::engine::inbox::Inbox;
use crate::engine::outlet::Answered;
use crate::http::calls::merchants;
use crate::journal::JournalError;

/// Between two tries to write what is in doubt.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Calls that may wait for the table.
pub(super) const WAITING_MOST: usize = 1_000;

pub(super) struct Merchants {
    asked: Receiver<MerchantPut>,
    inbox: Inbox,
    /// Of no merchant twice.
    waiting: BTreeMap<MerchantId, MerchantPut>,
    /// They may be in the table: they are written again until it is known, and nothing is said before.
    is_in_doubt: bool,
    /// Of a merchant that is being written already.
    next: Option<MerchantPut>,
    has_more: bool,
    /// Merchants in all.
    most: usize,
}

impl Merchants {
    pub fn new(asked: Receiver<MerchantPut>, inbox: Inbox, most: usize) -> Self {
        // What the table has is looked at as soon as the journal is ours.
        Self { asked, inbox, waiting: BTreeMap::new(), is_in_doubt: false, next: None, has_more: true, most }
    }

    /// Waits for calls, for so long at most; not at all where there is something to do.
    pub fn wait(&mut self, patience: Duration) {
        if self.is_in_doubt {
            return std::thread::park_timeout(patience.min(TRY_AGAIN));
        }
        let patience = if self.has_more || self.next.is_some() { Duration::ZERO } else { patience };
        let mut put = self.next.take().or_else(|| self.asked.recv_timeout(patience).ok());
        while let Some(one) = put {
            if self.waiting.contains_key(&one.merchant.id) {
                self.next = Some(one);
                return;
            }
            self.waiting.insert(one.merchant.id, one);
            put = self.asked.try_recv().ok();
        }
    }

    /// Writes what was asked for, and has the engine take a page of what the table has.
    pub fn keep(&mut self, member: &mut Membership) {
        if let Err(error) = self.write(member).and_then(|()| self.take(member)) {
            tracing::debug!(%error, "the merchants were not kept or not read");
            // Tried again when it is looked at the next time.
            self.has_more = false;
        }
    }

    /// Of whom nothing was written yet is told so.
    pub fn turn_away(&mut self) {
        let waiting = if self.is_in_doubt { BTreeMap::new() } else { std::mem::take(&mut self.waiting) };
        for put in waiting.into_values().chain(self.next.take()).chain(self.asked.try_iter()) {
            drop(put.reply.send(Err(NoAnswer::NotReady)));
        }
    }

    /// The last turn. Of what is in doubt still nothing may be said: a reply that is dropped says that nothing was written.
    pub fn end(mut self, member: &mut Membership) {
        self.wait(Duration::ZERO);
        self.keep(member);
        if self.is_in_doubt {
            self.waiting.into_values().for_each(std::mem::forget);
        }
    }

    fn write(&mut self, member: &mut Membership) -> Result<(), JournalError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.is_in_doubt = true;
        let bodies: Vec<_> = self.waiting.values().map(|put| merchant_body(&put.merchant)).collect();
        if member.put_merchants(&bodies, self.most)? {
            return Ok(());
        }
        // There is no room for all of them; for some there may be.
        for one in &bodies {
            if !member.put_merchants(std::slice::from_ref(one), self.most)? {
                let id = self.waiting.keys().copied().find(|id| *one.0 == id.to_string());
                self.answer(id, Err(NoAnswer::Full(Full::Merchants)));
            }
        }
        Ok(())
    }

    fn take(&mut self, member: &mut Membership) -> Result<(), JournalError> {
        loop {
            let page = member.merchants()?;
            let taken = self.journal(&page);
            self.has_more = !page.is_empty() && !taken.is_cut;
            if let Some(version) = taken.last {
                member.merchants_taken(version);
            }
            self.is_in_doubt = !self.waiting.is_empty();
            // What a caller waits for is in the table, so it comes.
            if !self.is_in_doubt || !self.has_more {
                return Ok(());
            }
        }
    }

    /// All go into the engine's queue, and then each is waited for, so that they share groups.
    fn journal(&mut self, page: &[(i64, Vec<u8>)]) -> Taken {
        let submitted: Vec<_> = page
            .iter()
            .map(|(version, body)| {
                let merchant = merchants::read(body).ok()?;
                let id = merchant.id;
                Some((*version, id, self.inbox.submit(Request::PutMerchant(Box::new(merchant)), None)))
            })
            .collect();
        let mut taken = Taken::default();
        for (one, (version, _)) in submitted.into_iter().zip(page) {
            let Some((_, id, submitted)) = one else {
                // `cluster apply` refuses it, so a newer program wrote it, or a hand did.
                tracing::error!(version, "a merchant of the cluster can't be read; it stays as it was");
                taken.seen(*version);
                continue;
            };
            let answered = submitted.map_err(NoAnswer::from).and_then(|done| match done.blocking_recv() {
                Ok(outcome) => Client::answer(outcome),
                Err(_) => Err(NoAnswer::NotReady),
            });
            match &answered {
                // Asked again; a caller waits.
                Err(NoAnswer::Busy | NoAnswer::NotReady) => taken.is_cut = true,
                Err(why) => {
                    tracing::error!(version, ?why, "a merchant of the cluster is not taken; it stays as it was");
                    taken.seen(*version);
                    self.answer(Some(id), answered);
                }
                Ok(_) => {
                    taken.seen(*version);
                    self.answer(Some(id), answered);
                }
            }
        }
        taken
    }

    fn answer(&mut self, id: Option<MerchantId>, answered: Result<Answered, NoAnswer>) {
        if let Some(put) = id.and_then(|id| self.waiting.remove(&id)) {
            drop(put.reply.send(answered));
        }
    }
}

/// How far a page was taken.
#[derive(Default)]
struct Taken {
    last: Option<i64>,
    /// Some were turned away.
    is_cut: bool,
}

impl Taken {
    /// What comes behind one that was turned away is read again.
    fn seen(&mut self, version: i64) {
        if !self.is_cut {
            self.last = Some(version);
        }
    }
}
