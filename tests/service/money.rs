//! The worked numbers of the product, by HTTP on the real binary: month ends, lateness, methods, repayments, files from
//! banks. Expected figures stand here as they stand there; none is asked of the server first.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Answer, Client, Server};

const POLICY: &str = include_str!("../../config/policy.toml");
/// A time zone far from Japan, for servers whose machine stands elsewhere.
const ELSEWHERE: (&str, &str) = ("TZ", "America/Los_Angeles");

/// A sandbox in 2021 whose clock stands still.
pub struct House {
    pub server: Server,
    pub client: Client,
    orders: u32,
    _folder: TempDir,
}

impl House {
    /// The sandbox's own policy with these texts of it replaced, born at `start`.
    pub fn with(start: &str, changes: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut policy = POLICY.to_owned();
        for (from, to) in changes {
            assert!(policy.contains(from), "the policy has no {from:?}");
            policy = policy.replace(from, to);
        }
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, policy).expect("a policy");
        let file = file.to_str().expect("UTF-8");
        let environment = [environment, &[("SOKKETSU_POLICY__FILE", file)]].concat();
        let data = folder.path().join("data");
        let server = Server::sandbox_in(&data, &["--sandbox-start", start], &environment);
        let client = server.client();
        Self { server, client, orders: 0, _folder: folder }
    }

    pub fn born(start: &str) -> Self {
        Self::with(start, &[], &[])
    }

    /// A kill, and a start on the same data.
    pub fn again(&mut self) {
        self.server.kill();
        self.server.start_again();
        self.client = self.server.client();
    }

    /// Sets the clock to a time in Japan; a date alone is its first moment.
    pub fn at(&mut self, time: &str) {
        let time = if time.contains('T') { time.to_owned() } else { format!("{time}T00:00:00.000") };
        let answer = self.client.send("ops", "POST", "/sandbox/clock", &json!({"now": format!("{time}+09:00")}));
        assert_eq!(answer.status, 200, "{time}: {answer:?}");
    }

    pub fn buy(&mut self, customer: &str, channel: &str, amount: u64) -> Value {
        self.orders += 1;
        let body = json!({"order_id": format!("M-{}", self.orders), "customer_id": customer, "channel": channel,
            "amount": amount, "merchant": {"id": "mrc_konbini"}, "confirm_repeat": true, "deadline_ms": 30_000});
        self.client.send("register", "POST", "/v1/authorizations", &body).json()
    }

    pub fn bought(&mut self, customer: &str, channel: &str, amount: u64) -> Value {
        let answer = self.buy(customer, channel, amount);
        assert_eq!(answer["decision"], "approved", "{answer}");
        answer
    }

    /// Why no code is shown now, or nothing.
    fn refused_a_code(&mut self, customer: &str) -> Option<String> {
        let answer = self.client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer }));
        match answer.status {
            201 => None,
            _ => Some(text(&answer.json()["reason"]).to_owned()),
        }
    }

    pub fn office(&mut self, customer: &str, call: &str, body: &Value) -> Answer {
        self.client.send("office", "POST", &format!("/v1/customers/{customer}/{call}"), body)
    }

    /// What the office reads of a customer.
    pub fn read(&mut self, customer: &str, call: &str) -> Value {
        let answer = self.client.get("office", &format!("/v1/customers/{customer}/{call}"));
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        answer.json()
    }

    pub fn repay(&mut self, customer: &str, id: &str, amount: u64) -> Value {
        let answer = self.office(customer, "repayments", &json!({"repayment_id": id, "amount": amount}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn method(&mut self, customer: &str, method: &str) -> Value {
        let path = format!("/v1/customers/{customer}/payment-method");
        self.client.send("wallet", "PUT", &path, &json!({ "payment_method": method })).json()
    }

    pub fn standing(&mut self, customer: &str) -> Value {
        self.client.get("office", &format!("/v1/customers/{customer}")).json()
    }

    pub fn statement(&mut self, customer: &str, month: &str) -> Value {
        self.client.get("wallet", &format!("/v1/customers/{customer}/statements/{month}")).json()
    }

    /// Due date, late fees and what is to be paid.
    fn late(&mut self, customer: &str, month: &str) -> (String, u64, u64) {
        let bill = self.statement(customer, month);
        (text(&bill["due"]).to_owned(), number(&bill["late_fees"]), number(&bill["total_due"]))
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} should be a string"))
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} should be a whole number"))
}

fn month_and_due(answer: &Value) -> (&str, &str) {
    (text(&answer["statement"]["month"]), text(&answer["statement"]["due"]))
}

/// Rows of `entries`, and what they come to on each account.
fn entries(data: &Path, customer: &str) -> (u32, Vec<(String, i64)>) {
    let ledger =
        Connection::open_with_flags(data.join("ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a ledger");
    let sql =
        "SELECT account, count(*), sum(amount) FROM entries WHERE customer_id = ?1 GROUP BY account ORDER BY account";
    let mut query = ledger.prepare(sql).expect("the view");
    let rows = query.query_map([customer], |row| Ok((row.get(1)?, (row.get(0)?, row.get(2)?)))).expect("rows");
    let rows: Vec<(u32, (String, i64))> = rows.collect::<Result<_, _>>().expect("rows");
    (rows.iter().map(|(count, _)| count).sum(), rows.into_iter().map(|(_, sum)| sum).collect())
}

#[test]
fn t_01_a_year_late_by_the_statements() {
    // The product leaves the bill fee out.
    let changes = [("konbini_fee_yen = 209", "konbini_fee_yen = 0")];
    let mut house = House::with("2021-06-15T12:00:00+09:00", &changes, &[ELSEWHERE]);
    house.bought("2000", "online", 30_000);
    for (date, fees, payable, status, damages) in [
        ("2021-07-10", 0, 30_000, "billed", 0),
        ("2021-07-11", 0, 30_000, "overdue", 12),
        ("2021-08-09", 0, 30_000, "overdue", 360),
        ("2021-08-10", 100, 30_100, "overdue", 372),
        ("2021-08-24", 100, 30_100, "overdue", 540),
        ("2021-08-25", 200, 30_200, "overdue", 552),
        ("2021-09-10", 300, 30_300, "overdue", 744),
        ("2021-09-25", 400, 30_400, "overdue", 924),
        ("2021-10-09", 400, 30_400, "overdue", 1_092),
        ("2021-10-10", 500, 30_500, "overdue", 1_104),
        ("2022-07-10", 2_300, 32_300, "overdue", 4_380),
        // 366 days, of which the year has 365 all the same.
        ("2022-07-11", 2_300, 32_300, "overdue", 4_392),
    ] {
        house.at(date);
        let bill = house.statement("2000", "2021-06");
        assert_eq!((text(&bill["due"]), number(&bill["principal"])), ("2021-07-10", 30_000), "{date}");
        let figures = (number(&bill["late_fees"]), number(&bill["total_due"]), text(&bill["status"]));
        assert_eq!(figures, (fees, payable, status), "{date}: {bill}");
        assert_eq!(number(&bill["damages"]), damages, "{date}");
        let blocked = house.standing("2000")["blocked_by"].clone();
        assert_eq!(blocked, if status == "overdue" { json!("overdue") } else { json!(null) }, "{date}");
        assert_eq!(number(&house.standing("2000")["exposure"]["total"]), 30_000, "fees eat no limit");
    }
    // Shown is not owed, until staff posts it.
    let posting = json!({"posting_id": "D-1", "month": "2021-06", "amount": 4_392});
    assert_eq!(house.office("2000", "damages", &posting).json()["total_due"], 36_692);
    let more = house.office("2000", "damages", &json!({"posting_id": "D-2", "month": "2021-06", "amount": 1}));
    assert_eq!((more.status, &more.json()["reason"]), (422, &json!("over_damages")));
}

#[test]
fn t_03_t_04_t_13_due_dates_and_fees_by_method() {
    let mut house = House::born("2021-05-20T12:00:00+09:00");
    house.method("2001", "postcard");
    house.method("2002", "debit");
    house.bought("2002", "online", 1_000);
    house.at("2021-06-20");
    // A Sunday moves, a Saturday stays.
    assert_eq!(house.late("2002", "2021-05"), ("2021-06-28".to_owned(), 0, 1_000));
    house.repay("2002", "R-may", 1_000);
    for customer in ["2000", "2001", "2002"] {
        house.bought(customer, "online", 30_000);
    }
    let due = ["2021-07-10", "2021-07-20", "2021-07-27"];
    for (date, fees, payable) in [
        ("2021-07-01", 0, [30_209, 30_209, 30_000]),
        ("2021-08-09", 0, [30_209, 30_209, 30_000]),
        ("2021-08-10", 100, [30_309, 30_309, 30_100]),
        ("2021-08-24", 100, [30_309, 30_309, 30_100]),
        ("2021-08-25", 200, [30_409, 30_409, 30_200]),
    ] {
        house.at(date);
        for (customer, (due, payable)) in ["2000", "2001", "2002"].into_iter().zip(due.into_iter().zip(payable)) {
            assert_eq!(house.late(customer, "2021-06"), (due.to_owned(), fees, payable), "{customer} on {date}");
        }
    }
}

#[test]
fn t_07_the_two_milliseconds_around_midnight() {
    for environment in [&[][..], &[ELSEWHERE]] {
        let mut house = House::with("2021-06-30T23:59:59.999+09:00", &[], environment);
        let june = house.bought("2000", "online", 1_000);
        house.at("2021-07-01");
        let july = house.bought("2000", "online", 2_000);
        assert_eq!(month_and_due(&june), ("2021-06", "2021-07-10"));
        assert_eq!(month_and_due(&july), ("2021-07", "2021-08-10"));
        let statements = house.client.get("office", "/v1/customers/2000/statements").json();
        let listed = statements["statements"].as_array().expect("a list").iter();
        let listed: Vec<_> = listed.map(|bill| (text(&bill["month"]), number(&bill["principal"]))).collect();
        assert_eq!(listed, [("2021-07", 2_000), ("2021-06", 1_000)]);
    }
}

#[test]
fn t_09_overdue_to_the_millisecond_on_either_product() {
    let mut house = House::with("2021-06-25T12:00:00+09:00", &[], &[ELSEWHERE]);
    house.bought("2000", "online", 1_000);
    // Due 14 days after its capture: July 10 too, and overdue from day 15 on.
    house.at("2021-06-26");
    assert_eq!(month_and_due(&house.bought("2001", "np_atobarai", 2_000)), ("2021-06", "2021-07-10"));
    // The list leads to it, although nothing else was bought in the month.
    let list = house.client.get("wallet", "/v1/customers/2001/statements").json();
    assert_eq!((&list["statements"][0]["month"], &list["statements"][0]["principal"]), (&json!("2021-06"), &json!(0)));
    assert_eq!(house.statement("2001", "2021-06")["np_purchases"][0]["total_due"], 2_000);
    house.at("2021-07-10T23:59:59.999");
    for customer in ["2000", "2001"] {
        assert_eq!(house.refused_a_code(customer), None, "{customer}");
        assert_eq!(house.standing(customer)["blocked_by"], json!(null), "{customer}");
    }
    house.at("2021-07-11");
    for customer in ["2000", "2001"] {
        assert_eq!(house.refused_a_code(customer).as_deref(), Some("overdue"), "{customer}");
        for channel in ["online", "np_atobarai"] {
            let denied = house.buy(customer, channel, 100);
            assert_eq!((&denied["decision"], &denied["reason"]), (&json!("denied"), &json!("overdue")), "{channel}");
        }
    }
    // What lifts the block is the principal; a fee alone never blocks.
    let paid = house.repay("2000", "R-1", 1_209);
    let line = json!({"bill": "2021-06", "month": "2021-06", "principal": 1_000, "bill_fee": 209, "late_fees": 0, "damages": 0});
    assert_eq!((&paid["applied"], &paid["credit"]), (&json!([line]), &json!(0)));
    let reused = house.office("2001", "repayments", &json!({"repayment_id": "R-1", "amount": 2_000}));
    assert_eq!(
        (reused.status, &reused.json()["reason"]),
        (409, &json!("repayment_id_reused")),
        "an id of another customer"
    );
    let paid = house.repay("2001", "R-2", 2_000);
    assert_eq!(number(&paid["applied"][0]["principal"]), 2_000);
    for customer in ["2000", "2001"] {
        assert_eq!(house.refused_a_code(customer), None, "{customer}: at once");
        house.bought(customer, "online", 100);
        house.bought(customer, "np_atobarai", 100);
    }
}

#[test]
fn t_10_a_method_applies_to_bills_issued_after_it() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    for customer in ["2000", "2001", "2002"] {
        house.bought(customer, "online", 30_000);
    }
    let first = |answer: Value| answer["first_bill"].clone();
    assert_eq!(first(house.method("2000", "postcard")), json!({"month": "2021-06", "due": "2021-07-20"}));
    house.at("2021-06-30T23:59:59.999");
    assert_eq!(first(house.method("2001", "debit")), json!({"month": "2021-06", "due": "2021-07-27"}));
    house.at("2021-07-01");
    assert_eq!(first(house.method("2002", "debit")), json!({"month": "2021-07", "due": "2021-08-27"}));
    house.bought("2002", "online", 500);
    for (customer, due, payable) in
        [("2000", "2021-07-20", 30_209), ("2001", "2021-07-27", 30_000), ("2002", "2021-07-10", 30_209)]
    {
        assert_eq!(house.late(customer, "2021-06"), (due.to_owned(), 0, payable), "{customer}");
    }
    house.at("2021-07-05");
    house.repay("2002", "R-1", 30_209);
    // Long paid, and still the bill that it was.
    house.at("2021-08-01");
    assert_eq!(house.late("2002", "2021-07"), ("2021-08-27".to_owned(), 0, 500));
    let old = house.statement("2002", "2021-06");
    let shown = (text(&old["payment_method"]), text(&old["due"]), text(&old["status"]), number(&old["paid"]));
    assert_eq!(shown, ("konbini", "2021-07-10", "paid", 30_209));
}

#[test]
fn t_11_what_runs_twice_adds_nothing() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.bought("2000", "online", 30_000);
    let bills = [("2021-07-01T00:15:00", 30_209), ("2021-08-10", 30_309), ("2021-08-25", 30_409)];
    let seen = |house: &mut House| {
        let bill = house.statement("2000", "2021-06");
        (number(&bill["total_due"]), entries(&house.server.data, "2000"))
    };
    for (date, payable) in bills {
        house.at(date);
        assert_eq!(house.late("2000", "2021-06").2, payable, "{date}");
        // What this day makes true is posted before it is repeated.
        house.again();
        let before = seen(&mut house);
        for _ in 0..2 {
            house.at(date);
            house.again();
            assert_eq!(seen(&mut house), before, "{date}");
        }
    }
    let head = "id,type,customer_id,amount,paid_at,expires_at\n";
    let lines = [
        "P-1,pending,2000,409,2021-08-24T10:00:00+09:00,2021-09-01T00:00:00+09:00\n",
        "P-2,repayment,2000,5000,2021-08-24T11:00:00+09:00,\n",
        "P-1,final,2000,409,2021-08-24T10:00:00+09:00,\n",
        "P-3,debit_paid,2000,1000,2021-08-24T12:00:00+09:00,\n",
        "P-4,repayment,2000,2000,2021-08-24T13:00:00+09:00,\n",
    ];
    let counts = |answer: &Answer| {
        let shown = answer.json();
        assert_eq!((answer.status, &shown["errors"]), (200, &json!([])), "{shown}");
        (number(&shown["posted"]), number(&shown["replayed"]))
    };
    let first = format!("{head}{}", lines[..3].concat());
    assert_eq!(counts(&house.client.import("office", &first)), (3, 0));
    assert_eq!(counts(&house.client.import("office", &first)), (0, 3));
    // Half of it was there before, and the provisional news comes after the money.
    let second = format!("{head}{}P-3,pending,2000,1000,,2021-09-01T00:00:00+09:00\n", lines[2..].concat());
    assert_eq!(counts(&house.client.import("office", &second)), (2, 2));
    let before = seen(&mut house);
    assert_eq!(before.0, 30_409 - 409 - 5_000 - 1_000 - 2_000);
    for _ in 0..2 {
        house.again();
        assert_eq!(counts(&house.client.import("office", &second)), (0, 4));
        assert_eq!(counts(&house.client.import("office", &first)), (0, 3));
        assert_eq!(seen(&mut house), before);
    }
}

