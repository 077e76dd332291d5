//! What the lists of every kind of ledger have to be: page by page the same as a plain list made from the facts.

use super::contract_tests::{Made, postings};
use super::lists::{CustomersOf, List, Listed, PageOf, Whose};
use super::{Books, Posting};
use crate::domain::commands::history::History;
use crate::domain::model::customer::{Identity, Status};
use crate::domain::model::ids::{ApprovalCode, CustomerId, CustomerIx, Lsn, MerchantId, RefundId};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::event::{Event, Outcome};

const ALL: (Millis, Millis) = (Millis(0), Millis(i64::MAX));

/// A list of somebody.
type Of = fn(Whose) -> List;

/// What a row of a list is told by: its record, its order and its amount.
type Row = (Lsn, Lsn, u64);

/// One row that a fact makes, and in whose lists it is.
struct Naive {
    row: Row,
    at: Millis,
    merchant: Option<MerchantId>,
    customer: Option<CustomerIx>,
    refund: Option<RefundId>,
}

#[derive(Default)]
struct Lists {
    decisions: Vec<Naive>,
    captures: Vec<Naive>,
    refunds: Vec<Naive>,
}

/// The lists as the facts make them, the oldest first.
fn naive(history: &History) -> Lists {
    let mut lists = Lists::default();
    let payer = |order: Lsn| history.orders.get(&order).and_then(|order| order.customer);
    let shop = |order: Lsn| history.orders.get(&order).map(|order| order.key.merchant);
    for (lsn, at, event) in &history.events {
        let (lsn, at) = (*lsn, *at);
        let of = |order: Lsn, amount: u64, merchant, customer| Naive {
            row: (lsn, order, amount),
            at,
            merchant,
            customer,
            refund: None,
        };
        match event {
            Event::Decided(_) | Event::Advised(_) => {
                let decided = match event {
                    Event::Advised(advised) => &advised.decided,
                    Event::Decided(decided) => decided,
                    _ => continue,
                };
                let amount = decided.input.amount.get();
                lists.decisions.push(of(lsn, amount, Some(decided.input.merchant), payer(lsn)));
                if matches!(&decided.outcome, Outcome::Approved(approval) if approval.hold_expires_at.is_none()) {
                    lists.captures.push(of(lsn, amount, Some(decided.input.merchant), decided.customer));
                }
            }
            Event::Captured(captured) => {
                let order = captured.order;
                lists.captures.push(of(order, captured.amount.get(), shop(order), payer(order)));
            }
            Event::SuspenseSettled(settled) => {
                if let Some(charged) = settled.end.charged() {
                    let was_hold = !lists.captures.iter().any(|capture| capture.row.0 == charged.order);
                    let shop = shop(charged.order).filter(|_| was_hold);
                    lists.captures.push(of(charged.order, charged.amount.get(), shop, Some(charged.customer)));
                }
            }
            Event::Refunded(refund) => {
                let order = refund.order;
                let row = of(order, refund.amount.get(), shop(order), payer(order));
                lists.refunds.push(Naive { refund: Some(refund.refund_id), ..row });
            }
            _ => {}
        }
    }
    lists
}

fn told(row: &Listed) -> Row {
    (row.lsn, row.order.id.lsn, row.amount.get())
}

/// A whole list, page by page.
fn all(books: &dyn Books, list: List, (from, to): (Millis, Millis), limit: usize) -> Vec<Listed> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = books.list(&PageOf { list, from, to, before, limit }, &|_| true).unwrap();
        assert!(page.rows.len() == limit || page.next.is_none(), "a short page is the last: nothing was left out");
        assert_eq!(page.position.lsn, books.as_of().unwrap());
        found.extend(page.rows);
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

fn wanted(rows: &[Naive], is_in: impl Fn(&&Naive) -> bool) -> Vec<Row> {
    rows.iter().rev().filter(is_in).map(|naive| naive.row).collect()
}

