//! Through which channel the principal was bought that a movement is about. A month's bill may hold both channels, and what
//! is unpaid of each is known by the account alone: payments settle purchase by purchase. So each channel gets the part by
//! which its unpaid principal has changed, and the rows of a channel come to what the account says of it.

use super::movements::{About, Movement, Movements};
use super::{Book, EntryKind};
use crate::domain::billing::account::Account;
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Month;

/// What is unpaid of purchases in store in the months that a fact moves principal of.
pub(crate) struct Unpaid(Vec<(Month, i64)>);

/// The month's bill whose principal a movement changes.
fn month_of(movement: &Movement) -> Option<Month> {
    match movement.about {
        _ if movement.account != Book::Exposure => None,
        About::Bill(BillKey::Month(month), _) => Some(month),
        About::Purchase { channel, month, .. } => month.filter(|_| channel != Channel::NpAtobarai),
        About::Bill(BillKey::Np(_), _) | About::Nothing => None,
    }
}

fn unpaid_in_store(account: Option<&Account>, month: Month) -> i64 {
    let bill = account.and_then(|account| account.bill(BillKey::Month(month)));
    bill.map_or(0, |bill| bill.unpaid_of(Channel::InStore).get().cast_signed())
}

impl Unpaid {
    /// As it is before the fact that makes these movements.
    pub(crate) fn before(all: &[Movement], account: Option<&Account>) -> Self {
        let mut months: Vec<Month> = all.iter().filter_map(month_of).collect();
        months.sort_unstable();
        months.dedup();
        Self(months.into_iter().map(|month| (month, unpaid_in_store(account, month))).collect())
    }

    /// The same movements with the channels told, by the account as the fact has left it.
    pub(crate) fn tell_channels(self, all: Movements, after: Option<&Account>) -> Movements {
        if self.0.is_empty() {
            return all.into_iter().map(of_invoice).collect();
        }
        let mut told = Movements::new();
        let mut months: Vec<_> =
            self.0.into_iter().map(|(month, before)| Left::of(month, before, after, &all)).collect();
        for movement in all {
            let month = month_of(&movement).filter(|_| matches!(movement.about, About::Bill(..)));
            let found = month.and_then(|month| months.iter_mut().find(|left| left.month == month));
            match found {
                Some(left) => told.extend(left.split(movement)),
                None => told.push(of_invoice(movement)),
            }
        }
        let rest: Vec<_> = months.iter().filter_map(|left| left.rest(told.last()?)).flatten().collect();
        told.extend(rest);
        told
    }
}

/// An invoice has one channel.
fn of_invoice(movement: Movement) -> Movement {
    match movement.about {
        About::Bill(bill @ BillKey::Np(_), _) => {
            Movement { about: About::Bill(bill, Some(Channel::NpAtobarai)), ..movement }
        }
        _ => movement,
    }
}

/// By how much the movements of a month that tell no channel still change what is unpaid in store; the rest of them is
/// online.
struct Left {
    month: Month,
    in_store: i64,
}

impl Left {
    fn of(month: Month, before: i64, after: Option<&Account>, all: &[Movement]) -> Self {
        let is_told = |movement: &&Movement| {
            let in_store = matches!(movement.about, About::Purchase { channel: Channel::InStore, .. });
            in_store && month_of(movement) == Some(month)
        };
        let told: i64 = all.iter().filter(is_told).map(|movement| movement.amount).sum();
        Self { month, in_store: unpaid_in_store(after, month) - before - told }
    }

    /// A movement on the bill, as one for each channel that it changes. What fits neither stays with the second: the rest
    /// sets it right.
    fn split(&mut self, movement: Movement) -> impl Iterator<Item = Movement> {
        let in_store = self.in_store.clamp(movement.amount.min(0), movement.amount.max(0));
        self.in_store -= in_store;
        let bill = BillKey::Month(self.month);
        let parts = [(Channel::InStore, in_store), (Channel::Online, movement.amount - in_store)];
        let is_something = |(_, amount): &(Channel, i64)| *amount != 0;
        let part = move |(channel, amount)| Movement { amount, about: About::Bill(bill, Some(channel)), ..movement };
        parts.into_iter().filter(is_something).map(part)
    }

    /// A refund may give the money of one channel to the other.
    fn rest(&self, like: &Movement) -> Option<[Movement; 2]> {
        let amount = self.in_store;
        if amount == 0 {
            return None;
        }
        let of = |channel, amount| Movement {
            kind: EntryKind::Moved,
            account: Book::Exposure,
            counter: Book::Clearing,
            amount,
            about: About::Bill(BillKey::Month(self.month), Some(channel)),
            moved: None,
            ..*like
        };
        Some([of(Channel::InStore, amount), of(Channel::Online, -amount)])
    }
}
