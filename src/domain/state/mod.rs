//! Everything the engine knows, and `apply`: the only function that changes it.
//! It is the same code live, in recovery and in the tools, and it cannot fail.

mod account_facts;
pub mod checkpoint;
pub(crate) mod chunks;
pub mod code_book;
pub(crate) mod describe;
pub mod effect;
pub mod event;
pub(crate) mod index;
pub mod order_book;
pub mod receipts;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};

use crate::domain::billing::account::Account;
use crate::domain::billing::draft::Draft;
use crate::domain::billing::lateness::Rules;
use crate::domain::model::advice::Booked;
use crate::domain::model::code::{Ending, Form, VoidedBy};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerId, CustomerIx, Lsn, MerchantId, Part};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{CaptureTerms, Order, OrderState, RefundMade, Refunds, Sequence, part_of};
use crate::domain::model::policy::Policy;
use crate::domain::model::request::{OrderKey, Payer, Scanned};
pub use crate::domain::model::settings::Settings;
use crate::domain::model::terms::TermsByDay;
use crate::domain::model::time::{BankCalendar, Date, Millis, Now};
use chunks::Chunks;
use code_book::CodeBook;
use effect::Effect;
use event::{Advised, Captured, CodeIssued, Decided, Event, Outcome, Refunded, SuspenseEnd, SuspenseSettled};
use index::Index;
use order_book::OrderBook;
use receipts::{Receipt, Receipts};

/// A policy with the number under which decisions cite it.
#[derive(Clone, Debug)]
pub struct PolicyInForce {
    pub version: u32,
    pub text: Box<str>,
    pub policy: Arc<Policy>,
    /// Its record.
    pub since: Lsn,
}

#[derive(Clone, Debug)]
pub struct State {
    pub settings: Settings,
    /// Last record applied.
    pub lsn: Lsn,
    /// Time of the last record.
    pub time: Millis,
    pub sandbox: bool,
    pub policy: Option<PolicyInForce>,
    pub terms: Arc<TermsByDay>,
    pub calendar: Arc<BankCalendar>,
    pub calendar_text: Box<str>,
    pub(crate) accounts: Chunks<Account>,
    pub(crate) by_customer: Index<u32>,
    pub merchants: HashMap<MerchantId, Merchant, RandomState>,
    pub orders: OrderBook,
    pub codes: CodeBook,
    pub receipts: Receipts,
    /// What is in suspense: owed to the network, and charged to nobody.
    pub suspense: Yen,
}

pub(crate) fn customer_hash(id: &CustomerId) -> u64 {
    let mut hasher = FixedState::with_seed(0x6375_7374).build_hasher();
    hasher.write(id.as_bytes());
    hasher.finish()
}

