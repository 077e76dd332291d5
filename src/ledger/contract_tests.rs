//! What every kind of ledger has to do, as functions over a maker of empty ones.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use super::list_tests::{
    a_list_goes_on_where_it_stopped, customers_and_merchants_are_listed, lists_are_those_of_the_facts,
};
use super::{
    Book, Books, Checkpoint, Entry, EntryKind, Graded, LedgerError, OwedInCash, Posting, RecordId, Snapshot, Stepped,
};
use crate::domain::billing::bill::Bill;
use crate::domain::billing::settlement::{Place, Settlement, Transfer};
use crate::domain::billing::stories::Story;
use crate::domain::commands::history::{Archive, History, assert_alike, assert_same_versions, replay};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::payment::Line;
use crate::domain::model::request::OrderKey;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{DAY, HOUR, Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::{Event, Outcome};
use crate::domain::state::receipts::{ReceiptKey, ReceiptKind};

const START: Millis = Millis(0);
const END: Millis = Millis(i64::MAX);

pub fn postings(history: &History) -> Vec<Posting> {
    let all = history.events.iter().cloned();
    all.map(|(lsn, time, event)| Posting { lsn, time, event }).collect()
}

/// An empty ledger, by both of its handles, with what goes with it.
pub struct Made {
    pub checkpoint: Box<dyn Checkpoint>,
    pub books: Box<dyn Books>,
    pub _place: Box<dyn std::any::Any>,
}

impl Snapshot for Made {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        self.books.load(state)
    }
}

pub fn loaded(ledger: &dyn Snapshot) -> State {
    let mut state = State::new(Settings::default());
    ledger.load(&mut state).unwrap();
    state
}

fn below(random: &mut StdRng, end: usize) -> usize {
    usize::try_from(random.next_u64() % (end as u64)).unwrap()
}

/// After any chunk the ledger gives back the state that the events so far make, and with the events after it
/// the state that all of them make.
pub fn the_ledger_is_the_checkpoint(make: impl Fn() -> Made) {
    is_the_checkpoint(make, 12);
}

/// The same over fewer histories, where each load asks a server.
pub fn the_server_is_the_checkpoint(make: impl Fn() -> Made) {
    is_the_checkpoint(make, 2);
}

fn is_the_checkpoint(make: impl Fn() -> Made, seeds: u64) {
    for seed in 100..100 + seeds {
        let history = History::new(seed, 1_200);
        let postings = postings(&history);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut ledger, mut applied, mut at) = (make(), State::new(Settings::default()), 0);
        assert_alike(&loaded(&ledger), &State::new(Settings::default()), START, "nothing posted");
        while at < postings.len() {
            // Mostly small, since codes are soon forgotten and with them what was wrong about them.
            let most = if below(&mut random, 8) == 0 { 200 } else { 8 };
            let end = (at + 1 + below(&mut random, most)).min(postings.len());
            ledger.checkpoint.post(&postings[at..end]).unwrap();
            for posting in &postings[at..end] {
                applied.apply(&posting.event, &Now::at(posting.time));
            }
            at = end;
            let last = &postings[at - 1];
            assert_eq!((ledger.checkpoint.position().unwrap(), ledger.books.as_of().unwrap()), (last.lsn, last.lsn));
            let mut state = loaded(&ledger);
            let what = format!("seed {seed} at {}", last.lsn);
            assert_alike(&state, &applied, last.time, &what);
            assert_same_versions(&state, &applied, &what);
            if below(&mut random, 10) == 0 {
                for later in &postings[at..] {
                    state.apply(&later.event, &Now::at(later.time));
                }
                assert_alike(&state, &history.state, history.now(), &format!("{what}, journal after it"));
                assert_same_versions(&state, &history.state, &what);
            }
        }
        for later in [0, 30 * HOUR] {
            let now = history.now().plus(later);
            assert_alike(&loaded(ledger.checkpoint.as_ref()), &history.state, now, &format!("seed {seed} at the end"));
        }
    }
    // What a large chunk gathers before it writes meets every other fact of the same customers.
    for seed in 200..200 + 2 * seeds {
        let history = History::new(seed, 1_200);
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let (state, what) = (loaded(&ledger), format!("seed {seed} in one chunk"));
        assert_alike(&state, &history.state, history.now(), &what);
        assert_same_versions(&state, &history.state, &what);
    }
}

