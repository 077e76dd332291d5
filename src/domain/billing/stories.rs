//! What memory lets go of, and what comes back. A bill that was paid long ago and a payout that was made long ago are kept
//! by the ledger alone; news that counts from before their end, a refund or damages need them in memory again.

use std::sync::Arc;

use super::account::{Account, Debt};
use super::bill::Bill;
use super::fold::MOST_MOMENTS;
use super::notes::Notes;
use super::outflows::{Outflow, Why};
use crate::domain::model::ids::Lsn;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::{DAY, Date, Millis};

/// So many days the ledger keeps a story after memory has let it go; as far back as news may count from.
const KEPT_AFTERWARDS: i32 = 400;

/// What memory lets go of as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Story {
    Bill(Arc<Bill>),
    /// The parts of one payout, or of what else left the books or came back at once.
    Outflow(Vec<Outflow>),
}

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoryKey {
    Bill(BillKey),
    /// By its record.
    Outflow(Lsn),
}

/// What the ledger has of a customer's stories: those that memory has let go of, and perhaps others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Everything up to this record was in it when it was read.
    pub as_of: Lsn,
    pub stories: Vec<Story>,
}

/// How far back a request reaches into a customer's books.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub since: Millis,
    /// A bill that it is about, of any age.
    pub bill: Option<BillKey>,
}

/// What comes back, and until when memory is still without stories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    pub stories: Vec<Story>,
    /// None once nothing is missing.
    pub let_go: Option<Date>,
}

/// Whether memory may have let go of what happened on that day: mostly it has not.
pub fn may_be_let_go(since: Date, today: Date) -> bool {
    since.plus_days(Bill::KEPT) < today
}

impl Kept {
    /// Where there is no ledger, memory is all there is.
    pub const fn nothing() -> Self {
        Self { as_of: Lsn(u64::MAX), stories: Vec::new() }
    }
}

impl Story {
    pub fn key(&self) -> StoryKey {
        match self {
            Self::Bill(bill) => StoryKey::Bill(bill.key),
            Self::Outflow(parts) => StoryKey::Outflow(parts.first().map_or(Lsn::ZERO, |part| part.fact)),
        }
    }

    pub fn bill(&self) -> Option<BillKey> {
        match self.key() {
            StoryKey::Bill(bill) => Some(bill),
            StoryKey::Outflow(_) => None,
        }
    }

    /// The day of the last that happened in it.
    fn last_day(&self) -> Date {
        let last = match self {
            Self::Bill(bill) => bill.latest(),
            Self::Outflow(parts) => parts.first().map(|part| part.at),
        };
        last.map_or(Date::MIN, Millis::date)
    }

    /// How many moments a fold may have to play again because of it.
    fn moments(&self) -> usize {
        match self {
            Self::Bill(bill) => bill.changes.len(),
            Self::Outflow(parts) => parts.len(),
        }
    }

    /// Until when the ledger keeps it, let go on this day. What was paid late has damages that may be posted at any age, so it
    /// stays for good, unless it was written off.
    pub fn kept_until(&self, let_go: Date) -> Option<Date> {
        match self {
            Self::Bill(bill) if bill.was_late() && bill.written_off_at(Millis(i64::MAX)).is_none() => None,
            Self::Bill(_) | Self::Outflow(_) => Some(let_go.plus_days(KEPT_AFTERWARDS)),
        }
    }
}

impl Bill {
    /// Whether principal was open when its due date had passed.
    fn was_late(&self) -> bool {
        self.due.is_some_and(|due| !self.open_before(due.start().plus(DAY)).is_zero())
    }
}

impl Debt {
    fn keeps_from(&self, today: Date) -> Option<Millis> {
        if self.recalled_on == Some(today) {
            return Some(Millis(i64::MIN));
        }
        self.notes.as_deref().and_then(Notes::news_from)
    }

