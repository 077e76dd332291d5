//! A whole service in one process: the real listener, the real engine, a journal in memory; and a client that
//! writes raw bytes, so that it can also say what no well-behaved client would.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use sokketsu::clock::Clock;
use sokketsu::code::{Issuers, Keyring};
use sokketsu::domain::billing::account::Account;
use sokketsu::domain::billing::stories::Kept;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::model::customer::{Identity, Limits, Status};
use sokketsu::domain::model::ids::{
    AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId, OrderId, TerminalId, TerminalKey,
};
use sokketsu::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus, Merchants};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::Order;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{Authorize, CustomerChange, OrderKey, Payer};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{DAY, Date, Millis};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;
use sokketsu::domain::state::receipts::{Known, Receipt, ReceiptKind};
use sokketsu::engine::bad_codes::{BadCodes, Limits as BadCodeLimits};
use sokketsu::engine::board::Board;
use sokketsu::engine::client::{Client as EngineClient, Ledger};
use sokketsu::engine::queues::{Bounds, queues};
use sokketsu::engine::readiness::{Condition, Readiness};
use sokketsu::engine::serve::serve;
use sokketsu::engine::{Engine, Sync};
use sokketsu::http::trust::callers::{Caller, Callers, Role, hash_key};
use sokketsu::http::trust::signature::{Freshness, Verifier};
use sokketsu::http::{Edge, Options, Parts, run};
use sokketsu::journal::{
    Alarm, Batch, Examined, FeedError, Follower, Journal, JournalError, JournalReader, Record, codec,
};
use sokketsu::ledger::lists::{CustomersOf, Listed as ListRow, Page, PageOf, Position};
use sokketsu::ledger::{
    Book, Books, CustomerSums, Entry, Graded, InSuspense, Issued, LedgerError, OwedInCash, PaidOut, RecordId, Snapshot,
    Stepped,
};
use sokketsu::link::acquirers::{Acquirer, Acquirers};
use sokketsu::link::{Link, Options as LinkOptions, serve as serve_links};
use sokketsu::net::bind;

/// Of the key `signed-key`, whose name is `pos`.
pub const SIGNATURE_SECRET: &[u8] = b"the secret of the key named pos.";
pub const POLICY: &str = include_str!("../../config/policy.toml");
/// Says something of every year the tests may run in.
pub const HOLIDAYS: &str = "date,name\n2020-01-01,first\n2099-12-31,last\n";

fn clock() -> Clock {
    Clock::system()
}

/// As the start of the process leaves it.
fn ready() -> Readiness {
    use Condition::{JournalWritable, LeaseHeld, ListenersBound, Recovered};
    let readiness = Readiness::default();
    for condition in [Recovered, JournalWritable, LeaseHeld, ListenersBound] {
        readiness.set(condition, true);
    }
    readiness
}

/// Forward only.
fn set_clock(present: &Mutex<Millis>, clock: Option<&Clock>, wanted: Millis) -> Result<Millis, Millis> {
    let mut present = present.lock();
    if wanted < *present {
        return Err(*present);
    }
    *present = wanted;
    if let Some(clock) = clock {
        clock.set(wanted).unwrap();
    }
    Ok(wanted)
}

/// A disk that can be made to stall.
#[derive(Clone, Default)]
pub struct Stall(Arc<(Mutex<bool>, Condvar)>);

impl Stall {
    pub fn begin(&self) {
        *self.0.0.lock() = true;
    }

    pub fn end(&self) {
        *self.0.0.lock() = false;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        self.0.1.wait_while(&mut self.0.0.lock(), |stalls| *stalls);
    }
}

/// Counts what would be on disk.
struct Memory(Arc<AtomicU64>, Stall);

impl Journal for Memory {
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        let count = u64::try_from(batch.len()).unwrap();
        Ok(Lsn(self.0.fetch_add(count, Ordering::SeqCst) + count))
    }
    fn sync(&mut self) -> Result<(), JournalError> {
        self.1.wait();
        Ok(())
    }
    fn room(&self) -> Result<(), String> {
        Ok(())
    }
}

pub type Events = Arc<Mutex<Vec<(Lsn, Millis, Event)>>>;