#[test]
fn t_12_with_the_ceiling_fees_and_damages_stay_below_it() {
    let mut house = House::with("2021-06-15T00:00:00+09:00", &[("ceiling = false", "ceiling = true")], &[]);
    // The balances from which nothing is clipped on that day, and one yen less.
    let exact: [(&str, u64, u64); 4] = [
        ("2021-08-10", 8_065, 100),
        ("2021-08-25", 10_870, 200),
        ("2021-09-10", 12_097, 300),
        ("2021-09-25", 12_988, 400),
    ];
    house.bought("2000", "online", 30_000);
    house.bought("2001", "online", 2_000);
    for (at, (_, balance, _)) in exact.iter().enumerate() {
        house.bought(&format!("21{at}0"), "online", *balance);
        house.bought(&format!("21{at}1"), "online", balance - 1);
    }
    let days_late = [31, 46, 62, 77];
    for ((date, balance, sum), days) in exact.into_iter().zip(days_late) {
        house.at(date);
        for (at, (_, full, _)) in exact.into_iter().enumerate() {
            for (customer, balance) in [(format!("21{at}0"), full), (format!("21{at}1"), full - 1)] {
                let bill = house.statement(&customer, "2021-06");
                let ceiling = balance * 146 * days / 365_000;
                let charged = number(&bill["late_fees"]) + number(&bill["damages"]);
                assert!(charged <= ceiling, "{balance} on {date}: {charged} is above {ceiling}");
            }
        }
        let at = exact.iter().position(|case| case.0 == date).expect("it is one of them");
        assert_eq!(house.late(&format!("21{at}0"), "2021-06").1, sum, "{balance} on {date}");
        assert!(house.late(&format!("21{at}1"), "2021-06").1 < sum, "{} on {date}", balance - 1);
        if date == "2021-08-10" {
            let bill = house.statement("2000", "2021-06");
            assert_eq!((number(&bill["late_fees"]), number(&bill["damages"])), (100, 272), "372 in all");
            assert_eq!(house.late("2001", "2021-06").1, 24, "2,000 yen: the fee is clipped");
        }
    }
}

