//! The product's side: its core driven by hand, and its figures in the model's units.

use std::collections::BTreeMap;
use std::sync::Arc;

use sokketsu::domain::billing::account::Account;
use sokketsu::domain::billing::moment::BillAt;
use sokketsu::domain::billing::notes::{Note, SlipIssued};
use sokketsu::domain::billing::settlement::{Place, Transfer};
use sokketsu::domain::commands::office::calendar;
use sokketsu::domain::commands::past::Past;
use sokketsu::domain::commands::refusal::Refusal;
use sokketsu::domain::commands::reply::CancelAction;
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::{OnOrder, Request};
use sokketsu::domain::commands::{MOST_STEPS, Ruling, dispatch};
use sokketsu::domain::model::code::Form;
use sokketsu::domain::model::correction::{Correction, Fee};
use sokketsu::domain::model::customer::{Identity, Limits, Status};
use sokketsu::domain::model::denial::Reason;
use sokketsu::domain::model::ids::{CustomerId, CustomerIx, MerchantId, OfficeId, OrderId, RefundId};
use sokketsu::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::{Order, OrderState};
use sokketsu::domain::model::payment::{BillKey, PaymentMethod, SlipKind};
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{
    Authorize, Cancel, Capture, CustomerChange, Instruction, OrderKey, Payer, Proof, Refund, Said, Scanned, Staff,
};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{Date, Millis, Month, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;
use sokketsu::domain::state::receipts::Known;

use super::archive::Archive;
use super::bill::{Key, Lines};
use super::books::{Method, Way};
use super::calendar::{Day, MonthNo, start_of};
use super::fold::Exposure;

const POLICY: &str = include_str!("../../config/policy.toml");
pub const HOLIDAYS: &str = include_str!("../../config/holidays.csv");

pub struct Product {
    pub(super) state: State,
    pub(super) history: Vec<(Millis, Event)>,
    random: u64,
    /// Order ids used.
    tried: usize,
    /// Approved ones as last seen: what the ledger would know of them.
    orders: Vec<Order>,
    archive: Archive,
}

/// One customer at one moment.
pub struct Standing {
    pub exposure: Exposure,
    pub spendable: (u64, u64),
    pub credit: u64,
    pub payout_due: u64,
    pub sums: Sums,
    /// Because of what the model knows of.
    pub blocked: Option<Reason>,
    pub bills: Vec<BillAt>,
}

/// Yen of free sums, by own day and by whether they are due for payout.
pub type Sums = BTreeMap<(i64, bool), u64>;

fn customer(who: usize) -> CustomerId {
    CustomerId::new(&format!("C{who}")).unwrap()
}

fn ix(who: usize) -> CustomerIx {
    CustomerIx(u32::try_from(who).unwrap())
}

fn key(sale: usize) -> OrderKey {
    OrderKey { merchant: MerchantId::new("M").unwrap(), order_id: OrderId::new(&format!("O-{sale}")).unwrap() }
}

fn office(number: usize) -> OfficeId {
    OfficeId::new(&format!("F-{number}")).unwrap()
}

fn staff() -> Staff {
    Staff { by: "tanaka".into(), key: "office".into(), reason: "by mistake".into() }
}

fn method(method: Method) -> PaymentMethod {
    match method {
        Method::Konbini => PaymentMethod::Konbini,
        Method::Postcard => PaymentMethod::Postcard,
        Method::Debit => PaymentMethod::Debit,
    }
}

pub fn lines(lines: &sokketsu::domain::model::payment::Lines) -> Lines {
    Lines {
        principal: lines.principal.get(),
        bill_fee: lines.bill_fee.get(),
        late_fees: lines.late_fees.get(),
        damages: lines.damages.get(),
    }
}

fn month(number: i64) -> Month {
    Month::parse(&format!("{:04}-{:02}", number / 12, number % 12 + 1)).unwrap()
}

/// Yen that came to a place and left it.
#[derive(Default)]
struct Flow {
    to: u64,
    from: u64,
}

impl Flow {
    fn count(&mut self, transfer: &Transfer, is_there: impl Fn(Place) -> bool) {
        self.to += if is_there(transfer.to) { transfer.amount.get() } else { 0 };
        self.from += if is_there(transfer.from) { transfer.amount.get() } else { 0 };
    }
}

impl Product {
    pub fn new(limits: &[(u64, u64)], now: i64) -> Self {
        let state = State::new(Settings::default());
        let mut product =
            Self { state, history: Vec::new(), random: 1, tried: 0, orders: Vec::new(), archive: Archive::default() };
        let opening = [
            Event::Opened { sandbox: true },
            Event::PolicySet { version: 1, text: POLICY.into() },
            Event::HolidaysSet { text: HOLIDAYS.into() },
        ];
        opening.into_iter().for_each(|event| product.record(event, now));
        let (id, name, limits_there) = (key(0).merchant, "M".into(), MerchantLimits::default());
        let shop = Merchant { id, name, mcc: 5_499, status: MerchantStatus::Active, limits: limits_there };
        product.ask(Request::PutMerchant(Box::new(shop)), now);
        for (who, (total, in_store)) in limits.iter().enumerate() {
            let limits = Limits { total: Yen::new(*total), in_store: Yen::new(*in_store) };
            let change = CustomerChange {
                identity: Some(Identity::Verified),
                birth_date: Some(Date::parse("1990-01-01")),
                limits: Some(Some(limits)),
                ..CustomerChange::default()
            };
            product.ask(Request::PutCustomer { id: customer(who), change: Box::new(change) }, now);
        }
        product
    }

    fn record(&mut self, event: Event, now: i64) {
        let at = Now::at(Millis(now));
        self.state.apply(&event, &at);
        self.archive.apply(&event, self.state.lsn, &at);
        self.history.push((Millis(now), event));
    }

    fn ask(&mut self, request: Request, now: i64) -> Reply {
        let at = Now::at(Millis(now));
        let mut question = request.clone();
        for steps in 0..=MOST_STEPS {
            let random = &mut self.random;
            let mut draw = || {
                // Weyl sequence: spread numbers from a counter.
                *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                *random
            };
            match dispatch(&self.state, &question, &at, steps, &mut draw) {
                // As the front end does it.
                Ruling::Answer(Reply::AskStories(customer)) => {
                    let kept = self.archive.kept(self.state.lsn, &customer);
                    question = Request::Knowing { kept, question: Box::new(request.clone()) };
                }
                Ruling::Answer(reply) => return reply,
                Ruling::Step(event) => self.record(event, now),
                Ruling::Record(event, answer) => {
                    self.record(event.clone(), now);
                    return answer(&self.state, &event, &at);
                }
            }
        }
        panic!("no end of {request:?}")
    }

    /// Comes back from its journal, the same as it was.
    pub fn restart(&mut self, now: i64) -> Result<(), String> {
        let mut state = State::new(Settings::default());
        for (at, event) in &self.history {
            state.apply(event, &Now::at(*at));
        }
        // What is over is over, whether it was freed before or not.
        let tidied = |state: &State| -> Vec<Account> {
            let mut accounts: Vec<Account> = state.accounts().cloned().collect();
            accounts.iter_mut().for_each(|account| drop(account.tidy(Millis(now).date())));
            accounts
        };
        let accounts = tidied(&self.state).into_iter().zip(tidied(&state));
        let differs = accounts.into_iter().find(|(before, after)| before != after);
        let differs = differs.map(|(before, after)| format!("{before:?}\nis after a restart\n{after:?}"));
        self.state = state;
        differs.map_or(Ok(()), Err)
    }

    /// Posts what time made due.
    pub fn look_after(&mut self, who: usize, now: i64) {
        if let Some(event) = calendar(&self.state, ix(who), &Now::at(Millis(now))) {
            self.record(event, now);
        }
    }

    /// Posts what time made due; where nothing was, what is over is let go.
    pub fn sweep(&mut self, who: usize, now: i64) {
        let at = Now::at(Millis(now));
        match calendar(&self.state, ix(who), &at) {
            Some(event) => self.record(event, now),
            None => self.state.let_go(ix(who), at.date),
        }
    }

    /// Whether the purchase is approved; in store it is paid with a fresh code.
    pub fn buy(&mut self, who: usize, way: Way, amount: u64, hold: bool, now: i64) -> Result<(), Reason> {
        let (payer, channel) = match way {
            Way::InStore => {
                match self.ask(Request::IssueCode { customer: customer(who), generation: 1, form: Form::L24 }, now) {
                    Reply::Code(view) => {
                        let epoch = u64::try_from(now / 600_000).unwrap();
                        let (handle, proof) = (view.code.handle, Proof::Barcode { epoch });
                        (Payer::Code(Scanned::Sealed { handle, proof }), Channel::InStore)
                    }
                    Reply::CodeRefused(reason, _) => return Err(reason),
                    other => panic!("{other:?}"),
                }
            }
            Way::Online => (Payer::Customer(customer(who)), Channel::Online),
            Way::Np => (Payer::Customer(customer(who)), Channel::NpAtobarai),
        };
        self.tried += 1;
        let input = Authorize::new(key(self.tried), payer, channel, Yen::new(amount));
        let input = Arc::new(Authorize { capture: !hold, confirm_repeat: true, ..input });
        self.ask(Request::Authorize { input, throttled: false, sealed_by: None }, now);
        let order = self.state.orders.newest().unwrap().clone();
        match order.state {
            OrderState::Denied(reason) => Err(reason),
            _ => {
                self.orders.push(order);
                Ok(())
            }
        }
    }

    pub fn capture(&mut self, sale: usize, amount: u64, now: i64) {
        let capture = Capture { authorization: self.orders[sale].id, amount: Yen::new(amount) };
        match self.ask(OnOrder::Capture(capture).into(), now) {
            Reply::Captured { order, replayed: false } => self.orders[sale] = *order,
            other => panic!("{other:?}"),
        }
    }

    pub fn cancel(&mut self, sale: usize, now: i64) -> Result<(), Refusal> {
        let cancel = Cancel::new(self.orders[sale].key);
        let past = Past::Orders(vec![self.orders[sale].clone()]);
        match self.ask(Request::OnOrder { doing: Box::new(OnOrder::Cancel(cancel)), past }, now) {
            Reply::Cancelled { action: CancelAction::Reversed, replayed: false, .. } => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// An order that is no longer in memory comes from the ledger, as the front end does it.
    pub fn refund(&mut self, sale: usize, amount: u64, number: usize, now: i64) {
        let authorization = self.orders[sale].id;
        let refund_id = RefundId::new(&format!("R-{number}")).unwrap();
        let refund = OnOrder::Refund(Refund::new(authorization, refund_id, Yen::new(amount)));
        let past = Past::Orders(vec![self.orders[sale].clone()]);
        match self.ask(Request::OnOrder { doing: Box::new(refund), past }, now) {
            Reply::Refunded { order, replayed: false, .. } => self.orders[sale] = *order,
            other => panic!("{other:?}"),
        }
    }

    pub fn set_method(&mut self, who: usize, to: Method, now: i64) {
        let change = CustomerChange { payment_method: Some(method(to)), ..CustomerChange::default() };
        self.ask(Request::PutCustomer { id: customer(who), change: Box::new(change) }, now);
    }

    pub fn set_closed(&mut self, who: usize, closed: bool, now: i64) {
        let status = if closed { Status::Closed } else { Status::Active };
        let change = CustomerChange { status: Some(status), ..CustomerChange::default() };
        self.ask(Request::PutCustomer { id: customer(who), change: Box::new(change) }, now);
    }

    fn try_instruct(&mut self, who: usize, instruction: Instruction, now: i64) -> Result<Event, Refusal> {
        // While nothing has changed, the same slip is given again.
        let is_slip = matches!(instruction, Instruction::IssueSlip { .. });
        match self.ask(Request::Instruct { customer: customer(who), instruction, ledger: Some(Known::nothing()) }, now)
        {
            Reply::Booked { receipt, replayed, .. } if is_slip || !replayed => Ok(receipt.event.as_ref().clone()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn instruct(&mut self, who: usize, instruction: Instruction, now: i64) -> Event {
        self.try_instruct(who, instruction, now).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    pub fn repay(&mut self, who: usize, number: usize, amount: u64, paid_at: i64, slip: Option<u64>, now: i64) {
        let (id, amount, paid_at) = (office(number), Yen::new(amount), Some(Millis(paid_at)));
        self.instruct(who, Instruction::Repay { id, amount, paid_at, slip }, now);
    }

    pub fn expect(&mut self, who: usize, number: usize, amount: u64, (paid_at, expires_at): (i64, i64), now: i64) {
        let (id, amount, paid_at, expires_at) =
            (office(number), Yen::new(amount), Some(Millis(paid_at)), Millis(expires_at));
        self.instruct(who, Instruction::Expect { id, amount, paid_at, expires_at }, now);
    }

    pub fn end_news(&mut self, who: usize, number: usize, came: bool, now: i64) {
        let id = office(number);
        let told = if came {
            Instruction::Confirm { id, said: Said::default() }
        } else {
            Instruction::Withdraw { id, said: Said::default(), staff: None }
        };
        self.instruct(who, told, now);
    }

    pub fn post_damages(
        &mut self,
        who: usize,
        number: usize,
        bill: BillKey,
        amount: u64,
        now: i64,
    ) -> Result<(), Refusal> {
        let (id, amount) = (office(number), Yen::new(amount));
        self.try_instruct(who, Instruction::PostDamages { id, bill, amount, staff: None }, now).map(drop)
    }

    pub fn pay_out(&mut self, who: usize, number: usize, amount: u64, now: i64) -> Result<(), Refusal> {
        self.try_instruct(
            who,
            Instruction::PayOut { id: office(number), amount: Yen::new(amount), bank_reference: None, staff: None },
            now,
        )
        .map(|_| ())
    }

    pub fn correct(&mut self, who: usize, correction: Correction, now: i64) -> Result<(), Refusal> {
        self.try_instruct(who, Instruction::Correct { correction, staff: staff() }, now).map(drop)
    }

    pub fn reverse(
        &mut self,
        who: usize,
        (id, number): (usize, usize),
        amount: Option<u64>,
        now: i64,
    ) -> Result<(), Refusal> {
        let correction = Correction::ReverseRepayment {
            reversal: Some(Box::new(office(id))),
            repayment: office(number),
            amount: amount.map(Yen::new),
        };
        self.correct(who, correction, now)
    }

    pub fn waive(&mut self, who: usize, bill: BillKey, late: Option<Day>, now: i64) {
        let late = late.map(|day| Millis(start_of(day)).date());
        let fee = Fee { bill, late };
        let id = fee.waiver_of(customer(who)).unwrap();
        self.correct(who, Correction::WaiveFee { id, fee }, now).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }

    pub fn reverse_damages(&mut self, who: usize, number: usize, now: i64) -> Result<(), Refusal> {
        self.correct(who, Correction::ReverseDamages { posting: office(number) }, now)
    }

    pub fn write_off(&mut self, who: usize, number: usize, bill: BillKey, now: i64) -> Result<(), Refusal> {
        self.correct(who, Correction::WriteOff { id: office(number), bill }, now)
    }

    pub fn release(&mut self, who: usize, number: usize, now: i64) -> Result<(), Refusal> {
        self.correct(who, Correction::ReleaseWriteOff { id: office(number) }, now)
    }

    /// To a month that is still open.
    pub fn apply_credit(
        &mut self,
        who: usize,
        number: usize,
        (month_no, amount): (MonthNo, u64),
        now: i64,
    ) -> Result<(), Refusal> {
        let (id, amount, bill) = (office(number), Yen::new(amount), BillKey::Month(month(month_no)));
        self.correct(who, Correction::ApplyCredit { id, amount, bill }, now)
    }

    pub fn bounce(&mut self, who: usize, payout: usize, now: i64) {
        self.instruct(who, Instruction::Bounce { payout: office(payout), staff: staff() }, now);
    }

    pub fn issue_slip(&mut self, who: usize, now: i64) -> SlipIssued {
        let instruction = Instruction::IssueSlip { kind: SlipKind::TerminalNumber };
        match self.instruct(who, instruction, now) {
            Event::Noted { note: Note::SlipIssued(slip), .. } => slip,
            other => panic!("{other:?}"),
        }
    }

    pub fn standing(&self, who: usize, now: i64) -> Standing {
        let (account, now) = (self.account(who), &Now::at(Millis(now)));
        let rules = self.state.rules().unwrap();
        let (exposure, spendable) = (account.exposure(now, rules), account.spendable(now, rules));
        let blocked = account.blocked_by(Channel::Online, now, rules);
        let (credit, payout_due, sums) = self.free(who, now);
        Standing {
            exposure: Exposure {
                total: exposure.total.get(),
                in_store: exposure.in_store.get(),
                held: exposure.held.get(),
                unbilled: exposure.unbilled.get(),
                billed: exposure.billed.get(),
                written_off: exposure.written_off.get(),
            },
            spendable: (spendable.in_store.get(), spendable.online.get()),
            credit,
            payout_due,
            sums,
            blocked: blocked.filter(|reason| [Reason::Closed, Reason::Overdue].contains(reason)),
            bills: account.bills_at(now, rules),
        }
    }

    /// Money that no debt has met: credit, what is due for payout, and the sums of both.
    fn free(&self, who: usize, now: &Now) -> (u64, u64, Sums) {
        let account = self.account(who).as_of(now, self.state.rules().unwrap());
        let mut sums = Sums::new();
        for sum in account.sums() {
            for (amount, is_due) in [(sum.credit(), false), (sum.due, true)] {
                if !amount.is_zero() {
                    *sums.entry((sum.money.day.0, is_due)).or_default() += amount.get();
                }
            }
        }
        (account.credit().get(), account.payout_due().get(), sums)
    }

    /// Where the ledger's rows do not come to what the account holds.
    pub fn rows_that_differ(&self, who: usize) -> Option<String> {
        self.archive.rows_that_differ(who)
    }

    /// A bill that is over, as the ledger keeps it: charged, paid and accrued.
    pub fn past_bill(&self, who: usize, key: BillKey, now: i64) -> Option<(Lines, Lines, u64)> {
        let bill = self.archive.bill(who, key)?;
        let (account, now) = (self.account(who), &Now::at(Millis(now)));
        let rules = self.state.rules().unwrap();
        let charged = lines(&bill.lines(&account.bill_rules(rules), now));
        Some((charged, lines(&bill.paid()), account.accrued_on(bill, now, rules).get()))
    }

    pub(super) fn account(&self, who: usize) -> &Account {
        self.state.account(ix(who)).unwrap()
    }

    /// The product's name of a bill; `order` is that of its first sale.
    pub fn bill_key(&self, key: Key, order: usize) -> BillKey {
        match key {
            Key::Month(number) => BillKey::Month(month(number)),
            Key::Np(_) => BillKey::Np(self.orders[order].id.lsn),
        }
    }

    /// What the customer paid, what was paid out and did not come back, and what was taken back, by the journal.
    pub fn money(&self, who: usize) -> (u64, u64, u64) {
        let (mut received, mut paid_out, mut reversed) = (Flow::default(), Flow::default(), Flow::default());
        for (_, event) in &self.history {
            let books = match event {
                Event::Settled { books, .. } => books,
                Event::Refunded(refunded) => &refunded.books,
                Event::CancelledPaid { books, .. } => books,
                _ => continue,
            };
            for transfer in books.transfers.iter().filter(|_| books.customer == ix(who)) {
                received.count(transfer, |place| place == Place::Received);
                // A payout or a reversal may come to be of another sum than before.
                paid_out.count(transfer, |place| matches!(place, Place::PaidOut { .. } | Place::Bounced { .. }));
                reversed.count(transfer, |place| matches!(place, Place::Reversed { .. }));
            }
        }
        (received.from - received.to, paid_out.to - paid_out.from, reversed.to - reversed.from)
    }
}