/// Reading from this position on fails, if it is there.
pub type Trouble = Arc<Mutex<Option<(Lsn, FeedError)>>>;

#[derive(Clone)]
struct Listed(Events, Trouble);

impl JournalReader for Listed {
    fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
        if let Some((from, error)) = self.1.lock().as_ref()
            && after >= *from
        {
            return Err(match error.clone() {
                FeedError::Gone { first } => JournalError::Released { wanted: after.next(), first },
                FeedError::Failed(why) => JournalError::failed("read records")(why),
            });
        }
        let events = self.0.lock();
        let Some((lsn, at, event)) = events.iter().find(|(lsn, ..)| *lsn > after) else { return Ok(false) };
        out.payload.clear();
        codec::encode(event, &mut out.payload)?;
        (out.lsn, out.time_ms) = (*lsn, at.0);
        Ok(true)
    }
    fn last(&self) -> Lsn {
        self.0.lock().last().map_or(Lsn::ZERO, |(lsn, ..)| *lsn)
    }
    fn examine(&mut self, _: Lsn) -> Result<Examined, JournalError> {
        unreachable!("nobody asks")
    }
    fn unreadable(&self, problem: &dyn std::fmt::Display) -> JournalError {
        unreachable!("{problem}")
    }
    fn is_needed(&self, _: Lsn, _: Lsn) -> bool {
        unreachable!("nothing is damaged")
    }
    fn behind(&self, _: Lsn) -> Option<Lsn> {
        unreachable!("nothing is damaged")
    }
    fn another(&self) -> Box<dyn JournalReader> {
        Box::new(self.clone())
    }
}

/// How long the ledger takes for a look at an order by its id, and whether it answers then.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    pub take: Duration,
    pub fail: bool,
    /// So many were begun.
    pub begun: Arc<AtomicU64>,
}

/// A ledger with one order in it.
struct OneOld(Order, Looks);

impl Snapshot for OneOld {
    fn load(&self, _: &mut State) -> Result<(), LedgerError> {
        unreachable!("nobody asks")
    }
}

