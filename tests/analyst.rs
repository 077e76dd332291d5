//! `docs/analyst.md` against the ledger: the half year of a few customers is played, each query of the page is asked, and its
//! answer must be the printed one. `BLESS=1 cargo test --test analyst` prints the answers anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod memory;
mod postgres;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use memory::MemoryJournal;
use postgres::PgServer;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sokketsu::database::Server;
use sokketsu::domain::commands::past::Past;
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::{OnOrder, Request};
use sokketsu::domain::model::customer::Identity;
use sokketsu::domain::model::ids::{CustomerId, Lsn, MerchantId, OfficeId, OrderId, RefundId};
use sokketsu::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::OrderState;
use sokketsu::domain::model::payment::BillKey;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{
    Authorize, Cancel, CustomerChange, Instruction, Named, OrderKey, Payer, Refund, Staff,
};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{DAY, Date, HOUR, Millis, Month};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;
use sokketsu::domain::state::receipts::Known;
use sokketsu::engine::board::Board;
use sokketsu::engine::{Engine, Sync};
use sokketsu::ledger::postgres::{PostgresLedger, migrate};
use sokketsu::ledger::sqlite::SqliteLedger;
use sokketsu::ledger::{Checkpoint, Posting};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/analyst.md");
const POLICY: &str = include_str!("../config/policy.toml");
const HOLIDAYS: &str = include_str!("../config/holidays.csv");

/// A service that goes from day to day.
struct Demo {
    engine: Engine,
    journal: MemoryJournal,
}

impl Demo {
    fn born(day: &str) -> Self {
        let journal = MemoryJournal::default();
        let (board, posted) = (Arc::new(Board::default()), Arc::new(AtomicU64::new(u64::MAX)));
        // Orders stay in memory: the ledger is made at the end.
        let state = State::new(Settings { orders_retain: 400 * DAY, ..Settings::default() });
        let engine = Engine::new(state, Box::new(journal.clone()), Sync::BeforeAnswer, [1; 32], board, posted);
        let mut demo = Self { engine, journal };
        demo.engine.begin(noon(day));
        let opening = [
            Event::Opened { sandbox: true },
            Event::PolicySet { version: 1, text: POLICY.into() },
            Event::HolidaysSet { text: HOLIDAYS.into() },
        ];
        opening.iter().for_each(|event| demo.engine.record(event).unwrap());
        for (id, mcc) in [("mrc_konbini", 5_499), ("mrc_electronics", 5_732)] {
            let limits = MerchantLimits::default();
            let id = MerchantId::new(id).unwrap();
            let shop = Merchant { id, name: id.as_str().into(), mcc, status: MerchantStatus::Active, limits };
            demo.engine.take(&Request::PutMerchant(Box::new(shop)));
        }
        demo.engine.commit().unwrap();
        demo
    }

    /// The round of every day until noon of this one.
    fn on(&mut self, day: &str) -> &mut Self {
        let until = noon(day);
        let mut at = self.engine.state().time;
        while at < until {
            at = at.date().plus_days(1).start().plus(12 * HOUR).min(until);
            // A step records two facts.
            for _ in 0..12 {
                self.engine.begin(at);
                self.engine.commit().unwrap();
            }
        }
        self
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.engine.take(request);
        let mut replies = self.engine.commit().unwrap();
        replies.pop().unwrap()
    }

    fn joins(&mut self, who: &str) {
        let change = CustomerChange {
            identity: Some(Identity::Verified),
            birth_date: Some(Date::parse("1990-04-01")),
            rung: Some(3),
            ..CustomerChange::default()
        };
        let reply = self.ask(&Request::PutCustomer { id: customer(who), change: Box::new(change) });
        assert!(matches!(reply, Reply::Customer { .. }), "{reply:?}");
    }

    fn buys(&mut self, who: &str, order: &str, channel: Channel, yen: u64) {
        let payer = Payer::Customer(customer(who));
        let input = Arc::new(Authorize::new(key(order), payer, channel, Yen::new(yen)));
        let reply = self.ask(&Request::Authorize { input, throttled: false, sealed_by: None });
        assert!(
            matches!(&reply, Reply::Decision { order, .. } if matches!(order.state, OrderState::Captured { .. })),
            "{order}: {reply:?}"
        );
    }

