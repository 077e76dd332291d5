//! Codes in the tables: a log of what was issued, voided and tried, and how the codes come back from it.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::LedgerError;
use super::cells::Cells;
use super::transaction::Tables;
use crate::domain::model::code::{Code, Ending, FIRST_KEPT, Form, Hour, REST, VoidedBy};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CodeId, CustomerIx, Handle, Lsn};
use crate::domain::model::request::{Payer, Scanned};
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::{Decided, Outcome};

/// `decision.trial`.
const PAID: u8 = 1;
const REFUSED: u8 = 2;
const WRONG_SEAL: u8 = 3;
/// By an advice.
pub(crate) const PAID_BEFORE: u8 = 4;

/// What the try with a code left on it.
pub(crate) fn trial(decided: &Decided) -> Option<u8> {
    match &decided.outcome {
        Outcome::Approved(_) => Some(PAID),
        Outcome::Denied { reason: Reason::CodeInvalid, .. } => {
            matches!(decided.input.payer, Payer::Code(Scanned::Forged { .. })).then_some(WRONG_SEAL)
        }
        // The customer is known only where the seal is this code's own.
        Outcome::Denied { .. } => decided.customer.map(|_| REFUSED),
    }
}

/// Removes codes that nobody remembers any more, from the oldest on, among the rows of `records` records.
/// Loading judges the time by itself.
pub(crate) fn forget_codes(tables: &mut impl Tables, now: Millis, records: usize) -> Result<(), LedgerError> {
    // One that an advice used at the very end of its rest is kept longest.
    let ended_by = now.plus(-FIRST_KEPT - REST);
    let oldest = tables.oldest_code()?.filter(|(_, expires_at)| *expires_at <= ended_by);
    let Some((oldest, _)) = oldest else { return Ok(()) };
    let before = Lsn(oldest.0.saturating_add(records as u64));
    tables.forget_codes(before, ended_by, oldest)
}

/// What happened to codes, in the order of the journal.
pub(crate) enum CodeFact {
    Issued(Code),
    Voided { handle: Handle, at: Millis },
    Tried { handle: Handle, trial: u8, by: Lsn, at: Millis },
}

/// The columns of [`issued`].
pub(crate) const ISSUED: &str =
    "lsn, handle, id_random, customer, generation, counter, random, issued_at, expires_at, form";

/// A code as it was issued.
pub(crate) fn issued(cells: &dyn Cells) -> Result<(Lsn, CodeFact), LedgerError> {
    Ok((cells.lsn(0)?, CodeFact::Issued(code(cells)?)))
}

/// Of lsn, handle and time.
pub(crate) fn voided(cells: &dyn Cells) -> Result<(Lsn, CodeFact), LedgerError> {
    Ok((cells.lsn(0)?, CodeFact::Voided { handle: cells.made(1, Handle::new)?, at: cells.millis(2)? }))
}

/// Of lsn, handle, what the try left on the code, and time.
pub(crate) fn tried(cells: &dyn Cells) -> Result<(Lsn, CodeFact), LedgerError> {
    let (by, handle) = (cells.lsn(0)?, cells.made(1, Handle::new)?);
    Ok((by, CodeFact::Tried { handle, trial: cells.num(2)?, by, at: cells.millis(3)? }))
}

fn code(cells: &dyn Cells) -> Result<Code, LedgerError> {
    let handle = cells.made(1, Handle::new)?;
    let issued_at = cells.millis(7)?;
    Ok(Code {
        id: CodeId { part: handle.part(), lsn: cells.lsn(0)?, random: cells.bits(2)? },
        handle,
        customer: cells.customer(3)?,
        form: cells.one_of(9, &Form::ALL, |form| form as u8)?,
        generation: cells.num(4)?,
        counter: cells.num(5)?,
        random: cells.num(6)?,
        issued_at,
        expires_at: cells.millis(8)?,
        ending: None,
        wrong_seals: 0,
        attempts: 0,
        latest_attempt: None,
        touched: cells.lsn(0)?,
        // Counted when the code takes its place behind the customer's others.
        hour: Hour::next(None, issued_at),
    })
}

fn leave(code: &mut Code, trial: u8, by: Lsn, at: Millis) {
    match trial {
        WRONG_SEAL => return code.count_wrong_seal(at),
        PAID_BEFORE => return code.paid_before(by, at),
        _ => {}
    }
    code.attempts = code.attempts.saturating_add(1);
    code.latest_attempt = Some(by);
    if trial == PAID {
        code.end(Ending::Used { by, at }, at);
    }
}

/// Plays the facts again: the same as `State::apply` does with codes.
#[derive(Default)]
pub(crate) struct Codes {
    by_handle: HashMap<Handle, Code, FixedState>,
    latest: HashMap<CustomerIx, Handle, FixedState>,
    /// So many are looked through next for those past their time.
    sweep_at: usize,
}

impl Codes {
    pub(crate) fn take(&mut self, lsn: Lsn, fact: CodeFact) {
        match fact {
            CodeFact::Issued(code) => self.issued(code),
            CodeFact::Voided { handle, at } => {
                if let Some(code) = self.by_handle.get_mut(&handle) {
                    code.change(lsn, |code| code.end(Ending::Voided { at, by: VoidedBy::Customer }, at));
                }
            }
            CodeFact::Tried { handle, trial, by, at } => {
                let Some(code) = self.by_handle.get_mut(&handle) else { return };
                code.change(lsn, |code| leave(code, trial, by, at));
            }
        }
    }

    fn issued(&mut self, mut code: Code) {
        let at = code.issued_at;
        if self.by_handle.len() >= self.sweep_at {
            self.by_handle.retain(|_, code| at < code.counts_until());
            self.sweep_at = 2 * self.by_handle.len() + 100_000;
        }
        let before = self.latest.insert(code.customer, code.handle);
        if let Some(before) = before.and_then(|handle| self.by_handle.get_mut(&handle))
            && before.customer == code.customer
        {
            // The same as `CodeBook::hour_of`, before its end shortens how long it is remembered.
            let hour = (at < before.counts_until()).then_some(before.hour);
            code.hour = Hour::next(hour, at);
            before.change(code.id.lsn, |before| before.end(Ending::Voided { at, by: VoidedBy::NewerCode }, at));
        }
        self.by_handle.insert(code.handle, code);
    }

    /// Those still remembered, in the order in which they will be forgotten.
    pub(crate) fn give(self, state: &mut State) {
        let now = state.time;
        let mut kept: Vec<Code> = self.by_handle.into_values().filter(|code| now < code.counts_until()).collect();
        kept.sort_unstable_by_key(|code| (code.counts_until(), code.id.lsn));
        for code in kept {
            state.codes.put(code);
        }
    }
}
