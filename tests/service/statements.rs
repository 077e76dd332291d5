//! Statements by HTTP on the real binary: on every one of them, whatever happened before, the rows add up to the yen.

use std::collections::BTreeMap;
use std::sync::mpsc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::money::{House, number, text};

const WHO: &str = "2000";

/// Of every row one member, as one sum.
fn sum(rows: &Value, member: &str) -> i64 {
    rows.as_array().expect("rows").iter().map(|row| row[member].as_i64().expect("a whole number")).sum()
}

fn figure(of: &Value, member: &str) -> i64 {
    i64::try_from(number(&of[member])).expect("yen")
}

/// One statement adds up.
fn adds_up(bill: &Value) {
    let figure = |member| figure(bill, member);
    assert_eq!(sum(&bill["refunds"], "amount"), figure("refunded"), "{bill}");
    assert_eq!(sum(&bill["purchases"], "amount") - figure("refunded"), figure("principal"), "{bill}");
    assert_eq!(sum(&bill["purchases"], "refunded"), figure("refunded"), "{bill}");
    let charged = figure("principal") + figure("bill_fee") + figure("late_fees") + figure("damages_posted");
    assert_eq!(charged - figure("paid") - figure("written_off"), figure("total_due"), "{bill}");
    assert_eq!(sum(&bill["payments"], "amount"), figure("paid"), "{bill}");
    let is_charged = |fee: &&Value| fee["waived"] == false;
    let fees: Vec<&Value> = bill["fees"].as_array().expect("rows").iter().filter(is_charged).collect();
    assert_eq!(sum(&json!(fees), "amount"), figure("bill_fee") + figure("late_fees"), "{bill}");
    assert_eq!(sum(&bill["purchases"], "points"), figure("points"), "{bill}");
    let is_invoice = bill["month"].is_null();
    for purchase in bill["purchases"].as_array().expect("rows") {
        assert_eq!(purchase["channel"] == "np_atobarai", is_invoice, "{bill}");
    }
    for payment in bill["payments"].as_array().expect("rows") {
        let came = payment["amount"].as_i64() > Some(0);
        assert_eq!((payment["from"].is_null(), payment["moved_to"].is_null()), (!came, came), "{payment}");
        assert!(payment["from"] != "received" || !payment["repayment_id"].is_null(), "{payment}");
    }
}

/// All statements of a customer: each adds up, what one says of another is what that says of itself, and what left a bill
/// for another came there.
pub fn all_add_up_of(who: &str, house: &mut House) -> Vec<Value> {
    let list = house.client.get("wallet", &format!("/v1/customers/{who}/statements")).json();
    let mut bills = Vec::new();
    for summary in list["statements"].as_array().expect("a list") {
        let month = house.statement(who, text(&summary["month"]));
        for (member, told) in summary.as_object().expect("a summary") {
            assert_eq!(&month[member], told, "{member} of {month}");
        }
        for row in month["np_purchases"].as_array().expect("rows") {
            let invoice = house.statement(who, text(&row["authorization_id"]));
            assert_eq!((&invoice["bill"], &invoice["month"]), (&row["authorization_id"], &Value::Null));
            for (member, told) in row.as_object().expect("a row") {
                let is_of_purchase = ["authorization_id", "merchant_id", "amount"].contains(&member.as_str());
                let own = if is_of_purchase { &invoice["purchases"][0][member] } else { &invoice[member] };
                assert_eq!(own, told, "{member} of {invoice}");
            }
            bills.push(invoice);
        }
        bills.push(month);
    }
    // Money may have come on an invoice whose purchase was cancelled since, and gone on.
    let is_bill = |end: &str| end.starts_with("aut_") || end.starts_with("20");
    let mut at = 0;
    while let Some(bill) = bills.get(at) {
        let rows = bill["payments"].as_array().expect("rows").iter();
        let ends: Vec<String> = rows
            .flat_map(|row| ["from", "moved_to"].map(|end| row[end].clone()))
            .filter_map(|end| end.as_str().filter(|end| is_bill(end)).map(str::to_owned))
            .collect();
        for name in ends {
            if bills.iter().all(|bill| bill["bill"] != *name) {
                bills.push(house.statement(who, &name));
            }
        }
        at += 1;
    }
    let mut between: BTreeMap<(String, String), i64> = BTreeMap::new();
    for bill in &bills {
        adds_up(bill);
        let own = text(&bill["bill"]).to_owned();
        for payment in bill["payments"].as_array().expect("rows") {
            let amount = payment["amount"].as_i64().expect("yen");
            if let Some(from) = payment["from"].as_str().filter(|end| is_bill(end)) {
                *between.entry((from.to_owned(), own.clone())).or_default() += amount;
            }
            if let Some(to) = payment["moved_to"].as_str().filter(|end| is_bill(end)) {
                *between.entry((own.clone(), to.to_owned())).or_default() += amount;
            }
        }
    }
    assert!(between.values().all(|rest| *rest == 0), "what left one bill came on the other: {between:?}");
    let owed = |bill: &&Value| figure(bill, "total_due") > 0;
    let next = bills.iter().filter(owed).map(|bill| text(&bill["due"])).min();
    let shown = house.standing(who)["next_bill"].clone();
    assert_eq!(shown["due"].as_str(), next, "the next bill is the oldest that is owed");
    if let Some(name) = shown["bill"].as_str() {
        let bill = bills.iter().find(|bill| bill["bill"] == name).expect("a bill that is there");
        assert_eq!((&shown["total_due"], &shown["month"]), (&bill["total_due"], &bill["month"]));
    }
    bills
}

