//! Sokketsu itself, as the other commands start it. Several may share a server; each has customers and orders of its own.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use super::site::{Held, Site};
use super::template::{AMOUNT, CODE, CUSTOMER, ORDER, Template, hole};
use super::{Ask, Books, Heard, Kind, POOR, POOR_LIMIT, Peer};
use loadtest::bulk::bulk;
use loadtest::crowd::Code;
use loadtest::decided::Decided;
use loadtest::http::{self, Role};
use loadtest::iso::{self, ACQUIRER, Said, frame};
use loadtest::json::text;
use loadtest::setup::{self, said};
use loadtest::wire::{Answer, Framing, Numbering};

const MERCHANT: &str = "load-mrc-001";

/// Begin of element 7 by the link, and so of its orders' ids; the order's number follows, over 7 and 11.
const SENT: &str = "112308";

/// A purchase by the link, with its holes.
fn sale() -> Vec<u8> {
    let order = hole(ORDER);
    let code = hole(CODE);
    let amount = format!("00000000{}", hole(AMOUNT));
    let (sent, stan) = order.split_at(4);
    let (sent, merchant) = (format!("{SENT}{sent}"), format!("{MERCHANT:<15}"));
    let elements = [
        (3, "000000"),
        (4, &amount),
        (7, &sent),
        (11, stan),
        (12, "174530"),
        (13, "1123"),
        (22, "033"),
        (32, ACQUIRER),
        (37, "632708000000"),
        (41, "T01     "),
        (42, &merchant),
        (49, "392"),
        (62, &code),
    ];
    frame("0200", &elements)
}

pub struct Sokketsu {
    site: Rc<Site>,
    /// Begin of the ids of its customers.
    name: &'static str,
    /// Begin of the ids of its orders.
    orders: &'static str,
    /// Codes are issued when they are needed, not before.
    issues: bool,
    /// By ISO 8583, at this address.
    link: Option<SocketAddr>,
    /// The ledger is to post nothing during a turn.
    rests: bool,
    held: Option<Held>,
    issue: Template,
    authorize: Template,
    /// By customer.
    codes: Vec<Code>,
}

impl Sokketsu {
    /// `kind` is one of those that are Sokketsu, and `site` where it is asked.
    pub fn start(site: Rc<Site>, customers: u32, kind: Kind) -> Result<Self> {
        let link = site.server.link.filter(|_| kind == Kind::Link);
        let (name, orders) = match kind {
            Kind::Pair | Kind::PairCluster => ("pair-", "pair-"),
            Kind::Link => ("link-", SENT),
            Kind::SokketsuAtRest => ("rest-", "rest-"),
            _ => ("peers-", "peers-"),
        };
        let target = &site.target;
        setup::merchants(target, &[MERCHANT.to_owned()])?;
        let customers = usize::try_from(customers)?;
        setup::customers(target, name, customers)?;
        setup::limit(target, &format!("{name}{POOR:06}"), POOR_LIMIT)?;
        site.settle()?;
        let (mut issue, mut authorize) = (Vec::new(), Vec::new());
        let body = format!(r#"{{"customer_id":"{name}{}"}}"#, hole(CUSTOMER));
        target.requests.send(&mut issue, "POST", Role::Wallet, format_args!("/v1/codes"), body.as_bytes());
        let (order, code, amount) = (hole(ORDER), hole(CODE), hole(AMOUNT));
        let body = format!(
            r#"{{"order_id":"{name}{order}","code":"{code}","entry_mode":"barcode","amount":{amount},"merchant":{{"id":"{MERCHANT}","store_id":"S001","terminal_id":"T01"}},"deadline_ms":10000}}"#
        );
        let path = format_args!("/v1/authorizations");
        if link.is_some() {
            authorize = sale();
        } else {
            target.requests.send(&mut authorize, "POST", Role::Register, path, body.as_bytes());
        }
        Ok(Self {
            site,
            name,
            orders,
            issues: matches!(kind, Kind::Pair | Kind::PairCluster),
            link,
            rests: kind == Kind::SokketsuAtRest,
            held: None,
            issue: Template::new(issue),
            authorize: Template::new(authorize),
            codes: vec![Code::default(); customers],
        })
    }

    fn keep(&mut self, ask: &Ask, issued: &[u8]) -> Result<()> {
        let barcode = text(issued, b"barcode").context("an issued code")?;
        let code = self.codes.get_mut(ask.customer as usize).context("a customer of the run")?;
        *code = Code::new(barcode).context("a barcode of at most 32 characters")?;
        Ok(())
    }

    fn said(ask: &Ask, frame: &[u8]) -> Result<Heard> {
        let said = Said::read(frame).with_context(|| String::from_utf8_lossy(frame).into_owned())?;
        let order = iso::number(frame) % 10_u64.pow(10);
        ensure!(order == ask.order, "order {} was asked about, {order} answered", ask.order);
        ensure!(said.yen == ask.amount, "{} yen were asked for, {} answered", ask.amount, said.yen);
        match (said.code, said.approval, said.reason) {
            (b"00", Some(_), None) => Ok(Heard::Approved),
            (b"51", None, Some("5101" | "5102")) => Ok(Heard::Denied),
            (code, _, reason) => {
                let code = String::from_utf8_lossy(code);
                anyhow::bail!("order {} is answered {code}, {}", ask.order, reason.unwrap_or("no reason"))
            }
        }
    }

    fn decided(&self, ask: &Ask, body: &[u8]) -> Result<Heard> {
        let decided = Decided::read(body).with_context(|| String::from_utf8_lossy(body).into_owned())?;
        let order = decided.order_id.strip_prefix(self.name).and_then(|number| number.parse().ok());
        ensure!(order == Some(ask.order), "order {} was asked about, {} answered", ask.order, decided.order_id);
        ensure!(decided.amount == ask.amount, "{} yen were asked for, {} answered", ask.amount, decided.amount);
        match (decided.decision, decided.reason) {
            ("approved", None) => Ok(Heard::Approved),
            ("denied", Some("over_in_store_limit" | "over_total_limit")) => Ok(Heard::Denied),
            (decision, reason) => anyhow::bail!("order {} is {decision}, {}", ask.order, reason.unwrap_or("no reason")),
        }
    }
}

impl Peer for Sokketsu {
    fn address(&self) -> SocketAddr {
        self.link.unwrap_or(self.site.server.http)
    }