impl Books for OneOld {
    /// It lags behind nothing.
    fn as_of(&self) -> Result<Lsn, LedgerError> {
        Ok(Lsn(u64::MAX))
    }
    #[expect(clippy::disallowed_methods, reason = "a ledger that takes its time; nothing is waited for by it")]
    fn past_order(&self, id: AuthorizationId) -> Result<Option<Order>, LedgerError> {
        self.1.begun.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.1.take);
        let found = (self.0.id == id).then(|| self.0.clone());
        if self.1.fail { Err(LedgerError::Io("it is away".to_owned())) } else { Ok(found) }
    }
    fn past_order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, LedgerError> {
        Ok((self.0.key == *key).then(|| self.0.clone()))
    }
    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError> {
        Ok(if orders.contains(&self.0.id.lsn) { vec![self.0.id] } else { Vec::new() })
    }
    fn known(&self, _: &[OfficeId]) -> Result<Known, LedgerError> {
        Ok(Known::nothing())
    }
    fn kept(&self, _: &CustomerId) -> Result<Kept, LedgerError> {
        Ok(Kept::nothing())
    }
    fn entries(&self, _: &CustomerId, _: Millis, _: Millis) -> Result<Vec<Entry>, LedgerError> {
        Ok(Vec::new())
    }
    fn record_ids(&self, _: &[Lsn]) -> Result<Vec<(Lsn, RecordId)>, LedgerError> {
        Ok(Vec::new())
    }
    fn receipts(&self, _: &CustomerId, _: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError> {
        Ok(Vec::new())
    }
    fn ladder_steps(&self, _: &CustomerId) -> Result<Vec<Stepped>, LedgerError> {
        Ok(Vec::new())
    }
    fn graded(&self, _: &CustomerId) -> Result<Vec<(Millis, Graded)>, LedgerError> {
        Ok(Vec::new())
    }
    fn policies(&self, _: Millis, _: Millis) -> Result<Vec<(Millis, String)>, LedgerError> {
        Ok(Vec::new())
    }
    fn payouts_due(&self, _: Option<&CustomerId>, _: usize) -> Result<Vec<OwedInCash>, LedgerError> {
        Ok(Vec::new())
    }
    fn payouts_made(&self, _: Lsn, _: usize) -> Result<Vec<PaidOut>, LedgerError> {
        Ok(Vec::new())
    }
    fn suspense(&self, _: Lsn, _: usize) -> Result<Vec<InSuspense>, LedgerError> {
        Ok(Vec::new())
    }
    fn suspense_of(&self, _: AuthorizationId) -> Result<Option<InSuspense>, LedgerError> {
        Ok(None)
    }
    fn issued(&self, _: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
        Ok(Vec::new())
    }
    /// One sale at each of two tills and one at none: the old one three times, by falling records.
    fn list(&self, of: &PageOf, keep: &dyn Fn(&ListRow) -> bool) -> Result<Page<ListRow, Lsn>, LedgerError> {
        let tills = [Some("T01"), Some("T02"), None].map(|till| till.map(|till| TerminalId::new(till).unwrap()));
        let listed = |(lsn, till): (u64, Option<TerminalId>)| ListRow {
            lsn: Lsn(lsn),
            at: self.0.decided_at,
            amount: self.0.amount,
            order: Order { terminal: till.and_then(TerminalKey::of), ..self.0.clone() },
            store: None,
            terminal: till,
            customer: Some(customer("1001")),
            refund: None,
        };
        let rows = (1..=3).rev().zip(tills).map(listed);
        let rows = rows.filter(|row| of.before.is_none_or(|before| row.lsn < before) && keep(row));
        let mut rows: Vec<_> = rows.collect();
        let more = rows.len() > of.limit;
        rows.truncate(of.limit);
        let next = rows.last().filter(|_| more).map(|row| row.lsn);
        Ok(Page { rows, next, position: Position { stream: 0, lsn: Lsn(3) } })
    }
    fn customers(
        &self,
        _: &CustomersOf,
        _: &dyn Fn(&Account) -> bool,
    ) -> Result<Page<Account, CustomerId>, LedgerError> {
        Ok(Page { rows: Vec::new(), next: None, position: Position::default() })
    }
    fn merchants(&self, _: Option<&MerchantId>, _: usize) -> Result<Page<Merchant, MerchantId>, LedgerError> {
        Ok(Page { rows: Vec::new(), next: None, position: Position::default() })
    }
    fn merchant(&self, _: &MerchantId) -> Result<Option<Merchant>, LedgerError> {
        Ok(None)
    }
    fn count_decisions(&self, _: Lsn) -> Result<u64, LedgerError> {
        unreachable!("nobody asks")
    }
    fn totals(&self, _: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError> {
        unreachable!("nobody asks")
    }
    fn sums(&self, _: Lsn, _: &mut dyn FnMut(CustomerSums)) -> Result<(), LedgerError> {
        unreachable!("nobody asks")
    }
    fn unclear(&self, _: Lsn) -> Result<Vec<Lsn>, LedgerError> {
        unreachable!("nobody asks")
    }
}

pub fn customer(id: &str) -> CustomerId {
    CustomerId::new(id).unwrap()
}

fn change(identity: Identity) -> CustomerChange {
    let birth_date = Some(Date::parse("1990-04-01"));
    CustomerChange { identity: Some(identity), birth_date, ..CustomerChange::default() }
}

fn put(id: &str, change: CustomerChange) -> Request {
    Request::PutCustomer { id: customer(id), change: Box::new(change) }
}

fn shop(id: &str, name: &str, mcc: u16) -> Request {
    let limits = MerchantLimits::default();
    let id = MerchantId::new(id).unwrap();
    Request::PutMerchant(Box::new(Merchant { id, name: name.into(), mcc, status: MerchantStatus::Active, limits }))
}

/// The sandbox's people and shops.
fn seed() -> Vec<Request> {
    let full = || CustomerChange { rung: Some(3), ..change(Identity::Verified) };
    let suspended = CustomerChange { status: Some(Status::Suspended), ..full() };
    let minor = CustomerChange { birth_date: Some(Date::parse("2015-04-01")), ..full() };
    let small = Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) };
    let load = |n: u32| put(&n.to_string(), CustomerChange { limits: Some(Some(small)), ..change(Identity::Verified) });
    let mut all = vec![
        shop("mrc_konbini", "サンプルコンビニ", 5499),
        shop("mrc_electronics", "サンプル電器", 5732),
        shop("mrc_giftcards", "ギフト", 5947),
        put("1001", full()),
        put("1002", change(Identity::Verified)),
        put("1003", change(Identity::Unverified)),
        put("1004", full()),
        put("1005", minor),
        put("1006", suspended),
    ];
    all.extend((2000..2020).map(load));
    all
}