fn all_add_up(house: &mut House) -> Vec<Value> {
    all_add_up_of(WHO, house)
}

fn refund(house: &mut House, sale: &Value, id: &str, amount: u64) -> Value {
    let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
    let answer = house.client.send("office", "POST", &path, &json!({"refund_id": id, "amount": amount}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The payments of a statement in words, the largest first.
fn payments(bill: &Value) -> Vec<String> {
    let mut rows: Vec<&Value> = bill["payments"].as_array().expect("rows").iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row["amount"].as_i64()));
    let end = |row: &Value| match row["from"].as_str() {
        Some(from) => format!("from {from}"),
        None => format!("to {}", text(&row["moved_to"])),
    };
    rows.into_iter().map(|row| format!("{} {} {}", text(&row["repayment_id"]), row["amount"], end(row))).collect()
}

#[test]
fn an_invoice_is_a_bill_of_its_own() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.bought(WHO, "online", 5_000);
    let sale = house.bought(WHO, "np_atobarai", 10_000);
    let id = text(&sale["authorization_id"]);
    let next = house.standing(WHO)["next_bill"].clone();
    assert_eq!((&next["bill"], &next["due"]), (&json!(id), &json!("2021-06-29")));
    assert_eq!((&next["month"], &next["payment_method"]), (&Value::Null, &Value::Null));
    refund(&mut house, &sale, "F-1", 1_000);
    house.repay(WHO, "R-1", 2_000);
    house.at("2021-07-09");
    all_add_up(&mut house);
    let invoice = house.statement(WHO, id);
    let figures =
        ["principal", "refunded", "paid", "total_due", "damages", "damages_posted"].map(|m| number(&invoice[m]));
    assert_eq!(figures, [9_000, 1_000, 2_000, 7_000, 28, 0], "ten days of 7,000 yen: {invoice}");
    assert_eq!(invoice["status"], "overdue");
    assert_eq!(payments(&invoice), ["R-1 2000 from received"]);
    let month = house.statement(WHO, "2021-06");
    assert_eq!(["principal", "refunded", "paid"].map(|member| number(&month[member])), [5_000, 0, 0]);
    assert_eq!((&month["refunds"], &month["payments"]), (&json!([]), &json!([])));
    // Damages are posted on it by its name.
    let post = |house: &mut House, body: &Value| house.office(WHO, "damages", body);
    let posted = post(&mut house, &json!({"posting_id": "D-1", "bill": id, "amount": 20})).json();
    assert_eq!((&posted["bill"], &posted["month"], &posted["total_due"]), (&json!(id), &Value::Null, &json!(7_020)));
    let again = post(&mut house, &json!({"posting_id": "D-1", "bill": id, "amount": 20})).json();
    assert_eq!(again["replayed"], true);
    let over = post(&mut house, &json!({"posting_id": "D-2", "bill": id, "amount": 9}));
    assert_eq!((over.status, &over.json()["reason"]), (422, &json!("over_damages")));
    let other = post(&mut house, &json!({"posting_id": "D-1", "bill": "2021-06", "amount": 20}));
    assert_eq!((other.status, &other.json()["reason"]), (409, &json!("id_reused")));
    let other_id = format!("{}{}", &id[..id.len() - 1], if id.ends_with('0') { '1' } else { '0' });
    for bill in [other_id.as_str(), "2020-01"] {
        let answer = post(&mut house, &json!({"posting_id": "D-3", "bill": bill, "amount": 1}));
        assert_eq!((answer.status, &answer.json()["reason"]), (404, &json!("bill_unknown")), "{bill}");
    }
    for body in [
        json!({"posting_id": "D-4", "amount": 1}),
        json!({"posting_id": "D-4", "amount": 1, "bill": id, "month": "2021-06"}),
    ] {
        assert_eq!(post(&mut house, &body).status, 422, "{body}");
    }
    let unknown = house.statement(WHO, &other_id);
    assert_eq!(unknown["reason"], "statement_unknown");
    assert_eq!(house.statement("2001", id)["reason"], "statement_unknown", "another customer's");
    all_add_up(&mut house);
    assert_eq!(number(&house.statement(WHO, id)["damages_posted"]), 20);
    house.repay(WHO, "R-2", 7_020);
    house.again();
    // Long after the engine has let it go, the ledger has it.
    house.at("2022-02-01");
    all_add_up(&mut house);
    let paid = house.statement(WHO, id);
    assert_eq!((&paid["status"], &paid["paid"], &paid["damages_posted"]), (&json!("paid"), &json!(9_020), &json!(20)));
}

