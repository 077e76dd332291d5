//! The year of Hanako, who joins on 1 May 2021. Dates, amounts and fees follow the rules of the service: bills close at
//! the month's end, konbini is due the 10th with a fee of 209 yen, a debit is drawn the 27th or on the next bank day
//! without a fee, a late bill costs 100 yen on each 10th and 25th from the month after its due date, damages are
//! 14.6 % of the open principal for a year of 365 days.

use anyhow::Result;
use serde_json::{Value, json};

use super::calls::Sale;
use super::diary::{CUSTOMER, Diary};
use super::purse::{Channel, Paid};
use loadtest::http::Role;

pub const BORN: &str = "2021-05-01T09:00:00";
pub const DAYS: u32 = 365;

/// Plays all of it, to the end of its last day.
pub fn play(diary: &mut Diary) -> Result<()> {
    joins(diary)?;
    pays_in_time(diary)?;
    forgets(diary)?;
    pays_late(diary)?;
    provisional_news(diary)?;
    is_heard_late(diary)?;
    changes_to_debit(diary)?;
    let (december_online, december_store) = buys_in_december(diary)?;
    refunds_after_payment(diary, &december_online, &december_store)?;
    fails_to_pay(diary)?;
    leaves_with_cash(diary)?;
    staff_corrects(diary)?;
    diary.end_of_day()
}

fn joins(diary: &mut Diary) -> Result<()> {
    let profile = json!({"identity": "verified", "birth_date": "1995-05-05", "payment_method": "konbini"});
    let joined = diary.site.send(Role::Office, "PUT", &format!("/v1/customers/{CUSTOMER}"), &profile)?;
    diary.says("joining", &joined, 201, json!({"blocked_by": null, "limits_from": "ladder", "minor": false}));
    diary.tell("Hanako joins: 2,000 in store, 50,000 in all", 0)?;
    diary.at("2021-05-06T12:10")?;
    diary.buys_in_store(1_200, "2021-05", "2021-06-10")?;
    diary.at("2021-05-06T12:15")?;
    diary.tries_in_store(900)?;
    diary.at("2021-05-20T21:00")?;
    diary.buys_online(4_321, "2021-05", "2021-06-10")?;
    diary.at("2021-05-31T23:50")?;
    let late_night = diary.buys_in_store(700, "2021-05", "2021-06-10")?;
    diary.at("2021-06-01T00:10")?;
    diary.cancels(&late_night, 700)
}

fn pays_in_time(diary: &mut Diary) -> Result<()> {
    diary.at("2021-06-01T00:20")?;
    let bill =
        json!({"status": "billed", "principal": 5_521, "bill_fee": 209, "total_due": 5_730, "due": "2021-06-10"});
    diary.reads("reads the bill of May: 5,521 + 209, due June 10", "2021-05", bill)?;
    diary.at("2021-06-08T18:30")?;
    let slip = diary.office("payment-slips", &json!({"kind": "terminal_number"}))?;
    let lines = json!({"principal": 5_521, "bill_fee": 209, "late_fees": 0, "damages": 0});
    // The day before it would grow: the first fee day is July 10.
    let members = json!({"slip": "terminal_number", "amount": 5_730, "lines": lines,
        "expires_at": "2021-07-09T23:59:59.999+09:00"});
    diary.says("a slip", &slip, 200, members);
    diary.tell("takes a number for the terminal of a convenience store: 5,730", 0)?;
    diary.at("2021-06-09T10:00")?;
    let body = json!({"repayment_id": "R-may", "amount": 5_730, "slip": slip.1["number"],
        "paid_at": "2021-06-09T09:58:00+09:00"});
    let line = json!({"bill": "2021-05", "month": "2021-05", "principal": 5_521, "bill_fee": 209, "late_fees": 0, "damages": 0});
    // With a bill paid in time, purchases and a month, the first step is made at once.
    diary.purse.rung = 1;
    let paid = Paid { in_store: 1_200, elsewhere: 4_321, fees: 209 };
    diary.pays("pays at a convenience store, in time", &body, &line, paid, 0)?;
    diary.climbed(1, "1 bill on time, 1 purchase, 1 month", Some([3, 5, 3]))
}