/// Decisions, captures and refunds of each shop and each customer are those that the facts make, in pages of any size.
pub fn lists_are_those_of_the_facts(make: impl Fn() -> Made, every: usize) {
    let (mut of_customers, mut of_shops, mut denied) = (0, 0, 0);
    for seed in (300..302).step_by(every) {
        let history = History::new(seed, 2_000);
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let lists = naive(&history);
        let kinds: [(&[Naive], Of); 3] =
            [(&lists.decisions, List::Decisions), (&lists.captures, List::Captures), (&lists.refunds, List::Refunds)];
        let ids: Vec<CustomerId> = history.state.accounts().map(|account| account.id).collect();
        let mut shops: Vec<MerchantId> = lists.decisions.iter().filter_map(|naive| naive.merchant).collect();
        shops.sort_unstable();
        shops.dedup();
        let books = ledger.books.as_ref();
        for (at, (naive, list)) in kinds.into_iter().enumerate() {
            let what = format!("list {at} of seed {seed}");
            for shop in &shops {
                let found = all(books, list(Whose::Merchant(*shop)), ALL, 70);
                assert_eq!(
                    found.iter().map(told).collect::<Vec<_>>(),
                    wanted(naive, |row| row.merchant == Some(*shop)),
                    "{shop}, {what}"
                );
                of_shops += found.len();
            }
            for (ix, id) in ids.iter().enumerate() {
                let ix = CustomerIx(u32::try_from(ix).unwrap());
                let found = all(books, list(Whose::Customer(*id)), ALL, 1 + ix.0 as usize % 7);
                assert_eq!(
                    found.iter().map(told).collect::<Vec<_>>(),
                    wanted(naive, |row| row.customer == Some(ix)),
                    "{id}, {what}"
                );
                assert!(found.iter().all(|row| row.customer == Some(*id)), "{what}");
                of_customers += found.len();
                denied += found.iter().filter(|row| row.order.state.reason().is_some()).count();
            }
        }
        rows_are_whole(books, &history, &shops);
        times_and_names(books, &lists);
    }
    assert!(
        of_customers * every > 600 && of_shops * every > 2_000 && denied * every > 25,
        "{of_customers} {of_shops} {denied}"
    );
}

/// Each row has its order as it is, and a refund as it was made.
fn rows_are_whole(books: &dyn Books, history: &History, shops: &[MerchantId]) {
    for shop in shops {
        for row in all(books, List::Decisions(Whose::Merchant(*shop)), ALL, 1_000) {
            let order = books.past_order(row.order.id).unwrap().unwrap();
            let bare = |order: &crate::domain::model::order::Order| (order.id, order.key, order.state, order.terms());
            assert_eq!(bare(&row.order), bare(&order));
            assert_eq!((row.at, row.amount), (order.decided_at, order.amount));
        }
        for row in all(books, List::Refunds(Whose::Merchant(*shop)), ALL, 1_000) {
            let made = row.refund.as_ref().unwrap();
            let event = history.events.iter().find(|(lsn, ..)| *lsn == row.lsn).unwrap();
            let Event::Refunded(refund) = &event.2 else { panic!("{event:?}") };
            assert_eq!((made.id, made.amount, row.at), (refund.refund_id, refund.amount, event.1));
        }
    }
}

/// Days, approval codes and refund ids find what the facts have of them.
fn times_and_names(books: &dyn Books, lists: &Lists) {
    for (naive, list) in
        [(&lists.decisions, List::Decisions as Of), (&lists.captures, List::Captures), (&lists.refunds, List::Refunds)]
    {
        for part in [4, 2] {
            let (from, to) = (naive[naive.len() / part].at, naive[naive.len() - naive.len() / 5].at);
            let shop = naive[naive.len() / part].merchant.unwrap_or(lists.decisions[0].merchant.unwrap());
            let found = all(books, list(Whose::Merchant(shop)), (from, to), 9);
            let within = |row: &&Naive| row.merchant == Some(shop) && row.at >= from && row.at < to;
            assert_eq!(found.iter().map(told).collect::<Vec<_>>(), wanted(naive, within));
        }
    }
    for naive in lists.captures.iter().step_by(40) {
        let Some(shop) = naive.merchant else { continue };
        let of_shop = all(books, List::Captures(Whose::Merchant(shop)), ALL, 1_000);
        let row = of_shop.iter().find(|row| row.lsn == naive.row.0).unwrap();
        let code = String::from_utf8(row.order.id.approval_code().to_vec()).unwrap();
        let found = all(books, List::Approved(ApprovalCode::parse(&code).unwrap()), ALL, 5);
        assert!(found.iter().any(|found| found.order.id == row.order.id), "{code}");
        assert!(found.iter().all(|found| found.order.id.approval_code() == row.order.id.approval_code()));
    }
    for naive in lists.refunds.iter().step_by(10) {
        let (Some(shop), Some(id)) = (naive.merchant, naive.refund) else { continue };
        let found = all(books, List::RefundsNamed(shop, id), ALL, 2);
        let named = |row: &&Naive| row.merchant == Some(shop) && row.refund == Some(id);
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), wanted(&lists.refunds, named));
    }
}

