//! Merchants of a cluster: the table `setting` has them. A call to the owner writes there, and is answered once the owner has journaled what
//! the table says; what an operator writes (`sokketsu cluster apply`) is journaled the same way.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam::channel::Receiver;

use super::backends::{Membership, merchant_body};
use crate::domain::commands::request::Request;
use crate::domain::model::ids::MerchantId;
use crate::engine::client::{Client, MerchantPut, NoAnswer};
use crate::engine::inbox::Inbox;
use crate::engine::outlet::Answered;
use crate::http::calls::merchants;
use crate::journal::JournalError;

/// Calls that may wait for the table.
pub(super) const WAITING_MOST: usize = 1_000;

pub(super) struct Merchants {
    asked: Receiver<MerchantPut>,
    inbox: Inbox,
    /// Of no merchant twice.
    waiting: BTreeMap<MerchantId, MerchantPut>,
    /// Of a merchant that is being written already.
    next: Option<MerchantPut>,
    has_more: bool,
}

impl Merchants {
    pub fn new(asked: Receiver<MerchantPut>, inbox: Inbox) -> Self {
        // What the table has is looked at as soon as the journal is ours.
        Self { asked, inbox, waiting: BTreeMap::new(), next: None, has_more: true }
    }

    /// Waits for calls, for so long at most; not at all where there is something to do.
    pub fn wait(&mut self, patience: Duration) {
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

    /// Writes what was asked for, and has the engine take a page of what the table has. Whoever can't be served is told so: what they
    /// asked for may still be done.
    pub fn keep(&mut self, member: &mut Membership) {
        let kept = self.write(member).and_then(|()| self.take(member));
        if let Err(error) = &kept {
            tracing::debug!(%error, "the merchants were not kept or not read");
        }
        if kept.is_err() {
            // Tried again when it is looked at the next time.
            self.has_more = false;
            self.turn_away(NoAnswer::NotReady);
        }
    }

    pub fn turn_away(&mut self, why: NoAnswer) {
        for (_, put) in std::mem::take(&mut self.waiting) {
            drop(put.reply.send(Err(why)));
        }
    }

    fn write(&mut self, member: &mut Membership) -> Result<(), JournalError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bodies: Vec<_> = self.waiting.values().map(|put| merchant_body(&put.merchant)).collect();
        member.put_merchants(&bodies)
    }

    fn take(&mut self, member: &mut Membership) -> Result<(), JournalError> {
        loop {
            let page = member.merchants()?;
            let taken = self.journal(&page);
            self.has_more = !page.is_empty() && taken.stopped.is_none();
            if let Some(version) = taken.last {
                member.merchants_taken(version);
            }
            if let Some(why) = taken.stopped {
                self.turn_away(why);
            }
            // What a caller waits for is in the table, so it comes.
            if self.waiting.is_empty() || !self.has_more {
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
                Err(why @ (NoAnswer::Busy | NoAnswer::NotReady)) => taken.stopped = taken.stopped.or(Some(*why)),
                Err(why) => {
                    tracing::error!(version, ?why, "a merchant of the cluster is not taken; it stays as it was");
                    taken.seen(*version);
                }
                Ok(_) => taken.seen(*version),
            }
            self.answer(id, answered);
        }
        taken
    }

    fn answer(&mut self, id: MerchantId, answered: Result<Answered, NoAnswer>) {
        if let Some(put) = self.waiting.remove(&id) {
            drop(put.reply.send(answered));
        }
    }
}

/// How far a page was taken.
#[derive(Default)]
struct Taken {
    last: Option<i64>,
    stopped: Option<NoAnswer>,
}

impl Taken {
    /// What comes behind one that was turned away is read again.
    fn seen(&mut self, version: i64) {
        if self.stopped.is_none() {
            self.last = Some(version);
        }
    }
}