fn all_entries(ledger: &Made, state: &State) -> Vec<Vec<Entry>> {
    state.accounts().map(|account| ledger.books.entries(&account.id, START, END).unwrap()).collect()
}

/// The same chunk twice, or one that overlaps by half, changes nothing; a gap is refused.
pub fn every_record_is_posted_once(make: impl Fn() -> Made) {
    let history = History::new(7, 1_000);
    let postings = postings(&history);
    let (mut once, mut often) = (make(), make());
    once.checkpoint.post(&postings).unwrap();
    for (n, chunk) in postings.chunks(97).enumerate() {
        often.checkpoint.post(chunk).unwrap();
        often.checkpoint.post(chunk).unwrap();
        often.checkpoint.post(&chunk[chunk.len() / 2..]).unwrap();
        let overlap = (n * 97 + 48).min(postings.len())..((n + 1) * 97 + 30).min(postings.len());
        often.checkpoint.post(&postings[overlap]).unwrap();
    }
    often.checkpoint.post(&[]).unwrap();
    assert_eq!(once.checkpoint.position().unwrap(), often.checkpoint.position().unwrap());
    assert_alike(&loaded(&once), &loaded(&often), history.now(), "posted again and again");
    assert_eq!(all_entries(&once, &history.state), all_entries(&often, &history.state));

    let mut ledger = make();
    ledger.checkpoint.post(&postings[..10]).unwrap();
    let gap = ledger.checkpoint.post(&postings[11..20]).unwrap_err();
    assert!(matches!(gap, LedgerError::Gap { position: Lsn(10), got: Lsn(12) }) && !gap.is_retriable());
    let mut hole = postings[10..20].to_vec();
    hole.remove(5);
    assert!(matches!(ledger.checkpoint.post(&hole), Err(LedgerError::Gap { position: Lsn(15), got: Lsn(17) })));
    assert_eq!(ledger.checkpoint.position().unwrap(), Lsn(10), "what came before the gap is not posted either");
    assert_alike(&loaded(&ledger), &replay(&history.events, Lsn(10)), postings[9].time, "after a gap");
}

/// Orders of any age come back as they are, by id and by key.
pub fn the_past_can_be_read(make: impl Fn() -> Made) {
    let history = History::new(21, 2_500);
    let mut ledger = make();
    ledger.checkpoint.post(&postings(&history)).unwrap();
    let mut latest: HashMap<_, Lsn> = HashMap::new();
    for (lsn, order) in &history.orders {
        let is_tombstone = order.is_tombstone();
        let seen = latest.entry((order.key.merchant, order.key.order_id)).or_default();
        if !is_tombstone {
            *seen = (*seen).max(*lsn);
        }
        let found = ledger.books.past_order(order.id).unwrap();
        // Memory lets go of the refunds of before a recall, the ledger has them all.
        let count = |order: &Order| order.refunds.as_ref().map_or(0, |refunds| refunds.count());
        if let Some(found) = &found {
            assert!(found.refunds().ends_with(order.refunds()), "the refunds that memory has");
            assert_eq!((found.refunds().len(), count(found)), (count(order), count(order)), "all refunds");
        }
        // Nor where it was sold, once it was recalled.
        let terminal = order.terminal;
        assert!(
            terminal.is_none() || found.as_ref().is_none_or(|found| found.terminal == terminal),
            "where it was sold"
        );
        let bare = |order: Order| Order { refunds: None, terminal, ..order };
        assert_eq!(found.map(bare), (!is_tombstone).then(|| bare(order.clone())), "by id");
        let mut guessed = order.id;
        guessed.random ^= 1;
        assert_eq!(ledger.books.past_order(guessed).unwrap(), None, "the random part must fit");
    }
    assert!(latest.len() < history.orders.len(), "some keys came twice");
    for ((merchant, order_id), lsn) in latest {
        let key = OrderKey { merchant, order_id };
        let (found, wanted) = (ledger.books.past_order_by_key(&key).unwrap(), history.orders.get(&lsn));
        assert_eq!(found.map(|order| order.id), wanted.map(|order| order.id), "by key");
    }
}