/// A purchase of 1004, long enough ago to be overdue and forgotten by the engine.
fn old_purchase() -> Request {
    let input = Authorize::new(
        OrderKey { merchant: MerchantId::new("mrc_konbini").unwrap(), order_id: OrderId::new("OLD-1").unwrap() },
        Payer::Customer(customer("1004")),
        Channel::Online,
        Yen::new(3_000),
    );
    Request::Authorize { input: Arc::new(input), throttled: false, sealed_by: None }
}

fn callers() -> Callers {
    let bound = Caller {
        merchants: Merchants::Only(vec![MerchantId::new("mrc_konbini").unwrap()]),
        terminals: Some([TerminalKey::of(TerminalId::new("T01").unwrap()).unwrap()].into()),
        channels: vec![Channel::InStore],
        may_refund: false,
        bad_codes_per_minute: Some(50),
        ..Caller::unbound("konbini", Role::Register)
    };
    let mut list: Vec<_> = Role::ALL
        .into_iter()
        .map(|role| (Caller::unbound(role.name(), role), vec![hash_key(&format!("sandbox-{}", role.name()))]))
        .collect();
    list.push((bound, vec![hash_key("konbini-key")]));
    let of = |name, merchant, till: Option<&str>| Caller {
        merchants: Merchants::Only(vec![MerchantId::new(merchant).unwrap()]),
        terminals: till.map(|till| [TerminalKey::of(TerminalId::new(till).unwrap()).unwrap()].into()),
        bad_codes_per_minute: None,
        ..Caller::unbound(name, Role::Register)
    };
    list.push((of("till 1", "mrc_konbini", Some("T01")), vec![hash_key("till-1-key")]));
    list.push((of("till 2", "mrc_konbini", Some("T02")), vec![hash_key("till-2-key")]));
    list.push((of("konbini chain", "mrc_konbini", None), vec![hash_key("chain-key")]));
    list.push((of("electronics", "mrc_electronics", None), vec![hash_key("electronics-key")]));
    let verifier = Verifier::new("pos", SIGNATURE_SECRET, Freshness { tolerance_ms: 60_000, nonces: 1_000 });
    let signed = Caller { signature: Some(Arc::new(verifier)), ..Caller::unbound("pos", Role::Register) };
    list.push((signed, vec![hash_key("signed-key")]));
    Callers::new(list).unwrap()
}

/// How a house differs from the usual one.
pub struct Plan {
    pub admin: bool,
    /// Whether the engine works. If not, the queues only fill.
    pub engine: bool,
    pub bounds: Bounds,
    pub options: Options,
    pub metrics: Option<PrometheusHandle>,
    pub disk: Stall,
    pub looks: Looks,
    /// The network's link, if it is served.
    pub link: Option<LinkOptions>,
    pub issuers: Issuers,
    pub keyring: Keyring,
    /// By how much the engine's last record is ahead of the clock, ms: the clock was set back since.
    pub ahead: i64,
    /// The engine's and the calls' clock, which `/sandbox/clock` then sets.
    pub clock: Option<Clock>,
}

impl Default for Plan {
    fn default() -> Self {
        let bounds = Bounds { normal: 1_000, urgent: 1_000, batch: 64, target: Duration::from_millis(5) };
        let quick = Duration::from_millis(300);
        let options = Options { body_timeout: quick, header_timeout: quick, ..Options::default() };
        Self {
            admin: false,
            engine: true,
            bounds,
            options,
            metrics: None,
            disk: Stall::default(),
            looks: Looks::default(),
            link: None,
            issuers: Issuers::sandbox(),
            keyring: Keyring::sandbox(),
            ahead: 0,
            clock: None,
        }
    }
}