    fn take_back(&mut self, story: &Story) {
        match story {
            Story::Bill(bill) => {
                if let Err(at) = self.bills.binary_search_by_key(&bill.key, |other| other.key) {
                    self.bills.insert(at, Arc::clone(bill));
                }
            }
            Story::Outflow(parts) => {
                let is_there = |part: &Outflow| self.outflows.iter().any(|other| other.fact == part.fact);
                if !parts.iter().any(is_there) {
                    parts.iter().for_each(|part| self.add_outflow(*part));
                }
            }
        }
    }

    fn has(&self, key: StoryKey) -> bool {
        match key {
            StoryKey::Bill(key) => self.bills.binary_search_by_key(&key, |bill| bill.key).is_ok(),
            StoryKey::Outflow(fact) => self.outflows.iter().any(|outflow| outflow.fact == fact),
        }
    }
}

impl Account {
    /// From when on stories are kept that would be over by themselves: as long as provisional news may meet them, and on the
    /// day on which some were taken back.
    pub(crate) fn keeps_from(&self, today: Date) -> Option<Millis> {
        self.debt.as_ref().and_then(|debt| debt.keeps_from(today))
    }

    /// Drops what no longer says anything, so that an idle customer costs the least memory. Gives the stories, for those who
    /// keep them.
    pub fn tidy(&mut self, today: Date) -> Vec<Story> {
        let mut gone = Vec::new();
        self.month = self.month.filter(|open| !open.amount.is_zero());
        let Some(debt) = &mut self.debt else { return gone };
        let keeps_from = debt.keeps_from(today);
        debt.recalled_on = debt.recalled_on.filter(|day| *day == today);
        debt.bills.retain(|bill| {
            let is_over = bill.is_over(today, keeps_from);
            if is_over && !bill.changes.is_empty() {
                gone.push(Story::Bill(Arc::clone(bill)));
            }
            !is_over
        });
        if debt.sums.is_empty() {
            debt.met = <(Millis, Lsn)>::default();
        }
        let is_kept = |outflow: &Outflow| outflow.is_kept(today, keeps_from);
        if !debt.outflows.iter().all(is_kept) {
            let (kept, over): (Vec<_>, Vec<_>) = std::mem::take(&mut debt.outflows).into_iter().partition(is_kept);
            debt.outflows = kept;
            let outflows = over.chunk_by(|one, other| one.fact == other.fact);
            gone.extend(outflows.map(|parts| Story::Outflow(parts.to_vec())));
        }
        if let Some(notes) = &mut debt.notes {
            notes.forget_slips(today);
        }
        self.let_go = gone.iter().map(Story::last_day).fold(self.let_go, Date::max);
        self.drop_empty_notes();
        if self.debt.as_deref() == Some(&Debt::default()) {
            self.debt = None;
        }
        gone
    }

    /// How far back a request reaches, with what it plays again: a repayment that was taken back since may then be taken from
    /// other bills that it had met.
    pub(crate) fn widened(&self, reach: Reach) -> Reach {
        let is_again = |outflow: &&Outflow| matches!(outflow.why, Why::Reversed(_)) && outflow.at >= reach.since;
        let outflows = self.debt.iter().flat_map(|debt| &debt.outflows);
        let days = outflows.filter(is_again).map(|outflow| outflow.money.day);
        Reach { since: days.fold(reach.since, Millis::min), ..reach }
    }

    /// Whether a request needs what was let go, or is over and may be let go at any time.
    pub(crate) fn is_reached_past_memory(&self, reach: &Reach, today: Date) -> bool {
        let keeps_from = self.keeps_from(today);
        let is_gone = |bill| match self.bill(bill) {
            Some(bill) => bill.is_over(today, keeps_from),
            None => self.let_go > Date::MIN,
        };
        if reach.bill.is_some_and(is_gone) {
            return true;
        }
        let since = reach.since.date();
        if !may_be_let_go(since, today) {
            return false;
        }
        let is_later = |at: Millis| since <= at.date();
        let is_over = |bill: &Bill| bill.latest().is_some_and(is_later) && bill.is_over(today, keeps_from);
        let outflows = self.debt.iter().flat_map(|debt| &debt.outflows);
        since <= self.let_go
            || self.listed_bills().iter().any(|bill| is_over(bill))
            || outflows.into_iter().any(|outflow| is_later(outflow.at) && !outflow.is_kept(today, keeps_from))
    }