fn sum(entries: &[Entry], of: impl Fn(&Entry) -> bool) -> i64 {
    entries.iter().filter(|entry| of(entry)).map(|entry| entry.amount).sum()
}

/// A customer's exposure is the sum of their entries, holds included; months and NP bills too (I2, I9, I10).
pub fn entries_sum_to_the_accounts(make: impl Fn() -> Made, every: usize) {
    for seed in (40..46).step_by(every) {
        let mut history = History::new(seed, 1_500);
        history.expire_holds();
        history.calendar();
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let now = Now::at(history.now());
        for account in history.state.accounts() {
            let entries = ledger.books.entries(&account.id, START, END).unwrap();
            let exposure = account.exposure(&now, history.state.rules().unwrap());
            let signed = |yen: u64| i64::try_from(yen).unwrap();
            let on_exposure = |entry: &Entry| entry.account == Book::Exposure;
            assert_eq!(sum(&entries, on_exposure), signed(exposure.total.get()), "{} of seed {seed}", account.id);
            let held = |entry: &Entry| matches!(entry.kind, EntryKind::Hold | EntryKind::HoldReleased);
            assert_eq!(sum(&entries, held), signed(exposure.held.get()));
            assert!(entries.iter().filter(|entry| held(entry)).all(|entry| entry.month.is_none()));
            for at in account.bills_at(&now, history.state.rules().unwrap()) {
                let (bill, owed) = (&at.bill, at.owed);
                let of_bill = |e: &Entry| e.bill() == Some(bill.key);
                let open = |e: &Entry| on_exposure(e) && !held(e) && of_bill(e);
                assert_eq!(sum(&entries, open), signed(bill.unpaid().get()), "{bill:?} of seed {seed}");
                if !bill.is_issued() {
                    continue;
                }
                let paid = |e: &Entry| e.moved.is_some() && of_bill(e);
                assert_eq!(-sum(&entries, paid), signed(bill.paid().total().get()), "{bill:?} of seed {seed}");
                for (book, owed) in
                    [(Book::BillFee, owed.bill_fee), (Book::LateFee, owed.late_fees), (Book::Damages, owed.damages)]
                {
                    let on_line = |e: &Entry| e.account == book && of_bill(e);
                    assert_eq!(sum(&entries, on_line), signed(owed.get()), "{book:?} of {bill:?} of seed {seed}");
                }
            }
            let credit = |entry: &Entry| entry.account == Book::Credit;
            assert_eq!(sum(&entries, credit), signed(account.credit().get()));
            let due = |entry: &Entry| entry.account == Book::PayoutDue;
            assert_eq!(sum(&entries, due), signed(account.payout_due().get()));
            let given_up = |entry: &Entry| entry.account == Book::WrittenOff;
            let open =
                |bill: &Bill| if bill.written_off_at(now.at).is_some() { bill.open_as_posted() } else { Yen::ZERO };
            let open: Yen = account.listed_bills().iter().map(|bill| open(bill)).sum();
            assert_eq!(sum(&entries, given_up), signed(open.get()), "given up, {} of seed {seed}", account.id);
            let points = |entry: &Entry| entry.account == Book::Points;
            assert!(sum(&entries, points) >= 0, "no more points go back than were given");
        }
    }
}