pub struct House {
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub link: Option<SocketAddr>,
    pub readiness: Arc<Readiness>,
    pub events: Events,
    pub trouble: Trouble,
    /// What whoever finds the journal damaged sets.
    pub is_halted: Arc<AtomicBool>,
    /// The purchase that only the ledger remembers.
    pub old: Order,
    records: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<usize>,
}

impl House {
    pub fn open(plan: Plan) -> Self {
        let (records, board) = (Arc::new(AtomicU64::new(0)), Arc::new(Board::default()));
        // Everything is in the ledger at once.
        let posted = Arc::new(AtomicU64::new(u64::MAX));
        let journal = Memory(Arc::clone(&records), plan.disk);
        let state = State::new(Settings::default());
        let mut engine = Engine::new(state, Box::new(journal), Sync::BeforeAnswer, [7; 32], Arc::clone(&board), posted);
        let now = clock().now();
        engine.begin(now.plus(-90 * DAY));
        engine.record(&Event::Opened { sandbox: true }).expect("it fits a record");
        engine.record(&Event::PolicySet { version: 1, text: POLICY.into() }).expect("it fits a record");
        engine.record(&Event::HolidaysSet { text: HOLIDAYS.into() }).expect("it fits a record");
        seed().iter().for_each(|request| engine.take(request));
        engine.take(&old_purchase());
        engine.commit().unwrap();
        let old = engine.state().orders.newest().unwrap().clone();
        // What the calendar has to say of the years before is said, so that tests can count what they cause.
        for _ in 0..8 {
            engine.begin(now.plus(plan.ahead));
        }
        engine.commit().unwrap();
        let time = plan.clock.clone().unwrap_or_else(clock);
        let (inbox, queues) = queues(plan.bounds, std::time::Duration::ZERO);
        let is_halted = Arc::clone(&queues.is_halted);
        if plan.engine {
            let forever = std::future::pending();
            let time = time.clone();
            tokio::spawn(async move { serve(engine, queues, time, |_| (), forever).await.map(drop) });
        } else {
            std::mem::forget(queues);
        }
        let (events, trouble, readiness) = (Events::default(), Trouble::default(), Arc::new(ready()));
        let listed = Listed(Arc::clone(&events), Arc::clone(&trouble));
        let alarm = Alarm::new(&Arc::default(), Arc::new(|error| panic!("{error}")));
        let present = Mutex::new(now);
        let client = Arc::new(EngineClient {
            inbox,
            board,
            keyring: Arc::new(ArcSwap::from_pointee(plan.keyring)),
            issuers: plan.issuers,
            clock: time,
            readiness: Arc::clone(&readiness),
            bad_codes: BadCodes::new(BadCodeLimits::default()),
            ledger: Ledger::new(Some(Arc::new(OneOld(old.clone(), plan.looks)))),
            merchants: None,
            stop: watch::Sender::new(false),
        });
        let edge = Edge::new(Parts {
            client: Arc::clone(&client),
            callers: Arc::new(ArcSwap::from_pointee(callers())),
            tls: None,
            metrics: plan.metrics,
            journal: Some(Follower::new(Box::new(listed), alarm)),
            clock_setter: Some(Arc::new(move |wanted| set_clock(&present, plan.clock.as_ref(), wanted))),
            options: plan.options,
        });
        let local = || bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (public, admin) = (local(), plan.admin.then(local));
        let (address, admin_address) =
            (public.local_addr().unwrap(), admin.as_ref().map(|admin| admin.local_addr().unwrap()));
        let mut link = None;
        if let Some(options) = plan.link {
            let listener = local();
            link = Some(listener.local_addr().unwrap());
            let everybody = Acquirers::new([], Some(Acquirer { bad_codes_per_minute: Some(5), ..Acquirer::unbound() }));
            tokio::spawn(serve_links(Link::new(client, everybody, options, None), listener, Duration::from_secs(4)));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(run(edge, public, admin, async move { drop(stopped.await) }));
        let (admin, stop) = (admin_address, Some(stop));
        Self { address, admin, link, readiness, events, trouble, is_halted, old, records, stop, running }
    }

    pub fn usual() -> Self {
        Self::open(Plan::default())
    }

    /// Records in the journal so far.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    pub async fn client(&self) -> Client {
        Client::to(self.address).await
    }

