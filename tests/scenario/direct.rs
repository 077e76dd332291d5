//! The two inner depths: the pure core, and the engine over a journal in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sokketsu::domain::commands::past::Past;
use sokketsu::domain::commands::refusal::Refusal;
use sokketsu::domain::commands::reply::{AdviceOutcome, Reply};
use sokketsu::domain::commands::request::{OnOrder, Request};
use sokketsu::domain::commands::{MOST_STEPS, Ruling, dispatch};
use sokketsu::domain::model::advice::{Booked, SuspenseAction};
use sokketsu::domain::model::code::{Code, Form};
use sokketsu::domain::model::customer::{Identity, Limits, Status};
use sokketsu::domain::model::ids::{
    Category, CodeId, CustomerId, Handle, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId,
};
use sokketsu::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::{Order, OrderState, Told};
use sokketsu::domain::model::payment::PaymentMethod;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{
    Advice, Authorize, Cancel, Capture, CaptureAdvice, CustomerChange, Instruction, Named, Of, OrderKey, Payer, Post,
    Proof, Refund, Reverse, ReverseRefund, Scanned, SettleSuspense, Staff,
};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{Date, Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;
use sokketsu::domain::state::receipts::Known;
use sokketsu::engine::board::Board;
use sokketsu::engine::{Engine, Sync};

use super::{Step, World, duration_ms};
use crate::memory::MemoryJournal;

pub const POLICY: &str = include_str!("../../config/policy.toml");

/// What answers a request.
pub trait Core {
    fn name(&self) -> &'static str;
    fn ask(&mut self, request: Request, now: Now) -> Reply;
    fn state(&self) -> &State;
    /// Comes back from what is durable.
    fn restart(&mut self);
}

/// `dispatch` and `apply`, nothing else. Restarting replays the events.
pub struct Pure {
    state: State,
    history: Vec<(Millis, Event)>,
    random: u64,
}

fn opening() -> [Event; 2] {
    [Event::Opened { sandbox: true }, Event::PolicySet { version: 1, text: POLICY.into() }]
}

impl Pure {
    pub fn new() -> Self {
        let mut pure = Self { state: State::new(Settings::default()), history: Vec::new(), random: 1 };
        for event in opening() {
            pure.record(event, &Now::at(Millis(0)));
        }
        pure
    }

    fn record(&mut self, event: Event, now: &Now) {
        self.state.apply(&event, now);
        self.history.push((now.at, event));
    }
}

impl Core for Pure {
    fn name(&self) -> &'static str {
        "core"
    }

    fn ask(&mut self, request: Request, now: Now) -> Reply {
        for steps in 0..=MOST_STEPS {
            let random = &mut self.random;
            let mut draw = || {
                // Weyl sequence: spread numbers from a counter, enough for handles and ids.
                *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                *random
            };
            match dispatch(&self.state, &request, &now, steps, &mut draw) {
                Ruling::Answer(reply) => return reply,
                Ruling::Step(event) => self.record(event, &now),
                Ruling::Record(event, answer) => {
                    self.record(event.clone(), &now);
                    return answer(&self.state, &event, &now);
                }
            }
        }
        panic!("no end of {request:?}")
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn restart(&mut self) {
        let mut state = State::new(Settings::default());
        for (at, event) in &self.history {
            state.apply(event, &Now::at(*at));
        }
        self.state = state;
    }
}

/// The engine, driven by hand, one request a batch.
pub struct Driven {
    engine: Engine,
    journal: MemoryJournal,
    /// Restarts so far: each draws other random numbers, as in service.
    restarts: u8,
}

impl Driven {
    pub fn new() -> Self {
        let journal = MemoryJournal::default();
        let mut engine = engine(State::new(Settings::default()), journal.clone(), 0);
        engine.begin(Millis(0));
        for event in opening() {
            engine.record(&event).expect("it fits a record");
        }
        engine.commit().unwrap();
        Self { engine, journal, restarts: 0 }
    }
}

fn engine(state: State, journal: MemoryJournal, seed: u8) -> Engine {
    let posted = Arc::new(AtomicU64::new(u64::MAX));
    Engine::new(state, Box::new(journal), Sync::BeforeAnswer, [seed; 32], Arc::new(Board::default()), posted)
}

impl Core for Driven {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn ask(&mut self, request: Request, now: Now) -> Reply {
        self.engine.begin(now.at);
        self.engine.take(&request);
        self.engine.commit().unwrap().pop().expect("one request, one answer")
    }

    fn state(&self) -> &State {
        self.engine.state()
    }

    fn restart(&mut self) {
        let mut state = State::new(Settings::default());
        for (at, event) in self.journal.durable() {
            state.apply(&event, &Now::at(at));
        }
        self.restarts = self.restarts.wrapping_add(1);
        self.engine = engine(state, self.journal.clone(), self.restarts);
    }
}

/// An engine made elsewhere. It cannot restart.
pub struct Loose(pub Engine);

impl Core for Loose {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn ask(&mut self, request: Request, now: Now) -> Reply {
        self.0.begin(now.at);
        self.0.take(&request);
        let reply = self.0.commit().unwrap().pop().expect("one request, one answer");
        self.0.settle().unwrap();
        reply
    }

    fn state(&self) -> &State {
        self.0.state()
    }

    fn restart(&mut self) {
        panic!("a loose engine does not restart");
    }
}

/// Plays steps against a [`Core`].
pub struct Direct<C> {
    core: C,
    now: Millis,
    codes: HashMap<String, (CodeId, Code)>,
    /// A network speaks: orders have names as messages give them, and reversals, captures and refunds come as messages.
    by_network: bool,
}

impl<C: Core> Direct<C> {
    pub fn new(core: C) -> Self {
        Self { core, now: Millis(1_600_000_000_000), codes: HashMap::new(), by_network: false }
    }

    pub fn into_core(self) -> C {
        self.core
    }

    pub fn set_time(&mut self, ms: i64) {
        self.now = Millis(ms);
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.core.ask(request, Now::at(self.now))
    }

    /// Here is no ledger: what memory has let go of is gone.
    fn ask_on_order(&mut self, doing: OnOrder) -> Reply {
        self.ask(Request::OnOrder { doing: Box::new(doing), past: Past::Orders(Vec::new()) })
    }

    fn customer(&mut self, step: &Step) -> String {
        let limits = step.option("limits").map(|text| {
            text.split_once('/').map(|(total, in_store)| Limits {
                total: Yen::new(total.parse().unwrap()),
                in_store: Yen::new(in_store.parse().unwrap()),
            })
        });
        let named = |key: &str| step.option(key);
        let change = CustomerChange {
            identity: named("identity").map(|name| *Identity::ALL.iter().find(|v| v.name() == name).unwrap()),
            identity_reason: None,
            birth_date: named("birth").map(|text| Some(Date::parse(text).unwrap())),
            guardian_consent: named("consent").map(|text| text == "yes"),
            payment_method: named("method").map(|name| *PaymentMethod::ALL.iter().find(|v| v.name() == name).unwrap()),
            status: named("status").map(|name| *Status::ALL.iter().find(|v| v.name() == name).unwrap()),
            limits,
            rung: None,
            is_of_known: false,
        };
        let id = CustomerId::new(step.word(0)).unwrap();
        match self.ask(Request::PutCustomer { id, change: Box::new(change) }) {
            Reply::Customer { created, .. } => String::from(if created { "created" } else { "changed" }),
            other => format!("{other:?}"),
        }
    }

    fn merchant(&mut self, step: &Step) -> String {
        let yen = |key: &str| step.option(key).map(|text| Yen::new(text.parse().unwrap()));
        let inactive = step.option("status") == Some("inactive");
        let merchant = Merchant {
            id: MerchantId::new(step.word(0)).unwrap(),
            name: step.word(0).into(),
            mcc: step.option("mcc").unwrap_or("5499").parse().unwrap(),
            status: if inactive { MerchantStatus::Inactive } else { MerchantStatus::Active },
            limits: MerchantLimits { per_payment: yen("cap"), in_store: yen("in_store") },
        };
        match self.ask(Request::PutMerchant(Box::new(merchant))) {
            Reply::Merchant { created, .. } => String::from(if created { "created" } else { "changed" }),
            other => format!("{other:?}"),
        }
    }

    fn issue(&mut self, step: &Step) -> String {
        let customer = CustomerId::new(step.word(1)).unwrap();
        let form = if step.has("tok19") { Form::Tok19 } else { Form::L24 };
        let generation = step.option("generation").map_or(1, |text| text.parse().unwrap());
        match self.ask(Request::IssueCode { customer, generation, form }) {
            Reply::Code(view) => {
                self.codes.insert(step.word(0).to_owned(), (view.code.id, view.code));
                String::from("issued")
            }
            Reply::CodeRefused(reason, _) => format!("refused {}", reason.row().name),
            other => format!("{other:?}"),
        }
    }

    /// `K` as its barcode, `qr:K`, `forged:K`, `bare:K` (its body as 19 digits), `leaked:K` and `leaked-qr:K` (sealed with keys
    /// of another generation than its own), `guess` (19 digits of no code), `invalid`, `foreign`.
    fn scan(&self, word: &str) -> Scanned {
        let (form, name) = word.split_once(':').unwrap_or(("", word));
        match (form, name) {
            ("", "invalid") => return Scanned::Invalid,
            ("", "foreign") => return Scanned::Foreign,
            ("", "guess") => return Scanned::Sealed { handle: Handle::new(0).unwrap(), proof: Proof::Tok19 },
            _ => {}
        }
        let (_, code) = self.codes.get(name).unwrap_or_else(|| panic!("no code {name}"));
        let second = u64::try_from(code.issued_at.0 / 1_000).unwrap();
        let epochs_ago = u64::try_from(self.now.0 / 1_000).unwrap() / 600 - second / 600;
        match form {
            "forged" => Scanned::Forged { handle: code.handle },
            "unverifiable" => Scanned::Unverifiable { handle: code.handle },
            "qr" | "leaked-qr" => Scanned::Sealed {
                handle: code.handle,
                proof: Proof::Qr {
                    counter: code.counter,
                    random: code.random,
                    issued_at: u32::try_from(second).unwrap(),
                    ttl: 300,
                },
            },
            "bare" => Scanned::Sealed { handle: code.handle, proof: Proof::Tok19 },
            _ if code.form == Form::Tok19 => Scanned::Sealed { handle: code.handle, proof: Proof::Tok19 },
            // As the edge tells it: an old seal counts beside its record only.
            _ if epochs_ago > 1 => match self.core.state().codes.get(code.handle, self.now) {
                Some(record) if record.id == code.id => Scanned::Stale { handle: code.handle },
                _ => Scanned::Forged { handle: code.handle },
            },
            _ => Scanned::Sealed { handle: code.handle, proof: Proof::Barcode { epoch: second / 600 } },
        }
    }

    /// The generation of the keys whose seal holds.
    fn sealed_by(&self, step: &Step) -> Option<u8> {
        let (form, name) = step.word(3).split_once(':').unwrap_or(("", step.word(3)));
        let own = self.codes.get(name)?.1.generation;
        Some(if form.starts_with("leaked") { own + 1 } else { own })
    }

    /// A sale as the register, or the network, tells it.
    fn sale(&self, step: &Step) -> Authorize {
        let named = step.word(3).strip_prefix("customer:").or((step.verb == "online").then_some(step.word(3)));
        let payer = match named {
            Some(customer) => Payer::Customer(CustomerId::new(customer).unwrap()),
            None => Payer::Code(self.scan(step.word(3))),
        };
        let channel = match (step.verb == "online", step.has("np")) {
            (false, _) => Channel::InStore,
            (true, false) => Channel::Online,
            (true, true) => Channel::NpAtobarai,
        };
        let categories = step.option("items").map(|list| list.split(',').map(|c| Category::new(c).unwrap()).collect());
        let currency = step.option("currency").unwrap_or("JPY").as_bytes();
        Authorize {
            order_id: self.order_id(step.word(0)),
            merchant: MerchantId::new(step.word(1)).unwrap(),
            store: step.option("store").map(|text| StoreId::new(text).unwrap()),
            terminal: step.option("terminal").map(|text| TerminalId::new(text).unwrap()),
            payer,
            channel,
            amount: Yen::new(step.amount(2)),
            currency: currency.try_into().unwrap(),
            capture: !step.has("hold"),
            confirm_repeat: step.has("confirm"),
            entry_mode: None,
            categories: categories.unwrap_or_default(),
            requested_at: None,
            late: step.has("late"),
        }
    }

    fn authorize(&mut self, step: &Step) -> String {
        let input = self.sale(step);
        let (input, sealed_by) = (Arc::new(input), self.sealed_by(step));
        let reply = self.ask(Request::Authorize { input, throttled: step.has("throttled"), sealed_by });
        let now = self.now;
        match reply {
            Reply::Decision { order, replayed } => decision(&order, replayed, now),
            Reply::OrderIdReused { .. } => String::from("reused"),
            Reply::Throttled => String::from("throttled"),
            other => format!("{other:?}"),
        }
    }

    /// `up_to=YEN` or `never` is what the link may post, `original=R-1` the request it got no answer to.
    fn advice(&mut self, step: &Step) -> String {
        let input = Arc::new(self.sale(step));
        let merchant = input.merchant;
        let original = step.option("original").map(|id| OrderKey { merchant, order_id: self.order_id(id) });
        let post = match step.option("up_to") {
            Some(yen) => Post::UpTo(Yen::new(yen.parse().unwrap())),
            None if step.has("never") => Post::Never,
            None if self.by_network => STAND_IN,
            None => Post::WithinLimits,
        };
        let (now, sealed_by) = (self.now, self.sealed_by(step));
        match self.ask_on_order(OnOrder::StandIn(Advice { input, original, post, sealed_by, must_be_known: false })) {
            Reply::Advised { order, advice, replayed } => {
                let what = match advice {
                    AdviceOutcome::AlreadyCounted => format!("counted as={}", order.order_id),
                    AdviceOutcome::Posted => words(Booked::Posted),
                    AdviceOutcome::OverLimit => words(Booked::OverLimit),
                    AdviceOutcome::Suspense(why) => words(Booked::Suspense(why)),
                };
                assert_eq!(order.billed, !what.starts_with("suspense"), "{order:?}");
                format!("{what} {}", decision(&order, replayed, now))
            }
            Reply::Decision { order, replayed } => decision(&order, replayed, now),
            Reply::OrderIdReused { .. } => String::from("reused"),
            other => format!("{other:?}"),
        }
    }

    fn order_id(&self, name: &str) -> OrderId {
        let message = if self.by_network { "112308453000000100000353001" } else { "" };
        OrderId::new(&format!("{message}{name}")).unwrap()
    }

    fn key(&self, name: &str, merchant: &str) -> OrderKey {
        OrderKey { merchant: MerchantId::new(merchant).unwrap(), order_id: self.order_id(name) }
    }

    fn order(&mut self, step: &Step, at: usize) -> Option<Order> {
        let key = self.key(step.word(0), step.word(at));
        match self.ask_on_order(OnOrder::Find(Named::Key(key))) {
            Reply::Order(order) => Some(*order),
            _ => None,
        }
    }

    /// What a network tells can't be refused.
    fn told(&mut self, doing: OnOrder) {
        match self.ask_on_order(doing) {
            Reply::Done | Reply::Captured { .. } | Reply::Advised { .. } | Reply::Decision { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn reverse(&mut self, step: &Step, original: OrderKey, kept: Option<Yen>) {
        let is_hold = step.has("hold") || self.order(step, 1).is_some_and(|order| self.was_hold(&order));
        let of = if is_hold { Of::Hold } else { Of::Sale };
        let refund_id = RefundId::new(&format!("{}-{}", step.word(0), step.verb)).unwrap();
        let reverse = Reverse { original, of, kept, refund_id, must_be_known: false };
        for _ in 0..2 {
            self.told(OnOrder::Reverse(reverse));
        }
    }

    fn was_hold(&self, order: &Order) -> bool {
        order.capture.is_some() || matches!(order.state, OrderState::Held { .. })
    }

    fn cancel(&mut self, step: &Step) -> String {
        let key = self.key(step.word(0), step.word(1));
        let by_network = self.by_network && !step.has("http");
        if by_network {
            self.reverse(step, key, None);
        }
        match self.ask_on_order(OnOrder::Cancel(Cancel::new(key))) {
            Reply::Cancelled { action, replayed, .. } => {
                assert!(!by_network || replayed || action.name() == "none", "it was reversed before");
                format!("{}{}", action.name(), if replayed { " replayed" } else { "" })
            }
            Reply::Refused(refusal) => refused(refusal),
            other => format!("{other:?}"),
        }
    }

    /// A capture as the network tells it, under a name of its own.
    fn capture_by_network(&mut self, step: &Step, own: &str) {
        let (original, own) = (self.key(step.word(0), step.word(1)), self.key(own, step.word(1)));
        let payer = Payer::Code(step.option("code").map_or(Scanned::Invalid, |code| self.scan(code)));
        let amount = Yen::new(step.amount(2));
        self.told(OnOrder::CaptureAdvice(CaptureAdvice {
            original,
            own,
            terminal: None,
            amount,
            payer,
            sealed_by: step.option("code").map(|_| 1),
            post: STAND_IN,
            must_be_known: false,
        }));
    }

    fn post(&mut self, step: &Step) -> String {
        let own = step.option("as").expect("as=");
        self.capture_by_network(step, own);
        let (own, beside) = (self.key(own, step.word(1)), self.key(&format!("{}-C", step.word(0)), step.word(1)));
        let booked = |key| self.core.state().orders.by_key(&key, self.now)?.advice.map(words);
        booked(own).or(booked(beside)).unwrap_or_else(|| "counted".to_owned())
    }

    fn capture(&mut self, step: &Step) -> String {
        if self.by_network {
            self.capture_by_network(step, &format!("{}-by", step.word(0)));
        }
        let Some(order) = self.order(step, 1) else { return String::from("refused authorization_unknown") };
        let request = Capture { authorization: order.id, amount: Yen::new(step.amount(2)) };
        match self.ask_on_order(OnOrder::Capture(request)) {
            Reply::Captured { order, replayed } => {
                let replayed = if replayed { " replayed" } else { "" };
                let terms = order.terms();
                format!("captured month={} due={} points={}{replayed}", terms.month, terms.due, terms.points)
            }
            Reply::Refused(refusal) => refused(refusal),
            other => format!("{other:?}"),
        }
    }

    fn refund(&mut self, step: &Step) -> String {
        let Some(order) = self.order(step, 1) else { return String::from("refused authorization_unknown") };
        // A network's refund has a name as its orders have.
        let refund_id = format!("{}-{}", step.word(0), step.word(2));
        let refund_id = if self.by_network { self.order_id(&refund_id).to_string() } else { step.word(2).to_owned() };
        let request = Refund::new(order.id, RefundId::new(&refund_id).unwrap(), Yen::new(step.amount(3)));
        match self.ask_on_order(OnOrder::Refund(request)) {
            Reply::Refunded { made, replayed, .. } => {
                let replayed = if replayed { " replayed" } else { "" };
                format!("{} left={}{replayed}", made.destination.name(), made.left)
            }
            Reply::Refused(refusal) => refused(refusal),
            other => format!("{other:?}"),
        }
    }

    fn unrefund(&mut self, step: &Step) {
        let refund = self.key(&format!("{}-{}", step.word(0), step.word(2)), step.word(1));
        let amount = Some(Yen::new(step.amount(3)));
        self.told(OnOrder::ReverseRefund(ReverseRefund { refund, amount, terminal: None, must_be_known: false }));
    }

    fn inquire(&mut self, step: &Step) -> String {
        let Some(order) = self.order(step, 1) else { return "unknown".to_owned() };
        let became = order.became(self.now);
        let status = order.status(self.now).name();
        format!("{status} captured={} refunded={}", became.captured, became.refunded)
    }

    /// Whom a sale names only the ledger has, so the scenario says it.
    fn settle(&mut self, step: &Step) -> String {
        let Some(order) = self.order(step, 1) else { return String::from("refused authorization_unknown") };
        let customer = |name: &str| step.option(name).map(|text| CustomerId::new(text).unwrap());
        let settlement = SettleSuspense {
            authorization: order.id,
            id: OfficeId::new(step.word(2)).unwrap(),
            action: *SuspenseAction::ALL.iter().find(|action| action.name() == step.word(3)).unwrap(),
            customer: customer("customer"),
            known_customer: customer("knows"),
            why: None,
            staff: Staff { by: "tanaka".into(), key: "office".into(), reason: "month end".into() },
        };
        let ledger = Some(Known::nothing());
        match self.ask_on_order(OnOrder::SettleSuspense { settlement, ledger }) {
            Reply::SuspenseSettled { receipt, customer, replayed } => {
                let Event::SuspenseSettled(fact) = receipt.event.as_ref() else { panic!("{receipt:?}") };
                let charged = fact.end.charged().map(|charged| format!(" month={} due={}", charged.month, charged.due));
                let customer = customer.map_or_else(|| "none".to_owned(), |id| id.to_string());
                let (action, replayed) = (fact.end.action().name(), if replayed { " replayed" } else { "" });
                format!("{action} customer={customer}{}{replayed}", charged.unwrap_or_default())
            }
            Reply::Refused(refusal) => refused(refusal),
            other => panic!("{other:?} is no answer"),
        }
    }

    fn freeze(&mut self, step: &Step) -> String {
        let id = OfficeId::new(step.word(1)).unwrap();
        let instruction = if step.verb == "freeze" {
            Instruction::Freeze { id }
        } else {
            let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "found".into() };
            Instruction::Unfreeze { id, staff }
        };
        let customer = CustomerId::new(step.word(0)).unwrap();
        match self.ask(Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) }) {
            Reply::Booked { account, replayed, .. } => {
                let stands = account.notes().is_some_and(|notes| notes.freezes.contains(&id));
                let rules = self.core.state().rules().unwrap();
                let blocked = account.blocked_by(Channel::InStore, &Now::at(self.now), rules);
                let blocked = blocked.map_or("none", |reason| reason.row().name);
                let replayed = if replayed { " replayed" } else { "" };
                format!("{} blocked={blocked}{replayed}", if stands { "frozen" } else { "released" })
            }
            Reply::Refused(refusal) => refused(refusal),
            other => panic!("{other:?} is no answer"),
        }
    }

    fn standing(&mut self, step: &Step) -> String {
        let id = CustomerId::new(step.word(0)).unwrap();
        let Reply::Customer { account, .. } = self.ask(Request::FindCustomer(id)) else {
            return String::from("unknown");
        };
        let now = Now::at(self.now);
        let state = self.core.state();
        let rules = state.rules().unwrap();
        let (room, exposure) = (account.spendable(&now, rules), account.exposure(&now, rules));
        let blocked = account.blocked_by(Channel::InStore, &now, rules);
        format!(
            "in_store={} online={} exposure={} held={} billed={} blocked={}",
            room.in_store,
            room.online,
            exposure.total,
            exposure.held,
            exposure.billed,
            blocked.map_or("none", |reason| reason.row().name)
        )
    }

    fn mirror(&mut self, step: &Step) -> String {
        let (id, _) = self.codes[step.word(0)];
        match self.ask(Request::FindCode(id)) {
            Reply::Code(view) => {
                let latest = view.latest.map_or("none", |tried| tried.order.status(self.now).name());
                let became = view.sale.map(|sale| sale.order.became(self.now)).unwrap_or_default();
                let (code, attempts) = (view.code.state(self.now).name(), view.code.attempts);
                let (captured, cancelled) = (became.captured, became.cancelled);
                format!("{code} attempts={attempts} last={latest} captured={captured} cancelled={cancelled}")
            }
            _ => String::from("unknown"),
        }
    }
}

/// What the link of the sandbox may post.
const STAND_IN: Post = Post::UpTo(Yen::new(20_000));

fn words(booked: Booked) -> String {
    match booked {
        Booked::Posted => String::from("posted"),
        Booked::OverLimit => String::from("over_limit"),
        Booked::Suspense(why) => format!("suspense {}", why.name()),
    }
}

fn refused(refusal: Refusal) -> String {
    let name = match refusal {
        Refusal::AuthorizationUnknown => "authorization_unknown",
        Refusal::UseRefund => "use_refund",
        Refusal::CapturedOtherwise { .. } => "captured_otherwise",
        Refusal::OverHold { .. } => "over_hold",
        Refusal::NotStanding { .. } | Refusal::Cancelled => "not_standing",
        Refusal::NotCaptured => "not_captured",
        Refusal::RefundIdReused { .. } => "refund_id_reused",
        Refusal::OverRefundable { .. } => "over_refundable",
        Refusal::FreezeUnknown => "freeze_unknown",
        Refusal::NotInSuspense { .. } => "not_in_suspense",
        Refusal::SuspenseOfNobody => "suspense_of_nobody",
        Refusal::CustomerUnknown => "customer_unknown",
        Refusal::OtherCustomer => "invalid_field",
        Refusal::IdReused { .. } => "id_reused",
        other => panic!("{other:?} is no refusal of these scenarios"),
    };
    format!("refused {name}")
}

fn decision(order: &Told, replayed: bool, now: Millis) -> String {
    let first = order.first.as_ref().map(|first| format!(" first={}", first.order_id)).unwrap_or_default();
    let what = match order.state {
        OrderState::Denied(reason) => format!("denied {} retry={}", reason.row().name, reason.retry(replayed).name()),
        OrderState::Cancelled => String::from("denied cancelled"),
        _ => format!("approved month={} due={} points={}", order.month, order.due, order.points),
    };
    let replayed = if replayed { " replayed" } else { "" };
    format!("{what} status={}{first}{replayed}", order.status(now).name())
}

impl<C: Core> World for Direct<C> {
    fn name(&self) -> &'static str {
        self.core.name()
    }

    fn step(&mut self, step: &Step) -> String {
        match step.verb.as_str() {
            "clock" => {
                self.now = Millis::parse(step.word(0)).expect("a time");
                String::new()
            }
            "later" => {
                self.now = self.now.plus(duration_ms(step.word(0)));
                String::new()
            }
            "restart" => {
                self.core.restart();
                String::new()
            }
            // Here no code is read from its text.
            "issuers" => String::new(),
            "customer" => self.customer(step),
            "merchant" => self.merchant(step),
            "code" => self.issue(step),
            "void" => {
                let (id, _) = self.codes[step.word(0)];
                self.ask(Request::VoidCode { code: id });
                self.mirror(step)
            }
            "pay" | "online" => self.authorize(step),
            "advice" => self.advice(step),
            "suspense" => format!("yen={}", self.core.state().suspense),
            "cancel" => self.cancel(step),
            "capture" => self.capture(step),
            "refund" => self.refund(step),
            "network" => {
                self.by_network = true;
                String::new()
            }
            "post" => self.post(step),
            "part" => {
                let key = self.key(step.word(0), step.word(1));
                self.reverse(step, key, Some(Yen::new(step.amount(2))));
                String::from("done")
            }
            "unrefund" => {
                self.unrefund(step);
                String::from("done")
            }
            "inquire" => self.inquire(step),
            "settle" => self.settle(step),
            "freeze" | "unfreeze" => self.freeze(step),
            "standing" => self.standing(step),
            "mirror" => self.mirror(step),
            other => panic!("line {}: unknown verb {other}", step.line),
        }
    }
}
