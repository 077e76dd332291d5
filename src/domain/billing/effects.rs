//! What a payment did, as its answer tells it: where its own money lies, and what other money moved beside it.

use super::settlement::{Place, Settlement, Transfer};
use crate::domain::model::money::Yen;

pub struct Effects {
    /// What lies somewhere because of the payment: as much as the payment itself.
    pub own: Vec<Transfer>,
    pub beside: Vec<Transfer>,
}

impl Effects {
    /// What left the books stays as it was told. Where it comes to be of this money, the money that it was of before is
    /// there in its place: as if that had been this money. What of this money left and came back again lies there itself.
    pub fn of(books: &Settlement) -> Self {
        // A record of before money was told apart moved no other.
        let tells_apart = books.names_money();
        let (mut own, other): (Vec<Transfer>, Vec<Transfer>) =
            books.transfers.iter().partition(|transfer| transfer.money.is_own() || !tells_apart);
        let away = |end: fn(&Transfer) -> Place| -> Yen {
            own.iter().filter(|transfer| end(transfer).is_away()).map(|transfer| transfer.amount).sum()
        };
        let mut left = away(|transfer| transfer.to).minus_or_zero(away(|transfer| transfer.from));
        own.retain(|transfer| !transfer.to.is_away());
        let mut beside = Vec::new();
        for transfer in other {
            let is_back = transfer.from.is_away() && !transfer.to.is_away();
            let part = if is_back { transfer.amount.min(left) } else { Yen::ZERO };
            left -= part;
            own.push(Transfer { from: Place::Received, amount: part, ..transfer });
            beside.push(Transfer { amount: transfer.amount - part, ..transfer });
        }
        for list in [&mut own, &mut beside] {
            list.retain(|transfer| !transfer.amount.is_zero());
        }
        Self { own, beside }
    }
}
