//! Steps as ISO 8583 messages on one connection, and their answers in the words of scenarios.

use std::collections::HashMap;
use std::net::SocketAddr;

use sokketsu::domain::model::denial::Reason;

use super::Step;
use crate::iso::{ACQUIRER, Peer, SENT, Text, sale};

/// How an order is named over the link.
#[derive(Clone, Debug)]
struct Named {
    stan: String,
    terminal: String,
    was_reversed: bool,
    was_sent: bool,
    was_captured: Option<u64>,
    is_hold: bool,
}

pub struct Link {
    peer: Peer,
    /// By order and merchant.
    names: HashMap<(String, String), Named>,
    /// Of orders that only HTTP can carry, and that it must then also cancel.
    elsewhere: Vec<(String, String)>,
    /// Of messages that have no order of their own.
    spare: u32,
}

impl Named {
    fn order_id(&self) -> String {
        format!("{SENT}{}{ACQUIRER:0>11}{}", self.stan, self.terminal)
    }

    /// Element 90 of a message about it.
    fn original(&self, mti: &str) -> String {
        format!("{mti}{}{SENT}{ACQUIRER:0>11}{:0>11}", self.stan, "")
    }
}

impl Link {
    pub fn to(address: SocketAddr) -> Self {
        Self { peer: Peer::to(address), names: HashMap::new(), elsewhere: Vec::new(), spare: 900_000 }
    }

    pub fn reconnect(&mut self, address: SocketAddr) {
        self.peer = Peer::to(address);
    }

    /// Online sales have no code, items no element; one content under two terminals is two orders here.
    pub fn can_carry(&self, step: &Step) -> bool {
        let key = (step.word(0).to_owned(), step.word(1).to_owned());
        let same_terminal = |named: &Named| step.option("terminal").is_none_or(|terminal| named.terminal == terminal);
        step.verb == "pay"
            && step.option("items").is_none()
            && step.option("store").is_none()
            && self.names.get(&key).is_none_or(same_terminal)
    }

    pub fn order_id(&self, order: &str, merchant: &str) -> Option<String> {
        self.names.get(&(order.to_owned(), merchant.to_owned())).map(Named::order_id)
    }

    /// The scenario's name of an order, or the id itself where HTTP carried it.
    pub fn name_of(&self, order_id: &str) -> Option<String> {
        let found = self.names.iter().find(|(_, named)| named.order_id() == order_id);
        Some(found.map_or_else(|| order_id.to_owned(), |((order, _), _)| order.clone()))
    }

    /// Notes that HTTP carries this order.
    pub fn leave(&mut self, step: &Step) {
        self.elsewhere.push((step.word(0).to_owned(), step.word(1).to_owned()));
    }

    /// Whether its order went over the link, or could have.
    pub fn may_know(&self, step: &Step) -> bool {
        !self.elsewhere.contains(&(step.word(0).to_owned(), step.word(1).to_owned()))
    }

    fn named(&mut self, order: &str, merchant: &str, terminal: &str) -> &mut Named {
        let next = self.names.len() + 1;
        self.names.entry((order.to_owned(), merchant.to_owned())).or_insert_with(|| Named {
            stan: format!("{next:06}"),
            terminal: terminal.to_owned(),
            was_reversed: false,
            was_sent: false,
            was_captured: None,
            is_hold: false,
        })
    }

    /// The id that this order has, or will have.
    pub fn name(&mut self, order: &str, merchant: &str) -> String {
        self.named(order, merchant, "T01").order_id()
    }

    fn ask(&mut self, mti: &str, merchant: &str, named: &Named, more: &[(u8, String)]) -> Text {
        let (terminal, merchant) = (format!("{:<8}", named.terminal), format!("{merchant:<15}"));
        let own = [(11, named.stan.as_str()), (41, &terminal), (42, &merchant), (4, ""), (62, "")];
        let more: Vec<_> = more.iter().map(|(number, value)| (*number, value.as_str())).collect();
        let message = sale(0, "", 0).with(&own).with(&more).as_type(mti);
        let answer = self.peer.ask(&message);
        assert_eq!(answer.mti, format!("0{}{}0", &mti[1..2], if &mti[2..3] == "0" { '1' } else { '3' }));
        for number in [7, 11, 32, 37, 41, 42, 49] {
            assert_eq!(answer.get(number), message.get(number), "element {number} comes back");
        }
        answer
    }

    pub fn pay(&mut self, step: &Step, scan: &str) -> String {
        let named = self.named(step.word(0), step.word(1), step.option("terminal").unwrap_or("T01"));
        let is_repeat = std::mem::replace(&mut named.was_sent, true);
        named.is_hold = step.has("hold");
        let named = named.clone();
        let mti = match (step.has("hold"), is_repeat) {
            (true, false) => "0100",
            (true, true) => "0101",
            (false, false) => "0200",
            (false, true) => "0201",
        };
        let currency = if step.option("currency").is_some() { "840" } else { "392" };
        let mut more = vec![(4, format!("{:012}", step.amount(2))), (49, currency.to_owned()), (62, scan.to_owned())];
        if step.has("confirm") {
            more.push((48, "R90011".to_owned()));
        }
        let answer = self.ask(mti, step.word(1), &named, &more);
        let (code, details, approval) = (answer.code(), answer.get(44), answer.get(38));
        match code {
            "00" => format!("approved {approval}"),
            "91" => "throttled".to_owned(),
            "94" if details == "9400" => "reused".to_owned(),
            _ => {
                let all = Reason::ALL.into_iter().flat_map(|reason| [(reason, false), (reason, true)]);
                let told = all.into_iter().find(|(reason, again)| reason.details(*again) == details);
                let (reason, again) = told.unwrap_or_else(|| panic!("line {}: {code} {details}", step.line));
                assert_eq!(reason.row().response_code, code);
                format!("denied {} retry={}", reason.row().name, reason.retry(again).name())
            }
        }
    }