#[test]
fn a_repayment_id_answers_for_ever() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.bought("2000", "online", 5_000);
    house.at("2021-07-05");
    let first = house.repay("2000", "R-1", 5_000);
    assert_eq!((number(&first["applied"][0]["principal"]), number(&first["applied"][0]["bill_fee"])), (4_791, 209));
    let same = |again: &Value| {
        assert_eq!(again["replayed"], true);
        assert_eq!((&again["applied"], &again["paid_at"]), (&first["applied"], &first["paid_at"]));
        assert_eq!(again["spendable"], json!({"in_store": 15_000, "online": 49_791}), "and it is posted once");
    };
    same(&house.repay("2000", "R-1", 5_000));
    house.again();
    same(&house.repay("2000", "R-1", 5_000));
    // The engine remembers two days; then it is the ledger that knows.
    house.at("2021-07-08T00:00:01");
    house.again();
    same(&house.repay("2000", "R-1", 5_000));
    let other = house.office("2000", "repayments", &json!({"repayment_id": "R-1", "amount": 5_001}));
    assert_eq!((other.status, &other.json()["reason"]), (409, &json!("repayment_id_reused")));
    assert_eq!(house.late("2000", "2021-06").2, 209);
}

#[test]
fn a_file_with_bad_lines_posts_the_good_ones_and_names_the_bad() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let sale = house.bought("2000", "online", 5_000);
    let sale = text(&sale["authorization_id"]).to_owned();
    house.at("2021-07-05");
    let now = "2021-07-05T00:00:00+09:00";
    let file = format!(
        "type,id,customer_id,amount,paid_at,expires_at,authorization_id\n\
         repayment,G-1,2000,1000,{now},,\n\
         repayment,B 1,2000,1,,,\n\
         transfer,B-2,2000,1,,,\n\
         repayment,B-3,nobody,1,,,\n\
         repayment,B-4,2000,0,,,\n\
         repayment,B-5,2000,1.5,,,\n\
         repayment,B-6,2000,1,2021-07-05T00:00:00.001+09:00,,\n\
         repayment,B-7,2000,1,yesterday,,\n\
         pending,B-8,2000,1,,,\n\
         refund,B-9,,1,,,aut_1\n\
         refund,B-10,,5001,,,{sale}\n\
         repayment,B-11,2000\n\
         withdrawn,B-12,2000,,,,\n\
         refund,G-2,,1000,,,{sale}\n\
         pending,G-3,2000,500,{now},2021-07-09T00:00:00+09:00,\n\
         final,G-3,2000,501,{now},,\n\
         final,G-3,2000,500,{now},,\n\
         final,B-13,2000,,,,\n"
    );
    let shown = house.client.import("office", &file).json();
    assert_eq!((number(&shown["lines"]), number(&shown["posted"]), number(&shown["failed"])), (18, 5, 13), "{shown}");
    let errors = shown["errors"].as_array().expect("a list");
    let named: Vec<_> =
        errors.iter().map(|bad| (number(&bad["line"]), text(&bad["id"]), text(&bad["reason"]))).collect();
    let field = "invalid_field";
    let expected = [
        (3, "B 1", field),
        (4, "B-2", field),
        (5, "B-3", "customer_unknown"),
        (6, "B-4", field),
        (7, "B-5", field),
        (8, "B-6", field),
        (9, "B-7", field),
        (10, "B-8", field),
        (11, "B-9", field),
        (12, "B-10", "over_refundable"),
        (13, "B-11", "malformed"),
        (17, "G-3", "id_reused"),
        (19, "B-13", "payment_unknown"),
    ];
    assert_eq!(named, expected);
    for (at, says) in [(0, "`/id`"), (1, "`/type`"), (3, "`/amount`"), (5, "`/paid_at`"), (7, "`/expires_at`")] {
        assert!(text(&errors[at]["detail"]).contains(says), "{}", errors[at]);
    }
    // 5,000 + 209, less what came and the refund.
    assert_eq!(house.late("2000", "2021-06").2, 5_209 - 1_000 - 1_000 - 500);
    let again = house.client.import("office", &file).json();
    assert_eq!((number(&again["posted"]), number(&again["replayed"]), number(&again["failed"])), (0, 5, 13), "{again}");
    assert_eq!(house.late("2000", "2021-06").2, 2_709);
}

