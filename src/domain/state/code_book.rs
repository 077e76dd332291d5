//! Codes by handle and by public id, forgotten when their time is over.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::chunks::Chunks;
use super::event::CodeIssued;
use super::index::Index;
use crate::domain::model::code::{Code, Ending, Form, Hour};
use crate::domain::model::ids::{CodeId, CustomerIx, Handle, Lsn};
use crate::domain::model::time::Millis;
/// Where a code is kept, or the next free place.
#[derive(Clone, Debug)]
enum Slot {
    Taken(Code),
    Free { next: Option<u32> },
}

/// The codes by handle and by public id, forgotten when their time is over.
#[derive(Clone, Debug, Default)]
pub struct CodeBook {
    slots: Chunks<Slot>,
    /// The free place to be taken next.
    free: Option<u32>,
    by_handle: Index<u32>,
    by_id: Index<u32>,
    /// Handles to look at again, in two queues because each must be in order of time.
    unused: Chunks<(Millis, Handle)>,
    used: Chunks<(Millis, Handle)>,
}

fn hash(number: u64) -> u64 {
    FixedState::with_seed(0).hash_one(number)
}

impl CodeBook {
    /// Codes remembered, ended ones included.
    pub fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot(&self, slot: u32) -> Option<&Code> {
        match self.slots.get(u64::from(slot))? {
            Slot::Taken(code) => Some(code),
            Slot::Free { .. } => None,
        }
    }

    fn find(&self, handle: Handle) -> Option<u32> {
        let same = |slot| self.slot(slot).is_some_and(|code| code.handle == handle);
        self.by_handle.find(hash(u64::from(handle.get())), same)
    }

    /// See [`Index::touch`].
    pub(crate) fn touch(&self, handle: Handle) -> bool {
        self.by_handle.touch(hash(u64::from(handle.get())))
    }

    /// Whether the handle is alive or still resting: it may not be issued again. Judged by time alone, so that
    /// it does not matter how much memory was freed.
    pub fn holds(&self, handle: Handle, now: Millis) -> bool {
        self.get(handle, now).is_some()
    }

