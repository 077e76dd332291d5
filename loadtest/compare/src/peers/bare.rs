//! The ceiling: a hyper that reads a request of the same size and answers the same every time.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::daemon::Daemon;
use super::template::{AMOUNT, CUSTOMER, ORDER, Template, hole};
use super::{Ask, Books, Heard, Options, Peer};
use loadtest::http;
use loadtest::server::spoken_address;
use loadtest::wire::{Answer, Framing};

pub struct Bare {
    address: SocketAddr,
    template: Template,
    _daemon: Daemon,
}

impl Bare {
    pub fn start(_options: &Options, workers: u8) -> Result<Self> {
        let beside = std::env::current_exe()?.with_file_name("bare");
        ensure!(beside.is_file(), "{} was not built: cargo build --release --workspace", beside.display());
        let mut command = Command::new(beside);
        command.arg(workers.to_string()).stdout(Stdio::piped());
        let mut daemon = Daemon::start(&mut command, std::path::Path::new("/dev/null"), Signal::TERM)?;
        let address = spoken_address(&mut daemon.child).context("the bare server")?;
        let (customer, order, amount) = (hole(CUSTOMER), hole(ORDER), hole(AMOUNT));
        let body = format!(
            r#"{{"order_id":"peers-{order}","code":"900000000000000000{customer}","entry_mode":"barcode","amount":{amount},"merchant":{{"id":"load-mrc-001","store_id":"S001","terminal_id":"T01"}},"deadline_ms":10000}}"#
        );
        let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer sandbox-register");
        let length = body.len();
        let pattern = format!("{head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        Ok(Self { address, template: Template::new(pattern.into_bytes()), _daemon: daemon })
    }
}

impl Peer for Bare {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn framing(&self) -> Framing {
        http::read
    }

    fn write(&mut self, ask: &Ask, _call: u8, out: &mut Vec<u8>) {
        self.template.write(ask, "", out);
    }

    fn read(&mut self, _ask: &Ask, _call: u8, answer: Answer<'_>) -> Result<Heard> {
        ensure!(answer.body.len() > 100, "an answer of {} bytes", answer.body.len());
        Ok(Heard::Approved)
    }

    fn books(&mut self) -> Result<Option<Books>> {
        Ok(None)
    }
}
