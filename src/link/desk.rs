//! One connection's messages: from the bytes of a request to the engine, and from its answer to bytes again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use super::Link;
use super::acquirers::{Fingerprint, Known};
use super::afterwards::After;
use super::sale::{input, scan};
use super::verdict::Verdict;
use crate::code::{InvalidWhy, Scan};
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::{OnOrder, Request as Question};
use crate::domain::model::ids::{MerchantId, RefundId};
use crate::domain::model::request::{
    Advice, CaptureAdvice, Named, OrderKey, Payer, Post, Refund, Reverse, ReverseRefund, Scanned,
};
use crate::engine::inbox::{Answered, Outcome, Shed};
use crate::engine::outlet::Outlet;
use crate::http::calls::scans;
use crate::http::trust::bad_codes::{Entry, Source};
use crate::iso8583::frame::{Frame, Tpdu};
use crate::iso8583::message::{Malformed, Message, pack};
use crate::iso8583::profile::{Echo, Kind, answer_to, request};
use crate::iso8583::translate::{Asks, Presented, Request, Sale, Wrong, read};
use crate::metrics::{Metrics, Stage, metrics};

/// A message under way, by its place in [`Desk::slots`].
#[derive(Default)]
struct Slot {
    echo: Echo,
    tpdu: Option<Tpdu>,
    kind: Option<Kind>,
    /// Monotonic; nothing while the slot is free.
    received: Option<Instant>,
    /// Of a sale.
    entry: Option<Entry>,
    parse: Duration,
    verify: Duration,
}

pub(crate) struct Desk {
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
    pub afterwards: JoinSet<(u32, Verdict)>,
    message: Vec<u8>,
    is_signed_on: bool,
    /// We have signed off: nothing new is begun.
    is_leaving: bool,
    /// Of our own messages.
    stan: u32,
    /// Our own messages without an answer.
    unanswered: u32,
}

/// What was asked is under way, or answered already.
type Asked = Result<(), Verdict>;