    fn on_order(&mut self, doing: OnOrder) {
        let past = Past::Orders(Vec::new());
        let reply = self.ask(&Request::OnOrder { doing: Box::new(doing), past });
        assert!(matches!(reply, Reply::Refunded { .. } | Reply::Cancelled { .. }), "{reply:?}");
    }

    fn cancels(&mut self, order: &str) {
        self.on_order(OnOrder::Cancel(Cancel::new(key(order))));
    }

    fn refunds(&mut self, order: &str, id: &str, yen: u64) {
        let refund_id = RefundId::new(id).unwrap();
        let sale = Named::Key(key(order));
        let amount = Yen::new(yen);
        self.on_order(OnOrder::Refund(Refund { sale, refund_id, amount, customer: None, paid_at: None }));
    }

    fn office(&mut self, who: &str, instruction: Instruction) {
        let request = Request::Instruct { customer: customer(who), instruction, ledger: Some(Known::nothing()) };
        let reply = self.ask(&request);
        assert!(matches!(reply, Reply::Booked { .. }), "{reply:?}");
    }

    fn pays(&mut self, who: &str, id: &str, yen: u64, paid_on: &str) {
        let (id, amount, paid_at) = (office_id(id), Yen::new(yen), Some(noon(paid_on)));
        self.office(who, Instruction::Repay { id, amount, paid_at, slip: None });
    }

    fn postings(&self) -> Vec<Posting> {
        let records = self.journal.durable().into_iter();
        (1..).zip(records).map(|(lsn, (time, event))| Posting { lsn: Lsn(lsn), time, event }).collect()
    }

    /// The books of all that was recorded.
    fn ledger(&self, folder: &Path) -> Connection {
        let path = folder.join("ledger.db");
        SqliteLedger::open(&path, Millis(0)).unwrap().post(&self.postings()).unwrap();
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }
}

fn noon(day: &str) -> Millis {
    Date::parse(day).unwrap().start().plus(12 * HOUR)
}

fn customer(id: &str) -> CustomerId {
    CustomerId::new(id).unwrap()
}

fn office_id(id: &str) -> OfficeId {
    OfficeId::new(id).unwrap()
}

/// Orders whose name begins with E are of the electronics shop.
fn key(order: &str) -> OrderKey {
    let merchant = if order.starts_with('E') { "mrc_electronics" } else { "mrc_konbini" };
    OrderKey { merchant: MerchantId::new(merchant).unwrap(), order_id: OrderId::new(order).unwrap() }
}