    fn framing(&self) -> Framing {
        if self.link.is_some() { iso::read } else { http::read }
    }

    fn numbering(&self) -> Option<Numbering> {
        self.link.map(|_| iso::number as Numbering)
    }

    fn prepare(&mut self, asks: &[Ask]) -> Result<()> {
        if self.issues {
            return Ok(());
        }
        let mut issued = Vec::with_capacity(asks.len());
        let write = |at: usize, out: &mut Vec<u8>| {
            if let Some(ask) = asks.get(at) {
                self.issue.write(ask, "", out);
            }
        };
        bulk(&self.site.target.http, asks.len(), write, |at, answer| {
            ensure!(answer.status == 201, "issue a code: {}", said(answer.status, answer.body));
            let barcode = text(answer.body, b"barcode").and_then(Code::new).context("an issued code")?;
            issued.push((at, barcode));
            Ok(())
        })?;
        for (at, barcode) in issued {
            let code = asks.get(at).and_then(|ask| self.codes.get_mut(ask.customer as usize));
            *code.context("a customer of the run")? = barcode;
        }
        Ok(())
    }

    fn last_call(&self) -> u8 {
        u8::from(self.issues)
    }

    fn write(&mut self, ask: &Ask, call: u8, out: &mut Vec<u8>) {
        if self.issues && call == 0 {
            return self.issue.write(ask, "", out);
        }
        let code = self.codes.get(ask.customer as usize).map_or("", Code::as_str);
        self.authorize.write(ask, code, out);
    }

    fn read(&mut self, ask: &Ask, call: u8, answer: Answer<'_>) -> Result<Heard> {
        if self.issues && call == 0 {
            self.keep(ask, answer.body)?;
            return Ok(Heard::GoOn);
        }
        if self.link.is_some() { Self::said(ask, answer.body) } else { self.decided(ask, answer.body) }
    }

    fn hold(&mut self) -> Result<()> {
        if self.rests {
            self.held = Some(self.site.hold()?);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |held| self.site.go_on(held))?;
        self.site.settle()
    }

    fn books(&mut self) -> Result<Option<Books>> {
        self.site.books(self.name, self.orders).map(Some)
    }
}
