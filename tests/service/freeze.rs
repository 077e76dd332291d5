//! A lost phone by HTTP: who may tell of it, what its customer is told, and what staff reads.

use serde_json::json;

use super::money::{House, number, text};

#[test]
fn a_lost_phone_shuts_codes_until_the_office_lifts_it() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let call = |house: &mut House, key: &str, call: &str, body| {
        // A call that is not read to its end closes its connection.
        house.server.client().send(key, "POST", &format!("/v1/customers/1001/{call}"), &body)
    };
    let code = house.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "1001"})).json();
    for key in ["register", "ops"] {
        assert_eq!(call(&mut house, key, "freeze", json!({"freeze_id": "Z-1"})).status, 403, "{key}");
    }
    let wrong = call(&mut house, "wallet", "freeze", json!({"freeze_id": ""})).json();
    assert_eq!(wrong["errors"][0]["pointer"], "/freeze_id", "{wrong}");
    let frozen = call(&mut house, "wallet", "freeze", json!({"freeze_id": "Z-1"}));
    let shown = json!({"freeze_id": "Z-1", "status": "frozen", "blocked_by": "suspended", "replayed": false});
    assert_eq!((frozen.status, frozen.json()), (200, shown));

    let mirror = house.client.get("wallet", &format!("/v1/codes/{}", text(&code["code_id"]))).json();
    assert_eq!((text(&mirror["status"]), text(&mirror["voided_by"])), ("voided", "customer"));
    let refused = house.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "1001"}));
    let told = refused.json();
    assert_eq!((refused.status, text(&told["reason"])), (403, "suspended"));
    assert!(text(&told["next_step"]["ja"]).contains("紛失"), "{told}");
    assert!(text(&told["next_step"]["en"]).contains("lost phone"), "{told}");
    house.bought("1001", "online", 500);
    house.bought("1001", "np_atobarai", 300);
    let standing = house.standing("1001");
    assert_eq!((&standing["frozen"], &standing["blocked_by"]), (&json!(true), &json!("suspended")));
    assert!(standing["blocked_channels"]["online"].is_null(), "{standing}");
    let day = "2021-06-15T00:00:00.000+09:00";
    let blocks = json!({"blocks": [], "freezes": [{"freeze_id": "Z-1", "recorded_at": day}]});
    assert_eq!(house.read("1001", "blocks"), blocks);

    let staff = json!({"by": "tanaka", "reason": "a new phone"});
    let lift = "freeze/Z-1/release";
    assert_eq!(call(&mut house, "wallet", lift, staff.clone()).status, 403, "the office alone lifts it");
    let missing = call(&mut house, "office", lift, json!({"by": "tanaka"})).json();
    assert_eq!(missing["errors"][0]["pointer"], "/reason", "{missing}");
    for replayed in [false, true] {
        let lifted = call(&mut house, "office", lift, staff.clone()).json();
        let shown = json!({"freeze_id": "Z-1", "status": "released", "blocked_by": null, "by": "tanaka",
            "key": "sandbox-office", "reason": "a new phone", "replayed": replayed});
        assert_eq!(lifted, shown);
        house.again();
    }
    let other = call(&mut house, "office", lift, json!({"by": "tanaka", "reason": "another"}));
    assert_eq!((other.status, text(&other.json()["reason"])), (409, "id_reused"));
    let unknown = call(&mut house, "office", "freeze/Z-9/release", staff);
    assert_eq!((unknown.status, text(&unknown.json()["reason"])), (404, "freeze_unknown"));
    assert_eq!(house.standing("1001")["frozen"], false);
    assert_eq!(house.read("1001", "blocks"), json!({"blocks": [], "freezes": []}));
    let code = house.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "1001"}));
    assert_eq!(code.status, 201, "{code:?}");

    let feed = house.client.get("ops", "/v1/events?limit=100000").text;
    let kinds = ["frozen", "freeze_released", "code_voided"];
    let seen = kinds.map(|kind| feed.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count());
    assert_eq!(seen, [1, 1, 1]);
    assert!(number(&house.standing("1001")["exposure"]["total"]) > 0);
}