#[test]
fn late_news_and_credit_stand_on_the_bills_that_they_leave_and_meet() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.bought(WHO, "online", 3_000);
    house.at("2021-07-05");
    house.bought(WHO, "online", 2_000);
    house.at("2021-07-09");
    house.repay(WHO, "R-1", 3_209);
    house.at("2021-07-20");
    // Paid before the other: it takes a part of its place.
    let news = json!({"repayment_id": "R-2", "amount": 1_000, "paid_at": "2021-07-06T12:00:00+09:00"});
    let told = house.office(WHO, "repayments", &news).json();
    assert_eq!(told["also_moved"], json!([{"from": "2021-06", "to": "credit", "amount": 1_000}]));
    let june = house.statement(WHO, "2021-06");
    let expected = ["R-1 3209 from received", "R-2 1000 from received", "R-1 -1000 to credit"];
    assert_eq!(payments(&june), expected, "{june}");
    house.at("2021-08-01");
    let bills = all_add_up(&mut house);
    let july = bills.iter().find(|bill| bill["month"] == "2021-07").expect("a bill");
    assert_eq!(payments(july), ["R-1 1000 from credit"], "{july}");
    assert_eq!(july["payments"][0]["paid_at"], "2021-07-09T00:00:00.000+09:00", "its own day");
}

#[test]
fn a_refund_of_all_in_time_names_the_fee_that_it_waives() {
    for is_paid in [false, true] {
        let mut house = House::born("2021-06-15T00:00:00+09:00");
        let sale = house.bought(WHO, "online", 1_000);
        house.at("2021-07-02");
        if is_paid {
            house.repay(WHO, "R-1", 1_209);
        }
        let applied = refund(&mut house, &sale, "F-1", 1_000)["applied"].clone();
        let fee = json!({"to": "fee_2021-06", "amount": 209});
        let first =
            if is_paid { json!({"to": "credit", "amount": 1_209}) } else { json!({"to": "2021-06", "amount": 1_000}) };
        assert_eq!(applied, json!([first, fee]));
        let bills = all_add_up(&mut house);
        let [june] = bills.as_slice() else { panic!("one bill: {bills:?}") };
        assert_eq!(["principal", "bill_fee", "paid"].map(|member| number(&june[member])), [0; 3], "{june}");
        let fee = &june["fees"][0];
        let told = ["fee_id", "amount", "waived", "waived_by"].map(|member| fee[member].clone());
        assert_eq!(told, [json!("fee_2021-06"), json!(209), json!(true), json!("refund")], "{june}");
        assert_eq!(june["refunds"][0]["applied"], applied);
    }
}