#[test]
fn a_barcode_never_says_less_than_is_owed() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let limits = json!({"limits": {"total": 2_000_000, "in_store": 15_000}});
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/2000", &limits).status, 200);
    house.bought("2000", "online", 999_790);
    house.at("2021-07-05");
    let slip = house.office("2000", "payment-slips", &json!({"kind": "app_barcode"})).json();
    assert_eq!((number(&slip["amount"]), text(&slip["barcode"]).len()), (999_999, 44));
    house.bought("2000", "online", 1_000);
    house.at("2021-08-05");
    let refused = house.office("2000", "payment-slips", &json!({"kind": "app_barcode"}));
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("slip_too_large")));
    let slip = house.office("2000", "payment-slips", &json!({"kind": "terminal_number"})).json();
    assert_eq!(number(&slip["amount"]), 999_999 + 1_209);
}

#[test]
fn an_answer_to_a_repeated_call_says_how_things_are_now() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let block = json!({"block_id": "B-1", "reason": "telephone number of a known fraud"});
    assert_eq!(house.office("2000", "blocks", &block).json()["status"], "blocked");
    assert_eq!(house.refused_a_code("2000").as_deref(), Some("suspended"));
    assert_eq!(house.office("2000", "blocks/B-1/release", &json!({})).json()["blocked_by"], json!(null));
    let again = house.office("2000", "blocks", &block).json();
    assert_eq!((&again["status"], &again["replayed"]), (&json!("released"), &json!(true)));

    let pending = json!({"payment_id": "P-1", "amount": 300, "expires_at": "2021-06-16T00:00:00+09:00"});
    let is = |house: &mut House| house.office("2000", "payments-pending", &pending).json()["status"].clone();
    assert_eq!(is(&mut house), "pending");
    house.at("2021-06-16");
    assert_eq!(is(&mut house), "expired");
    let surplus = house.office("2000", "payments-pending/P-1/final", &json!({"amount": 300}));
    assert_eq!((surplus.status, surplus.json()["credit"].as_u64()), (200, Some(300)), "{surplus:?}");
    assert_eq!(house.office("2000", "payments-pending/P-1/final", &json!({})).json()["credit"], 300);
    assert_eq!(is(&mut house), "ended");

    // A closed account has no next bill: what came is owed back, and the answer adds up.
    let closed = house.client.send("office", "PUT", "/v1/customers/2001", &json!({"status": "closed"}));
    assert_eq!(closed.status, 200);
    let paid = house.repay("2001", "R-1", 500);
    assert_eq!((&paid["applied"], &paid["credit"], &paid["payout_due"]), (&json!([]), &json!(0), &json!(500)));
}