/// Principal that payments settled, less what refunds took back out of it.
fn principal(books: &Settlement) -> i64 {
    let is_principal = |place: Place| matches!(place.line(), Some((_, Line::Principal)));
    let signed = |transfer: &Transfer| {
        let amount = i64::try_from(transfer.amount.get()).unwrap();
        let into = if is_principal(transfer.to) { amount } else { 0 };
        let out = if is_principal(transfer.from) || transfer.from == Place::Refund { amount } else { 0 };
        into - out
    };
    books.transfers.iter().map(signed).sum()
}

/// What an approval adds to, and how much.
fn sold(event: &Event) -> Option<(&'static str, u64)> {
    let decided = match event {
        Event::Decided(decided) => decided,
        Event::Advised(advised) => &advised.decided,
        _ => return None,
    };
    let kind = match &decided.outcome {
        Outcome::Approved(_) if decided.customer.is_none() => "suspense",
        Outcome::Approved(approval) if approval.hold_expires_at.is_some() => "hold",
        Outcome::Approved(_) => "purchase",
        Outcome::Denied { .. } => return None,
    };
    Some((kind, decided.input.amount.get()))
}

/// Money is conserved over the whole run (I17), and no sale gives back more than it took (I8): entries against
/// a plain fold over the events.
#[expect(clippy::too_many_lines, reason = "one fold, an arm a kind of fact")]
pub fn money_is_conserved(make: impl Fn() -> Made, every: usize) {
    for seed in (60..66).step_by(every) {
        let mut history = History::new(seed, 1_500);
        history.expire_holds();
        history.calendar();
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let mut folded: HashMap<&str, u64> = HashMap::new();
        let mut left: HashMap<Lsn, u64> = HashMap::new();
        let mut repaid = 0;
        let mut add = |what, amount: u64| *folded.entry(what).or_default() += amount;
        for (lsn, _, event) in &history.events {
            match event {
                Event::Decided(_) | Event::Advised(_) => {
                    let Some((kind, amount)) = sold(event) else { continue };
                    add(kind, amount);
                    if kind == "purchase" {
                        left.insert(*lsn, amount);
                    }
                }
                Event::SuspenseCleared { amount, .. } => add("suspense_cleared", amount.get()),
                Event::SuspenseSettled(settled) => {
                    add("suspense_cleared", settled.amount.get());
                    if let Some(charged) = settled.end.charged() {
                        add("capture", charged.amount.get());
                        left.insert(charged.order, charged.amount.get());
                    }
                }
                Event::Captured(captured) => {
                    add("capture", captured.amount.get());
                    add("hold_released", captured.amount.get() + captured.released.get());
                    left.insert(captured.order, captured.amount.get());
                }
                Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } if !undone.was_hold => {
                    add("cancel", undone.amount.get());
                    let left = left.get_mut(&undone.order).unwrap();
                    *left = left.checked_sub(undone.amount.get()).expect("a cancel takes what is there");
                    if let Event::CancelledPaid { books, .. } = event {
                        repaid += principal(books);
                    }
                }
                Event::Cancelled(undone) | Event::HoldExpired(undone) => add("hold_released", undone.amount.get()),
                Event::Refunded(refund) => {
                    add("refund", refund.amount.get());
                    let left = left.get_mut(&refund.order).unwrap();
                    *left = left.checked_sub(refund.amount.get()).expect("a refund takes what is there");
                    let gone = i64::try_from(refund.amount.get()).unwrap() + principal(&refund.books);
                    let effect = event.effect();
                    assert_eq!(
                        effect.removed.get().cast_signed() - effect.added.get().cast_signed(),
                        gone,
                        "{refund:?}"
                    );
                    repaid += principal(&refund.books);
                }
                Event::Settled { books, .. } => repaid += principal(books),
                _ => {}
            }
        }
        // What is in suspense is no customer's.
        let get = |kind| folded.get(kind).copied().unwrap_or(0);
        assert!(get("suspense_cleared") > 0);
        assert_eq!(history.state.suspense.get(), get("suspense") - get("suspense_cleared"));
        let entries: Vec<Entry> = all_entries(&ledger, &history.state).into_iter().flatten().collect();
        for (kind, amount) in folded.iter().filter(|(kind, _)| !kind.starts_with("suspense")) {
            let posted = sum(&entries, |entry| entry.kind.name() == *kind).unsigned_abs();
            assert_eq!(posted, *amount, "{kind} of seed {seed}");
        }
        let now = Now::at(history.now());
        let exposure: u64 = {
            let rules = history.state.rules().unwrap();
            history.state.accounts().map(|account| account.exposure(&now, rules).total.get()).sum()
        };
        let back = get("cancel") + get("refund") + get("hold_released");
        let (out, repaid) = (get("purchase") + get("capture") + get("hold"), u64::try_from(repaid).unwrap());
        assert!(repaid > 0, "somebody paid");
        assert_eq!(exposure + back + repaid, out, "seed {seed}");
        assert_eq!(left.values().sum::<u64>() + get("hold") - get("hold_released"), exposure + repaid);
    }
}