    /// The newest code with this handle, while it is remembered.
    pub fn get(&self, handle: Handle, now: Millis) -> Option<&Code> {
        self.slot(self.find(handle)?).filter(|code| now < code.forget_at())
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Code> {
        let slot = self.find(handle)?;
        match self.slots.get_mut(u64::from(slot))? {
            Slot::Taken(code) => Some(code),
            Slot::Free { .. } => None,
        }
    }

    pub fn by_id(&self, id: CodeId, now: Millis) -> Option<&Code> {
        let slot = self.by_id.find(hash(id.lsn.0), |slot| self.slot(slot).is_some_and(|code| code.id.lsn == id.lsn))?;
        self.slot(slot).filter(|code| code.id == id && now < code.forget_at())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Code> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(code) => Some(code),
            Slot::Free { .. } => None,
        })
    }

    /// The codes that a customer was given within an hour, as the latest of them counted. `latest` is its handle.
    pub fn hour_of(&self, customer: CustomerIx, latest: Option<Handle>, now: Millis) -> Option<Hour> {
        let code = self.slot(self.find(latest?)?)?;
        (code.customer == customer && now < code.counts_until()).then_some(code.hour)
    }

    /// `hour` is the customer's, this code not yet counted.
    pub fn issue(&mut self, lsn: Lsn, issued_at: Millis, issued: &CodeIssued, form: Form, hour: Option<Hour>) {
        self.put(Code {
            id: CodeId { part: issued.handle.part(), lsn, random: issued.id_random },
            handle: issued.handle,
            customer: issued.customer,
            form,
            generation: issued.generation,
            counter: issued.counter,
            random: issued.random,
            issued_at,
            expires_at: issued.expires_at,
            ending: None,
            wrong_seals: 0,
            attempts: 0,
            latest_attempt: None,
            touched: lsn,
            hour: Hour::next(hour, issued_at),
        });
    }

    /// Takes in a code as it is; the handle must have rested. Its old life may still be waiting to be freed.
    pub fn put(&mut self, code: Code) {
        if let Some(slot) = self.find(code.handle)
            && let Some(old) = self.slot(slot).copied()
        {
            assert!(old.forget_at() <= code.issued_at, "a handle that is remembered was issued again");
            self.free(slot, &old);
        }
        let slot = self.place(code);
        self.by_handle.insert(hash(u64::from(code.handle.get())), slot);
        self.by_id.insert(hash(code.id.lsn.0), slot);
        self.look_again(&code);
    }

    /// Puts a code into a free place.
    fn place(&mut self, code: Code) -> u32 {
        if let Some(slot) = self.free
            && let Some(place) = self.slots.get_mut(u64::from(slot))
        {
            if let Slot::Free { next } = *place {
                self.free = next;
            }
            *place = Slot::Taken(code);
            return slot;
        }
        u32::try_from(self.slots.push(Slot::Taken(code))).unwrap_or(u32::MAX)
    }

    fn look_again(&mut self, code: &Code) {
        let queue = match code.ending {
            Some(Ending::Used { .. }) => &mut self.used,
            Some(Ending::Voided { .. }) | None => &mut self.unused,
        };
        queue.push((code.counts_until(), code.handle));
    }

    /// Makes ahead what the next codes need; see `Index::make_room`.
    pub fn make_room(&mut self) {
        self.slots.make_room();
        self.by_handle.make_room();
        self.by_id.make_room();
        self.unused.make_room();
        self.used.make_room();
    }

    /// Forgets codes whose time is over, at most `most` of them. It only frees memory: what is past
    /// its time is not found any more, whether it was freed or not.
    pub fn forget(&mut self, now: Millis, most: usize) {
        let due = |queue: &Chunks<(Millis, Handle)>| queue.front().copied().filter(|(at, _)| *at <= now);
        for _ in 0..most {
            if let Some((_, handle)) = due(&self.used) {
                self.used.drop_front();
                self.forget_if_due(handle, now);
            } else if let Some((_, handle)) = due(&self.unused) {
                self.unused.drop_front();
                self.forget_if_due(handle, now);
            } else {
                return;
            }
        }
    }

    fn forget_if_due(&mut self, handle: Handle, now: Millis) {
        let Some(slot) = self.find(handle) else { return };
        let Some(code) = self.slot(slot).copied() else { return };
        if now < code.counts_until() {
            self.used.push((code.counts_until(), handle));
            return;
        }
        self.free(slot, &code);
    }

    fn free(&mut self, slot: u32, code: &Code) {
        self.by_handle.remove(hash(u64::from(code.handle.get())), |held| held == slot);
        self.by_id.remove(hash(code.id.lsn.0), |held| held == slot);
        if let Some(place) = self.slots.get_mut(u64::from(slot)) {
            *place = Slot::Free { next: self.free.replace(slot) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::code::{CodeState, REST, VoidedBy};
    use crate::domain::model::time::HOUR;

    fn issue(book: &mut CodeBook, lsn: u64, handle: u32, at: i64) -> Handle {
        let handle = Handle::new(handle).unwrap();
        let issued = CodeIssued {
            customer: CustomerIx(0),
            handle,
            generation: 1,
            id_random: 9,
            counter: 1,
            random: 2,
            expires_at: Millis(at + 300_000),
        };
        book.issue(Lsn(lsn), Millis(at), &issued, Form::L24, None);
        handle
    }

    #[test]
    fn a_code_lives_to_its_end_and_rests_twenty_minutes() {
        let mut book = CodeBook::default();
        let handle = issue(&mut book, 1, 314_159_265, 0);
        assert_eq!(book.get(handle, Millis(0)).unwrap().state(Millis(299_999)), CodeState::Live);
        assert_eq!(book.get(handle, Millis(0)).unwrap().state(Millis(300_000)), CodeState::Expired);
        book.forget(Millis(300_000 + 1_199_999), 10);
        assert!(book.holds(handle, Millis(300_000 + 1_199_999)));
        assert!(book.get(handle, Millis(300_000 + 1_200_000)).is_none(), "past its time it is not found, freed or not");
        book.forget(Millis(300_000 + 1_200_000), 10);
        assert!(book.is_empty());
        issue(&mut book, 2, 314_159_265, 2_000_000);
    }

    #[test]
    fn a_rested_handle_is_issued_again_whether_its_old_life_was_freed_or_not() {
        let mut book = CodeBook::default();
        let handle = issue(&mut book, 1, 314_159_265, 0);
        let rested = 300_000 + REST;
        assert!(book.holds(handle, Millis(rested - 1)) && !book.holds(handle, Millis(rested)));
        issue(&mut book, 2, 314_159_265, rested);
        assert_eq!(book.get(handle, Millis(rested)).unwrap().id.lsn, Lsn(2));
        book.forget(Millis(rested), 10);
        assert_eq!((book.len(), book.iter().count()), (1, 1), "the old life's place in the queue does no harm");
    }

    #[test]
    fn a_used_code_is_remembered_for_48_hours() {
        let mut book = CodeBook::default();
        let handle = issue(&mut book, 1, 7, 0);
        let id = book.get(handle, Millis(0)).unwrap().id;
        book.get_mut(handle).unwrap().end(Ending::Used { by: Lsn(5), at: Millis(1_000) }, Millis(1_000));
        book.get_mut(handle).unwrap().end(Ending::Voided { at: Millis(2_000), by: VoidedBy::Customer }, Millis(2_000));
        book.forget(Millis(47 * HOUR), 10);
        assert_eq!(book.by_id(id, Millis(47 * HOUR)).unwrap().state(Millis(47 * HOUR)), CodeState::Used { by: Lsn(5) });
        assert!(book.by_id(CodeId { random: 8, ..id }, Millis(0)).is_none(), "the random part must fit");
        book.forget(Millis(1_000 + 48 * HOUR), 10);
        assert!(book.is_empty());
    }

    #[test]
    fn three_wrong_seals_void_a_live_code() {
        let mut book = CodeBook::default();
        let handle = issue(&mut book, 1, 7, 0);
        for expected in [CodeState::Live, CodeState::Live, CodeState::Voided] {
            book.get_mut(handle).unwrap().count_wrong_seal(Millis(5));
            assert_eq!(book.get(handle, Millis(0)).unwrap().state(Millis(5)), expected);
        }
    }
}
