//! Lists over HTTP: who may ask for which, what a key is not told, cursors, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod http_support;

use http_support::{Client, House};
use serde_json::{Value, json};

const OFFICE: &str = "sandbox-office";
const WALLET: &str = "sandbox-wallet";
const REGISTER: &str = "sandbox-register";
const OPS: &str = "sandbox-ops";
const TILL_1: &str = "till-1-key";
const CHAIN: &str = "chain-key";
const ELECTRONICS: &str = "electronics-key";

/// Every list, with the roles that may ask for it.
const LISTS: [(&str, &[&str]); 12] = [
    ("/v1/merchants/mrc_konbini/authorizations", &[REGISTER, OFFICE]),
    ("/v1/merchants/mrc_konbini/captures", &[REGISTER, OFFICE]),
    ("/v1/merchants/mrc_konbini/refunds", &[REGISTER, OFFICE]),
    ("/v1/customers/1001/authorizations", &[OFFICE, WALLET]),
    ("/v1/customers/1001/captures", &[OFFICE, WALLET]),
    ("/v1/customers/1001/refunds", &[OFFICE, WALLET]),
    ("/v1/customers", &[OFFICE]),
    ("/v1/merchants", &[OFFICE]),
    ("/v1/merchants/mrc_konbini", &[OFFICE]),
    ("/v1/refunds/F-1?merchant_id=mrc_konbini", &[REGISTER, OFFICE]),
    ("/v1/approval-codes/ABCDEF", &[REGISTER, OFFICE]),
    ("/v1/approval-codes/abcdef?merchant_id=mrc_konbini", &[REGISTER, OFFICE]),
];