    /// Reverses as after a timeout, and again; whether it was the first time.
    pub fn reverse(&mut self, step: &Step) -> bool {
        let original = self.named(step.word(0), step.word(1), "T01");
        let is_first = !std::mem::replace(&mut original.was_reversed, true);
        original.is_hold |= step.has("hold");
        let original = original.clone();
        let own = self.spare(&original);
        let about = [(39, "68".to_owned()), (90, original.original(if original.is_hold { "0100" } else { "0200" }))];
        for mti in ["0420", "0421", "0400", "0401"] {
            let said = self.ask(mti, step.word(1), &own, &about);
            assert_eq!((said.code(), said.get(44)), ("00", ""), "{mti}");
        }
        is_first
    }

    fn spare(&mut self, original: &Named) -> Named {
        self.spare += 1;
        Named { stan: self.spare.to_string(), ..original.clone() }
    }

    /// Captures by an advice, twice; whether this amount was not captured before.
    pub fn capture(&mut self, step: &Step) -> bool {
        let amount = step.amount(2);
        let original = self.named(step.word(0), step.word(1), "T01");
        let is_first = original.was_captured.replace(amount) != Some(amount);
        let original = original.clone();
        let own = self.spare(&original);
        let more = [(4, format!("{amount:012}")), (90, original.original("0100"))];
        for mti in ["0220", "0221"] {
            assert_eq!(self.ask(mti, step.word(1), &own, &more).code(), "00");
        }
        is_first
    }

    /// Refunds; what came of it, and whether it was the first time.
    pub fn refund(&mut self, step: &Step, name: &str) -> (String, bool) {
        let original = self.named(step.word(0), step.word(1), "T01").clone();
        let named = self.named(name, step.word(1), &original.terminal);
        let is_first = !std::mem::replace(&mut named.was_sent, true);
        let named = named.clone();
        let more = [(3, "200000".to_owned()), (4, format!("{:012}", step.amount(3))), (90, original.original("0200"))];
        let said = self.ask(if is_first { "0200" } else { "0201" }, step.word(1), &named, &more);
        let words = match said.get(44) {
            "" if said.code() == "00" => "done",
            "1251" => "refused not_captured",
            "1252" | "1201C1U0" | "1201" => "refused not_standing",
            "1351" => "refused over_refundable",
            "2551" => "refused authorization_unknown",
            "9400" => "refused refund_id_reused",
            other => panic!("line {}: {} {other}", step.line, said.code()),
        };
        (words.to_owned(), is_first)
    }

    /// What the network approved itself, told; nothing if it is told as another sale's.
    pub fn advise(&mut self, step: &Step, scan: &str) -> Option<()> {
        let original = step.option("original").map(|name| self.named(name, step.word(1), "T01").original("0200"));
        let named = self.named(step.word(0), step.word(1), "T01");
        let is_repeat = std::mem::replace(&mut named.was_sent, true);
        named.is_hold = step.has("hold");
        let named = named.clone();
        let mti = match (step.has("hold"), is_repeat) {
            (true, false) => "0120",
            (true, true) => "0121",
            (false, false) => "0220",
            (false, true) => "0221",
        };
        let mut more = vec![(4, format!("{:012}", step.amount(2))), (48, "R91011".to_owned()), (62, scan.to_owned())];
        more.extend(original.map(|original| (90, original)));
        let said = self.ask(mti, step.word(1), &named, &more);
        match (said.code(), said.get(44)) {
            ("00", "") => Some(()),
            ("94", "9400") => None,
            other => panic!("line {}: {other:?}", step.line),
        }
    }

    /// A capture that may not fit its hold, under a name of its own.
    pub fn post(&mut self, step: &Step, scan: Option<String>) {
        let original = self.named(step.word(0), step.word(1), "T01").original("0100");
        let own = self.named(step.option("as").expect("as="), step.word(1), "T01").clone();
        let mut more = vec![(4, format!("{:012}", step.amount(2))), (90, original)];
        more.extend(scan.map(|scan| (62, scan)));
        assert_eq!(self.ask("0220", step.word(1), &own, &more).code(), "00");
    }

    /// Takes a part of a sale back: all but this.
    pub fn part(&mut self, step: &Step) {
        let original = self.named(step.word(0), step.word(1), "T01").original("0200");
        let own = self.named(&format!("{}/part", step.word(0)), step.word(1), "T01").clone();
        let more = [(90, original), (95, format!("{:012}{:030}", step.amount(2), 0))];
        assert_eq!(self.ask("0420", step.word(1), &own, &more).code(), "00");
    }

    /// Takes a refund back.
    pub fn unrefund(&mut self, step: &Step, name: &str) {
        let original = self.named(name, step.word(1), "T01").original("0200");
        let own = self.named(&format!("{name}/back"), step.word(1), "T01").clone();
        let more = [(3, "200000".to_owned()), (4, format!("{:012}", step.amount(3))), (90, original)];
        assert_eq!(self.ask("0420", step.word(1), &own, &more).code(), "00");
    }
}
