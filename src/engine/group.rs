//! What was judged together and becomes durable together: its facts, the answers that may leave then, and what readers may
//! see then.

use super::board::{Board, Rules};
use crate::domain::billing::account::Account;
use crate::domain::commands::reply::Reply;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::time::Millis;
use crate::journal::Batch;

#[derive(Default)]
pub struct Group {
    pub records: Batch,
    /// What is lost with these records, yen: see [`Effect::at_risk`](crate::domain::state::effect::Effect::at_risk).
    pub at_risk_yen: u64,
    /// In the order in which their requests were judged.
    pub replies: Vec<Reply>,
    /// The engine's time of its latest judgements.
    pub(super) at: Millis,
    /// Standings as it left them.
    pub(super) customers: Vec<Account>,
    /// Customers whose phones have something new to show.
    pub(super) notified: Vec<CustomerIx>,
    /// Where policy or holidays are others.
    pub(super) rules: Option<Rules>,
}

impl Group {
    /// Nothing to write and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    /// Shows readers what it changed. Call it once it is durable, and before its replies leave.
    pub fn show(&mut self, board: &Board) {
        board.set_time(self.at);
        for account in self.customers.drain(..) {
            board.set_customer(account);
        }
        if let Some(rules) = self.rules.take() {
            board.set_rules(rules);
            // What everybody can spend may be another.
            board.tell_all();
        }
        self.notified.drain(..).for_each(|customer| board.tell(customer));
    }

    /// Empties it; its buffers are kept.
    pub fn clear(&mut self) {
        self.records.clear();
        self.replies.clear();
        self.customers.clear();
        self.notified.clear();
        self.rules = None;
        self.at_risk_yen = 0;
    }
}