async fn rows(client: &mut Client, key: &str, path: &str) -> Vec<Value> {
    let answer = client.get(path, key).await;
    assert_eq!(answer.status, 200, "{key} {path}: {answer:?}");
    let page = answer.json();
    page["authorizations"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_list_is_for_its_roles() {
    let house = House::usual();
    let mut client = house.client().await;
    for (path, roles) in LISTS {
        for key in [OFFICE, WALLET, REGISTER, OPS] {
            let answer = client.get(path, key).await;
            assert_eq!(answer.status == 403, !roles.contains(&key), "{key} {path}: {answer:?}");
        }
        assert_eq!(client.get(path, "no-such-key").await.status, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_is_given_its_own_and_no_customer() {
    let house = House::usual();
    let mut client = house.client().await;
    let of_shop = "/v1/merchants/mrc_konbini/authorizations";
    let by_code = "/v1/approval-codes/ABCDEF";
    // The ledger of these tests has one sale at T01, one at T02 and one at no terminal.
    for path in [of_shop, by_code] {
        let office = rows(&mut client, OFFICE, path).await;
        assert_eq!(office.len(), 3, "{path}");
        assert!(office.iter().all(|row| row["customer_id"] == "1001"), "{office:?}");
        let chain = rows(&mut client, CHAIN, path).await;
        assert_eq!(chain.len(), 3, "{path}");
        let till = rows(&mut client, TILL_1, path).await;
        assert_eq!(till.iter().map(|row| &row["terminal_id"]).collect::<Vec<_>>(), ["T01"], "{path}");
        for row in chain.iter().chain(&till) {
            assert!(row.get("customer_id").is_none() && !row.to_string().contains("1001"), "{row}");
            assert!(["limit", "spendable", "exposure", "credit"].iter().all(|word| row.get(word).is_none()), "{row}");
        }
    }
    assert!(rows(&mut client, ELECTRONICS, by_code).await.is_empty(), "another shop's are not found");
    for path in [
        of_shop,
        "/v1/merchants/mrc_konbini/captures",
        "/v1/merchants/mrc_konbini/refunds",
        "/v1/refunds/F-1?merchant_id=mrc_konbini",
        "/v1/approval-codes/ABCDEF?merchant_id=mrc_konbini",
    ] {
        let (status, reason, _) = client.get(path, ELECTRONICS).await.problem();
        assert_eq!((status, reason.as_str()), (403, "forbidden"), "{path}");
    }
    let wallet = rows(&mut client, WALLET, "/v1/customers/1001/authorizations").await;
    assert_eq!((wallet.len(), &wallet[0]["customer_id"]), (3, &json!("1001")));
    let unknown = client.get("/v1/customers/nobody/captures", OFFICE).await.problem();
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "customer_unknown"));
    let unknown = client.get("/v1/merchants/nobody", OFFICE).await.problem();
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "merchant_unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_where_the_one_before_ended() {
    let house = House::usual();
    let mut client = house.client().await;
    let path = "/v1/merchants/mrc_konbini/authorizations?limit=1";
    let (mut tills, mut cursor) = (Vec::new(), String::new());
    for page in 0..3 {
        let answer = client.get(&format!("{path}{cursor}"), CHAIN).await.json();
        assert_eq!(answer["position"], json!({"stream": 0, "lsn": 3}));
        assert_eq!((&answer["end"]["more"], &answer["end"]["incomplete"]), (&json!(page < 2), &json!(false)));
        tills.push(answer["authorizations"][0]["terminal_id"].clone());
        if let Some(text) = answer["end"]["cursor"].as_str() {
            cursor = format!("&cursor={text}");
        }
    }
    assert_eq!(tills, [json!("T01"), json!("T02"), Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_cannot_be_asked_for_is_refused_by_its_name() {
    let house = House::usual();
    let mut client = house.client().await;
    let shop = "/v1/merchants/mrc_konbini";
    let wrong = [
        (format!("{shop}/authorizations?cursor=x"), "cursor"),
        (format!("{shop}/authorizations?cursor="), "cursor"),
        (format!("{shop}/captures?cursor=1042"), "cursor"),
        // Of customers, and of journal 1.
        (format!("{shop}/refunds?cursor=AgAAMTAwMQ"), "cursor"),
        (format!("{shop}/refunds?cursor=AQABAAAAAAAABBI"), "cursor"),
        ("/v1/customers?cursor=AQAAAAAAAAAABBI".to_owned(), "cursor"),
        (format!("{shop}/authorizations?limit=0"), "limit"),
        (format!("{shop}/authorizations?limit=101"), "limit"),
        (format!("{shop}/authorizations?status=open"), "status"),
        (format!("{shop}/authorizations?store_id=a%20b"), "store_id"),
        (format!("{shop}/authorizations?from=yesterday"), "from"),
        (format!("{shop}/authorizations?from=2026-11-02&to=2026-11-01"), "from"),
        (format!("{shop}/captures?status=captured"), "status"),
        ("/v1/customers/1001/refunds?store_id=S001".to_owned(), "store_id"),
        ("/v1/customers?overdue=yes".to_owned(), "overdue"),
        ("/v1/customers?status=open".to_owned(), "status"),
        ("/v1/customers?identity=maybe".to_owned(), "identity"),
        ("/v1/customers?prefix=a%25".to_owned(), "prefix"),
        ("/v1/merchants?after=a".to_owned(), "after"),
        ("/v1/refunds/F-1".to_owned(), "merchant_id"),
        ("/v1/approval-codes/ABC".to_owned(), "approval_code"),
        ("/v1/approval-codes/ABCDE0".to_owned(), "approval_code"),
        ("/v1/approval-codes/ABCDEF?order_id=R-1".to_owned(), "order_id"),
        ("/v1/authorizations?merchant_id=m&order_id=R-1&limit=5".to_owned(), "limit"),
        ("/v1/authorizations?merchant_id=m".to_owned(), "order_id"),
    ];
    for (path, name) in wrong {
        let answer = client.get(&path, OFFICE).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["parameter"].as_str()), (422, Some(name)), "{path}");
    }
}