/// The story that the page tells.
fn demo() -> Demo {
    use Channel::{InStore, NpAtobarai, Online};
    let mut demo = Demo::born("2026-01-06");
    demo.joins("A");
    demo.joins("B");
    demo.on("2026-01-10").buys("A", "K-1", InStore, 6_000);
    demo.on("2026-01-12").buys("A", "E-1", Online, 4_000);
    demo.on("2026-01-15").buys("B", "E-2", Online, 8_000);
    demo.on("2026-01-16").buys("B", "K-2", NpAtobarai, 3_000);
    demo.on("2026-02-03").joins("C");
    demo.joins("D");
    demo.buys("C", "K-3", InStore, 2_000);
    demo.buys("D", "E-3", Online, 9_000);
    demo.buys("D", "K-4", InStore, 700);
    demo.cancels("K-4");
    demo.on("2026-02-09").pays("A", "R-1", 7_000, "2026-02-09");
    demo.on("2026-02-20").pays("B", "R-2", 3_000, "2026-02-20");
    demo.on("2026-03-05").pays("C", "R-3", 3_209, "2026-03-05");
    // Paid before the late fee of the 10th, and heard after it.
    demo.on("2026-03-12").pays("B", "R-4", 8_209, "2026-03-08");
    let january = BillKey::Month(Month::parse("2026-01").unwrap());
    let posted = Instruction::PostDamages { id: office_id("D-1"), bill: january, amount: Yen::new(40), staff: None };
    demo.on("2026-03-20").office("A", posted);
    demo.on("2026-04-01").joins("E");
    demo.on("2026-04-02").refunds("E-3", "F-1", 1_000);
    demo.on("2026-04-10").buys("B", "K-5", Online, 1_500);
    demo.buys("E", "K-6", InStore, 5_000);
    demo.on("2026-04-20").pays("A", "R-5", 3_500, "2026-04-20");
    demo.on("2026-05-04").refunds("K-5", "F-2", 1_500);
    demo.buys("E", "E-4", NpAtobarai, 2_000);
    demo.on("2026-05-20").buys("C", "E-5", Online, 400);
    let id = office_id("O-1");
    let paid_out =
        Instruction::PayOut { id, amount: Yen::new(300), bank_reference: Some("T/0610".into()), staff: None };
    demo.on("2026-06-10").office("C", paid_out.clone());
    let staff = Staff { by: "u-7".into(), key: "office".into(), reason: "no such account".into() };
    demo.on("2026-06-11").office("C", Instruction::Bounce { payout: id, staff });
    demo.on("2026-06-12");
    demo
}

/// What a query finds, its columns first.
fn answer(db: &Connection, sql: &str) -> String {
    let mut query = db.prepare(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let columns = query.column_count();
    let mut text = query.column_names().collect::<Vec<_>>().join(" | ");
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
            ValueRef::Null => String::new(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?} is no cell of this page"),
        });
        write!(text, "\n{}", cells.collect::<Vec<_>>().join(" | ").trim_end()).unwrap();
    }
    text
}

/// The page with each answer as a ledger gives it: the block of text behind each query.
fn printed_anew(page: &str, answer: impl Fn(&str) -> String) -> (String, usize) {
    let mut parts = page.split("```sql\n");
    let mut anew = parts.next().unwrap().to_owned();
    let mut asked = 0;
    for part in parts {
        let (query, rest) = part.split_once("\n```\n\n```text\n").expect("an answer behind the query");
        let (_, rest) = rest.split_once("\n```\n").expect("an end of the answer");
        write!(anew, "```sql\n{query}\n```\n\n```text\n{}\n```\n{rest}", answer(query)).unwrap();
        asked += 1;
    }
    (anew, asked)
}

#[test]
fn the_analysts_page_says_what_the_ledger_answers() {
    let folder = tempfile::tempdir().unwrap();
    let db = demo().ledger(folder.path());
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (anew, asked) = printed_anew(&page, |query| answer(&db, query));
    assert!(asked >= 12, "{asked} queries");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(PAGE, anew).unwrap();
        return;
    }
    for (is, wanted) in page.lines().zip(anew.lines()) {
        assert_eq!(is, wanted, "docs/analyst.md is not in step; BLESS=1 cargo test --test analyst prints it anew");
    }
    assert_eq!(page, anew);
}

#[test]
fn postgresql_gives_the_same_answers() {
    let pg = PgServer::start(&[]);
    let server = |url: &str| Arc::new(Server::parse(url, None, None).unwrap());
    let database = pg.ledger(|url| {
        migrate(&server(url), Millis(0)).unwrap();
    });
    let service = server(&pg.url(postgres::SERVICE, &database));
    PostgresLedger::open(service, false).unwrap().post(&demo().postings()).unwrap();
    let page = std::fs::read_to_string(PAGE).unwrap();
    // An analyst may ask it all.
    let ask = |query: &str| pg.table(&database, &format!("SET ROLE sokketsu_analyst; {query}"));
    let (anew, asked) = printed_anew(&page, ask);
    assert!(asked >= 12, "{asked} queries");
    for (is, wanted) in page.lines().zip(anew.lines()) {
        assert_eq!(is, wanted, "PostgreSQL answers otherwise than docs/analyst.md says");
    }
    assert_eq!(page, anew);
}