/// The bounds of a customer's history are exact.
pub fn entries_are_found_by_time(make: impl Fn() -> Made) {
    let history = History::new(33, 1_500);
    let mut ledger = make();
    ledger.checkpoint.post(&postings(&history)).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let times: Vec<Millis> = history.events.iter().map(|(_, time, _)| *time).collect();
    for account in history.state.accounts().take(8) {
        let all = ledger.books.entries(&account.id, START, END).unwrap();
        assert!(all.windows(2).all(|pair| pair[0].lsn <= pair[1].lsn && pair[0].recorded_at <= pair[1].recorded_at));
        for _ in 0..20 {
            let (from, to) = (times[below(&mut random, times.len())], times[below(&mut random, times.len())]);
            let within = all.iter().filter(|entry| from <= entry.recorded_at && entry.recorded_at < to);
            let within: Vec<Entry> = within.cloned().collect();
            assert_eq!(ledger.books.entries(&account.id, from, to).unwrap(), within);
        }
    }
    let nobody = crate::domain::model::ids::CustomerId::new("nobody").unwrap();
    assert_eq!(ledger.books.entries(&nobody, START, END).unwrap(), []);
}

fn books_of(event: &Event) -> Option<&Settlement> {
    match event {
        Event::Settled { books, .. } | Event::CancelledPaid { books, .. } => Some(books),
        Event::Refunded(refund) => Some(&refund.books),
        _ => None,
    }
}

