//! One connection's messages: from the bytes of a request to the engine, and from its answer to bytes again.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::{JoinError, JoinSet};

use super::Link;
use super::acquirers::{Fingerprint, Known};
use super::on_order::OrderMessage;
use super::response::Response;
use super::sale::input;
use crate::domain::model::ids::MerchantId;
use crate::engine::bad_codes::{Entry, Source};
use crate::engine::client::Client;
use crate::engine::outlet::{Outcome, Outlet};
use crate::engine::times::Times;
use crate::engine::{sale, times};
use crate::iso8583::frame::{Frame, Tpdu};
use crate::iso8583::message::{Malformed, Message, pack};
use crate::iso8583::profile::{Echo, Kind, answer_to, request};
use crate::iso8583::translate::{Asks, Request, Sale, Wrong, read};
use crate::metrics::Metrics;

/// A message under way, by its place in [`Session::slots`].
#[derive(Default)]
struct Slot {
    echo: Echo,
    tpdu: Option<Tpdu>,
    kind: Option<Kind>,
    /// Nothing while the slot is free.
    times: Option<Times>,
    /// Of a sale that the engine answers to the outlet.
    entry: Option<Entry>,
}

pub(crate) struct Session {
    link: Arc<Link>,
    certificate: Option<Fingerprint>,
    /// Answers, framed, to be written.
    pub output: Vec<u8>,
    /// Where the engine puts its answers.
    outlet: Outlet,
    taken: Vec<(u32, Outcome)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// What may take more than one question.
    pub tasks: JoinSet<Done>,
    message: Vec<u8>,
    is_signed_on: bool,
    /// We have signed off: nothing new is begun.
    is_leaving: bool,
    /// Of our own messages.
    stan: u32,
    /// Our own messages without an answer.
    unanswered: u32,
}

/// What a task of its own has come to: the slot, and its times with what its questions took.
pub(crate) type Done = (u32, (Response, Times));

/// What was asked is under way, or answered already.
type Asked = Result<(), Response>;

impl Session {
    pub fn new(link: Arc<Link>, certificate: Option<Fingerprint>) -> Self {
        Self {
            link,
            certificate,
            output: Vec::new(),
            outlet: Outlet::default(),
            taken: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            tasks: JoinSet::new(),
            message: Vec::new(),
            is_signed_on: false,
            is_leaving: false,
            stan: 0,
            unanswered: 0,
        }
    }

