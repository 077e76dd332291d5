//! The flows: a customer shows a code, the register asks, and what may follow. One flow for each customer at a
//! time. Every answer is judged against what the flow was meant to get and kept for the audit.

mod link;
mod referee;

use std::collections::VecDeque;

use crate::books::{Books, Order, Told, Undo};
use crate::profile::{Mix, Mode};
use loadtest::bytes::{put, put_number};
use loadtest::clock::Nanos;
use loadtest::crowd::{Code, Crowd};
use loadtest::drive::Player;
use loadtest::http::{Line, Requests, Role};
use loadtest::schedule::Arrival;
use loadtest::stats::{Call, Stats};
use loadtest::wire::{Outcome, Sent};

pub use link::Link;

/// More than anybody's limit, yen.
const TOO_MUCH: u32 = 9_999_999;
/// A code whose prefix is not ours.
const FOREIGN: &str = "800099991314159265005632";

/// A request and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    flow: u32,
    pub call: Call,
    /// Latency counts from here.
    pub intended: Nanos,
    pub step: usize,
    /// The flow's first, whose time the schedule gave.
    is_first: bool,
}

/// What the first authorization of a flow is meant to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sale,
    OverLimit,
    UsedCode,
    OtherIssuer,
    Forged,
}

/// What is still to come after the first answer.
#[derive(Clone, Copy, Default)]
struct Plan {
    hurries: u8,
    retry: bool,
    cancel: bool,
    retry_cancelled: bool,
    refund: bool,
    inquire: bool,
}

#[derive(Clone)]
struct Flow {
    customer: u32,
    kind: Kind,
    code: Code,
    /// Number of the order; of the last one if the client hurries.
    order: usize,
    amount: u32,
    merchant: u16,
    confirm: bool,
    plan: Plan,
    /// The order is an impatient client's next try.
    is_hurry: bool,
}

/// What a run plays.
#[derive(Clone, Copy)]
pub struct Rules {
    pub mode: Mode,
    pub mix: Mix,
    pub prices: u32,
    /// Where the baskets of this play begin.
    pub first_basket: u32,
    pub deadline_ms: u64,
}

/// The calls that are made most.
struct Lines {
    codes: Line,
    authorizations: Line,
}

pub struct Game {
    rules: Rules,
    pub crowd: Crowd,
    pub books: Books,
    pub stats: Stats,
    requests: Requests,
    lines: Lines,
    /// All but the preparations goes by ISO 8583.
    link: Option<Link>,
    flows: Vec<Flow>,
    idle_flows: Vec<u32>,
    /// Begun flows go on before new ones begin.
    next: VecDeque<Task>,
    arrivals: VecDeque<Arrival>,
    body: Vec<u8>,
}

impl Game {
    pub fn new(rules: Rules, crowd: Crowd, books: Books, stats: Stats, requests: Requests) -> Self {
        Self {
            rules,
            crowd,
            books,
            stats,
            lines: Lines {
                codes: requests.line(Role::Wallet, "/v1/codes"),
                authorizations: requests.line(Role::Register, "/v1/authorizations"),
            },
            requests,
            link: None,
            flows: Vec::new(),
            idle_flows: Vec::new(),
            next: VecDeque::new(),
            arrivals: VecDeque::new(),
            body: Vec::new(),
        }
    }

    /// Plays by ISO 8583.
    #[must_use]
    pub fn by_link(mut self, link: Option<Link>) -> Self {
        self.link = link;
        self
    }

    fn first_call(&self) -> Call {
        if self.rules.mode == Mode::Pair { Call::Issue } else { Call::Authorize }
    }

    fn kind(&mut self, customer: usize) -> Kind {
        let mix = self.rules.mix;
        let has_used = self.crowd.all.get(customer).is_some_and(|customer| !customer.used.is_empty());
        if self.crowd.chance(mix.over_limit) {
            Kind::OverLimit
        } else if has_used && self.crowd.chance(mix.used_code) {
            Kind::UsedCode
        } else if self.crowd.chance(mix.other_issuer) {
            Kind::OtherIssuer
        } else if self.crowd.chance(mix.forged) {
            Kind::Forged
        } else {
            Kind::Sale
        }
    }