#[test]
fn a_statement_that_is_read_while_its_customer_goes_on_adds_up() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.bought(WHO, "online", 5_000);
    house.at("2021-07-05");
    let mut reader = house.server.client();
    let (told, heard) = mpsc::sync_channel(0);
    let reads = std::thread::spawn(move || {
        // The next begins while more is repaid; the last is never heard.
        let statement = format!("/v1/customers/{WHO}/statements/2021-06");
        while told.send(reader.get("wallet", &statement).json()).is_ok() {}
    });
    let (mut repaid, mut paid) = (0, 0);
    for _ in 0..12 {
        for _ in 0..3 {
            repaid += 1;
            house.repay(WHO, &format!("R-{repaid}"), repaid);
        }
        let statement = heard.recv().expect("the reader reads on");
        adds_up(&statement);
        paid = figure(&statement, "paid");
    }
    assert!(paid > 0, "the last read has seen some of it");
    drop(heard);
    reads.join().expect("the reader ends");
}

/// A small history at random.
struct Walk {
    house: House,
    random: StdRng,
    sales: Vec<Value>,
    news: Vec<String>,
    day: u64,
    ids: u64,
}

impl Walk {
    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Noon of a day, in Japan; the first is 1 June.
    fn noon(day: u64) -> String {
        let day =
            jiff::civil::date(2021, 6, 1).saturating_add(jiff::Span::new().days(i64::try_from(day).expect("days")));
        format!("{day}T12:00:00+09:00")
    }

    fn step(&mut self) {
        match self.below(16) {
            0..4 => self.buy(),
            4..6 => self.wait(),
            6..9 => self.repay(),
            9 => self.refund(),
            10 => self.cancel(),
            11 => self.expect(),
            12 => self.end_news(),
            13 => self.pay_out(),
            14 => self.waive(),
            _ => self.post_damages(),
        }
    }

    fn office(&mut self, call: &str, body: &Value, may_be: &[u16]) -> Value {
        let answer = self.house.office(WHO, call, body);
        assert!(may_be.contains(&answer.status), "{call}: {answer:?}");
        answer.json()
    }

    fn buy(&mut self) {
        let channel = if self.below(3) == 0 { "np_atobarai" } else { "online" };
        let amount = 1 + self.below(9_000);
        let sale = self.house.buy(WHO, channel, amount);
        if sale["decision"] == "approved" {
            self.sales.push(sale);
        }
    }