    pub fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }

    fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way() == 0
    }

    /// All is said, the sign-off answered.
    pub fn is_done(&self) -> bool {
        self.is_idle() && self.unanswered == 0
    }

    /// Sales beyond the bound are answered 91; of the rest as much again is taken before we stop reading.
    pub fn has_room(&self) -> bool {
        self.under_way() < 2 * self.link.options.max_in_flight
    }

    /// One message, whatever it is.
    pub fn receive(&mut self, frame: &Frame<'_>, received: Instant) {
        if frame.says_nothing() {
            return;
        }
        match Message::unpack(frame.message, self.link.options.layout) {
            Ok(message) => self.ask(&message, frame.tpdu, received),
            Err(malformed) => self.refuse(&malformed, frame.tpdu, received),
        }
    }

    /// What can't be read is answered if it can be said to whom, else counted.
    fn refuse(&mut self, malformed: &Malformed<'_>, tpdu: Option<Tpdu>, received: Instant) {
        tracing::debug!(problem = %malformed.problem, element = malformed.element, "a message that cannot be read");
        let readable = malformed.read.get(11).is_some();
        let mti = malformed.read.mti;
        match request(mti).or_else(|| answer_to(mti)).filter(|_| readable) {
            Some((kind, answer)) => {
                let number = self.occupy(&malformed.read, kind, answer, tpdu, received);
                self.answer(number, &Response::unreadable(malformed.element));
            }
            None => Metrics::shed("link_garbage"),
        }
    }

    fn ask(&mut self, message: &Message<'_>, tpdu: Option<Tpdu>, received: Instant) {
        // What is sensitive is masked.
        tracing::debug!(?message, "heard");
        if &message.mti == b"0810" {
            self.unanswered = self.unanswered.saturating_sub(1);
            return;
        }
        let numbered = message.get(11).is_some();
        let Some((kind, answer)) = request(message.mti).filter(|_| numbered) else {
            return match answer_to(message.mti).filter(|_| numbered) {
                // A request that the profile does not have.
                Some((kind, answer)) => {
                    let number = self.occupy(message, kind, answer, tpdu, received);
                    self.answer(number, &Response::unreadable(None));
                }
                None => Metrics::shed("link_garbage"),
            };
        };
        let number = self.occupy(message, kind, answer, tpdu, received);
        let asked = match kind {
            Kind::Network => Err(self.network(message)),
            _ => self.question(message, kind, number, received),
        };
        if let Err(response) = asked {
            self.answer(number, &response);
        }
    }

    fn network(&mut self, message: &Message<'_>) -> Response {
        let codes = &self.link.options.codes;
        match message.get(70) {
            Some(code) if code == codes.sign_on => self.is_signed_on = true,
            Some(code) if code == codes.sign_off => self.is_signed_on = false,
            Some(code) if code == codes.echo => {}
            Some(_) => return Response::wrong(Wrong { code: *b"12", element: 70 }),
            None => return Response::wrong(Wrong { code: *b"30", element: 70 }),
        }
        Response::DONE
    }

    fn question(&mut self, message: &Message<'_>, kind: Kind, number: u32, received: Instant) -> Asked {
        let link = Arc::clone(&self.link);
        if link.options.requires_sign_on && !self.is_signed_on {
            return Err(Response::not_signed_on());
        }
        if self.is_leaving || !link.client.readiness.may_serve() {
            return Err(Response::not_ready());
        }
        let request = read(message, kind).map_err(Response::wrong)?;
        let known = link.acquirers.find(&request.acquirer, self.certificate.as_ref());
        let known = known.ok_or_else(|| Response::not_permitted(32))?;
        let merchant = known.acquirer.merchant(request.acceptor);
        let merchant = merchant.ok_or_else(|| Response::wrong(Wrong { code: *b"30", element: 42 }))?;
        if !known.acquirer.speaks_for(&merchant) {
            return Err(Response::not_permitted(42));
        }
        match &request.asks {
            Asks::Sale(_) if self.under_way() > link.options.max_in_flight => {
                Metrics::shed("link_full");
                Err(Response::busy())
            }
            Asks::Sale(sale) => self.sale(&request, sale, known, merchant, number, Times::since(received)),
            Asks::OnOrder(asked) => {
                let message = OrderMessage::read(&link.client, &request, asked, &known.acquirer, merchant)?;
                let times = Times::since(received);
                self.ask_by_task(number, times, async move { message.carry_out(&link.client).await });
                Ok(())
            }
        }
    }

    /// What may take more than one question.
    fn ask_by_task(&mut self, number: u32, so_far: Times, asking: impl Future<Output = Response> + Send + 'static) {
        self.tasks.spawn(async move { (number, times::counted(so_far, asking).await) });
    }

    fn sale(
        &mut self,
        request: &Request<'_>,
        sale: &Sale<'_>,
        known: &Known,
        merchant: MerchantId,
        number: u32,
        mut times: Times,
    ) -> Asked {
        times.parsed(Instant::now());
        let client = &self.link.client;
        let (input, scan) = input(client, request, sale, merchant)?;
        let now = Instant::now();
        let source = Source {
            key: known.number,
            name: &known.acquirer.name,
            own_limit: known.acquirer.bad_codes_per_minute,
            merchant,
            terminal: request.terminal,
        };
        let deadline = times.received + self.link.options.deadline;
        let sale = sale::Sale { input: Arc::new(input), scan: Some(scan), deadline };
        let entry = client.enter(source, &sale, now);
        if sale.waits_for_record(&entry) {
            let client = Arc::clone(client);
            self.ask_by_task(
                number,
                times,
                async move { Response::to_sale(&client.decide(sale, entry).await, &entry) },
            );
            return Ok(());
        }
        times.asked(now);
        let question = sale.question(&entry);
        if let Err(shed) = client.inbox.submit_to(question, Some(deadline), &self.outlet, number) {
            return Err(Response::to_sale(&client.settled(&entry, Err(shed.into())), &entry));
        }
        if let Some(slot) = self.slot(number) {
            slot.entry = Some(entry);
            slot.times = Some(times);
        }
        Ok(())
    }

    /// Writes down what the engine has answered.
    pub fn take_answers(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.outlet.take(&mut taken);
        for (number, outcome) in taken.drain(..) {
            let Some(Slot { entry: Some(entry), times: Some(times), .. }) = self.slots.get_mut(number as usize) else {
                continue;
            };
            let answered = self.link.client.settled(entry, Client::answer(outcome));
            if let Ok(answered) = &answered {
                times.answered(answered);
            }
            let response = Response::to_sale(&answered, entry);
            self.answer(number, &response);
        }
        self.taken = taken;
    }

    pub fn finish(&mut self, done: Result<Done, JoinError>) {
        if let Ok((number, (response, times))) = done {
            if let Some(slot) = self.slot(number) {
                slot.times = Some(times);
            }
            self.answer(number, &response);
        }
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(number as usize)
    }

    fn occupy(
        &mut self,
        message: &Message<'_>,
        kind: Kind,
        answer: [u8; 4],
        tpdu: Option<Tpdu>,
        received: Instant,
    ) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slot(number) {
            slot.echo.fill(message, kind, answer);
            slot.tpdu = tpdu;
            slot.kind = Some(kind);
            slot.times = Some(Times::since(received));
            slot.entry = None;
        }
        number
    }

    /// Appends the answer to what is to be written, and frees its slot.
    fn answer(&mut self, number: u32, response: &Response) {
        let Self { slots, free, message, output, link, .. } = self;
        let Some(slot) = slots.get_mut(number as usize) else { return };
        // The place of a slot is given back once.
        let Some(times) = slot.times.take() else { return };
        message.clear();
        slot.echo.put(&response.answer(), link.options.layout, message);
        link.options.framing.put(slot.tpdu, output, message);
        let now = Instant::now();
        times.end(now);
        if let Some(kind) = slot.kind {
            link.timers.record(kind as usize, now.saturating_duration_since(times.received));
        }
        free.push(number);
    }

    /// Asks whether the peer is there.
    pub fn ask_echo(&mut self) {
        let code = self.link.options.codes.echo;
        self.send(code);
    }

    /// Tells a peer that signed on that we are going.
    pub fn sign_off(&mut self) {
        self.is_leaving = true;
        self.unanswered = 0;
        if self.is_signed_on {
            self.send(self.link.options.codes.sign_off);
        }
    }

    fn send(&mut self, code: [u8; 3]) {
        self.stan = self.stan % 999_999 + 1;
        let stan = format!("{:06}", self.stan);
        // Of our own messages, for the peer's clock: nothing is judged by it.
        let sent = self.link.client.clock.now().utc_mmddhhmmss();
        let elements = [(7, &sent[..]), (11, stan.as_bytes()), (70, &code)];
        self.message.clear();
        if pack(*b"0800", elements, self.link.options.layout, &mut self.message).is_ok() {
            self.link.options.framing.put(None, &mut self.output, &self.message);
            self.unanswered += 1;
        }
    }

    /// Waits for something that is under way, for nobody who could be answered.
    pub async fn go_on(&mut self) {
        let outlet = self.outlet();
        tokio::select! {
            () = outlet.ready() => self.take_answers(),
            Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => self.finish(done),
        }
        self.output.clear();
    }
}