    fn begin(&mut self, arrival: Arrival) -> Option<Task> {
        let at = self.crowd.pick()?;
        let mix = self.rules.mix;
        let kind = self.kind(at);
        let is_sale = kind == Kind::Sale;
        let hurries = if is_sale && self.crowd.chance(mix.hurried) { mix.hurried_times } else { 0 };
        // A hurried client's last order is a denied one: there is nothing to undo.
        let undo = hurries == 0 && self.crowd.chance(mix.cancel + mix.refund);
        let cancel = undo && self.crowd.chance(mix.cancel / (mix.cancel + mix.refund));
        let plan = Plan {
            hurries,
            retry: self.crowd.chance(mix.retry),
            cancel: is_sale && cancel,
            retry_cancelled: is_sale && cancel && self.crowd.chance(0.5),
            refund: is_sale && undo && !cancel,
            inquire: self.crowd.chance(mix.inquire) && self.link.is_none(),
        };
        let merchants = u32::try_from(self.books.merchants.len()).unwrap_or(1).max(1);
        let baskets = merchants * self.rules.prices;
        let customer = self.crowd.all.get_mut(at)?;
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        // Different baskets for as long as there are any: the guard against double sales must not see them twice,
        // nor those of a run a minute ago.
        let basket = self.rules.first_basket.wrapping_add(customer.sales).wrapping_add(number) % baskets;
        let is_repeat = customer.sales >= baskets;
        customer.sales += 1;
        let amount = if kind == Kind::OverLimit { TOO_MUCH } else { 1 + basket / merchants };
        let code = match kind {
            Kind::UsedCode => customer.used,
            Kind::OtherIssuer => Code::new(FOREIGN).unwrap_or_default(),
            Kind::Sale | Kind::OverLimit => std::mem::take(&mut customer.code),
            Kind::Forged => std::mem::take(&mut customer.code).tampered(),
        };
        let issues = self.rules.mode == Mode::Pair && !matches!(kind, Kind::UsedCode | Kind::OtherIssuer);
        let flow = Flow {
            customer: number,
            kind,
            code,
            order: 0,
            amount,
            merchant: u16::try_from(basket % merchants).unwrap_or(0),
            confirm: is_repeat,
            plan,
            is_hurry: false,
        };
        let counts = &mut self.stats.step(arrival.step).counts;
        counts.intended += u64::from(is_sale);
        let flow = self.keep(flow);
        let call = if issues { Call::Issue } else { Call::Authorize };
        if call == Call::Authorize {
            self.new_order(flow);
        }
        Some(Task { flow, call, intended: arrival.at, step: arrival.step, is_first: true })
    }

    fn keep(&mut self, flow: Flow) -> u32 {
        if let Some(number) = self.idle_flows.pop() {
            *self.flow(number) = flow;
            return number;
        }
        self.flows.push(flow);
        u32::try_from(self.flows.len() - 1).unwrap_or(u32::MAX)
    }

    #[expect(clippy::indexing_slicing, reason = "flows are numbered by their place")]
    fn flow(&mut self, flow: u32) -> &mut Flow {
        &mut self.flows[flow as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "orders are numbered by their place")]
    fn order_of(&mut self, flow: u32) -> &mut Order {
        let order = self.flow(flow).order;
        &mut self.books.orders[order]
    }

    fn new_order(&mut self, flow: u32) {
        let order = self.books.orders.len();
        let flow = self.flow(flow);
        flow.order = order;
        let (customer, amount, merchant, kind) = (flow.customer, flow.amount, flow.merchant, flow.kind);
        let payer = (kind != Kind::OtherIssuer).then_some(customer);
        self.books.orders.push(Order {
            customer: payer,
            amount,
            merchant,
            told: Told::NotSent,
            undo: Undo::None,
            id: None,
        });
        if let (true, Some(customer)) = (kind == Kind::Sale, self.crowd.all.get_mut(customer as usize)) {
            customer.at_most += u64::from(amount);
        }
    }

    fn order_and_merchant(&mut self, flow: u32) -> (String, String) {
        let merchant = self.order_of(flow).merchant;
        let order = self.flow(flow).order;
        let merchant = self.books.merchants.get(usize::from(merchant)).cloned().unwrap_or_default();
        (self.books.order_id(order), merchant)
    }

    fn write_authorization(&self, flow: u32, body: &mut Vec<u8>, out: &mut Vec<u8>) {
        let Some(flow) = self.flows.get(flow as usize) else { return };
        body.extend_from_slice(b"{\"order_id\":\"");
        self.books.write_order_id(body, flow.order);
        if self.rules.mode == Mode::Online {
            body.extend_from_slice(b"\",\"customer_id\":\"");
            self.books.write_customer_id(body, flow.customer);
            body.extend_from_slice(b"\",\"channel\":\"online\",\"amount\":");
        } else {
            body.extend_from_slice(b"\",\"code\":\"");
            body.extend_from_slice(flow.code.as_str().as_bytes());
            body.extend_from_slice(b"\",\"entry_mode\":\"barcode\",\"amount\":");
        }
        put_number(body, u64::from(flow.amount));
        let merchant = self.books.merchants.get(usize::from(flow.merchant)).map_or("", String::as_str);
        body.extend_from_slice(b",\"merchant\":{\"id\":\"");
        body.extend_from_slice(merchant.as_bytes());
        // A hundred registers in each shop.
        body.extend_from_slice(b"\",\"store_id\":\"S001\",\"terminal_id\":\"T");
        put_number(body, u64::from(flow.customer % 100));
        body.extend_from_slice(b"\"},\"deadline_ms\":");
        put_number(body, self.rules.deadline_ms);
        if flow.confirm && !flow.is_hurry {
            body.extend_from_slice(b",\"confirm_repeat\":true");
        }
        body.push(b'}');
        self.lines.authorizations.send(out, body);
    }