    /// What is to come back of the stories that the ledger keeps; none where it has nothing that is missing. The bill that the
    /// request is about comes with all that happened since, and no more than a fold may meet, the latest first.
    pub(crate) fn to_recall(&self, kept: &[Story], reach: &Reach) -> Option<Recall> {
        let is_listed = |story: &Story| self.debt.as_ref().is_some_and(|debt| debt.has(story.key()));
        let is_own = |story: &Story| reach.bill.is_some_and(|bill| story.key() == StoryKey::Bill(bill));
        let mut missing: Vec<&Story> = kept.iter().filter(|story| story.moments() > 0 && !is_listed(story)).collect();
        missing.sort_by_key(|story| std::cmp::Reverse((is_own(story), story.last_day())));
        let own = missing.first().filter(|story| is_own(story)).map(|story| story.last_day());
        let since = own.map_or(reach.since.date(), |own| own.min(reach.since.date()));
        let mut moments = 0;
        let is_wanted = |story: &&&Story| {
            moments += story.moments();
            is_own(story) || story.last_day() >= since && moments <= MOST_MOMENTS
        };
        let wanted = missing.iter().take_while(is_wanted).count();
        let (stories, left) = missing.split_at(wanted);
        let stories: Vec<Story> = stories.iter().copied().cloned().collect();
        let let_go = left.iter().map(|story| story.last_day()).max();
        (!stories.is_empty()).then_some(Recall { stories, let_go })
    }