    fn wait(&mut self) {
        self.day += 1 + self.below(20);
        let now = Self::noon(self.day);
        let answer = self.house.client.send("ops", "POST", "/sandbox/clock", &json!({ "now": now }));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn repay(&mut self) {
        let amount = 1 + self.below(6_000);
        let paid_at = Self::noon(self.day - self.below(25).min(self.day));
        let body = json!({"repayment_id": format!("R-{}", self.id()), "amount": amount, "paid_at": paid_at});
        let told = self.office("repayments", &body, &[200]);
        let lines = ["principal", "bill_fee", "late_fees", "damages"].map(|line| sum(&told["applied"], line));
        let all = lines.iter().sum::<i64>() + figure(&told, "credit") + figure(&told, "payout_due");
        assert_eq!(all, figure(&told, "amount"), "{told}");
    }

    fn refund(&mut self) {
        let Some(at) = self.below(1_000).checked_rem(self.sales.len() as u64) else { return };
        let sale = self.sales[usize::try_from(at).expect("a place")].clone();
        let left = number(&sale["amount"]);
        let amount = if self.below(3) == 0 { left } else { 1 + self.below(left) };
        let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
        let body = json!({"refund_id": format!("F-{}", self.id()), "amount": amount});
        let answer = self.house.client.send("office", "POST", &path, &body);
        // It may be cancelled, or less may be left.
        assert!([200, 409, 422].contains(&answer.status), "{answer:?}");
    }

    fn cancel(&mut self) {
        let Some(sale) = self.sales.last() else { return };
        let body = json!({"merchant_id": "mrc_konbini", "order_id": sale["order_id"]});
        let answer = self.house.client.send("register", "POST", "/v1/cancellations", &body);
        assert!([200, 409].contains(&answer.status), "{answer:?}");
    }

    fn expect(&mut self) {
        let (paid_at, expires_at) = (Self::noon(self.day), Self::noon(self.day + 1 + self.below(30)));
        let news = format!("P-{}", self.id());
        let amount = 1 + self.below(6_000);
        let body = json!({"payment_id": news, "amount": amount, "paid_at": paid_at, "expires_at": expires_at});
        self.office("payments-pending", &body, &[200]);
        self.news.push(news);
    }

    fn end_news(&mut self) {
        let Some(news) = self.news.pop() else { return };
        let end = if self.below(2) == 0 { "final" } else { "withdrawn" };
        self.office(&format!("payments-pending/{news}/{end}"), &json!({}), &[200]);
    }

    fn pay_out(&mut self) {
        let body = json!({"payout_id": format!("O-{}", self.id()), "amount": 1 + self.below(500)});
        self.office("payouts", &body, &[200, 422]);
    }

    /// The last fee that is not waived yet.
    fn waive(&mut self) {
        let bills = all_add_up(&mut self.house);
        let mut fees = bills.iter().flat_map(|bill| bill["fees"].as_array().expect("rows"));
        let Some(fee) = fees.rfind(|fee| fee["waived"] == false) else { return };
        let path = format!("fees/{}/waiver", text(&fee["fee_id"]));
        self.office(&path, &json!({"by": "tanaka", "reason": "at random"}), &[200]);
    }

    /// All that has accrued on the first bill that has any.
    fn post_damages(&mut self) {
        let left = |bill: &Value| figure(bill, "damages") - figure(bill, "damages_posted");
        let bills = all_add_up(&mut self.house);
        let Some(bill) = bills.iter().find(|bill| left(bill) > 0) else { return };
        let body = json!({"posting_id": format!("D-{}", self.id()), "bill": bill["bill"], "amount": left(bill)});
        self.office("damages", &body, &[200]);
    }
}

#[test]
fn after_every_step_of_a_random_history_all_statements_add_up() {
    let (mut refunded, mut left) = (0, 0);
    for seed in 1..3 {
        // By turns with the ceiling and fees on invoices.
        let changes = [("ceiling = false", "ceiling = true"), ("np_fee_yen = 0", "np_fee_yen = 50")];
        let changes = if seed % 2 == 0 { &changes[..] } else { &[] };
        let house = House::with("2021-06-01T12:00:00+09:00", changes, &[]);
        let random = StdRng::seed_from_u64(seed);
        let mut walk = Walk { house, random, sales: Vec::new(), news: Vec::new(), day: 0, ids: 0 };
        for _ in 0..50 {
            walk.step();
            for bill in all_add_up(&mut walk.house) {
                refunded += figure(&bill, "refunded");
                left += usize::from(
                    bill["payments"].as_array().expect("rows").iter().any(|row| !row["moved_to"].is_null()),
                );
            }
        }
    }
    assert!(refunded > 0 && left > 0, "some had refunds, and money that left a bill");
}

/// Each row as `fee_id amount tax`.
fn fees(bill: &Value) -> Vec<String> {
    let shown = |fee: &Value| format!("{} {} {}", fee["fee_id"], fee["amount"], fee["tax"]).replace('"', "");
    bill["fees"].as_array().expect("rows").iter().map(shown).collect()
}

#[test]
fn each_fee_says_its_tax_and_the_registration_number() {
    let key = "registration_number = \"T9876543210123\"";
    let number = [("tax_percent = 10", format!("tax_percent = 10\n{key}"))];
    let changes = [(number[0].0, number[0].1.as_str()), ("np_fee_yen = 0", "np_fee_yen = 55")];
    let mut house = House::with("2021-06-15T12:00:00+09:00", &changes, &[]);
    house.bought(WHO, "online", 30_000);
    let invoice = house.bought(WHO, "np_atobarai", 2_000);
    let np = text(&invoice["authorization_id"]).to_owned();
    assert_eq!(fees(&house.statement(WHO, "2021-06")), [""; 0]);
    house.at("2021-08-26");
    let bill = house.statement(WHO, "2021-06");
    let expected = ["fee_2021-06 209 19", "fee_2021-06_2021-08-10 100 9", "fee_2021-06_2021-08-25 100 9"];
    assert_eq!(fees(&bill), expected);
    let first = json!({"fee_id": "fee_2021-06", "fee": "bill_fee", "date": "2021-07-01", "amount": 209, "tax": 19,
        "tax_percent": 10, "registration_number": "T9876543210123", "waived": false, "waived_by": null});
    assert_eq!(bill["fees"][0], first);
    let late = house.statement(WHO, &np);
    assert_eq!(fees(&late)[0], format!("fee_{np}_2021-07-10 55 5"), "{late}");
    adds_up(&late);

    // Paid, and long ago: only the ledger knows them, and in the end not even the story of a bill that was paid in time.
    let all = |house: &mut House| [&np, "2021-06"].map(|name| house.statement(WHO, name)["fees"].clone());
    let of_invoice = format!("fees/fee_{np}_2021-08-10/waiver");
    for waived in ["fees/fee_2021-06/waiver", "fees/fee_2021-06_2021-08-10/waiver", &of_invoice] {
        let answer = house.office(WHO, waived, &json!({"by": "tanaka", "reason": "our fault"}));
        assert_eq!(answer.status, 200, "{waived}: {answer:?}");
    }
    house.repay(WHO, "R-1", 50_000);
    let known = all(&mut house);
    let is_waived = |fees: &Value| fees.as_array().expect("rows").iter().map(|fee| fee["waived"] == true).collect();
    let waived: Vec<Vec<bool>> = known.iter().map(is_waived).collect();
    assert_eq!(waived, [vec![false, false, true, false], vec![true, true, false]], "{known:?}");
    for day in ["2022-02-01", "2023-06-01"] {
        house.at(day);
        house.again();
        assert_eq!(all(&mut house), known, "{day}");
        all_add_up(&mut house);
    }
}

#[test]
fn a_waived_fee_is_listed_when_even_the_story_of_its_bill_is_gone() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    let sale = house.bought(WHO, "online", 3_000);
    house.bought("2001", "online", 3_000);
    let other = house.bought("2002", "online", 3_000);
    house.at("2021-07-05");
    house.repay("2001", "R-1", 3_209);
    for who in ["2001", "2002"] {
        house.office(who, "fees/fee_2021-06/waiver", &json!({"by": "tanaka", "reason": "our fault"}));
    }
    refund(&mut house, &sale, "F-1", 3_000);
    // Staff has waived its fee before.
    refund(&mut house, &other, "F-2", 3_000);
    let all = |house: &mut House| [WHO, "2001", "2002"].map(|who| house.statement(who, "2021-06")["fees"].clone());
    let known = all(&mut house);
    let by = known.each_ref().map(|fees| format!("{} {}", text(&fees[0]["fee_id"]), text(&fees[0]["waived_by"])));
    assert_eq!(by, ["fee_2021-06 refund", "fee_2021-06 staff", "fee_2021-06 staff"]);
    // Each is a day of the calendar, which lets go of what is old.
    for day in ["2021-09-01", "2022-02-01", "2023-06-01"] {
        house.at(day);
        house.again();
        assert_eq!(all(&mut house), known, "{day}");
        all_add_up_of("2001", &mut house);
    }
}