/// A page that looked at as many rows as it may ends there, says so, and the pages after it have the rest; what is posted
/// meanwhile is in none of them.
pub fn a_list_goes_on_where_it_stopped(make: impl Fn() -> Made) {
    let history = History::new(310, 600);
    let mut ledger = make();
    let mut postings = postings(&history);
    let denied = postings.iter().find_map(|posting| match &posting.event {
        Event::Decided(decided) if matches!(decided.outcome, Outcome::Denied { .. }) => Some(decided.clone()),
        _ => None,
    });
    let denied = denied.expect("a denial");
    let shop = denied.input.merchant;
    // Again and again: a denial changes no account.
    for _ in 0..1_400 {
        let &Posting { lsn, time, .. } = postings.last().unwrap();
        postings.push(Posting { lsn: lsn.next(), time, event: Event::Decided(denied.clone()) });
    }
    let (first, rest) = postings.split_at(postings.len() - 300);
    ledger.checkpoint.post(first).unwrap();
    let (list, (from, to)) = (List::Decisions(Whose::Merchant(shop)), ALL);
    let known = all(ledger.books.as_ref(), list, ALL, 100);
    assert!(known.len() > 1_110, "{} are more than a page looks at", known.len());
    // The oldest ones only: the first page looks at others.
    let oldest: Vec<Row> = known[known.len() - 12..].iter().map(told).collect();
    let keep = |row: &Listed| oldest.iter().any(|(lsn, ..)| *lsn == row.lsn);
    let (mut found, mut before, mut short, mut late) = (Vec::new(), None, 0, rest.chunks(100));
    loop {
        let page = ledger.books.list(&PageOf { list, from, to, before, limit: 5 }, &keep).unwrap();
        assert!(page.rows.len() <= 5);
        short += usize::from(page.rows.is_empty());
        found.extend(page.rows.iter().map(told));
        before = page.next;
        if before.is_none() {
            break;
        }
        late.next().into_iter().for_each(|chunk: &[Posting]| ledger.checkpoint.post(chunk).unwrap());
    }
    assert_eq!((found, short), (oldest, 1));
}

/// Customers by their ids, of a state, and only those whom a caller keeps; merchants by theirs.
pub fn customers_and_merchants_are_listed(make: impl Fn() -> Made, every: usize) {
    for seed in (320..322).step_by(every) {
        let history = History::new(seed, 2_000);
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let (state, now) = (&history.state, Now::at(history.now()));
        let pages = |of: &CustomersOf, overdue: bool| {
            let keep = |account: &_| !overdue || is_overdue(state, account, &now);
            let (mut of, mut found) = (of.clone(), Vec::new());
            loop {
                let page = ledger.books.customers(&of, &keep).unwrap();
                assert_eq!(page.position.lsn, ledger.books.as_of().unwrap());
                found.extend(page.rows);
                of.after = page.next;
                if of.after.is_none() {
                    return found;
                }
            }
        };
        let mut accounts: Vec<_> = state.accounts().collect();
        accounts.sort_unstable_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        let ids = |of: &dyn Fn(&crate::domain::billing::account::Account) -> bool| {
            accounts.iter().filter(|account| of(account)).map(|account| account.id).collect::<Vec<_>>()
        };
        let found = |of: &CustomersOf, overdue| pages(of, overdue).iter().map(|one| one.id).collect::<Vec<_>>();
        let of = |limit| CustomersOf { limit, ..CustomersOf::default() };
        for limit in [1, 3, 100] {
            assert_eq!(found(&of(limit), false), ids(&|_| true));
        }
        let whole = pages(&of(100), false);
        assert!(whole.iter().zip(&accounts).all(|(found, known)| found.profile == known.profile), "seed {seed}");
        let prefix: String = accounts[0].id.as_str().chars().take(2).collect();
        let begins = CustomersOf { prefix: prefix.clone(), ..of(2) };
        assert_eq!(found(&begins, false), ids(&|account| account.id.as_str().starts_with(&prefix)));
        for status in Status::ALL {
            let of = CustomersOf { status: Some(status), ..of(2) };
            assert_eq!(found(&of, false), ids(&|account| account.profile.status == status));
        }
        let verified = CustomersOf { identity: Some(Identity::Verified), ..of(2) };
        assert_eq!(found(&verified, false), ids(&|account| account.profile.identity == Identity::Verified));
        let owing = CustomersOf { owing: true, ..of(2) };
        assert_eq!(found(&owing, true), ids(&|account| is_overdue(state, account, &now)), "seed {seed}");

        let mut after = None;
        let mut merchants = Vec::new();
        loop {
            let page = ledger.books.merchants(after.as_ref(), 1).unwrap();
            merchants.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(merchants.len() > 1 && merchants.is_sorted_by(|one, other| one.id.as_str() < other.id.as_str()));
        for merchant in &merchants {
            assert_eq!(ledger.books.merchant(&merchant.id).unwrap().as_ref(), Some(merchant));
        }
        assert_eq!(ledger.books.merchant(&MerchantId::new("nobody").unwrap()).unwrap(), None);
    }
}

fn is_overdue(
    state: &crate::domain::state::State,
    account: &crate::domain::billing::account::Account,
    now: &Now,
) -> bool {
    account.overdue_since(now, state.rules().unwrap()).is_some()
}