fn forgets(diary: &mut Diary) -> Result<()> {
    diary.at("2021-06-10T13:00")?;
    diary.buys_in_store(3_000, "2021-06", "2021-07-10")?;
    diary.at("2021-06-15T20:00")?;
    let online = diary.buys_online(29_000, "2021-06", "2021-07-10")?;
    diary.at("2021-06-18T11:00")?;
    diary.purse.refund_of_open(Channel::Online, 2_000, 27_000);
    diary.refund(&online, 2_000, "usage_reduced", "2021-06", 2_000)?;
    diary.at("2021-07-01T00:20")?;
    let bill = json!({"status": "billed", "principal": 30_000, "bill_fee": 209, "total_due": 30_209, "due": "2021-07-10",
        "points": 150});
    diary.reads("reads the bill of June: 30,000 + 209, due July 10, a Saturday", "2021-06", bill)?;
    diary.at("2021-07-10T23:59:59.999")?;
    diary.stands(Value::Null)?;
    diary.tell("the last millisecond of the due date: not blocked", 0)?;
    diary.at("2021-07-11T00:00")?;
    diary.is_blocked("the bill of June is overdue: blocked on every channel")?;
    let shown = json!({"status": "overdue", "late_fees": 0, "damages": 12, "total_due": 30_209});
    diary.reads("damages of 1 day are shown: 12, not owed", "2021-06", shown)
}

fn pays_late(diary: &mut Diary) -> Result<()> {
    diary.at("2021-08-09T12:00")?;
    let shown = json!({"status": "overdue", "late_fees": 0, "damages": 360, "total_due": 30_209});
    diary.reads("the day before the first fee day: damages of 30 days are 360", "2021-06", shown)?;
    for (time, fees, damages) in [("2021-08-10T00:00", 100, 372), ("2021-08-25T00:00", 200, 552)] {
        diary.at(time)?;
        diary.purse.is_charged(100);
        let shown = json!({"status": "overdue", "late_fees": fees, "damages": damages, "total_due": 30_209 + fees});
        diary.reads(&format!("a late fee of 100; damages are {damages}"), "2021-06", shown)?;
    }
    diary.at("2021-08-25T10:00")?;
    diary.purse.is_charged(552);
    let posting = json!({"posting_id": "D-june", "month": "2021-06", "amount": 552});
    for replayed in [false, true] {
        let posted = diary.office("damages", &posting)?;
        diary.says("damages", &posted, 200, json!({"total_due": 30_961, "replayed": replayed}));
    }
    diary.tell("staff posts the damages of 46 days: now they are owed", 552)?;
    diary.at("2021-08-26T12:00")?;
    let line = json!({"bill": "2021-06", "month": "2021-06", "principal": 30_000, "bill_fee": 209, "late_fees": 200, "damages": 552});
    let paid = Paid { in_store: 3_000, elsewhere: 27_000, fees: 209 + 200 + 552 };
    let body = json!({"repayment_id": "R-june", "amount": 30_961});
    diary.pays("pays everything, 47 days late", &body, &line, paid, 0)?;
    diary.at("2021-08-26T12:01")?;
    diary.buys_in_store(1_000, "2021-08", "2021-09-10")?;
    let nothing = diary.statement("2021-07")?;
    diary.says("July, without a purchase", &nothing, 404, json!({"reason": "statement_unknown"}));
    Ok(())
}

