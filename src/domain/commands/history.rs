//! Random histories for tests: a seed drives every kind of request through `dispatch` and `apply`, with late, forged
//! and repeated ones among them, jumps over midnights, months and retentions, and memory freed at random.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::cancel::hold_expired;
use super::notices::notices;
use super::office::calendar;
use super::past::Past;
use super::reply::Reply;
use super::request::{OnOrder, Request};
use super::{MOST_STEPS, Ruling, dispatch};
use crate::domain::billing::account::Account;
use crate::domain::billing::stories::{Kept, Story, StoryKey};
use crate::domain::model::advice::{Booked, SuspenseAction};
use crate::domain::model::code::{Form, barcode_epoch};
use crate::domain::model::customer::{Identity, Limits, Status};
use crate::domain::model::ids::{
    AuthorizationId, Category, CodeId, CustomerId, CustomerIx, Handle, Lsn, MerchantId, OfficeId, OrderId, RefundId,
    StoreId, TerminalId,
};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{
    Advice, Authorize, Cancel, Capture, CaptureAdvice, CustomerChange, EntryMode, JPY, Named, Of, OrderKey, Payer,
    Post, Proof, Refund, Reverse, ReverseRefund, Scanned, SettleSuspense, Staff,
};
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{DAY, Date, HOUR, MINUTE, Millis, Now, SECOND};
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::Known;

const POLICY: &str = include_str!("../../../config/policy.toml");

/// A state and the events that made it.
pub struct History {
    pub state: State,
    pub events: Vec<(Lsn, Millis, Event)>,
    /// Every order ever, as it is now: what a ledger must be able to give back.
    pub orders: HashMap<Lsn, Order>,
    /// How often each kind of event came, by its first word.
    pub kinds: HashMap<String, u32>,
    /// What the ledger would keep of each customer's books.
    pub stories: Archive,
    random: StdRng,
    pub(super) now: Millis,
    ids: Vec<AuthorizationId>,
    keys: Vec<OrderKey>,
    codes: Vec<(CodeId, Handle)>,
    next_order: u32,
}