impl State {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            lsn: Lsn::ZERO,
            time: Millis(i64::MIN),
            sandbox: false,
            policy: None,
            terms: Arc::default(),
            calendar: Arc::default(),
            calendar_text: Box::from(""),
            accounts: Chunks::default(),
            by_customer: Index::default(),
            merchants: HashMap::default(),
            orders: OrderBook::new(settings.orders_retain),
            codes: CodeBook::default(),
            receipts: Receipts::default(),
            suspense: Yen::ZERO,
        }
    }

    /// A settlement to be worked out for a customer as it is; nothing before there is a policy.
    pub fn draft<'a>(&'a self, customer: CustomerIx, now: &'a Now) -> Option<Draft<'a>> {
        let version = self.policy.as_ref()?.version;
        Some(Draft::new(customer, self.account(customer)?, now, self.rules()?, version))
    }

    /// What accounts are judged by; nothing is, before there is a policy.
    pub fn rules(&self) -> Option<Rules<'_>> {
        self.policy.as_ref().map(|in_force| Rules {
            policy: &in_force.policy,
            terms: &self.terms,
            calendar: &self.calendar,
        })
    }

    pub fn customer_ix(&self, id: &CustomerId) -> Option<CustomerIx> {
        let same = |ix| self.account(CustomerIx(ix)).is_some_and(|account| account.id == *id);
        self.by_customer.find(customer_hash(id), same).map(CustomerIx)
    }

    pub fn account(&self, ix: CustomerIx) -> Option<&Account> {
        self.accounts.get(u64::from(ix.0))
    }

    /// The account of an index that an event or a code carries.
    #[expect(clippy::expect_used, reason = "an index is only ever made when its account is; anything else is a bug")]
    pub(crate) fn account_mut(&mut self, ix: CustomerIx) -> &mut Account {
        self.accounts.get_mut(u64::from(ix.0)).expect("an event names a customer that is not there")
    }

    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter()
    }

    /// Index that the next new customer will get.
    pub fn next_customer(&self) -> CustomerIx {
        CustomerIx(u32::try_from(self.accounts.end()).unwrap_or(u32::MAX))
    }

    fn add_account(&mut self, account: Account) {
        let hash = customer_hash(&account.id);
        let ix = self.accounts.push(account);
        self.by_customer.insert(hash, u32::try_from(ix).unwrap_or(u32::MAX));
    }

    /// A customer's approvals, latest first, as far as they are in memory.
    pub fn approvals(&self, account: &Account) -> impl Iterator<Item = &Order> {
        let first = account.latest_approval.and_then(|sequence| self.orders.get(sequence));
        std::iter::successors(first, |order| self.orders.get(order.earlier?))
    }

    /// Makes the next order the latest approval of its customer; gives the approval before it. Those that were taken back
    /// since are passed over for good, so that buying and cancelling all day makes no list to look through.
    pub(crate) fn chain_approval(&mut self, ix: CustomerIx, now: Millis) -> Option<Sequence> {
        let mut earlier = self.account(ix)?.latest_approval;
        while let Some(order) =
            earlier.and_then(|sequence| self.orders.get(sequence)).filter(|order| !order.stands(now))
        {
            earlier = order.earlier;
        }
        let next = self.orders.next_sequence();
        self.account_mut(ix).latest_approval = Some(next);
        earlier
    }

    /// Frees memory of what is past its time and posted to the ledger, at most `most` of each kind.
    pub fn forget(&mut self, now: Millis, posted: Lsn, most: usize) {
        self.orders.forget(now, posted, most);
        self.codes.forget(now, most);
        self.receipts.forget(now.plus(-self.settings.orders_retain), posted, most);
    }

    /// Frees what is over of a customer's debts, which says nothing any more.
    pub fn let_go(&mut self, ix: CustomerIx, today: Date) {
        if self.account(ix).is_some_and(|account| account.debt.is_some()) {
            self.account_mut(ix).tidy(today);
        }
    }

    /// Makes ahead what the next requests need, so that deciding and applying an approval never waits for the
    /// allocator or for a table to grow. A bounded piece of work, to be called between batches; without it all
    /// is as right, only slower.
    pub fn make_room(&mut self) {
        self.accounts.make_room();
        self.by_customer.make_room();
        self.orders.make_room();
        self.codes.make_room();
    }

    /// Makes the next fact true.
    pub fn apply(&mut self, event: &Event, now: &Now) -> Effect {
        let mut effect = event.effect();
        assert!(now.at >= self.time, "time in the journal went back");
        self.lsn = self.lsn.next();
        self.time = now.at;
        match event {
            Event::Opened { sandbox } => self.sandbox = *sandbox,
            Event::PolicySet { version, text } => self.set_policy(*version, text, self.lsn, now.date),
            Event::HolidaysSet { text } => self.set_calendar(text),
            Event::MerchantSet(merchant) => {
                self.merchants.insert(merchant.id, merchant.as_ref().clone());
            }
            Event::CustomerSet { ix, id, profile } => {
                if *ix == self.next_customer() {
                    self.add_account(Account::new(*id, profile.as_ref().clone()));
                }
            }
            Event::CodeIssued(issued) => self.code_issued(issued, Form::L24, now),
            Event::Tok19Issued(issued) => self.code_issued(issued, Form::Tok19, now),
            Event::CodeVoided { handle } => {
                if let Some(code) = self.codes.get_mut(*handle) {
                    let by = VoidedBy::Customer;
                    code.change(self.lsn, |code| code.end(Ending::Voided { at: now.at, by }, now.at));
                    effect.notified = Some(code.customer);
                }
            }
            Event::Decided(decided) => {
                self.add_decision(decided, None, now);
                let customer = self.mark_code(decided, self.lsn, now);
                effect.notified = effect.notified.or(customer);
            }
            Event::Advised(advised) => self.advised(advised, now),
            Event::SuspenseCleared { order, amount } => self.suspense_cleared(*order, *amount, now),
            Event::SuspenseSettled(settled) => self.suspense_settled(settled, now),
            Event::Tombstoned { key } => self.tombstoned(*key, now),
            Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } => {
                self.change_order(undone.order, now, |order| order.state = OrderState::Cancelled);
            }
            Event::Captured(captured) => self.captured(captured, now),
            Event::Refunded(refunded) => self.refunded(refunded, now),
            Event::RecalledWhole(order) => self.recalled(order.as_ref().clone(), now),
            Event::Recalled { order, refunds_made } => {
                let refunds =
                    (*refunds_made > 0).then(|| Arc::new(Refunds { before: *refunds_made, made: Vec::new() }));
                self.recalled(Order { refunds, ..order.as_ref().clone() }, now);
            }
            // They change an account and nothing else.
            Event::HoldExpired(_)
            | Event::Settled { .. }
            | Event::Noted { .. }
            | Event::Noticed { .. }
            | Event::StoriesRecalled { .. } => {}
        }
        if let Some(ix) = effect.customer {
            let lsn = self.lsn;
            self.account_mut(ix).apply(event, lsn, now);
        }
        if let Some(key) = event.receipt_key() {
            let receipt = Receipt { lsn: self.lsn, at: now.at, event: Arc::new(event.clone()) };
            self.receipts.push(key, receipt);
        }
        effect
    }

    fn recalled(&mut self, mut order: Order, now: &Now) {
        (order.touched, order.touched_at) = (self.lsn, now.at);
        self.orders.recall(order);
    }

    #[expect(
        clippy::expect_used,
        reason = "the text was parsed before it was journaled; every version must stay readable"
    )]
    pub fn set_policy(&mut self, version: u32, text: &str, since: Lsn, journaled: Date) {
        let policy = Policy::parse(text).expect("a journaled policy no longer parses");
        Arc::make_mut(&mut self.terms).add(journaled, policy.terms.clone());
        self.policy = Some(PolicyInForce { version, text: Box::from(text), policy: Arc::new(policy), since });
    }

    #[expect(
        clippy::expect_used,
        reason = "the text was parsed before it was journaled; every version must stay readable"
    )]
    pub fn set_calendar(&mut self, text: &str) {
        self.calendar = Arc::new(BankCalendar::parse(text).expect("a journaled holiday file no longer parses"));
        self.calendar_text = Box::from(text);
    }

    fn code_issued(&mut self, issued: &CodeIssued, form: Form, now: &Now) {
        let before = self.account(issued.customer).and_then(|account| account.live_code);
        let hour = self.codes.hour_of(issued.customer, before, now.at);
        if let Some(code) = before.and_then(|handle| self.codes.get_mut(handle))
            && code.customer == issued.customer
        {
            let by = VoidedBy::NewerCode;
            code.change(self.lsn, |code| code.end(Ending::Voided { at: now.at, by }, now.at));
        }
        self.codes.issue(self.lsn, now.at, issued, form, hour);
    }

    /// The decision's order, chained to its customer's others.
    fn add_decision(&mut self, decided: &Decided, advice: Option<Booked>, now: &Now) {
        let input = &decided.input;
        let customer_part = decided.customer.and_then(|ix| self.account(ix)).map(|account| Part::of(&account.id));
        let id = AuthorizationId { part: part_of(input, customer_part), lsn: self.lsn, random: decided.random };
        let mut order = decided.order(id, now);
        order.advice = advice;
        match &decided.outcome {
            Outcome::Denied { reason, first } => {
                order.state = OrderState::Denied(*reason);
                order.first.clone_from(first);
            }
            Outcome::Approved(approval) => {
                (order.month, order.due, order.points) = (approval.month, approval.due, approval.points);
                if let Some(ix) = decided.customer {
                    order.earlier = self.chain_approval(ix, now.at);
                }
                order.state = approval
                    .hold_expires_at
                    .map_or(OrderState::Captured { amount: input.amount, refunded: Yen::ZERO }, |expires_at| {
                        OrderState::Held { expires_at }
                    });
            }
        }
        self.orders.push(order);
    }

    fn advised(&mut self, advised: &Advised, now: &Now) {
        let lsn = self.lsn;
        let decided = &advised.decided;
        self.add_decision(decided, Some(advised.booked), now);
        if advised.booked.suspense().is_some() {
            self.suspense += decided.input.amount;
            return;
        }
        let handle = match &decided.input.payer {
            Payer::Code(scanned) => scanned.handle(),
            Payer::Customer(_) => None,
        };
        if let Some(code) = handle.and_then(|handle| self.codes.get_mut(handle)) {
            code.change(lsn, |code| code.paid_before(lsn, now.at));
        }
    }

    /// A sale in suspense was taken back.
    fn suspense_cleared(&mut self, order: Lsn, amount: Yen, now: &Now) {
        self.suspense -= amount;
        self.change_order(order, now, |order| order.state = OrderState::Cancelled);
    }

    /// One that is charged stands under its customer's name from here on, and is none of the customer's own approvals.
    fn suspense_settled(&mut self, settled: &SuspenseSettled, now: &Now) {
        self.suspense -= settled.amount;
        let order = settled.order.lsn;
        match &settled.end {
            SuspenseEnd::Charged(charged) => {
                self.captured(charged, now);
                self.change_order(order, now, |order| {
                    order.customer = Some(charged.customer);
                    order.advice = None;
                    // All of it: an order from before the retention may be charged, and keeps no amount either.
                    order.capture.iter_mut().for_each(|terms| terms.amount = Yen::ZERO);
                });
            }
            SuspenseEnd::Returned => self.change_order(order, now, |order| order.state = OrderState::Cancelled),
            SuspenseEnd::Lost => self.change_order(order, now, |order| order.state = OrderState::Lost),
        }
    }

    /// A try with a code leaves its trace on the code: used, attempted, or wrongly sealed. Gives whose code it is.
    fn mark_code(&mut self, decided: &Decided, lsn: Lsn, now: &Now) -> Option<CustomerIx> {
        let Payer::Code(scanned) = &decided.input.payer else { return None };
        let code = self.codes.get_mut(scanned.handle()?)?;
        code.change(lsn, |code| match decided.outcome {
            Outcome::Denied { reason: Reason::CodeInvalid, .. } => {
                if matches!(scanned, Scanned::Forged { .. }) {
                    code.count_wrong_seal(now.at);
                }
            }
            // The customer is known only where the seal is this code's own.
            Outcome::Denied { .. } if decided.customer.is_none() => {}
            Outcome::Denied { .. } => {
                code.attempts = code.attempts.saturating_add(1);
                code.latest_attempt = Some(lsn);
            }
            Outcome::Approved(_) => {
                code.attempts = code.attempts.saturating_add(1);
                code.latest_attempt = Some(lsn);
                code.end(Ending::Used { by: lsn, at: now.at }, now.at);
            }
        });
        Some(code.customer)
    }

    fn tombstoned(&mut self, key: OrderKey, now: &Now) {
        let id = AuthorizationId { part: Part::default(), lsn: self.lsn, random: 0 };
        self.orders.push(Order::tombstone(id, key, now));
    }

    pub(crate) fn change_order(&mut self, order: Lsn, now: &Now, change: impl FnOnce(&mut Order)) {
        let lsn = self.lsn;
        if let Some(order) = self.orders.by_lsn_mut(order) {
            change(order);
            (order.touched, order.touched_at) = (lsn, now.at);
        }
    }

    fn captured(&mut self, captured: &Captured, now: &Now) {
        self.change_order(captured.order, now, |order| {
            order.state = OrderState::Captured { amount: captured.amount, refunded: Yen::ZERO };
            let &Captured { amount, month, due, points, .. } = captured;
            order.capture = Some(Box::new(CaptureTerms { at: now.at, amount, month, due, points }));
        });
    }

    fn refunded(&mut self, refund: &Refunded, now: &Now) {
        self.change_order(refund.order, now, |order| {
            let mut left = Yen::ZERO;
            if let OrderState::Captured { amount, refunded } = &mut order.state {
                *refunded += refund.amount;
                left = amount.minus_or_zero(*refunded);
            }
            let made = RefundMade {
                id: refund.refund_id,
                amount: refund.amount,
                left,
                destination: refund.destination,
                applied: refund.applied(),
                restored: refund.restored(),
                paid_at: refund.paid_at,
            };
            Arc::make_mut(order.refunds.get_or_insert_default()).made.push(made);
        });
    }
}