#[test]
fn the_list_of_statements_names_the_invoices_of_each_month() {
    let mut house = House::born("2021-06-20T12:00:00+09:00");
    let june = house.bought(WHO, "np_atobarai", 2_000);
    house.bought(WHO, "online", 500);
    let paid = house.bought(WHO, "np_atobarai", 300);
    refund(&mut house, &paid, "F-1", 300);
    house.at("2021-07-02");
    let july = house.bought(WHO, "np_atobarai", 700);
    house.at("2021-07-05");
    let list = house.client.get("wallet", &format!("/v1/customers/{WHO}/statements")).json();
    let rows: Vec<(String, Vec<Value>)> = list["statements"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|month| (text(&month["bill"]).to_owned(), month["np_purchases"].as_array().expect("rows").clone()))
        .collect();
    let short = |row: &Value| format!("{} {} {} {}", row["bill"], row["due"], row["status"], row["total_due"]);
    let told: Vec<(&str, Vec<String>)> =
        rows.iter().map(|(month, rows)| (month.as_str(), rows.iter().map(short).collect())).collect();
    let row = |sale: &Value, rest: &str| format!("{} {rest}", sale["authorization_id"]);
    let expected = [
        ("2021-07", vec![row(&july, "\"2021-07-16\" \"billed\" 700")]),
        ("2021-06", vec![row(&june, "\"2021-07-04\" \"overdue\" 2000"), row(&paid, "\"2021-07-04\" \"paid\" 0")]),
    ];
    assert_eq!(told, expected);
    // The row is that of the month's statement, and its name is that of a statement.
    all_add_up(&mut house);
    assert_eq!(house.statement(WHO, text(&rows[0].1[0]["bill"]))["total_due"], 700);
    assert_eq!(number(&list["statements"][1]["total_due"]), 709, "no row of an invoice is in the month's sums");
}