fn provisional_news(diary: &mut Diary) -> Result<()> {
    diary.at("2021-08-28T20:00")?;
    diary.buys_online(8_000, "2021-08", "2021-09-10")?;
    diary.at("2021-09-01T00:20")?;
    let bill =
        json!({"status": "billed", "principal": 9_000, "bill_fee": 209, "total_due": 9_209, "due": "2021-09-10"});
    diary.reads("reads the bill of August: 9,000 + 209", "2021-08", bill)?;
    diary.at("2021-09-09T19:05")?;
    let news = json!({"payment_id": "P-aug", "amount": 9_209, "paid_at": "2021-09-09T19:00:00+09:00",
        "expires_at": "2021-09-14T00:00:00+09:00"});
    let room = diary.purse.figures();
    let spendable = json!({"in_store": room.in_store, "online": room.online});
    for replayed in [false, true] {
        let pending = diary.office("payments-pending", &news)?;
        diary.says(
            "provisional",
            &pending,
            200,
            json!({"status": "pending", "spendable": spendable, "replayed": replayed}),
        );
    }
    diary.tell("provisional news: paid at a convenience store on September 9", 0)?;
    diary.at("2021-09-11T00:00")?;
    diary.stands(Value::Null)?;
    diary.reads(
        "past the due date: not blocked, and no room yet",
        "2021-08",
        json!({"status": "billed", "total_due": 9_209}),
    )?;
    diary.at("2021-09-12T09:00")?;
    diary.purse.pays(Paid { in_store: 1_000, elsewhere: 8_000, fees: 209 }, 0);
    let line = json!({"bill": "2021-08", "month": "2021-08", "principal": 9_000, "bill_fee": 209, "late_fees": 0, "damages": 0});
    for replayed in [false, true] {
        let came = diary.office("payments-pending/P-aug/final", &json!({}))?;
        diary.says("final", &came, 200, json!({"applied": [line], "credit": 0, "replayed": replayed}));
    }
    diary.tell("final news: the room is back", -9_209)
}

fn is_heard_late(diary: &mut Diary) -> Result<()> {
    diary.at("2021-09-15T12:30")?;
    diary.buys_in_store(2_500, "2021-09", "2021-10-10")?;
    diary.at("2021-09-20T21:00")?;
    diary.buys_online(12_000, "2021-09", "2021-10-10")?;
    diary.at("2021-09-21T10:00")?;
    let np = diary.buys_by_np(3_300, "2021-09", "2021-10-05")?;
    diary.at("2021-10-01T00:20")?;
    let bill =
        json!({"status": "billed", "principal": 14_500, "bill_fee": 209, "total_due": 14_709, "due": "2021-10-10"});
    diary.reads("reads the bill of September: 14,500 + 209; NP stands apart", "2021-09", bill)?;
    let (_, bill) = diary.statement("2021-09")?;
    let listed = json!([{"bill": np.id, "authorization_id": np.id, "merchant_id": "mrc_konbini", "amount": 3_300, "due": "2021-10-05",
        "status": "billed", "principal": 3_300, "bill_fee": 0, "late_fees": 0, "damages": 0, "damages_posted": 0, "refunded": 0,
        "total_due": 3_300, "paid": 0, "written_off": 0, "points": 16}]);
    diary.is("np_purchases", &bill["np_purchases"], listed);
    diary.at("2021-10-04T15:00")?;
    diary.purse.pays(Paid { elsewhere: 3_300, ..Paid::default() }, 0);
    let came = diary.office("repayments", &json!({"repayment_id": "R-np", "amount": 3_300}))?;
    diary.is("what NP's payment settled", &came.1["applied"][0]["principal"], json!(3_300));
    diary.tell("pays the NP invoice, the oldest due", -3_300)?;
    diary.at("2021-10-11T00:00")?;
    diary.is_blocked("nothing was heard of September's money: blocked")?;
    diary.at("2021-11-10T00:00")?;
    diary.purse.is_charged(100);
    let shown = json!({"status": "overdue", "late_fees": 100, "total_due": 14_809});
    diary.reads("a late fee of 100", "2021-09", shown)?;
    diary.at("2021-11-12T10:00")?;
    diary.purse.is_given_back(100);
    diary.purse.rung = 2;
    let body = json!({"repayment_id": "R-sep", "amount": 14_709, "paid_at": "2021-10-09T20:00:00+09:00"});
    let line = json!({"bill": "2021-09", "month": "2021-09", "principal": 14_500, "bill_fee": 209, "late_fees": 0, "damages": 0});
    let paid = Paid { in_store: 2_500, elsewhere: 12_000, fees: 209 };
    diary.pays("it is heard that she paid on October 9: the fee is taken back", &body, &line, paid, 0)?;
    let shown = json!({"status": "paid", "late_fees": 0, "damages": 0, "total_due": 0, "paid": 14_709});
    diary.reads("the bill of September was paid in time", "2021-09", shown)?;
    diary.climbed(2, "3 bills on time, 5 purchases, 3 months", Some([6, 10, 6]))?;
    diary.at("2021-11-12T10:05")?;
    diary.buys_in_store(4_000, "2021-11", "2021-12-10").map(drop)
}

