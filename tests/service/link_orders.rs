//! Every order in which a sale, its repeat, its reversal, the reversal's repeat and an inquiry can come: one end.

use std::collections::HashMap;

use serde_json::json;

use super::iso::{Peer, Text, sale};
use super::server::{Client, Server};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Authorize,
    Repeat,
    Reverse,
    ReverseAgain,
    Inquire,
}

use Act::{Authorize, Inquire, Repeat, Reverse, ReverseAgain};

/// All orders of the list.
fn orders(acts: &[Act]) -> Vec<Vec<Act>> {
    if acts.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..acts.len() {
        let mut rest = acts.to_vec();
        let first = rest.remove(at);
        all.extend(orders(&rest).into_iter().map(|tail| [vec![first], tail].concat()));
    }
    all
}

/// One customer with one code, one sale, and the order in which its five things happen.
struct Story {
    customer: String,
    acts: Vec<Act>,
    sale: Text,
    reversal: Text,
}

const YEN: u64 = 1_980;

fn stories(client: &mut Client, first: u32) -> Vec<Story> {
    let all = orders(&[Authorize, Repeat, Reverse, ReverseAgain, Inquire]);
    assert_eq!(all.len(), 120);
    (first..)
        .zip(all)
        .map(|(n, acts)| {
            let customer = n.to_string();
            let code = client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
            let sale = sale(n, code["barcode"].as_str().expect("a barcode"), YEN);
            let reversal = sale.reversal(n + 500_000);
            Story { customer, acts, sale, reversal }
        })
        .collect()
}

impl Story {
    fn message(&self, act: Act) -> Option<Text> {
        match act {
            Authorize => Some(self.sale.clone()),
            Repeat => Some(self.sale.as_type("0201")),
            Reverse => Some(self.reversal.clone()),
            ReverseAgain => Some(self.reversal.as_type("0421")),
            Inquire => None,
        }
    }

    fn inquire(&self, client: &mut Client) -> (u16, serde_json::Value) {
        let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={}", self.sale.order_id());
        let answer = client.get("register", &path);
        (answer.status, answer.json())
    }

    /// What a look may find, by what was surely done before it.
    fn check_look(&self, done: &[Act], (status, told): (u16, serde_json::Value)) {
        let (asked, reversed) = (done.contains(&Authorize) || done.contains(&Repeat), done.contains(&Reverse));
        let seen = if status == 404 { "nothing" } else { told["status"].as_str().unwrap_or_default() };
        let expected = match (asked, reversed || done.contains(&ReverseAgain)) {
            (false, _) => "nothing",
            (true, false) => "captured",
            // Denied if the reversal was first, cancelled if it was not.
            (true, true) if self.sale_was_first(done) => "cancelled",
            (true, true) => "denied",
        };
        assert_eq!(seen, expected, "{:?} after {done:?}: {told}", self.acts);
    }

    fn sale_was_first(&self, done: &[Act]) -> bool {
        let first = done.iter().find(|act| **act != Inquire);
        matches!(first, Some(Authorize | Repeat))
    }

    /// Nothing is owed; whoever asks again for the sale is told no, and for its reversal yes; HTTP says the same.
    fn check_end(&self, peer: &mut Peer, client: &mut Client) {
        let late = peer.ask(&self.sale.as_type("0201"));
        assert_eq!((late.code(), late.get(44)), ("12", "1201C1U0"), "{:?}", self.acts);
        assert_eq!(peer.ask(&self.reversal.as_type("0421")).code(), "00", "{:?}", self.acts);
        let standing = client.get("office", &format!("/v1/customers/{}", self.customer)).json();
        assert_eq!(standing["exposure"]["total"], 0, "{:?}", self.acts);
        let (_, told) = self.inquire(client);
        assert!(["cancelled", "denied"].contains(&told["status"].as_str().unwrap_or_default()), "{told}");
        let body = json!({ "merchant_id": "mrc_konbini", "order_id": self.sale.order_id() });
        assert_eq!(client.send("register", "POST", "/v1/cancellations", &body).status, 200);
    }
}

/// Each answered before the next is sent.
#[test]
fn all_orders_of_a_sale_and_its_reversal_come_to_one_end() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &["--iso8583", "127.0.0.1:0"]);
    let mut client = server.client();
    let mut peer = Peer::to(server.iso8583.expect("a link"));
    let stories = stories(&mut client, 2_000);
    for story in &stories {
        for (at, act) in story.acts.iter().enumerate() {
            let done = &story.acts[..at];
            let Some(message) = story.message(*act) else {
                story.check_look(done, story.inquire(&mut client));
                continue;
            };
            let answer = peer.ask(&message);
            let reversed = done.contains(&Reverse) || done.contains(&ReverseAgain);
            let expected = if matches!(act, Authorize | Repeat) && reversed { "12" } else { "00" };
            assert_eq!(answer.code(), expected, "{act:?} in {:?}", story.acts);
        }
        story.check_end(&mut peer, &mut client);
    }
    // And so it stays.
    server.kill();
    server.start_again();
    let (mut client, mut peer) = (server.client(), Peer::to(server.iso8583.expect("a link")));
    stories.iter().for_each(|story| story.check_end(&mut peer, &mut client));
}

/// All at once: on one connection without waiting, the repeats on another.
#[test]
fn and_so_they_do_while_everything_is_in_flight() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &["--iso8583", "127.0.0.1:0"]);
    let mut client = server.client();
    let address = server.iso8583.expect("a link");
    let (mut first, mut second) = (Peer::to(address), Peer::to(address));
    let stories = stories(&mut client, 2_200);
    for chunk in stories.chunks(20) {
        let mut asked: HashMap<(bool, String, String), usize> = HashMap::new();
        for story in chunk {
            for act in &story.acts {
                let Some(message) = story.message(*act) else {
                    story.inquire(&mut client);
                    continue;
                };
                let by_second = matches!(act, Repeat | ReverseAgain);
                if by_second {
                    second.send(&message)
                } else {
                    first.send(&message)
                }
                let answer = if message.mti.starts_with("02") { "0210" } else { "0430" };
                *asked.entry((by_second, answer.to_owned(), message.get(11).to_owned())).or_default() += 1;
            }
        }
        for by_second in [false, true] {
            for _ in 0..asked.keys().filter(|(second, ..)| *second == by_second).count() {
                let answer = if by_second { second.hear() } else { first.hear() };
                assert!(["00", "12"].contains(&answer.code()), "{answer:?}");
                let key = (by_second, answer.mti.clone(), answer.get(11).to_owned());
                let left = asked.get_mut(&key).unwrap_or_else(|| panic!("nobody asked for {answer:?}"));
                *left = left.checked_sub(1).expect("each is answered once");
            }
        }
        chunk.iter().for_each(|story| story.check_end(&mut first, &mut client));
    }
}