    /// Notes that it goes out.
    fn note(&mut self, task: Task) {
        match task.call {
            Call::Authorize => self.order_of(task.flow).told = Told::Nothing,
            Call::Cancel => self.order_of(task.flow).undo = Undo::CancelSent,
            Call::Refund => {
                let order = self.order_of(task.flow);
                // Half of an even amount, all of an odd one.
                let yen = if order.amount.is_multiple_of(2) { order.amount / 2 } else { order.amount };
                order.undo = Undo::RefundSent(yen);
            }
            Call::Issue | Call::Retry | Call::Inquire => (),
        }
    }

    fn end(&mut self, flow: u32) {
        let customer = self.flow(flow).customer;
        if let Some(customer) = self.crowd.all.get_mut(customer as usize) {
            customer.is_busy = false;
        }
        self.idle_flows.push(flow);
    }
}

impl Player for Game {
    type Task = Task;

    fn arrive(&mut self, arrival: Arrival, now: Nanos) {
        if self.stats.is_measured(arrival.step) {
            self.stats.lateness.record(now.saturating_sub(arrival.at));
        }
        self.stats.step(arrival.step).counts.arrivals += 1;
        self.arrivals.push_back(arrival);
    }

    /// A new flow begins if its time has come and a customer is free.
    fn next_task(&mut self) -> Option<Task> {
        if let Some(task) = self.next.pop_front() {
            return Some(task);
        }
        let arrival = *self.arrivals.front()?;
        let task = self.begin(arrival)?;
        self.arrivals.pop_front();
        Some(task)
    }

    fn next_in_loop(&mut self, now: Nanos, step: usize, begins: bool) -> Option<Task> {
        if let Some(task) = self.next.pop_front() {
            return Some(task);
        }
        let task = if begins { self.begin(Arrival { at: now, step }) } else { None }?;
        self.stats.step(step).counts.arrivals += 1;
        Some(task)
    }

    /// Also notes that it goes out.
    fn write(&mut self, task: Task, now: Nanos, out: &mut Vec<u8>) {
        if task.is_first && self.stats.is_measured(task.step) {
            self.stats.waited.record(now.saturating_sub(task.intended));
        }
        self.note(task);
        if self.write_message(task, out) {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        match task.call {
            Call::Issue => {
                let customer = self.flow(task.flow).customer;
                body.extend_from_slice(b"{\"customer_id\":\"");
                self.books.write_customer_id(&mut body, customer);
                body.extend_from_slice(b"\"}");
                self.lines.codes.send(out, &body);
            }
            Call::Authorize | Call::Retry => self.write_authorization(task.flow, &mut body, out),
            Call::Cancel => {
                let (order, merchant) = self.order_and_merchant(task.flow);
                put(&mut body, format_args!("{{\"order_id\":\"{order}\",\"merchant_id\":\"{merchant}\"}}"));
                self.requests.send(out, "POST", Role::Register, format_args!("/v1/cancellations"), &body);
            }
            Call::Refund => {
                let (order_id, _) = self.order_and_merchant(task.flow);
                let order = self.order_of(task.flow);
                let yen = if let Undo::RefundSent(yen) = order.undo { yen } else { order.amount };
                put(&mut body, format_args!("{{\"refund_id\":\"{order_id}-r\",\"amount\":{yen}}}"));
                let id = order.id.clone().unwrap_or_default();
                let path = format_args!("/v1/authorizations/{id}/refunds");
                self.requests.send(out, "POST", Role::Register, path, &body);
            }
            Call::Inquire => {
                let (order, merchant) = self.order_and_merchant(task.flow);
                let path = format_args!("/v1/authorizations?merchant_id={merchant}&order_id={order}");
                self.requests.get(out, Role::Register, path);
            }
        }
        self.body = body;
    }

    fn hear(&mut self, sent: &Sent<Task>, outcome: Outcome<'_>, now: Nanos) {
        self.heard(sent, outcome, now);
    }

    fn give_up(&mut self, before: Nanos) {
        while let Some(arrival) = self.arrivals.pop_front_if(|arrival| arrival.at < before) {
            let step = self.stats.step(arrival.step);
            step.counts.unsent += 1;
            step.counts.intended += 1;
            self.stats.lost(arrival.step, self.first_call());
        }
        while let Some(task) = self.next.pop_front_if(|task| task.intended < before) {
            self.stats.step(task.step).counts.unsent += 1;
            self.stats.lost(task.step, task.call);
            self.end(task.flow);
        }
    }

    fn is_still(&self) -> bool {
        self.next.is_empty() && self.arrivals.is_empty()
    }

    fn is_spent(&self) -> bool {
        self.crowd.is_spent()
    }

    fn tick(&mut self, now: Nanos) {
        self.stats.tick(now);
    }
}