fn changes_to_debit(diary: &mut Diary) -> Result<()> {
    diary.at("2021-11-15T22:00")?;
    let path = format!("/v1/customers/{CUSTOMER}/payment-method");
    let changed = diary.site.send(Role::Wallet, "PUT", &path, &json!({"payment_method": "debit"}))?;
    let first = json!({"month": "2021-11", "due": "2021-12-27"});
    diary.says("method", &changed, 200, json!({"payment_method": "debit", "first_bill": first}));
    diary.bill_fee = 0;
    diary.tell("changes to bank debit, first for November, drawn December 27", 0)?;
    diary.at("2021-11-20T21:00")?;
    let online = diary.buys_online(10_000, "2021-11", "2021-12-27")?;
    diary.at("2021-12-01T00:20")?;
    let bill = json!({"status": "billed", "principal": 14_000, "bill_fee": 0, "total_due": 14_000, "due": "2021-12-27",
        "payment_method": "debit"});
    diary.reads("reads the bill of November: 14,000, no fee", "2021-11", bill)?;
    diary.at("2021-12-03T16:00")?;
    diary.purse.refund_of_owed(Channel::Online, 4_000, 6_000);
    diary.refund(&online, 4_000, "bill_reduced", "2021-11", 4_000)
}

/// Gives the two sales of December.
fn buys_in_december(diary: &mut Diary) -> Result<(Sale, Sale)> {
    diary.at("2021-12-10T12:00")?;
    let in_store = diary.buys_in_store(1_500, "2021-12", "2022-01-27")?;
    diary.at("2021-12-20T21:00")?;
    let online = diary.buys_online(7_000, "2021-12", "2022-01-27")?;
    let november = Paid { in_store: 4_000, elsewhere: 6_000, fees: 0 };
    diary.is_debited("B-nov", "2021-12-27", "2021-12-28", "2021-11", november)?;
    diary.at("2022-01-01T00:20")?;
    let bill = json!({"status": "billed", "principal": 8_500, "total_due": 8_500, "due": "2022-01-27"});
    diary.reads("reads the bill of December: 8,500", "2021-12", bill)?;
    Ok((online, in_store))
}

