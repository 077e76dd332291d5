//! What happened to a bill's principal since it was issued, in the order in which we heard of it. The sums are kept
//! beside the list, so that what is paid of a bill costs the same to know however many payments it took.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::domain::model::money::Yen;
use crate::domain::model::time::Millis;

/// What happened to the principal after the bill was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    Paid = 1,
    /// Money that had been paid went elsewhere, because a refund made it too much.
    Moved,
    Refunded,
}

impl ChangeKind {
    pub const ALL: [Self; 3] = [Self::Paid, Self::Moved, Self::Refunded];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// From when it counts: the day the customer paid, not the day we heard.
    pub at: Millis,
    pub kind: ChangeKind,
    pub amount: Yen,
}

/// All changes of one bill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Most bills are paid at once.
    list: SmallVec<[Change; 1]>,
    paid: Yen,
    moved: Yen,
    refunded: Yen,
}

impl Changes {
    pub fn push(&mut self, change: Change) {
        *match change.kind {
            ChangeKind::Paid => &mut self.paid,
            ChangeKind::Moved => &mut self.moved,
            ChangeKind::Refunded => &mut self.refunded,
        } += change.amount;
        self.list.push(change);
    }

    pub fn as_slice(&self) -> &[Change] {
        &self.list
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Paid, less what of it went elsewhere.
    pub fn paid(&self) -> Yen {
        self.paid - self.moved
    }

    pub fn refunded(&self) -> Yen {
        self.refunded
    }

    /// By the moment from which they count. Most are heard in that order already.
    pub fn by_time(&self) -> Cow<'_, [Change]> {
        if self.list.is_sorted_by_key(|change| change.at) {
            return Cow::Borrowed(&self.list);
        }
        let mut sorted = self.list.to_vec();
        sorted.sort_by_key(|change| change.at);
        Cow::Owned(sorted)
    }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut all = Self::default();
        changes.into_iter().for_each(|change| all.push(change));
        all
    }
}