/// The members of all parts in one object.
fn all_of(file: &Value, parts: &[Value]) -> Value {
    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
    for part in parts {
        let target = part["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        let part = target.map_or(part, |target| file.pointer(target).expect("a reference leads somewhere"));
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Where an answer is not what the OpenAPI file says of it: members that are missing or not described, other types, words
/// that are not listed.
fn misfits(file: &Value, schema: &Value, answer: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = file.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return misfits(file, target, answer, at, found);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = |choice: &&Value| {
            let mut none = Vec::new();
            misfits(file, choice, answer, at, &mut none);
            none.is_empty()
        };
        if choices.iter().find(fits).is_none() {
            found.push(format!("{at}: {answer} is none of {choices:?}"));
        }
        return;
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return misfits(file, &all_of(file, parts), answer, at, found);
    }
    let kind = match answer {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) => {
            if number.is_f64() {
                "number"
            } else {
                "integer"
            }
        }
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if schema.get("type").is_some() && !kinds.contains(&json!(kind)) {
        found.push(format!("{at}: {answer} is not of {kinds:?}"));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(answer)) {
        found.push(format!("{at}: {answer} is not listed"));
    }
    for item in answer.as_array().into_iter().flatten() {
        misfits(file, &schema["items"], item, &format!("{at}[]"), found);
    }
    let Some(members) = answer.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(text(name)) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in members {
        match schema["properties"].get(name) {
            Some(schema) => misfits(file, schema, member, &format!("{at}.{name}"), found),
            None => found.push(format!("{at}: {name} is not described")),
        }
    }
}

#[test]
fn answers_about_money_are_what_the_openapi_file_tells() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let file = house.client.get("office", "/openapi.json").json();
    let sale = house.bought("2000", "online", 5_000);
    house.bought("2000", "np_atobarai", 700);
    let refund = json!({"refund_id": "F-1", "amount": 1_000});
    let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
    let refunded = house.client.send("office", "POST", &path, &refund).json();
    house.at("2021-07-11");
    let news = json!({"payment_id": "P-1", "amount": 300, "expires_at": "2021-07-20T00:00:00+09:00"});
    let answers = [
        ("RefundMade", refunded),
        ("Slip", house.office("2000", "payment-slips", &json!({"kind": "app_barcode"})).json()),
        ("Slip", house.office("2000", "payment-slips", &json!({"kind": "postcard"})).json()),
        (
            "DamagesPosted",
            house.office("2000", "damages", &json!({"posting_id": "D", "month": "2021-06", "amount": 1})).json(),
        ),
        ("PendingSet", house.office("2000", "payments-pending", &news).json()),
        ("PaymentWithdrawn", house.office("2000", "payments-pending/P-1/withdrawn", &json!({})).json()),
        ("Repayment", house.repay("2000", "R-1", 9_000)),
        ("PaidOut", house.office("2000", "payouts", &json!({"payout_id": "O-1", "amount": 1})).json()),
        ("PayoutBounced", house.office("2000", "payouts/O-1/bounced", &json!({"by": "tanaka", "reason": "x"})).json()),
        ("ProblemPayoutUnknown", house.office("2000", "payouts/O/bounced", &json!({"by": "t", "reason": "x"})).json()),
        ("PayoutPage", house.client.get("office", "/v1/payouts?status=made").json()),
        ("PayoutPage", house.client.get("office", "/v1/payouts?status=due").json()),
        ("RepaymentList", house.read("2000", "repayments")),
        ("BlockSet", house.office("2000", "blocks", &json!({"block_id": "B", "reason": "x"})).json()),
        ("BlockList", house.read("2000", "blocks")),
        (
            "PendingSet",
            house
                .office(
                    "2000",
                    "payments-pending",
                    &json!({"payment_id": "P-2", "amount": 300,
            "expires_at": "2021-07-20T00:00:00+09:00"}),
                )
                .json(),
        ),
        ("PendingList", house.read("2000", "payments-pending")),
        ("Credit", house.read("2000", "credit")),
        ("Points", house.read("2000", "points")),
        ("Ladder", house.read("2000", "ladder")),
        ("AccountStatement", house.read("2000", "account?from=2021-06-01")),
        ("Ladder", house.read("1002", "ladder")),
        ("BlockSet", house.office("2000", "blocks/B/release", &json!({})).json()),
        (
            "Imported",
            house.client.import("office", "id,type,customer_id,amount\nG,repayment,2000,1\nB,nothing,,\n").json(),
        ),
        ("StatementList", house.client.get("wallet", "/v1/customers/2000/statements").json()),
        ("Statement", house.statement("2000", "2021-06")),
        ("History", house.client.get("wallet", "/v1/customers/2000/history?from=2021-06-01&to=2021-07-11").json()),
        ("Standing", house.standing("2000")),
        ("PaymentMethodSet", house.method("2000", "debit")),
        ("ProblemStatementUnknown", house.statement("2000", "2020-01")),
    ];
    let mut found = Vec::new();
    for (schema, answer) in &answers {
        let described = &file["components"]["schemas"][schema];
        assert!(described.is_object(), "{schema} is not described");
        misfits(&file, described, answer, schema, &mut found);
    }
    assert_eq!(found, [""; 0]);
    // The check itself can fail.
    misfits(&file, &file["components"]["schemas"]["Spendable"], &json!({"in_store": "1", "more": 1}), "x", &mut found);
    assert_eq!(found.len(), 3, "{found:?}");
}