    /// Asks it to stop, as SIGTERM does.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of the drain; gives how many connections were cut.
    pub async fn closed(self) -> usize {
        self.running.await.unwrap()
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Checks an error's form, and gives its reason and the first field it names.
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        for member in ["type", "title", "detail", "reason"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
        described(&body);
        let error = &body["errors"][0];
        let field = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
        (self.status, body["reason"].as_str().unwrap().to_owned(), field.to_owned())
    }
}

/// Checks that the OpenAPI file knows every member of a problem, and that it has those that it must.
fn described(problem: &Value) {
    let file: Value = serde_json::from_str(sokketsu::http::OPENAPI).unwrap();
    let schemas = &file["components"]["schemas"];
    let is_own = |schema: &&Value| schema["allOf"][1]["properties"]["reason"]["const"] == problem["reason"];
    let own = schemas.as_object().unwrap().values().find(is_own).unwrap_or_else(|| panic!("no schema of {problem}"));
    let parts = [&schemas["ProblemCommon"], &own["allOf"][1]];
    for name in problem.as_object().unwrap().keys() {
        assert!(parts.iter().any(|part| part["properties"].get(name).is_some()), "{name} is not described: {problem}");
    }
    for name in parts.iter().flat_map(|part| part["required"].as_array().unwrap()) {
        assert!(problem.get(name.as_str().unwrap()).is_some(), "{name} is missing: {problem}");
    }
}

pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn more(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.read);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("no answer in time").unwrap_or(0)
    }

    /// Up to the next line that ends with `end`.
    /// Says that nothing more comes, and listens.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return self.read.drain(..at + end.len()).collect();
            }
            assert!(self.more().await > 0, "closed before {end:?}: {}", String::from_utf8_lossy(&self.read));
        }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await > 0, "closed in a body");
        }
        self.read.drain(..count).collect()
    }

    pub async fn head(&mut self) -> Answer {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: Vec::new() }
    }

    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = String::from_utf8(self.until(b"\r\n").await).unwrap();
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                let chunk = self.exactly(size + 2).await;
                answer.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return answer;
                }
            }
        }
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        answer.body = self.exactly(length).await;
        answer
    }

    /// All that comes until the server closes the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await > 0 {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Whether nothing comes for so long.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.read_buf(&mut self.read)).await.is_err()
    }

    /// Whether the server closed the connection.
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more().await == 0
    }

    pub async fn call(&mut self, method: &str, path: &str, key: &str, body: Option<&str>) -> Answer {
        self.send(request(method, path, key, body).as_bytes()).await;
        self.answer().await
    }

    pub async fn get(&mut self, path: &str, key: &str) -> Answer {
        self.call("GET", path, key, None).await
    }

    pub async fn post(&mut self, path: &str, key: &str, body: &Value) -> Answer {
        self.call("POST", path, key, Some(&body.to_string())).await
    }

    pub async fn put(&mut self, path: &str, key: &str, body: &Value) -> Answer {
        self.call("PUT", path, key, Some(&body.to_string())).await
    }

    /// A fresh code of a customer.
    pub async fn code(&mut self, customer: &str) -> Value {
        let answer = self.post("/v1/codes", "sandbox-wallet", &serde_json::json!({ "customer_id": customer })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// A purchase with a fresh code of the customer.
    pub async fn buy(&mut self, customer: &str, order_id: &str, amount: u64) -> Value {
        let code = self.code(customer).await;
        let answer = self.post("/v1/authorizations", "sandbox-register", &purchase(order_id, &code, amount)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

pub fn purchase(order_id: &str, code: &Value, amount: u64) -> Value {
    serde_json::json!({
        "order_id": order_id,
        "code": code["barcode"],
        "amount": amount,
        "merchant": { "id": "mrc_konbini", "store_id": "S001", "terminal_id": "T01" },
    })
}

pub fn request(method: &str, path: &str, key: &str, body: Option<&str>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: sokketsu\r\n");
    if !key.is_empty() {
        text += &format!("Authorization: Bearer {key}\r\n");
    }
    match body {
        Some(body) => {
            text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
        None => text += "\r\n",
    }
    text
}