fn refunds_after_payment(diary: &mut Diary, online: &Sale, in_store: &Sale) -> Result<()> {
    diary.at("2022-01-10T12:00")?;
    diary.buys_in_store(2_000, "2022-01", "2022-02-28")?;
    diary.at("2022-01-15T21:00")?;
    diary.buys_online(6_000, "2022-01", "2022-02-28")?;
    let december = Paid { in_store: 1_500, elsewhere: 7_000, fees: 0 };
    diary.is_debited("B-dec", "2022-01-27", "2022-01-28", "2021-12", december)?;
    diary.at("2022-01-29T10:00")?;
    diary.purse.refund_to_credit(3_000, 4_000);
    diary.refund(online, 3_000, "credited", "credit", 0)?;
    diary.at("2022-02-01T00:20")?;
    diary.purse.credit_pays(Paid { in_store: 2_000, elsewhere: 1_000, fees: 0 });
    let bill = json!({"status": "billed", "principal": 8_000, "paid": 3_000, "total_due": 5_000, "due": "2022-02-28"});
    diary.reads("reads the bill of January: 8,000, of which credit has paid 3,000", "2022-01", bill)?;
    let (_, bill) = diary.statement("2022-01")?;
    diary.is("credit among the payments", &bill["payments"][0]["repayment_id"], Value::Null);
    diary.is("credit among the payments", &bill["payments"][0]["amount"], json!(3_000));
    diary.at("2022-02-05T10:00")?;
    // Of 1,500 in store, 500 are kept; the money pays January's purchase online.
    diary.purse.refund_of_owed(Channel::Online, 1_000, 500);
    diary.refund(in_store, 1_000, "other_bill", "2022-01", 1_000)
}

fn fails_to_pay(diary: &mut Diary) -> Result<()> {
    diary.at("2022-02-12T21:00")?;
    diary.buys_online(5_000, "2022-02", "2022-03-28")?;
    diary.at("2022-02-28T06:00")?;
    diary.imports("a debit on its way", &format!("B-jan,pending,{CUSTOMER},4000,,2022-03-03T00:00:00+09:00"))?;
    diary.tell("the debit for 2022-01 is handed to the bank, the 27th being a Sunday", 0)?;
    diary.at("2022-02-28T18:00")?;
    diary.purse.pays(Paid { elsewhere: 4_000, ..Paid::default() }, 0);
    diary.purse.rung = 3;
    diary.imports("a debit that came", &format!("B-jan,debit_paid,{CUSTOMER},4000,,"))?;
    diary.tell("the bank has drawn 2022-01", -4_000)?;
    diary.climbed(3, "6 bills on time, 10 purchases, 6 months", None)?;
    diary.at("2022-03-01T00:20")?;
    let bill = json!({"status": "billed", "principal": 5_000, "total_due": 5_000, "due": "2022-03-28"});
    diary.reads("reads the bill of February: 5,000", "2022-02", bill)?;
    diary.at("2022-03-28T06:00")?;
    diary.imports("a debit on its way", &format!("B-feb,pending,{CUSTOMER},5000,,2022-04-05T00:00:00+09:00"))?;
    diary.tell("the debit for 2022-02 is handed to the bank", 0)?;
    diary.at("2022-03-29T09:00")?;
    diary.stands(Value::Null)?;
    diary.imports("a debit that failed", &format!("B-feb,debit_failed,{CUSTOMER},,,"))?;
    diary.is_blocked("the account held too little: blocked")?;
    diary.at("2022-03-31T09:00")?;
    let line =
        json!({"bill": "2022-02", "month": "2022-02", "principal": 5_000, "bill_fee": 0, "late_fees": 0, "damages": 0});
    let paid = Paid { elsewhere: 5_000, ..Paid::default() };
    let body = json!({"repayment_id": "R-feb", "amount": 5_500});
    diary.pays("transfers 5,500, which is 500 too much: credit", &body, &line, paid, 500)?;
    diary.stands(Value::Null)
}