    /// Takes stories back into memory, for the rest of the day.
    pub(crate) fn recall(&mut self, recall: &Recall, today: Date) {
        let debt = self.debt_mut();
        recall.stories.iter().for_each(|story| debt.take_back(story));
        debt.recalled_on = Some(today);
        self.let_go = recall.let_go.unwrap_or(Date::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::adjustments::{Adjusted, Adjustment};
    use crate::domain::billing::bill::{Change, ChangeKind};
    use crate::domain::billing::sums::Money;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::CustomerId;
    use crate::domain::model::payment::{Line, Lines};
    use crate::domain::model::purchase::Channel;
    use crate::domain::model::time::Month;

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    /// Bills of 1,000 yen, one a month from January 2021 on, each paid on the 20th of the month after so many times.
    fn account(months: usize, payments: u64) -> Account {
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        let first = Month::parse("2021-01").unwrap();
        for month in std::iter::successors(Some(first), |month| Some(month.next())).take(months) {
            let paid_on = month.next().day(20);
            let mut bill = Bill { due: Some(paid_on), fee: Some(0.into()), ..Bill::empty_month(month) };
            bill.charge(Channel::Online, Millis(0), 1_000.into());
            for number in 0..payments {
                let at = paid_on.start().plus(i64::try_from(number).unwrap());
                let amount = if number == 0 { 1_000 - payments + 1 } else { 1 };
                let lines = Lines::of(Line::Principal, amount.into());
                let money = Money { fact: Lsn(number + 1), ..Money::own(at) };
                bill.changes.add(Change { at, kind: ChangeKind::Paid, money, lines });
            }
            account.add_bill(bill);
        }
        account
    }

    fn months(stories: &[Story]) -> Vec<String> {
        stories.iter().map(|story| story.bill().unwrap().month().unwrap().to_string()).collect()
    }

    fn since(text: &str) -> Reach {
        Reach { since: date(text).start(), bill: None }
    }

    #[test]
    fn what_was_let_go_comes_back_for_a_day_from_the_day_that_is_reached() {
        let today = date("2021-09-01");
        let mut account = account(4, 1);
        assert_eq!(account.let_go, Date::MIN);
        let gone = account.tidy(today);
        assert_eq!(months(&gone), ["2021-01", "2021-02", "2021-03", "2021-04"]);
        assert!((account.debt.as_ref(), account.let_go) == (None, date("2021-05-20")), "no memory is taken");

        // Nothing ended later, so nothing is to be asked.
        assert!(!account.is_reached_past_memory(&since("2021-05-21"), today));
        let reach = since("2021-04-20");
        assert!(account.is_reached_past_memory(&reach, today));
        let recall = account.to_recall(&gone, &reach).unwrap();
        assert_eq!(
            (months(&recall.stories), recall.let_go),
            (vec!["2021-04".into(), "2021-03".into()], Some(date("2021-03-20")))
        );
        account.recall(&recall, today);
        assert_eq!(account.tidy(today), [], "it stays for the day");
        assert!(!account.is_reached_past_memory(&since("2021-03-21"), today));
        assert_eq!(account.to_recall(&gone, &reach), None, "and is not missing any more");
        let bill = |month: &str| Some(BillKey::Month(Month::parse(month).unwrap()));
        let own = Reach { bill: bill("2021-01"), ..since("2021-09-01") };
        assert!(account.is_reached_past_memory(&own, today));
        assert!(!account.is_reached_past_memory(&Reach { bill: bill("2021-03"), ..own }, today), "it is there");

        let again = account.tidy(today.plus_days(1));
        assert_eq!((months(&again), account.let_go), (vec!["2021-03".into(), "2021-04".into()], date("2021-05-20")));
        assert_eq!(account.debt, None);
        // The bill that it is about comes with all that came after it.
        let recall = account.to_recall(&gone, &own).unwrap();
        assert_eq!(
            (months(&recall.stories), recall.let_go),
            (vec!["2021-01".into(), "2021-04".into(), "2021-03".into(), "2021-02".into()], None)
        );
    }

    #[test]
    fn the_ledger_keeps_a_late_bill_until_it_is_written_off_and_any_other_for_400_days() {
        let today = date("2021-09-01");
        let bill = |due: &str| Bill { due: Some(date(due)), ..account(1, 1).listed_bills()[0].as_ref().clone() };
        let until = |bill: Bill| Story::Bill(Arc::new(bill)).kept_until(today);
        assert_eq!(until(bill("2021-02-20")), Some(date("2022-10-06")), "paid on the 20th");
        assert_eq!(until(bill("2021-02-19")), None);
        let mut given_up = bill("2021-02-19");
        given_up.adjust(Adjustment { fact: Lsn(9), at: Millis(9), what: Adjusted::WrittenOff });
        assert_eq!(until(given_up), Some(date("2022-10-06")));
    }

    #[test]
    fn what_is_over_and_was_not_let_go_yet_is_asked_for_too() {
        let account = account(1, 1);
        assert!(!account.is_reached_past_memory(&since("2021-02-01"), date("2021-03-27")), "it is kept");
        let today = date("2021-03-28");
        assert!(account.is_reached_past_memory(&since("2021-02-20"), today));
        assert!(!account.is_reached_past_memory(&since("2021-02-21"), today), "it had ended");
    }

    #[test]
    fn no_more_comes_back_than_a_fold_may_meet() {
        let mut account = account(4, 900);
        let gone = account.tidy(date("2021-09-01"));
        let recall = account.to_recall(&gone, &since("2021-01-01")).unwrap();
        assert_eq!(
            (months(&recall.stories), recall.let_go),
            (vec!["2021-04".into(), "2021-03".into()], Some(date("2021-03-20")))
        );
        let own =
            Reach { since: date("2021-09-01").start(), bill: Some(BillKey::Month(Month::parse("2021-01").unwrap())) };
        let recall = account.to_recall(&gone, &own).unwrap();
        assert_eq!(months(&recall.stories), ["2021-01", "2021-04"], "the bill that it is about is always there");
    }
}