/// What is owed in cash, what was paid out and what the ladder did, as the facts say it; a page goes on behind the one
/// before.
pub fn payouts_and_steps_are_found(make: impl Fn() -> Made, every: usize) {
    let (mut due, mut bounced, mut stepped) = (0, 0, 0);
    for seed in (50..58).step_by(every) {
        let mut history = History::new(seed, 2_500);
        history.calendar();
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let owes = history.state.accounts().filter(|account| !account.payout_due().is_zero());
        let mut owed: Vec<_> = owes.map(|account| (account.id, account.sums().to_vec())).collect();
        owed.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let mut found: Vec<OwedInCash> = Vec::new();
        loop {
            let page = ledger.books.payouts_due(found.last().map(|owed| &owed.customer), 2).unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        due += found.len();
        for owed in &found {
            let ix = history.state.customer_ix(&owed.customer).unwrap();
            assert_eq!(owed.status, history.state.account(ix).unwrap().profile.status);
        }
        assert_eq!(found.into_iter().map(|owed| (owed.customer, owed.sums)).collect::<Vec<_>>(), owed, "seed {seed}");

        let mut paid: Vec<(Lsn, Option<Millis>)> = Vec::new();
        let mut places: HashMap<ReceiptKey, usize> = HashMap::new();
        for (lsn, at, event) in &history.events {
            let Some(key) = event.receipt_key() else { continue };
            if key.kind == ReceiptKind::Payout {
                places.insert(key, paid.len());
                paid.push((*lsn, None));
            } else if key.kind == ReceiptKind::Bounce {
                let payout = ReceiptKey { kind: ReceiptKind::Payout, ..key };
                paid[places[&payout]].1 = Some(*at);
                bounced += 1;
            }
        }
        let first = ledger.books.payouts_made(Lsn::ZERO, 1).unwrap();
        let after = first.last().map_or(Lsn::ZERO, |paid| paid.receipt.lsn);
        let rest = ledger.books.payouts_made(after, usize::MAX).unwrap();
        let found = first.iter().chain(&rest).map(|paid| (paid.receipt.lsn, paid.bounced_at));
        assert_eq!(found.collect::<Vec<_>>(), paid, "seed {seed}");

        for account in history.state.accounts() {
            let ix = history.state.customer_ix(&account.id);
            let steps = history.events.iter().filter_map(|(_, at, event)| Some((at, books_of(event)?)));
            let own = steps.filter(|(_, books)| Some(books.customer) == ix);
            let own = own.flat_map(|(at, books)| books.steps.iter().map(|step| Stepped { at: Some(*at), step: *step }));
            let own: Vec<Stepped> = own.collect();
            stepped += own.len();
            assert_eq!(ledger.books.ladder_steps(&account.id).unwrap(), own, "{} of seed {seed}", account.id);
        }
    }
    assert!(due.min(bounced).min(stepped) * every > 5, "{due} owed in cash, {bounced} came back, {stepped} steps");
}

/// What memory lets go of is all there, whatever chunks it was posted in, until news can't reach it any more; a bill that was
/// paid late stays for good.
pub fn stories_are_kept_and_forgotten(make: impl Fn() -> Made, every: usize) {
    let (mut checked, mut forgotten, mut late, mut payouts, mut recalled) = (0, 0, 0, 0, 0);
    for seed in (70..80).step_by(every) {
        let history = History::new(seed, 2_500);
        let postings = postings(&history);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut ledger, mut archive, mut at) = (make(), Archive::default(), 0);
        let customers: Vec<_> = history.state.accounts().map(|account| account.id).collect();
        while at < postings.len() {
            let end = (at + 1 + below(&mut random, 900)).min(postings.len());
            ledger.checkpoint.post(&postings[at..end]).unwrap();
            for posting in &postings[at..end] {
                archive.apply(&posting.event, posting.lsn, &Now::at(posting.time));
                recalled += usize::from(matches!(posting.event, Event::StoriesRecalled { .. }));
            }
            at = end;
            let last = &postings[at - 1];
            for customer in &customers {
                let found = ledger.books.kept(customer).unwrap();
                assert_eq!(found.as_of, last.lsn);
                let expected = archive.kept(last.lsn, customer).stories;
                let stray = found.stories.iter().find(|story| !expected.contains(story));
                assert_eq!(stray, None, "{customer} of seed {seed} at {at}");
                let is_kept = |story: &&Story| archive.is_kept(story, last.time.date());
                let lost = expected.iter().filter(is_kept).find(|story| !found.stories.contains(story));
                assert_eq!(lost, None, "{customer} of seed {seed} at {at}");
                checked += found.stories.len();
            }
        }
        let last = postings.last().unwrap();
        let time = last.time.plus(436 * DAY);
        let all = |ledger: &Made| -> Vec<Story> {
            customers.iter().flat_map(|customer| ledger.books.kept(customer).unwrap().stories).collect()
        };
        let before = all(&ledger);
        // A chunk forgets twice as many as it posts.
        for number in 1..=before.len() as u64 {
            let event = Event::HolidaysSet { text: Box::from("2026-11-23,a day off\n") };
            ledger.checkpoint.post(&[Posting { lsn: Lsn(last.lsn.0 + number), time, event }]).unwrap();
        }
        let is_kept = |story: &&Story| archive.is_kept(story, time.date());
        let kept: Vec<Story> = before.iter().filter(is_kept).cloned().collect();
        assert_eq!(all(&ledger), kept, "seed {seed}");
        forgotten += before.len() - kept.len();
        late += kept.iter().filter(|story| story.kept_until(time.date()).is_none()).count();
        payouts += before.iter().filter(|story| matches!(story, Story::Outflow(_))).count();
    }
    let enough = [(checked, 1_000), (forgotten, 50), (late, 20), (payouts, 5), (recalled, 20)];
    let enough = enough.iter().all(|(found, least)| found * every > *least);
    assert!(enough, "{checked} {forgotten} {late} {payouts} {recalled}");
}

