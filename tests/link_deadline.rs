//! A link whose messages wait for the disk: what is decided in time is given, however slow the sync; what is not, is not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod http_support;
#[path = "service/iso.rs"]
mod iso;

use std::time::Duration;

use http_support::{Client, House, Plan, Stall};
use iso::{Peer, Text, sale};
use serde_json::json;
use sokketsu::engine::queues::Bounds;
use sokketsu::link::Options;

async fn code(client: &mut Client, customer: &str) -> String {
    let answer = client.post("/v1/codes", "sandbox-wallet", &json!({ "customer_id": customer })).await.json();
    answer["barcode"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_an_approval_is_not_given() {
    let disk = Stall::default();
    // One decision a group: one is on its way to the disk, one is decided behind it, the rest waits undecided.
    let bounds = Bounds { normal: 100, urgent: 100, batch: 1, target: Duration::from_secs(20) };
    let link = Options { deadline: Duration::from_millis(200), ..Options::default() };
    let house = House::open(Plan { bounds, disk: disk.clone(), link: Some(link), ..Plan::default() });
    let mut client = house.client().await;
    let mut sales = Vec::new();
    for n in 1..=4 {
        sales.push(sale(n, &code(&mut client, &(2_000 + n).to_string()).await, 100));
    }
    let address = house.link.unwrap();
    let (told, hear) = std::sync::mpsc::channel();
    let asked = sales.clone();
    disk.begin();
    let peer = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::to(address);
        asked.iter().for_each(|sale| peer.send(sale));
        told.send(()).unwrap();
        let mut heard: Vec<_> = (0..4).map(|_| peer.hear()).collect();
        // Asked again, each gets what it got; the code of those that were too late still pays.
        let again: Vec<_> = asked.iter().map(|sale| peer.ask(&sale.as_type("0201"))).collect();
        heard.sort_by(|a, b| a.get(11).cmp(b.get(11)));
        // But that who was too late has asked, and is told that nothing was charged: never again, in place of "inquire".
        let asked_again = |answer: &Text| match answer.code() {
            "68" => answer.with(&[(44, "6801C1U0")]),
            _ => answer.with(&[]),
        };
        assert!(heard.iter().all(|answer| answer.code() != "68" || answer.get(44) == "6801C6U0"), "{heard:?}");
        assert_eq!(heard.iter().map(asked_again).collect::<Vec<_>>(), again);
        let late = asked.iter().zip(&heard).find(|(_, answer)| answer.code() == "68").unwrap().0;
        let paid = peer.ask(&late.with(&[(11, "000099")]));
        assert_eq!(paid.code(), "00", "{paid:?}");
        heard
    });
    tokio::task::spawn_blocking(move || hear.recv()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    disk.end();
    let heard = peer.await.unwrap();
    let of = |code: &str| heard.iter().filter(|answer| answer.code() == code).count();
    assert_eq!((of("00"), of("68")), (2, 2), "{heard:?}");
    assert!(heard.iter().filter(|answer| answer.code() == "68").all(|answer| answer.get(44) == "6801C6U0"));
}
