//! What the answers do: each is judged at once against what the flow was meant to get and what was answered
//! before, and the flow goes on or ends.

use serde::Deserialize;

use super::{Game, Kind, Task, link};
use crate::books::{Told, Undo};
use loadtest::clock::Nanos;
use loadtest::crowd::Code;
use loadtest::decided::Decided;
use loadtest::http::header;
use loadtest::iso::Said;
use loadtest::json::text;
use loadtest::stats::Call;
use loadtest::wire::{Answer, Outcome, Sent};

/// Of so many authorizations the server's own stages are read once.
const SAMPLE: usize = 16;

#[derive(Deserialize)]
struct Cancelled<'a> {
    action: &'a str,
}

#[derive(Deserialize)]
struct Refunded {
    amount: u32,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    reason: &'a str,
}

impl Game {
    pub fn heard(&mut self, sent: &Sent<Task>, outcome: Outcome<'_>, now: Nanos) {
        let task = sent.tag;
        let answer = match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::TimedOut | Outcome::Broken => {
                let counts = &mut self.stats.step(task.step).counts;
                if matches!(outcome, Outcome::TimedOut) {
                    counts.timeouts += 1;
                } else {
                    counts.broken += 1;
                }
                self.stats.lost(task.step, task.call);
                return self.end(task.flow);
            }
        };
        let took = now.saturating_sub(task.intended);
        if !matches!(answer.status, 200 | 201) {
            return self.not_done(task, answer, took);
        }
        self.stats.answered(task.step, task.call, took);
        let goes_on = match task.call {
            Call::Issue => self.issued(task, answer),
            Call::Authorize => self.decided(task, answer),
            Call::Retry => self.replayed(task, answer),
            Call::Cancel => self.cancelled(task, answer),
            Call::Refund => self.refunded(task, answer),
            Call::Inquire => self.inquired(task, answer),
        };
        match goes_on {
            Some(()) => self.go_on(task, now),
            None => {
                self.books.differences.add(|| {
                    let text = String::from_utf8_lossy(answer.body);
                    format!("{}: an answer that cannot be understood: {text}", task.call.name())
                });
                self.end(task.flow);
            }
        }
    }

    /// Busy, or an error of the call.
    fn not_done(&mut self, task: Task, answer: Answer<'_>, took: Nanos) {
        self.stats.turned_away(task.step, task.call, took);
        let counts = &mut self.stats.step(task.step).counts;
        match answer.status {
            503 => counts.shed += 1,
            429 => counts.throttled += 1,
            _ => counts.refused += 1,
        }
        let reason = serde_json::from_slice::<Refusal<'_>>(answer.body).map_or("", |refusal| refusal.reason);
        let what = format!("{} {} {reason}", task.call.name(), answer.status);
        *self.stats.refusals.entry(what).or_default() += 1;
        match task.call {
            Call::Authorize => self.order_of(task.flow).told = Told::NoDecision(answer.status),
            // Nothing was done.
            Call::Cancel | Call::Refund => self.order_of(task.flow).undo = Undo::None,
            Call::Issue | Call::Retry | Call::Inquire => (),
        }
        self.end(task.flow);
    }

    /// The next request of the flow, or its end.
    fn go_on(&mut self, task: Task, now: Nanos) {
        if task.call == Call::Issue {
            self.new_order(task.flow);
            return self.next.push_back(Task { call: Call::Authorize, intended: now, is_first: false, ..task });
        }
        let plan = &mut self.flow(task.flow).plan;
        let call = if plan.hurries > 0 {
            plan.hurries -= 1;
            self.flow(task.flow).is_hurry = true;
            self.new_order(task.flow);
            Call::Authorize
        } else if std::mem::take(&mut plan.retry) {
            Call::Retry
        } else if std::mem::take(&mut plan.cancel) {
            Call::Cancel
        } else if std::mem::take(&mut plan.retry_cancelled) {
            Call::Retry
        } else if std::mem::take(&mut plan.refund) {
            Call::Refund
        } else if std::mem::take(&mut plan.inquire) {
            Call::Inquire
        } else {
            return self.end(task.flow);
        };
        self.next.push_back(Task { call, intended: now, is_first: false, ..task });
    }

    fn issued(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        let barcode = text(answer.body, b"barcode")?;
        let flow = self.flow(task.flow);
        flow.code = Code::new(barcode)?;
        if flow.kind == Kind::Forged {
            flow.code = flow.code.tampered();
        }
        Some(())
    }

    /// A decision, by whichever transport it came, and the order it is of.
    fn read<'a>(&self, body: &'a [u8], is_replay: bool) -> Option<(Decided<'a>, Option<usize>)> {
        if self.link.is_some() {
            return Some((link::decided(body, is_replay)?, usize::try_from(link::order_of(body)).ok()));
        }
        let told = Decided::read(body)?;
        let order = self.books.order_of(told.order_id);
        Some((told, order))
    }

    fn decided(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        let (told, of) = self.read(answer.body, false)?;
        let number = self.flow(task.flow).order;
        if number.is_multiple_of(SAMPLE)
            && self.stats.is_measured(task.step)
            && let Some(timing) = header(answer.head, b"server-timing")
        {
            self.stats.server_timing(timing);
        }
        let is_approved = told.decision == "approved";
        if told.replayed || of != Some(number) {
            let order_id = self.books.order_id(number);
            let text = || format!("{order_id}: the first answer is {} of {}", told.decision, told.order_id);
            self.books.differences.add(text);
        }
        let order = self.order_of(task.flow);
        order.told = if is_approved { Told::Approved } else { Told::Denied };
        // The link names no authorization but by its approval code.
        order.id = Some(told.authorization_id).filter(|id| !id.is_empty()).map(Box::from);
        if told.amount != order.amount {
            let asked = order.amount;
            let order_id = told.order_id;
            let text = || format!("{number} {order_id}: {asked} yen were asked for and {} answered", told.amount);
            self.books.differences.add(text);
        }
        let flow = self.flow(task.flow);
        let (kind, is_hurry) = (flow.kind, flow.is_hurry);
        let is_meant = kind == Kind::Sale && !is_hurry;
        if is_approved {
            let (customer, code) = (flow.customer, flow.code);
            if let Some(customer) = self.crowd.all.get_mut(customer as usize) {
                customer.used = code;
            }
        } else if !is_hurry {
            // Nothing to undo.
            let plan = &mut flow.plan;
            plan.hurries = 0;
            plan.cancel = false;
            plan.retry_cancelled = false;
            plan.refund = false;
        }
        if let Some(reason) = told.reason {
            match self.stats.reasons.get_mut(reason) {
                Some(count) => *count += 1,
                None => drop(self.stats.reasons.insert(reason.to_owned(), 1)),
            }
        }
        let counts = &mut self.stats.step(task.step).counts;
        match (is_meant, is_approved) {
            (true, true) => counts.approved += 1,
            (true, false) if told.reason == Some("too_late") => counts.shed += 1,
            (true, false) => counts.denied_unexpectedly += 1,
            (false, true) => counts.approved_unexpectedly += 1,
            (false, false) => counts.denied_as_meant += 1,
        }
        Some(())
    }

    /// Sent again under the same order id: the first answer, unless it was cancelled.
    fn replayed(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        let (told, _) = self.read(answer.body, true)?;
        let order = self.order_of(task.flow);
        let agrees = if order.undo == Undo::Cancelled {
            told.decision == "denied" && told.reason == Some("cancelled")
        } else {
            order.id.as_deref().unwrap_or_default() == told.authorization_id
                && (order.told == Told::Approved) == (told.decision == "approved")
                && order.amount == told.amount
        };
        if !(agrees && told.replayed) {
            let before = format!("{:?}, {:?}", order.told, order.undo);
            let text = || {
                let replayed = if told.replayed { "replayed" } else { "not replayed" };
                let said = told.reason.unwrap_or(told.decision);
                format!("{}: sent again, it is {said}, {replayed}; before: {before}", told.order_id)
            };
            self.books.differences.add(text);
        }
        Some(())
    }

    fn cancelled(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        if self.link.is_some() {
            Said::read(answer.body).filter(|said| said.code == b"00")?;
            self.order_of(task.flow).undo = Undo::Cancelled;
            return Some(());
        }
        let told: Cancelled<'_> = serde_json::from_slice(answer.body).ok()?;
        let number = self.flow(task.flow).order;
        if told.action == "reversed" {
            self.order_of(task.flow).undo = Undo::Cancelled;
        } else {
            let order = self.books.order_id(number);
            self.books.differences.add(|| format!("{order}: an approval, and its cancellation is {}", told.action));
        }
        Some(())
    }

    fn refunded(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        let told = match self.link {
            Some(_) => {
                Said::read(answer.body).filter(|said| said.code == b"00").map(|said| Refunded { amount: said.yen })?
            }
            None => serde_json::from_slice(answer.body).ok()?,
        };
        let number = self.flow(task.flow).order;
        let order = self.order_of(task.flow);
        if order.undo == Undo::RefundSent(told.amount) {
            order.undo = Undo::Refunded(told.amount);
        } else {
            let asked = format!("{:?}", order.undo);
            let order = self.books.order_id(number);
            self.books.differences.add(|| format!("{order}: {asked}, and {} yen refunded", told.amount));
        }
        Some(())
    }

    fn inquired(&mut self, task: Task, answer: Answer<'_>) -> Option<()> {
        let told = Decided::read(answer.body)?;
        let order = self.order_of(task.flow);
        if let Some(text) = order.disagreement(&told) {
            self.books.differences.add(|| format!("{}: {text}", told.order_id));
        }
        Some(())
    }
}