impl Desk {
    pub fn new(link: Arc<Link>, certificate: Option<Fingerprint>) -> Self {
        Self {
            link,
            certificate,
            output: Vec::new(),
            outlet: Outlet::default(),
            taken: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            afterwards: JoinSet::new(),
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
    pub fn is_still(&self) -> bool {
        self.under_way() == 0
    }

    /// All is said, the sign-off answered.
    pub fn is_done(&self) -> bool {
        self.is_still() && self.unanswered == 0
    }

    /// Sales beyond the bound are answered 91; of the rest as much again is taken before we stop reading.
    pub fn has_room(&self) -> bool {
        self.under_way() < 2 * self.link.options.max_in_flight
    }

    /// One message, whatever it is.
    pub fn hear(&mut self, frame: &Frame<'_>, received: Instant) {
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
                self.answer(number, &Verdict::unreadable(malformed.element));
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
                    self.answer(number, &Verdict::unreadable(None));
                }
                None => Metrics::shed("link_garbage"),
            };
        };
        let number = self.occupy(message, kind, answer, tpdu, received);
        let asked = match kind {
            Kind::Network => Err(self.network(message)),
            _ => self.question(message, kind, number, received),
        };
        if let Err(verdict) = asked {
            self.answer(number, &verdict);
        }
    }

    fn network(&mut self, message: &Message<'_>) -> Verdict {
        let codes = &self.link.options.codes;
        match message.get(70) {
            Some(code) if code == codes.sign_on => self.is_signed_on = true,
            Some(code) if code == codes.sign_off => self.is_signed_on = false,
            Some(code) if code == codes.echo => {}
            Some(_) => return Verdict::wrong(Wrong { code: *b"12", element: 70 }),
            None => return Verdict::wrong(Wrong { code: *b"30", element: 70 }),
        }
        Verdict::DONE
    }

    fn question(&mut self, message: &Message<'_>, kind: Kind, number: u32, received: Instant) -> Asked {
        let link = Arc::clone(&self.link);
        if link.options.requires_sign_on && !self.is_signed_on {
            return Err(Verdict::not_signed_on());
        }
        if self.is_leaving || !link.edge.readiness.may_serve() {
            return Err(Verdict::not_ready());
        }
        let request = read(message, kind).map_err(Verdict::wrong)?;
        let known = link.acquirers.find(&request.acquirer, self.certificate.as_ref());
        let known = known.ok_or_else(|| Verdict::not_permitted(32))?;
        let merchant = known.acquirer.merchant(request.acceptor);
        let merchant = merchant.ok_or_else(|| Verdict::wrong(Wrong { code: *b"30", element: 42 }))?;
        if !known.acquirer.speaks_for(&merchant) {
            return Err(Verdict::not_permitted(42));
        }
        match &request.asks {
            Asks::Sale(_) if self.under_way() > link.options.max_in_flight => {
                Metrics::shed("link_full");
                Err(Verdict::busy())
            }
            Asks::Sale(sale) => self.sale(&request, sale, known, merchant, number, received),
            _ => {
                let after = self.after(&request, known, merchant)?;
                self.afterwards.spawn(async move { (number, after.carry_out(&link.edge).await) });
                Ok(())
            }
        }
    }

    fn sale(
        &mut self,
        request: &Request<'_>,
        sale: &Sale<'_>,
        known: &Known,
        merchant: MerchantId,
        number: u32,
        received: Instant,
    ) -> Asked {
        let parsed = Instant::now();
        let (input, scan) = input(&self.link.edge, request, sale, merchant)?;
        let input = Arc::new(input);
        let verified = Instant::now();
        let source = Source {
            key: known.number,
            name: &known.acquirer.name,
            own_limit: known.acquirer.bad_codes_per_minute,
            merchant,
            terminal: request.terminal,
        };
        let limiter = &self.link.edge.bad_codes;
        let entry = limiter.enter(source, &input.payer, verified);
        let deadline = received + self.link.options.deadline;
        if matches!(scan, Scan::Old(_)) && !entry.is_shut() {
            // Two questions: the record of its handle comes first.
            let (edge, sale) = (Arc::clone(&self.link.edge), scans::Sale { input, scan: Some(scan), deadline });
            let decided = async move { Verdict::of_sale(&scans::decide(&edge, sale, entry).await, &entry) };
            self.afterwards.spawn(async move { (number, decided.await) });
            return Ok(());
        }
        let question = Question::Authorize { input, throttled: entry.is_shut(), sealed_by: scan.sealed_by() };
        if let Err(shed) = self.link.edge.inbox.submit_to(question, Some(deadline), &self.outlet, number) {
            limiter.leave(&entry, None, verified);
            return Err(turned_away(shed));
        }
        if let Some(slot) = self.slot(number) {
            slot.entry = Some(entry);
            (slot.parse, slot.verify) = (parsed - received, verified - parsed);
        }
        Ok(())
    }

    /// What is asked of an order that was decided before, or is told of one, ready to be put to the engine.
    fn after(&self, request: &Request<'_>, known: &Known, merchant: MerchantId) -> Result<After, Verdict> {
        let of = |order_id| OrderKey { merchant, order_id };
        let own = of(request.order_id);
        // An order's id is of the same alphabet and no longer than a refund's.
        let refund_id = || RefundId::new(request.order_id.as_str()).map_err(|_| Verdict::not_ready());
        let code = |code: Option<Presented<'_>>| code.and_then(|code| Some(scan(&self.link.edge, &code).ok()?.0));
        let post = known.acquirer.stand_in.map_or(Post::WithinLimits, Post::UpTo);
        let (terminal, must_be_known) = (request.terminal, !request.may_still_come);
        let may_still_come = request.may_still_come;
        let plain = |doing| Ok(After { doing, scan: None, may_still_come });
        match &request.asks {
            Asks::Refund { .. } if !known.acquirer.may_refund => Err(Verdict::not_permitted(3)),
            Asks::Refund { original, .. } if *original == request.order_id => Err(Verdict::id_reused()),
            Asks::Refund { original, amount } => {
                let sale = Named::Key(of(*original));
                let (refund_id, amount) = (refund_id()?, *amount);
                plain(OnOrder::Refund(Refund { sale, refund_id, amount, customer: None, paid_at: None }))
            }
            Asks::Reversal { original, of: kind, kept, code: presented } => {
                let handle = code(*presented).and_then(|scan| Scanned::from(scan).handle());
                let (original, of, kept) = (of(*original), *kind, *kept);
                plain(OnOrder::Reverse(Reverse { original, of, kept, handle, refund_id: refund_id()?, must_be_known }))
            }
            Asks::RefundReversal { original, amount } => {
                let (refund, amount) = (of(*original), *amount);
                plain(OnOrder::ReverseRefund(ReverseRefund { refund, amount, terminal, must_be_known }))
            }
            Asks::Capture { original, amount, code: presented } => {
                let scan = code(*presented).unwrap_or(Scan::Invalid(InvalidWhy::Empty));
                let (payer, sealed_by) = (Payer::Code(scan.into()), scan.sealed_by());
                let (original, amount) = (of(*original), *amount);
                let capture = CaptureAdvice { original, own, terminal, amount, payer, sealed_by, post, must_be_known };
                Ok(After { doing: OnOrder::CaptureAdvice(capture), scan: Some(scan), may_still_come })
            }
            Asks::StandIn { sale, original } => {
                let (input, scan) = input(&self.link.edge, request, sale, merchant)?;
                let (input, sealed_by, original) = (Arc::new(input), scan.sealed_by(), original.map(of));
                let must_be_known = must_be_known && original.is_some();
                let advice = Advice { input, original, post, sealed_by, must_be_known };
                Ok(After { doing: OnOrder::StandIn(advice), scan: Some(scan), may_still_come })
            }
            // A sale is put to the engine by itself.
            Asks::Sale(_) => Err(Verdict::not_ready()),
        }
    }

    /// Writes down what the engine has answered.
    pub fn take_answers(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.outlet.take(&mut taken);
        for (number, outcome) in taken.drain(..) {
            let Some(slot) = self.slots.get(number as usize) else { continue };
            let reply = outcome.as_ref().ok().map(|answered| &answered.reply);
            if let Some(entry) = &slot.entry {
                self.link.edge.bad_codes.leave(entry, reply, Instant::now());
            }
            let verdict = match &outcome {
                Ok(Answered { reply: Reply::Decision { order, replayed }, stages, now }) => {
                    let spent = slot.parse + slot.verify + stages.queue + stages.decide + stages.journal;
                    let whole = slot.received.map_or(Duration::ZERO, |received| received.elapsed());
                    let times = [slot.parse, slot.verify, stages.queue, stages.decide, stages.journal];
                    for (stage, took) in Stage::ALL.into_iter().zip(times) {
                        metrics().stage(stage, took);
                    }
                    metrics().stage(Stage::Answer, whole.saturating_sub(spent));
                    Verdict::decided(order, *replayed, now.at)
                }
                Ok(Answered { reply: Reply::Throttled, .. }) => Verdict::throttled(slot.entry.as_ref()),
                Ok(Answered { reply, .. }) => Verdict::of_other(reply),
                Err(shed) => turned_away(*shed),
            };
            self.answer(number, &verdict);
        }
        self.taken = taken;
    }

    pub fn finish(&mut self, done: Result<(u32, Verdict), JoinError>) {
        if let Ok((number, verdict)) = done {
            self.answer(number, &verdict);
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
            (slot.tpdu, slot.kind, slot.received, slot.entry) = (tpdu, Some(kind), Some(received), None);
        }
        number
    }

    /// Appends the answer to what is to be written, and frees its slot.
    fn answer(&mut self, number: u32, verdict: &Verdict) {
        let Self { slots, free, message, output, link, .. } = self;
        let Some(slot) = slots.get_mut(number as usize) else { return };
        // The place of a slot is given back once.
        let Some(received) = slot.received.take() else { return };
        message.clear();
        slot.echo.put(&verdict.answer(), link.options.layout, message);
        link.options.framing.put(slot.tpdu, output, message);
        if let Some(kind) = slot.kind {
            link.timers.record(kind as usize, received.elapsed());
        }
        free.push(number);
    }

    /// Asks whether the peer is there.
    pub fn ask_echo(&mut self) {
        let code = self.link.options.codes.echo;
        self.say(code);
    }

    /// Tells a peer that signed on that we are going.
    pub fn sign_off(&mut self) {
        self.is_leaving = true;
        self.unanswered = 0;
        if self.is_signed_on {
            self.say(self.link.options.codes.sign_off);
        }
    }

    fn say(&mut self, code: [u8; 3]) {
        self.stan = self.stan % 999_999 + 1;
        let stan = format!("{:06}", self.stan);
        // Of our own messages, for the peer's clock: nothing is judged by it.
        let sent = self.link.edge.clock.now().utc_mmddhhmmss();
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
            Some(done) = self.afterwards.join_next(), if !self.afterwards.is_empty() => self.finish(done),
        }
        self.output.clear();
    }
}

/// No decision was made.
fn turned_away(shed: Shed) -> Verdict {
    match shed {
        Shed::Full => Metrics::shed("inbox_full"),
        Shed::Waited => Metrics::shed("queue_time"),
        Shed::Stopping => return Verdict::not_ready(),
    }
    Verdict::busy()
}