/// What records are called, and what a customer's limits came from, as the facts say it.
pub fn names_and_grades_are_found(make: impl Fn() -> Made, every: usize) {
    for seed in (140..144).step_by(every) {
        let history = History::new(seed, 3_000);
        let mut ledger = make();
        ledger.checkpoint.post(&postings(&history)).unwrap();
        let named = |(lsn, _, event): &(Lsn, Millis, Event)| {
            let refund = match event {
                Event::Refunded(refund) => Some(RecordId::Refund(refund.refund_id)),
                _ => None,
            };
            Some((*lsn, refund.or_else(|| event.receipt_key().map(|key| RecordId::Office(key.kind, key.id)))?))
        };
        let wanted: Vec<_> = history.events.iter().filter_map(named).collect();
        assert!(wanted.len() > 100, "seed {seed}");
        let records: Vec<Lsn> = history.events.iter().map(|(lsn, ..)| *lsn).collect();
        assert_eq!(ledger.books.record_ids(&records).unwrap(), wanted, "seed {seed}");

        let mut state = State::new(Settings::default());
        let mut grades: HashMap<_, Vec<(Millis, Graded)>> = HashMap::new();
        for (_, at, event) in &history.events {
            state.apply(event, &Now::at(*at));
            let Some(account) = event.effect().customer.and_then(|customer| state.account(customer)) else { continue };
            let (now, known) = (Graded::of(account), grades.entry(account.id).or_default());
            if known.last().is_none_or(|(_, last)| *last != now) {
                known.push((*at, now));
            }
        }
        assert!(grades.values().any(|known| known.len() > 2), "somebody climbs");
        for (customer, known) in grades {
            assert_eq!(ledger.books.graded(&customer).unwrap(), known, "{customer} of seed {seed}");
        }
        let policies = history.events.iter().filter_map(|(_, at, event)| match event {
            Event::PolicySet { text, .. } => Some((*at, text.to_string())),
            _ => None,
        });
        let policies: Vec<_> = policies.collect();
        assert_eq!(ledger.books.policies(START, END).unwrap(), policies);
        let last = policies.last().unwrap();
        assert_eq!(ledger.books.policies(last.0, END).unwrap(), std::slice::from_ref(last), "the one in force");
        assert_eq!(ledger.books.policies(START, last.0).unwrap(), policies[..policies.len() - 1], "before it");
    }
}

/// The suite as tests of a backend, over its maker of empty ledgers; of the histories every one, or every second where each question
/// asks a server.
macro_rules! contract {
    ($made:path: $($name:ident $(($every:literal))?),* $(,)?) => {$(
        #[test]
        fn $name() {
            $crate::ledger::contract_tests::$name($made $(, $every)?);
        }
    )*};
    ($made:path, every $every:literal) => {
        $crate::ledger::contract_tests::contract! {
            $made: every_record_is_posted_once, the_past_can_be_read, stories_are_kept_and_forgotten($every),
            entries_sum_to_the_accounts($every), money_is_conserved($every), entries_are_found_by_time,
            payouts_and_steps_are_found($every), names_and_grades_are_found($every),
            lists_are_those_of_the_facts($every), a_list_goes_on_where_it_stopped, customers_and_merchants_are_listed($every),
        }
    };
}
pub(crate) use contract;
