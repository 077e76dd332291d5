//! The graph of a customer by HTTP on the real binary: what was bought each day, the limits and the exposure at its end.

use serde_json::{Value, json};

use super::money::{House, text};

/// Date, limits and exposure of each day on which one of them changed, and of the first.
fn changes(history: &Value) -> Vec<String> {
    let days = history["days"].as_array().expect("days");
    let told = days.iter().map(|day| {
        let limit = &day["limit"];
        let limit =
            if limit.is_null() { "none".to_owned() } else { format!("{}/{}", limit["total"], limit["in_store"]) };
        (text(&day["date"]), format!("{limit} {}/{}", day["exposure"]["total"], day["exposure"]["in_store"]))
    });
    let mut all: Vec<(&str, String)> = told.collect();
    all.dedup_by(|next, before| next.1 == before.1);
    all.into_iter().map(|(date, figures)| format!("{date} {figures}")).collect()
}

#[test]
fn limits_and_exposure_stand_at_the_end_of_each_day() {
    let mut house = House::born("2021-06-10T12:00:00+09:00");
    house.at("2021-06-12T12:00:00.000");
    let code = house.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "1002"})).json();
    let sale = json!({"order_id": "S-1", "code": code["barcode"], "amount": 1_000, "merchant": {"id": "mrc_konbini"}});
    assert_eq!(house.client.send("register", "POST", "/v1/authorizations", &sale).json()["decision"], "approved");
    house.bought("1002", "online", 2_000);
    house.at("2021-06-14T12:00:00.000");
    let hold = json!({"order_id": "H-1", "customer_id": "1002", "channel": "online", "amount": 700,
        "merchant": {"id": "mrc_konbini"}, "capture": false});
    assert_eq!(house.client.send("register", "POST", "/v1/authorizations", &hold).json()["decision"], "approved");
    house.at("2021-06-15T12:00:00.000");
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "H-1"});
    assert_eq!(house.client.send("register", "POST", "/v1/cancellations", &cancel).json()["action"], "reversed");
    house.at("2021-07-05T12:00:00.000");
    // Pays the fee, all that was bought in store and a part of the rest.
    house.repay("1002", "R-1", 1_709);
    house.at("2021-07-06T12:00:00.000");
    house.repay("1002", "R-2", 1_500);
    house.at("2021-07-08T12:00:00.000");
    let own = json!({"limits": {"total": 20_000, "in_store": 300}});
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/1002", &own).status, 200);
    house.at("2021-07-10T12:00:00.000");
    let history = house.client.get("wallet", "/v1/customers/1002/history?from=2021-06-08&to=2021-07-20").json();
    let told = [
        "2021-06-08 none 0/0",
        "2021-06-10 50000/2000 0/0",
        "2021-06-12 50000/2000 3000/1000",
        "2021-06-14 50000/2000 3700/1000",
        "2021-06-15 50000/2000 3000/1000",
        "2021-07-05 50000/2000 1500/0",
        "2021-07-06 50000/5000 0/0",
        "2021-07-08 20000/300 0/0",
    ];
    assert_eq!(changes(&history), told, "{history}");
    let days = history["days"].as_array().expect("days");
    assert_eq!((days.len(), text(&days[32]["date"])), (33, "2021-07-10"), "every day up to today");
    let bought = &days[4];
    assert_eq!(
        ["purchases", "purchased", "refunded"].map(|name| bought[name].as_u64()),
        [Some(2), Some(3_000), Some(0)]
    );
    house.again();
    assert_eq!(house.client.get("wallet", "/v1/customers/1002/history?from=2021-06-08&to=2021-07-20").json(), history);
}