fn leaves_with_cash(diary: &mut Diary) -> Result<()> {
    diary.at("2022-03-31T12:00")?;
    // Only the highest rung has room for it.
    let large = diary.buys_in_store(12_000, "2022-03", "2022-04-27")?;
    diary.at("2022-04-01T00:20")?;
    diary.purse.credit_pays(Paid { in_store: 500, ..Paid::default() });
    let bill = json!({"status": "billed", "principal": 12_000, "paid": 500, "total_due": 11_500, "due": "2022-04-27"});
    diary.reads("reads the bill of March: 12,000, of which credit has paid 500", "2022-03", bill)?;
    diary.at("2022-04-10T12:00")?;
    diary.buys_in_store(800, "2022-04", "2022-05-27")?;
    let march = Paid { in_store: 11_500, ..Paid::default() };
    diary.is_debited("B-mar", "2022-04-27", "2022-04-28", "2022-03", march)?;
    diary.at("2022-04-29T11:00")?;
    diary.purse.refund_to_credit(2_000, 10_000);
    diary.refund(&large, 2_000, "credited", "credit", 0)?;
    diary.at("2022-04-30T10:00")?;
    // Of 2,000 the usage of April, 800, is kept back.
    let over = diary.office("payouts", &json!({"payout_id": "O-0", "amount": 1_201}))?;
    diary.says("more than the credit", &over, 422, json!({"reason": "over_credit", "credit": 1_200}));
    diary.purse.is_paid_out(1_200);
    for replayed in [false, true] {
        let out = diary.office("payouts", &json!({"payout_id": "O-1", "amount": 1_200}))?;
        diary.says("payout", &out, 200, json!({"amount": 1_200, "credit": 800, "replayed": replayed}));
    }
    diary.tell("asks for her credit in cash", 1_200)
}

/// Each once more, which changes nothing.
fn staff_corrects(diary: &mut Diary) -> Result<()> {
    let staff = json!({"by": "tanaka", "reason": "booked twice"});
    diary.at("2022-04-30T11:00")?;
    diary.purse.pays(Paid::default(), 300);
    let wrong = diary.office("repayments", &json!({"repayment_id": "R-wrong", "amount": 300}))?;
    diary.says("a payment that is not hers", &wrong, 200, json!({"applied": [], "credit": 300}));
    diary.tell("a payment of somebody else's is booked: 300 of credit", -300)?;
    diary.at("2022-04-30T11:05")?;
    diary.purse.is_reversed(300);
    for replayed in [false, true] {
        let back = diary.office("repayments/R-wrong/reversal", &staff)?;
        let moved = json!([{"from": "credit", "to": "reversal", "amount": 300}]);
        diary.says("reversal", &back, 200, json!({"amount": 300, "moved": moved, "credit": 800, "replayed": replayed}));
    }
    diary.tell("staff takes it back", 300)?;
    diary.at("2022-04-30T11:10")?;
    diary.purse.came_back(1_200);
    for replayed in [false, true] {
        let back = diary.office("payouts/O-1/bounced", &staff)?;
        diary.says("bounced", &back, 200, json!({"amount": 1_200, "credit": 1_200, "replayed": replayed}));
    }
    diary.tell("the bank could not pay her: it is credit again", -1_200)?;
    diary.at("2022-04-30T11:15")?;
    diary.purse.applies(800);
    let room = diary.purse.figures();
    let spendable = json!({"in_store": room.in_store, "online": room.online});
    let application = json!({"application_id": "A-apr", "amount": 800, "bill": "2022-04"});
    for replayed in [false, true] {
        let applied = diary.office("credit/applications", &application)?;
        // What she could spend then is not known any more.
        let spendable = if replayed { &Value::Null } else { &spendable };
        let members = json!({"amount": 800, "credit": 1_200, "spendable": spendable, "replayed": replayed});
        diary.says("application", &applied, 200, members);
    }
    let shown = json!({"status": "open", "principal": 800, "paid": 800, "total_due": 0});
    diary.reads("of her credit 800 pay what April has used: there is room at once", "2022-04", shown)?;
    diary.at("2022-04-30T11:20")?;
    diary.purse.is_paid_out(1_200);
    let out = diary.office("payouts", &json!({"payout_id": "O-2", "amount": 1_200}))?;
    diary.says("payout", &out, 200, json!({"amount": 1_200, "credit": 0, "payout_due": 0}));
    diary.tell("the rest is paid out to another account", 1_200)
}
