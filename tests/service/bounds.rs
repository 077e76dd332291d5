//! Every stated bound on the real binary: refused with its reason, nothing recorded, and the service goes on.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::grown::{Buyer, LISTS, List, grow, name};
use super::money::House;
use super::server::{BINARY, How, Server};

/// The standard policy, but for how often one may buy: that rule would come first.
fn policy(folder: &Path) -> (String, String) {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policy.toml");
    let text = std::fs::read_to_string(policy).expect("a policy").replace("max_count = 100", "# max_count = 100");
    let file = folder.join("policy.toml");
    std::fs::write(&file, text).expect("a policy of our own");
    ("SOKKETSU_POLICY__FILE".to_owned(), file.to_str().expect("UTF-8").to_owned())
}

/// How a call is refused at the bound.
enum Refused {
    /// By a problem.
    Call(u16, &'static str),
    /// By an answer, with this reason.
    Sale(&'static str),
}

type Act = fn(&mut Buyer);

/// Role, method, path and body.
type Call<'a> = &'a dyn Fn(u32) -> (&'static str, &'static str, String, Value);

/// By list: what comes next is refused so, and what passes all the same.
struct AtBound {
    list: &'static str,
    bound: usize,
    next: &'static [(Act, Refused)],
    passes: &'static [Act],
}

const AT_BOUND: &[AtBound] = &[
    AtBound {
        list: "invoices",
        bound: 200,
        next: &[
            (|b| b.buy("np_atobarai", 1), Refused::Sale("too_many_payments")),
            (|b| b.buy("online", 1), Refused::Sale("too_many_payments")),
            (|b| b.hold(1), Refused::Sale("too_many_payments")),
        ],
        passes: &[|b| b.repay("one", 1), |b| b.repay("all", 199), |b| b.buy("np_atobarai", 1)],
    },
    AtBound {
        list: "invoices that are paid",
        bound: 300,
        next: &[(|b| b.buy("np_atobarai", 1), Refused::Sale("too_many_payments"))],
        passes: &[|b| b.repay("more", 1)],
    },
    AtBound {
        list: "holds",
        bound: 200,
        next: &[(|b| b.hold(1), Refused::Sale("too_many_payments"))],
        passes: &[|b| {
            b.order = b.first_order.clone();
            b.capture();
        }],
    },
    AtBound {
        list: "changes of a bill",
        bound: 300,
        next: &[(|b| b.repay("over", 1), Refused::Call(409, "too_many_open"))],
        passes: &[
            |b| b.buy("np_atobarai", 2),
            |b| b.repay("rest", 8_700),
            |b| {
                b.order = b.first_order.clone();
                b.refund("all", 9_000);
            },
        ],
    },
    AtBound {
        list: "slips",
        bound: 20,
        next: &[(
            |b| {
                b.buy("np_atobarai", 1);
                b.slip();
            },
            Refused::Call(409, "too_many_open"),
        )],
        passes: &[],
    },
    AtBound {
        list: "blocks",
        bound: 100,
        next: &[(|b| b.block("over"), Refused::Call(409, "too_many_open"))],
        passes: &[|b| b.block("b1")],
    },
    AtBound {
        list: "payments pending",
        bound: 100,
        next: &[(|b| b.pending("over", 1), Refused::Call(409, "too_many_open"))],
        passes: &[|b| b.pending("q1", 1), |b| b.office("payments-pending/q1/withdrawn", json!({}))],
    },
    AtBound {
        list: "refunds of a purchase",
        bound: 100,
        next: &[(|b| b.refund("over", 1), Refused::Call(422, "too_many_refunds"))],
        passes: &[|b| b.refund("f1", 1), |b| b.refund("rest", 4_900)],
    },
    AtBound { list: "codes", bound: 600, next: &[(|b| b.code(), Refused::Call(429, "too_many_codes"))], passes: &[] },
];

/// The last record of the journal, from one that it is known to have.
fn last_record(server: &Server, known: u64) -> u64 {
    let mut last = known;
    loop {
        let page = server.client().get("ops", &format!("/v1/events?after={last}&limit=10000"));
        let end: Value = serde_json::from_str(page.text.lines().last().expect("the line of its end")).expect("JSON");
        last = end["end"]["after"].as_u64().unwrap_or_else(|| panic!("{end}"));
        if end["end"]["more"] == false {
            return last;
        }
    }
}

#[test]
fn at_its_bound_every_list_refuses_and_records_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    // The two that are long by default are set lower; the others are the defaults.
    let lower = |key: &str, most: usize| (format!("SOKKETSU_BOUNDS__{key}"), most.to_string());
    let environment = vec![policy(folder.path()), lower("OPEN_DEBTS", 200), lower("CHANGES_PER_BILL", 300)];
    let options = ["--sandbox-start", "2021-06-10T09:00:00.000+09:00"];
    let server = Server::start(&data, How { environment, ..How::with(&options) });
    let full: Vec<(&List, &AtBound)> = AT_BOUND
        .iter()
        .map(|at| (LISTS.iter().find(|list| list.name == at.list).expect("a list of that name"), at))
        .collect();
    let wanted: Vec<_> = full.iter().map(|(list, at)| (*list, at.bound)).collect();
    let orders = grow(&server, &wanted);
    let mut known = last_record(&server, 0);
    for ((list, at), first_order) in full.iter().zip(orders) {
        let mut buyer = Buyer::new(&server, &name(list, at.bound));
        (buyer.number, buyer.first_order) = (1_000_000, first_order.clone());
        buyer.order = first_order;
        for (next, refused) in at.next {
            let before = last_record(&server, known);
            next(&mut buyer);
            known = last_record(&server, before);
            let recorded = known - before;
            let (answer, status) = (buyer.last.json(), buyer.last.status);
            match refused {
                Refused::Call(code, reason) => {
                    assert_eq!((status, answer["reason"].as_str()), (*code, Some(*reason)), "{}: {answer}", at.list);
                    let asked_again = *code == 429;
                    assert_eq!(buyer.last.header("retry-after").is_some(), asked_again, "{}", at.list);
                    // Slips need an invoice more, so that none of the same amount is open.
                    assert_eq!(recorded, u64::from(at.list == "slips"), "{}", at.list);
                }
                // A denial is a decision, and decisions are recorded. It leaves the account as it was.
                Refused::Sale(reason) => {
                    assert_eq!(answer["reason"].as_str(), Some(*reason), "{}: {answer}", at.list);
                    assert_eq!(answer["response_code"].as_str(), Some("65"), "{}", at.list);
                }
            }
        }
        for passes in at.passes {
            passes(&mut buyer);
            assert!(buyer.last.status < 300, "{}: {:?}", at.list, buyer.last);
            let decision = buyer.last.json()["decision"].clone();
            assert!(decision.is_null() || decision == "approved", "{}: {:?}", at.list, buyer.last);
        }
    }
    assert_eq!(server.client().get("ops", "/readyz").status, 200);
    let number = |path: &str| server.client().get("office", path).json();
    assert_eq!(number("/v1/customers/invoices-200")["exposure"]["total"], json!(1));
    drop(server);
    let verified = Command::new(BINARY).args(["verify", "--sandbox", "--data"]).arg(&data).output().expect("verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// What there may be in all: who is there goes on, nobody else comes.
#[test]
fn what_fills_the_house_is_told_to_come_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = |name: &str, most: &str| (name.to_owned(), most.to_owned());
    let environment = vec![
        set("SOKKETSU_CODES__MAX", "20"),
        set("SOKKETSU_CUSTOMERS__MAX", "1030"),
        set("SOKKETSU_MERCHANTS__MAX", "30"),
    ];
    let server = Server::start(&folder.path().join("data"), How { environment, ..How::default() });
    let mut client = server.client();
    let person = json!({"identity": "verified", "birth_date": "1990-04-01"});
    let shop = json!({"name": "a shop", "mcc": "5499", "status": "active"});
    let calls: [(&str, Call<'_>); 3] = [
        ("customers", &|n| ("office", "PUT", format!("/v1/customers/full-{n}"), person.clone())),
        ("merchants", &|n| ("office", "PUT", format!("/v1/merchants/full-{n}"), shop.clone())),
        ("codes", &|n| ("wallet", "POST", "/v1/codes".to_owned(), json!({"customer_id": format!("full-{}", n % 10)}))),
    ];
    for (what, call) in calls {
        let mut send = |n| {
            let (role, method, path, body) = call(n);
            client.send(role, method, &path, &body)
        };
        let refused = (0..100).find_map(|n| Some((n, send(n))).filter(|(_, answer)| answer.status != 201));
        let (n, answer) = refused.unwrap_or_else(|| panic!("{what} have no bound"));
        assert!(n >= 10, "{what}: {answer:?}");
        let before = last_record(&server, 0);
        for answer in [answer, send(n)] {
            assert_eq!((answer.status, answer.json()["reason"].as_str()), (503, Some("busy")), "{what}: {answer:?}");
            assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
        }
        assert_eq!(last_record(&server, before), before, "{what}");
    }
    // Those who are there.
    let changed = client.send("office", "PUT", "/v1/customers/full-1", &json!({"status": "suspended"}));
    assert_eq!(changed.status, 200, "{changed:?}");
    let shop =
        client.send("office", "PUT", "/v1/merchants/full-1", &json!({"name": "b", "mcc": "5499", "status": "active"}));
    assert_eq!(shop.status, 200, "{shop:?}");
    let body = json!({"order_id": "O-1", "customer_id": "full-2", "channel": "online", "amount": 100,
        "merchant": {"id": "mrc_konbini"}, "deadline_ms": 30_000});
    assert_eq!(client.send("register", "POST", "/v1/authorizations", &body).json()["decision"], "approved");
}

#[test]
fn an_open_slip_of_the_same_kind_and_amount_is_given_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(&folder.path().join("data"), &["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]);
    let mut client = server.client();
    let bought = json!({"order_id": "S-1", "customer_id": "2000", "channel": "np_atobarai", "amount": 900,
        "merchant": {"id": "mrc_konbini"}, "deadline_ms": 30_000});
    assert_eq!(client.send("register", "POST", "/v1/authorizations", &bought).json()["decision"], "approved");
    let mut slip = |role: &str, kind: &str| {
        let answer = client.send(role, "POST", "/v1/customers/2000/payment-slips", &json!({ "kind": kind }));
        assert!(answer.status < 300, "{answer:?}");
        (answer.status, answer.json())
    };
    let (_, first) = slip("wallet", "app_barcode");
    let known = last_record(&server, 0);
    for role in ["wallet", "office"] {
        let (status, again) = slip(role, "app_barcode");
        assert_eq!((status, &again), (200, &first));
    }
    assert_eq!(last_record(&server, known), known, "nothing is recorded for it");
    let (_, other) = slip("office", "terminal_number");
    assert_ne!(other["number"], first["number"]);
    assert_eq!(last_record(&server, known), known + 1);

    // Once it is paid it is not: a shop refuses a number that was paid.
    let mut buyer = Buyer::new(&server, "2000");
    let paid = json!({"repayment_id": "paid", "amount": 900, "slip": first["number"]});
    buyer.office("repayments", paid);
    buyer.buy("np_atobarai", 900);
    buyer.slip();
    let next = buyer.last.json();
    assert_eq!((&next["amount"], buyer.last.status < 300), (&json!(900), true), "{next}");
    assert_ne!(next["number"], first["number"]);
}

/// News that ran out waits for what becomes of it, and is not in the way of the next.
#[test]
fn news_of_payments_that_ran_out_leaves_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(&folder.path().join("data"), &["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]);
    let mut buyer = Buyer::new(&server, "2000");
    let mut news = |id: String, until: &str| {
        buyer.office("payments-pending", json!({"payment_id": id, "amount": 1, "expires_at": until}));
        buyer.last.status
    };
    for number in 0..100 {
        assert_eq!(news(format!("short-{number}"), "2021-06-12T00:00:00+09:00"), 200);
    }
    assert_eq!(news("over".to_owned(), "2021-06-20T00:00:00+09:00"), 409);
    let body = json!({"now": "2021-06-13T09:00:00.000+09:00"});
    assert_eq!(server.client().send("ops", "POST", "/sandbox/clock", &body).status, 200);
    assert_eq!(news("next".to_owned(), "2021-06-20T00:00:00+09:00"), 200);
    buyer.office("payments-pending/short-7/final", json!({}));
    assert_eq!(buyer.last.status, 200, "{:?}", buyer.last);
}

/// The refunds made before an order left memory count, and each is given again by its id.
#[test]
fn refunds_are_counted_over_the_time_in_which_only_the_ledger_had_the_sale() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::sandbox(&data, &["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]);
    let mut buyer = Buyer::new(&server, "2001");
    buyer.buy("online", 5_000);
    let order = buyer.order.clone();
    (0..99).for_each(|number| buyer.refund(&format!("f{number}"), 1));
    assert_eq!(buyer.last.json()["refundable_left"], json!(4_901));
    let body = json!({"now": "2021-06-14T09:00:00.000+09:00"});
    assert_eq!(server.client().send("ops", "POST", "/sandbox/clock", &body).status, 200);
    server.kill();
    server.start_again();
    let mut buyer = Buyer::new(&server, "2001");
    buyer.order = order;
    let mut refund = |id: &str, amount: u64| {
        buyer.refund(id, amount);
        let json = buyer.last.json();
        (buyer.last.status, json["reason"].as_str().unwrap_or_default().to_owned(), json)
    };
    for (id, amount, status, reason) in [
        ("f5", 1, 200, ""),
        ("hundredth", 1, 200, ""),
        ("over", 1, 422, "too_many_refunds"),
        ("f5", 1, 200, ""),
        ("f5", 2, 409, "refund_id_reused"),
        ("rest", 4_900, 200, ""),
        ("over", 1, 422, ""),
    ] {
        let (found, why, json) = refund(id, amount);
        assert_eq!((found, id), (status, id), "{json}");
        assert!(reason.is_empty() || reason == why, "{id}: {json}");
        assert!(!id.starts_with('f') || found != 200 || json["replayed"] == json!(true), "{json}");
    }
    drop(server);
    let verified = Command::new(BINARY).args(["verify", "--sandbox", "--data"]).arg(&data).output().expect("verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Money is never refused for what happened since: it counts from as early as can be worked out again, and says so.
#[test]
fn news_from_before_more_than_can_be_worked_out_again_says_from_when_it_counts() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.bought("2000", "np_atobarai", 5_000);
    house.at("2021-06-16T12:00:00.000");
    for number in 0..2_001 {
        house.repay("2000", &format!("R-{number}"), 1);
    }
    house.at("2021-06-17T12:00:00.000");
    let mut news = |id: &str, paid_at: &str| {
        let body = json!({"repayment_id": id, "amount": 100, "paid_at": paid_at});
        let told = house.office("2000", "repayments", &body).json();
        assert_eq!((&told["paid_at"], &told["applied"][0]["principal"]), (&json!(paid_at), &json!(100)), "{told}");
        told["value_at"].clone()
    };
    assert_eq!(news("late", "2021-06-15T13:00:00.000+09:00"), "2021-06-16T12:00:00.000+09:00");
    assert_eq!(news("late", "2021-06-15T13:00:00.000+09:00"), "2021-06-16T12:00:00.000+09:00", "a replay");
    assert_eq!(news("less-late", "2021-06-16T13:00:00.000+09:00"), "2021-06-16T13:00:00.000+09:00");
}