impl History {
    /// A history of about `steps` events.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut history = Self {
            state: State::new(Settings::default()),
            events: Vec::new(),
            orders: HashMap::new(),
            kinds: HashMap::new(),
            stories: Archive::default(),
            random: StdRng::seed_from_u64(seed),
            now: Millis::parse("2026-11-20T09:00:00+09:00").unwrap(),
            ids: Vec::new(),
            keys: Vec::new(),
            codes: Vec::new(),
            next_order: 0,
        };
        history.record(Event::Opened { sandbox: seed.is_multiple_of(2) });
        history.record(Event::PolicySet { version: 1, text: Box::from(POLICY) });
        history.record(Event::HolidaysSet { text: Box::from("2026-11-23,a day off\n") });
        while history.events.len() < steps {
            history.step();
        }
        history
    }

    pub fn now(&self) -> Millis {
        self.now
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap();
        list[at]
    }

    /// Mostly one of the latest, sometimes any.
    fn pick_late<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let end = list.len() as u64;
        let back = if self.one_in(4) { end } else { end.min(12) };
        (end > 0).then(|| list[usize::try_from(end - 1 - self.below(back)).unwrap()])
    }

    fn pass_time(&mut self) {
        let ms = match self.below(400) {
            0..200 => 0,
            200..330 => self.below(20 * SECOND as u64),
            330..380 => self.below(10 * MINUTE as u64),
            380..394 => self.below(7 * HOUR as u64),
            394..398 => self.below(3 * DAY as u64),
            _ => self.below(45 * DAY as u64),
        };
        self.now = self.now.plus(i64::try_from(ms).unwrap());
    }

    fn step(&mut self) {
        self.pass_time();
        if self.one_in(10) {
            let most = self.below(40);
            let behind = self.below(3) * 20;
            let posted = Lsn(self.state.lsn.0.saturating_sub(behind));
            self.state.forget(self.now, posted, usize::try_from(most).unwrap());
            let today = self.now.date();
            (0..self.state.next_customer().0).for_each(|ix| self.state.let_go(CustomerIx(ix), today));
        }
        if self.one_in(3) {
            self.expire_holds();
        }
        let request = match self.below(100) {
            0..6 => self.put_customer(),
            6..8 => self.put_merchant(),
            8..31 => {
                let form = if self.one_in(8) { Form::Tok19 } else { Form::L24 };
                Request::IssueCode { customer: self.customer(), generation: 1, form }
            }
            31 => return self.guess_a_seal(),
            32..35 => match self.pick_late(&self.codes.clone()) {
                Some((code, _)) => Request::VoidCode { code },
                None => return,
            },
            35..68 => self.authorize(),
            68..72 => return self.advise(),
            72..76 => {
                let cancel = Cancel::new(self.order_key());
                return self.ask_on_order(OnOrder::Cancel(cancel));
            }
            76 if self.one_in(3) => return self.settle_suspense(),
            76..78 => return self.by_network(),
            78..90 => return self.after_the_sale(),
            90..97 => match self.instruct() {
                Some(request) => request,
                None => return,
            },
            97 => return self.calendar(),
            98 => return self.set_rules(),
            _ => return self.record_recall(),
        };
        self.ask(&request);
    }

    fn ask(&mut self, request: &Request) {
        let now = Now::at(self.now);
        let mut question = request.clone();
        for steps in 0..=MOST_STEPS {
            let random = &mut self.random;
            // Small draws, so that handles come again after their rest.
            match dispatch(&self.state, &question, &now, steps, &mut || random.next_u64() % 200) {
                Ruling::Answer(Reply::AskStories(customer)) => {
                    let kept = self.stories.kept(self.state.lsn, &customer);
                    question = Request::Knowing { kept, question: Box::new(request.clone()) };
                }
                Ruling::Answer(_) => return,
                Ruling::Record(event, answer) => {
                    self.advice_is_sound(&event);
                    self.record(event.clone());
                    if matches!(request, Request::OnOrder { .. }) {
                        // It was the last fact: judged once more, it would come to this answer.
                        let said = answer(&self.state, &event, &now);
                        let again = dispatch(&self.state, &question, &now, steps + 1, &mut || 0);
                        let is_same = matches!((&said, &again), (Reply::Done, Ruling::Answer(Reply::Done)));
                        assert!(is_same, "{request:?}: {said:?} after {event:?}, and then {again:?}");
                        *self.kinds.entry("Last".to_owned()).or_default() += 1;
                    }
                    return;
                }
                Ruling::Step(event) => {
                    self.advice_is_sound(&event);
                    self.record(event);
                }
            }
        }
        panic!("no end of {request:?}");
    }

    /// With all that a ledger would have of the orders that it names.
    fn ask_on_order(&mut self, doing: OnOrder) {
        let names = doing.names();
        let is_named = |order: &&Order| {
            names.iter().any(|name| match name {
                Named::Id(id) => order.id == *id,
                Named::Key(key) => order.key == *key,
            })
        };
        // The newest of a name first.
        let mut past: Vec<_> = self.orders.values().filter(is_named).cloned().collect();
        past.sort_by_key(|order| std::cmp::Reverse(order.id.lsn));
        self.ask(&Request::OnOrder { doing: Box::new(doing), past: Past::Orders(past) });
    }

    /// What holds of every advice that is recorded, by a fold over what was recorded before.
    fn advice_is_sound(&self, event: &Event) {
        let Event::Advised(advised) = event else { return };
        let decided = &advised.decided;
        let now = Now::at(self.now);
        let is_known = self.state.orders.by_key(&decided.input.key(), self.now).is_some();
        assert!(!is_known, "a known order is only told");
        assert_eq!(decided.customer.is_none(), advised.booked.suspense().is_some());
        let Some(account) = decided.customer.and_then(|ix| self.state.account(ix)) else { return };
        let rules = self.state.rules().unwrap();
        let limits = account.limits(rules.policy);
        let exposure = account.exposure(&now, rules);
        let in_store = decided.input.channel == Channel::InStore;
        let fits = exposure.total + decided.input.amount <= limits.total
            && (!in_store || exposure.in_store + decided.input.amount <= limits.in_store);
        match (advised.booked, advised.post) {
            (Booked::Posted, Post::WithinLimits | Post::UpTo(_)) => assert!(fits),
            (Booked::OverLimit, Post::UpTo(cap)) => {
                let today = self.events.iter().filter(|(_, at, _)| at.date() == now.date);
                let posted = today.filter_map(|(lsn, _, event)| match event {
                    Event::Advised(other) if other.decided.customer == decided.customer => Some(self.orders.get(lsn)?),
                    _ => None,
                });
                let before: Yen = posted.filter(|order| order.stands(self.now)).map(|order| order.amount).sum();
                assert!(before + decided.input.amount <= cap, "above the day's cap");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Records an event at the present time.
    pub fn record(&mut self, event: Event) {
        let now = Now::at(self.now);
        self.state.apply(&event, &now);
        let lsn = self.state.lsn;
        self.stories.apply(&event, lsn, &now);
        let word = format!("{event:?}").split(['(', ' ', '{']).next().unwrap().to_owned();
        *self.kinds.entry(word).or_default() += 1;
        let touched = match &event {
            Event::Decided(_) | Event::Advised(_) => {
                let order = self.state.orders.by_lsn(lsn).unwrap();
                self.ids.push(order.id);
                self.keys.push(order.key);
                Some(lsn)
            }
            Event::Tombstoned { key } => {
                self.keys.push(*key);
                Some(lsn)
            }
            Event::CodeIssued(issued) | Event::Tok19Issued(issued) => {
                self.codes.push((self.state.codes.get(issued.handle, self.now).unwrap().id, issued.handle));
                None
            }
            Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } => Some(undone.order),
            Event::SuspenseCleared { order, .. } => Some(*order),
            Event::SuspenseSettled(settled) => Some(settled.order.lsn),
            Event::Captured(captured) => Some(captured.order),
            Event::Refunded(refund) => Some(refund.order),
            Event::Recalled { order, .. } => Some(order.id.lsn),
            _ => None,
        };
        if let Some(lsn) = touched {
            let order = self.state.orders.by_lsn(lsn).unwrap().clone();
            self.orders.insert(lsn, Order { earlier: None, ..order });
        }
        self.events.push((lsn, self.now, event));
    }

    /// Records which holds ran out.
    pub fn expire_holds(&mut self) {
        let now = Now::at(self.now);
        let all = self.state.accounts().enumerate().flat_map(|(ix, account)| {
            let ix = CustomerIx(u32::try_from(ix).unwrap());
            account.holds().iter().map(move |hold| (ix, hold.order)).collect::<Vec<_>>()
        });
        for (ix, order) in all.collect::<Vec<_>>() {
            if let Some(event) = hold_expired(&self.state, ix, order, &now) {
                self.record(event);
            }
        }
    }

    /// What time made due, for everybody.
    pub fn calendar(&mut self) {
        let now = Now::at(self.now);
        for ix in (0..self.state.next_customer().0).map(CustomerIx) {
            if let Some(event) = calendar(&self.state, ix, &now) {
                self.record(event);
            }
            let random = &mut self.random;
            if let Some(event) = notices(&self.state, ix, &now, true, &mut || random.next_u64()) {
                self.record(event);
            }
        }
    }

    /// The office settles a sale that is in suspense, or one that is not, now and then once more.
    fn settle_suspense(&mut self) {
        let open = self.orders.values().filter(|order| order.is_suspense()).map(|order| order.id);
        let mut open: Vec<AuthorizationId> = open.collect();
        open.sort_by_key(|id| id.lsn);
        open.extend(self.pick_late(&self.ids.clone()));
        if open.is_empty() {
            return;
        }
        let authorization = self.pick(&open);
        let settlement = SettleSuspense {
            authorization,
            id: OfficeId::new(&format!("settled-{}-{}", authorization.lsn, self.below(2))).unwrap(),
            action: self.pick(&SuspenseAction::ALL),
            customer: None,
            known_customer: (!self.one_in(4)).then(|| self.customer()),
            why: None,
            staff: Staff { by: "tanaka".into(), key: "office".into(), reason: "月次".into() },
        };
        let ledger = Some(Known::nothing());
        self.ask_on_order(OnOrder::SettleSuspense { settlement, ledger });
    }

    pub(super) fn customer(&mut self) -> CustomerId {
        let number = self.below(25);
        CustomerId::new(&format!("customer-{number}")).unwrap()
    }

    fn put_customer(&mut self) -> Request {
        let id = self.customer();
        let limits = Limits { total: Yen::new(self.below(90_000)), in_store: Yen::new(self.below(30_000)) };
        let identity = if self.one_in(4) { self.pick(&Identity::ALL) } else { Identity::Verified };
        let change = CustomerChange {
            identity: Some(identity),
            identity_reason: self.one_in(5).then(|| (!self.one_in(6)).then(|| Box::from("blurred photo"))),
            birth_date: (!self.one_in(8)).then(|| if self.one_in(9) { None } else { Date::parse("1990-02-03") }),
            guardian_consent: self.one_in(6).then_some(true),
            payment_method: Some(self.pick(&PaymentMethod::ALL)),
            status: Some(if self.one_in(12) { self.pick(&Status::ALL) } else { Status::Active }),
            limits: if self.one_in(3) { Some(self.one_in(2).then_some(limits)) } else { None },
            rung: Some(u8::try_from(self.below(4)).unwrap()),
            is_of_known: self.one_in(20),
        };
        Request::PutCustomer { id, change: Box::new(change) }
    }

    fn merchant(&mut self) -> MerchantId {
        let number = self.below(5);
        MerchantId::new(&format!("shop_{number}")).unwrap()
    }

    fn put_merchant(&mut self) -> Request {
        let limits = MerchantLimits {
            per_payment: self.one_in(5).then_some(Yen::new(9_000)),
            in_store: self.one_in(5).then_some(Yen::new(12_000)),
        };
        Request::PutMerchant(Box::new(Merchant {
            id: self.merchant(),
            name: Box::from("お店"),
            mcc: self.pick(&[5_411, 5_499, 5_732]),
            status: if self.one_in(9) { MerchantStatus::Inactive } else { MerchantStatus::Active },
            limits,
        }))
    }

    fn new_key(&mut self) -> OrderKey {
        self.next_order += 1;
        let order_id = OrderId::new(&format!("{:027}R", self.next_order)).unwrap();
        OrderKey { merchant: self.merchant(), order_id }
    }

    fn order_key(&mut self) -> OrderKey {
        if self.one_in(6) {
            return self.new_key();
        }
        self.pick_late(&self.keys.clone()).unwrap_or_else(|| self.new_key())
    }

    fn scanned(&mut self) -> Scanned {
        let Some((id, handle)) = self.pick_late(&self.codes.clone()) else { return Scanned::Invalid };
        let issued = self.events[usize::try_from(id.lsn.0 - 1).unwrap()].1;
        let issued_at = u32::try_from(issued.0 / SECOND).unwrap();
        match self.below(30) {
            0 => Scanned::Foreign,
            1 => Scanned::Invalid,
            2..5 => Scanned::Forged { handle },
            5 => Scanned::Stale { handle },
            6 => Scanned::Sealed { handle, proof: Proof::Tok19 },
            8.. if self.state.codes.get(handle, self.now).is_some_and(|code| code.form == Form::Tok19) => {
                Scanned::Sealed { handle, proof: Proof::Tok19 }
            }
            7 => Scanned::Sealed { handle, proof: Proof::Qr { counter: 9, random: 9, issued_at, ttl: 300 } },
            _ => Scanned::Sealed { handle, proof: Proof::Barcode { epoch: barcode_epoch(issued) } },
        }
    }

    fn authorize(&mut self) -> Request {
        let fresh = !self.one_in(8);
        let key = if fresh { self.new_key() } else { self.order_key() };
        let (payer, channel) = match self.below(10) {
            0..7 => (Payer::Code(self.scanned()), Channel::InStore),
            7..9 => (Payer::Customer(self.customer()), Channel::Online),
            _ => (Payer::Customer(self.customer()), Channel::NpAtobarai),
        };
        let few = self.pick(&[500, 1_980, 3_000]);
        let input = Authorize {
            merchant: key.merchant,
            order_id: key.order_id,
            store: self.one_in(2).then(|| StoreId::new("S001").unwrap()),
            terminal: self.one_in(2).then(|| TerminalId::new("T01").unwrap()),
            payer,
            channel,
            amount: Yen::new(if self.one_in(2) { few } else { 1 + self.below(6_000) }),
            currency: if self.one_in(40) { *b"USD" } else { JPY },
            capture: !self.one_in(4),
            confirm_repeat: self.one_in(3),
            entry_mode: Some(EntryMode::Barcode),
            categories: if self.one_in(30) { vec![Category::new("gift_card").unwrap()] } else { Vec::new() },
            requested_at: None,
            late: self.one_in(40),
        };
        Request::Authorize { input: Arc::new(input), throttled: false, sealed_by: None }
    }

    /// The network sold while we were silent: often with what a till of ours tried before.
    fn advise(&mut self) {
        let Request::Authorize { mut input, .. } = self.authorize() else { unreachable!("it authorizes") };
        let sale = Arc::make_mut(&mut input);
        sale.late = false;
        if self.one_in(6) {
            sale.merchant = MerchantId::new("shop_unknown").unwrap();
        }
        let original = self.one_in(3).then(|| self.order_key());
        let post = match self.below(6) {
            0..2 => Post::WithinLimits,
            2..5 => Post::UpTo(Yen::new(self.below(30_000))),
            _ => Post::Never,
        };
        self.ask_on_order(OnOrder::StandIn(Advice { input, original, post, sealed_by: None, must_be_known: false }));
    }

    /// What a network tells of an order, in any order of the messages.
    fn by_network(&mut self) {
        let original = self.order_key();
        let number = self.below(6);
        let amount = Yen::new(1 + self.below(6_000));
        let payer = Payer::Code(self.scanned());
        let refund_id = RefundId::new(&format!("back-{}", self.events.len())).unwrap();
        let of = self.pick(&[Of::Sale, Of::Hold, Of::Advice]);
        let own = self.new_key();
        let doing = match number {
            0..2 => OnOrder::CaptureAdvice(CaptureAdvice {
                original,
                own,
                terminal: None,
                amount,
                payer,
                sealed_by: None,
                post: Post::UpTo(Yen::new(20_000)),
                must_be_known: false,
            }),
            2 => {
                let refund = self.order_key();
                let amount = Some(amount);
                OnOrder::ReverseRefund(ReverseRefund { refund, amount, terminal: None, must_be_known: false })
            }
            number => {
                let kept = (number == 3).then_some(amount);
                OnOrder::Reverse(Reverse { original, of, kept, refund_id, must_be_known: false })
            }
        };
        self.ask_on_order(doing);
    }

    /// Somebody read a code from a screen and guesses its seal.
    fn guess_a_seal(&mut self) {
        let Some((_, handle)) = self.codes.last().copied() else { return };
        for _ in 0..1 + self.below(4) {
            let Request::Authorize { mut input, .. } = self.authorize() else { return };
            let guess = Arc::make_mut(&mut input);
            (guess.payer, guess.channel) = (Payer::Code(Scanned::Forged { handle }), Channel::InStore);
            self.ask(&Request::Authorize { input, throttled: false, sealed_by: None });
        }
    }

    fn after_the_sale(&mut self) {
        let Some(authorization) = self.pick_late(&self.ids.clone()) else { return };
        let order = &self.orders[&authorization.lsn];
        let whole = order.amount;
        let amount = if self.one_in(3) { whole } else { Yen::new(1 + self.below(whole.get())) };
        let number = self.below(40);
        let refund_id = RefundId::new(&format!("refund-{number}")).unwrap();
        let doing = if self.one_in(2) {
            OnOrder::Capture(Capture { authorization, amount })
        } else {
            // Of a third of the ids a file says when.
            let paid_at = number.is_multiple_of(3).then(|| self.now.plus(-60_000));
            OnOrder::Refund(Refund { paid_at, ..Refund::new(authorization, refund_id, amount) })
        };
        self.ask_on_order(doing);
    }

    /// A refund of something that may be old.
    fn record_recall(&mut self) {
        let any = self.ids.clone();
        if any.is_empty() {
            return;
        }
        let id = self.pick(&any);
        let refund_id = RefundId::new(&format!("late-{}", self.events.len())).unwrap();
        self.ask_on_order(OnOrder::Refund(Refund::new(id, refund_id, Yen::new(1))));
    }

    fn set_rules(&mut self) {
        if self.one_in(2) {
            let version = self.state.policy.as_ref().unwrap().version + 1;
            let basket = format!("window_seconds = {}", 60 + version);
            let late_bill = self.pick(&["late_bill = \"keep\"", "late_bill = \"down\"", "late_bill = \"reset\""]);
            let ceiling = self.pick(&["ceiling = false", "ceiling = true"]);
            let text = POLICY.replace("window_seconds = 180", &basket).replace("late_bill = \"keep\"", late_bill);
            let text = text.replace("ceiling = false", ceiling);
            self.record(Event::PolicySet { version, text: text.into() });
        } else {
            self.record(Event::HolidaysSet { text: Box::from("2026-12-28,another\n2027-01-27,day off\n") });
        }
    }
}

/// What a ledger keeps of customers' books: accounts that nothing but facts has changed, and the stories that these let go.
#[derive(Default)]
pub struct Archive {
    accounts: Vec<Account>,
    /// With the day until which each is kept.
    stories: Vec<BTreeMap<StoryKey, (Option<Date>, Story)>>,
}

impl Archive {
    pub fn apply(&mut self, event: &Event, lsn: Lsn, now: &Now) {
        let Some(customer) = event.effect().customer else { return };
        let at = usize::try_from(customer.0).unwrap();
        if let Event::CustomerSet { id, profile, .. } = event
            && at == self.accounts.len()
        {
            self.accounts.push(Account::new(*id, profile.as_ref().clone()));
            self.stories.push(BTreeMap::new());
        }
        let gone = self.accounts[at].apply(event, lsn, now);
        let kept = gone.into_iter().map(|story| (story.key(), (story.kept_until(now.date), story)));
        self.stories[at].extend(kept);
        if let Event::StoriesRecalled { recall, .. } = event {
            recall.stories.iter().for_each(|story| drop(self.stories[at].remove(&story.key())));
        }
    }

    /// As `Books::kept` gives them, in the order of their keys.
    pub fn kept(&self, as_of: Lsn, customer: &CustomerId) -> Kept {
        let Some(at) = self.accounts.iter().position(|account| account.id == *customer) else {
            return Kept { as_of, stories: Vec::new() };
        };
        let gone = self.stories[at].iter().map(|(key, (_, story))| (*key, story.clone()));
        let mut all: BTreeMap<StoryKey, Story> = gone.collect();
        let listed = self.accounts[at].listed_bills().iter().cloned().map(Story::Bill);
        let outflows = self.accounts[at].debt.iter().flat_map(|debt| debt.outflows.chunk_by(|a, b| a.fact == b.fact));
        let listed = listed.chain(outflows.map(|parts| Story::Outflow(parts.to_vec())));
        all.extend(listed.map(|story| (story.key(), story)));
        Kept { as_of, stories: all.into_values().collect() }
    }

    /// Whether it is listed, or was let go of and not to be forgotten yet.
    pub fn is_kept(&self, story: &Story, today: Date) -> bool {
        let gone = self.stories.iter().flat_map(BTreeMap::values).find(|(_, gone)| gone == story);
        gone.is_none_or(|(until, _)| until.is_none_or(|until| today <= until))
    }
}

/// The state that the events alone make.
pub fn replay(events: &[(Lsn, Millis, Event)], upto: Lsn) -> State {
    let mut state = State::new(Settings::default());
    for (_, at, event) in events.iter().take_while(|(lsn, ..)| *lsn <= upto) {
        state.apply(event, &Now::at(*at));
    }
    state
}

pub fn describe(state: &State, now: Millis) -> String {
    let mut text = String::new();
    state.describe(now, &mut text).unwrap();
    text
}

/// Fails with the first line that differs.
pub fn assert_alike(one: &State, other: &State, now: Millis, what: &str) {
    let one = describe(one, now);
    let other = describe(other, now);
    for (a, b) in one.lines().zip(other.lines()) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(one.lines().count(), other.lines().count(), "{what}: one has more lines");
}

/// What phones are shown is of the same version: a restart is no news.
pub fn assert_same_versions(one: &State, other: &State, what: &str) {
    let since = |state: &State| state.policy.as_ref().map(|in_force| in_force.since);
    assert_eq!(since(one), since(other), "{what}");
    for (one, other) in one.accounts().zip(other.accounts()) {
        assert_eq!(one.touched, other.touched, "{what}: {}", one.id);
    }
}

#[test]
fn what_is_remembered_does_not_depend_on_what_was_freed() {
    let mut kinds: HashMap<String, u32> = HashMap::new();
    for seed in 0..24 {
        let history = History::new(seed, 1_500);
        let again = replay(&history.events, history.state.lsn);
        assert_alike(&history.state, &again, history.now(), &format!("seed {seed}"));
        for (word, count) in history.kinds {
            *kinds.entry(word).or_default() += count;
        }
    }
    let all = "Decided Tombstoned Cancelled Captured Refunded HoldExpired Recalled CodeVoided Settled Noted \
               Advised SuspenseCleared SuspenseSettled Tok19Issued StoriesRecalled Noticed Last";
    for word in all.split(' ') {
        assert!(kinds.get(word).is_some_and(|count| *count > 10), "{word} is rare in {kinds:?}");
    }
}

/// A customer, a shop, and one online sale of 1,000 yen.
fn one_sale(capture: bool) -> (History, AuthorizationId) {
    let mut history = History::new(7, 0);
    let merchant = MerchantId::new("shop").unwrap();
    let shop = Merchant {
        id: merchant,
        name: Box::from("店"),
        mcc: 5_499,
        status: MerchantStatus::Active,
        limits: MerchantLimits::default(),
    };
    history.ask(&Request::PutMerchant(Box::new(shop)));
    let id = CustomerId::new("1001").unwrap();
    let change = CustomerChange { guardian_consent: Some(true), ..CustomerChange::default() };
    history.ask(&Request::PutCustomer { id, change: Box::new(change) });
    let input = Authorize {
        merchant,
        order_id: OrderId::new("112308453000000100000353001T01").unwrap(),
        store: None,
        terminal: None,
        payer: Payer::Customer(id),
        channel: Channel::Online,
        amount: Yen::new(1_000),
        currency: JPY,
        capture,
        confirm_repeat: false,
        entry_mode: None,
        categories: Vec::new(),
        requested_at: None,
        late: false,
    };
    history.ask(&Request::Authorize { input: Arc::new(input), throttled: false, sealed_by: None });
    let id = history.ids[0];
    (history, id)
}

#[test]
fn an_old_sale_is_recalled_and_refunded_whether_it_was_freed_or_not() {
    for freed in [false, true] {
        let (mut history, id) = one_sale(true);
        history.now = history.now.plus(49 * HOUR);
        if freed {
            history.state.forget(history.now, history.state.lsn, 10);
        }
        let refund_id = RefundId::new("r").unwrap();
        history.ask_on_order(OnOrder::Refund(Refund::new(id, refund_id, Yen::new(400))));
        assert_eq!(history.kinds.get("Recalled"), Some(&1), "freed: {freed}");
        assert_eq!(history.kinds.get("Refunded"), Some(&1), "freed: {freed}");
        assert_eq!(history.state.orders.all().len(), 1);
    }
}

#[test]
fn an_old_sale_that_the_ledger_does_not_have_yet_is_refunded() {
    let (mut history, id) = one_sale(true);
    history.now = history.now.plus(49 * HOUR);
    // Nothing of it is posted.
    history.state.forget(history.now, Lsn(0), 10);
    let doing = OnOrder::Refund(Refund::new(id, RefundId::new("r").unwrap(), Yen::new(400)));
    history.ask(&Request::OnOrder { doing: Box::new(doing), past: Past::Orders(Vec::new()) });
    assert_eq!((history.kinds.get("Recalled"), history.kinds.get("Refunded")), (None, Some(&1)));
}

#[test]
fn nothing_is_given_back_before_it_was_captured() {
    let (mut history, id) = one_sale(true);
    let captured_at = history.now;
    history.now = history.now.plus(HOUR);
    for (ms, refunded) in [(-1, None), (0, Some(&1))] {
        let refund = Refund::new(id, RefundId::new("r").unwrap(), Yen::new(400));
        history.ask_on_order(OnOrder::Refund(Refund { paid_at: Some(captured_at.plus(ms)), ..refund }));
        assert_eq!(history.kinds.get("Refunded"), refunded, "{ms}");
    }
}

#[test]
fn a_recalled_order_does_not_take_its_key_back() {
    for freed in [false, true] {
        let (mut history, id) = one_sale(false);
        history.now = history.now.plus(72 * HOUR);
        history.state.forget(history.now, history.state.lsn, 10);
        history.ask_on_order(OnOrder::Capture(Capture { authorization: id, amount: Yen::new(1_000) }));
        let key = history.keys[0];
        assert!(history.state.orders.by_key(&key, history.now).is_some(), "it never stopped being remembered");
        history.now = history.now.plus(49 * HOUR);
        if freed {
            history.state.forget(history.now, history.state.lsn, 10);
        }
        let refund_id = RefundId::new("r").unwrap();
        history.ask_on_order(OnOrder::Refund(Refund::new(id, refund_id, Yen::new(400))));
        assert!(history.state.orders.by_id(id, history.now).is_some());
        assert!(history.state.orders.by_key(&key, history.now).is_none(), "freed: {freed}");
    }
}

#[test]
fn a_hold_that_ran_out_is_recorded_even_if_its_order_was_freed_first() {
    let (mut history, id) = one_sale(false);
    history.now = history.now.plus(10 * DAY);
    history.state.forget(history.now, history.state.lsn, 10);
    assert!(history.state.orders.by_lsn(id.lsn).is_none());
    history.expire_holds();
    history.expire_holds();
    assert_eq!(history.kinds.get("HoldExpired"), Some(&1));
    assert!(history.state.accounts().all(|account| account.holds().is_empty()));
}

#[test]
fn a_usual_reversal_is_judged_once() {
    let capture = true;
    for (is_sale, hours, of, kept, fact) in [
        (capture, 0, Of::Sale, None, "Cancelled"),
        (!capture, 0, Of::Hold, None, "Cancelled"),
        (capture, 30, Of::Sale, None, "Refunded"),
        (capture, 0, Of::Sale, Some(Yen::new(400)), "Refunded"),
    ] {
        let (mut history, _) = one_sale(is_sale);
        history.now = history.now.plus(hours * HOUR);
        let original = history.keys[0];
        let reverse = |original| {
            let refund_id = RefundId::new("back").unwrap();
            OnOrder::Reverse(Reverse { original, of, kept, refund_id, must_be_known: false })
        };
        history.ask_on_order(reverse(original));
        let unseen = OrderKey { order_id: OrderId::new("never-seen").unwrap(), ..original };
        history.ask_on_order(reverse(unseen));
        let facts: Vec<_> = [fact, "Tombstoned", "Last"].iter().map(|kind| history.kinds.get(*kind).copied()).collect();
        let blocks_more = of == Of::Hold;
        assert_eq!(facts, [Some(1), Some(1), Some(if blocks_more { 1 } else { 2 })], "{fact}");
    }
}
