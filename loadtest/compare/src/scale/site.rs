//! The server of one size: started, asked for the office's and the customers' sake, stopped or killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Options;
use loadtest::bulk::{bulk, once};
use loadtest::http::{Keys, Requests, Role};
use loadtest::probe::resident;
use loadtest::server::{self, Server};
use loadtest::setup::{self, Standing, Target, pause, said};
use loadtest::tls::Peer;

pub const MERCHANT: &str = "load-mrc-001";
/// A start may take so long before it is given up.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// The ledger's work behind 10 million customers takes about a minute.
const SETTLE: Duration = Duration::from_secs(600);
/// What is known of the customers, beside the data.
const NOTE: &str = "filled.json";

pub fn customer_id(number: u64) -> String {
    format!("scale-{number:08}")
}

/// What making the customers gave. It is kept beside the data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Filled {
    pub customers: u32,
    /// Resident memory of the process before there was any, and with all of them idle, bytes.
    pub empty_bytes: u64,
    pub idle_bytes: u64,
    /// s
    pub took_s: f64,
    /// Sales made since, by all calls together. The next one has this number: no basket comes twice.
    #[serde(default)]
    pub orders: u64,
}

/// How long one start took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Start {
    /// From the start of the process until `/readyz` said that it is ready, s.
    pub seconds: f64,
    /// Resident memory then, bytes.
    pub resident_bytes: u64,
}

pub struct Site {
    binary: Option<PathBuf>,
    folder: PathBuf,
    server: Option<Server>,
    target: Option<Target>,
}

impl Site {
    pub fn new(options: &Options, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self { binary: options.serve.clone(), folder: folder.to_owned(), server: None, target: None })
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn target(&self) -> Result<&Target> {
        self.target.as_ref().context("the server does not run")
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the server does not run")
    }

    pub fn pid(&self) -> Result<u32> {
        self.server().map(Server::pid)
    }

    pub fn resident(&self) -> Result<u64> {
        resident(self.pid()?).context("the server's resident memory")
    }

    /// Starts it on its data, and waits until it is ready.
    pub fn start(&mut self) -> Result<Start> {
        let data = self.data();
        let options =
            server::Options { binary: self.binary.as_deref(), data: Some(&data), ..server::Options::default() };
        let began = Instant::now();
        let server = Server::start(&options)?;
        let key = |name: &str| format!("sandbox-{name}");
        let keys = Keys { wallet: key("wallet"), register: key("register"), office: key("office"), ops: key("ops") };
        let requests = Requests::new(&server.http.to_string(), keys, None);
        let http = Peer::plain(server.http);
        let target = Target { admin: http.clone(), http, requests };
        while once(&target.http, |out| target.requests.get(out, Role::Ops, format_args!("/readyz")))?.0 != 200 {
            ensure!(began.elapsed() < READY_WITHIN, "not ready after {READY_WITHIN:?}");
            pause(Duration::from_millis(5));
        }
        let seconds = began.elapsed().as_secs_f64();
        self.server = Some(server);
        setup::merchants(&target, &[MERCHANT.to_owned()])?;
        self.target = Some(target);
        Ok(Start { seconds, resident_bytes: self.resident()? })
    }

    /// Gives the seconds it took.
    pub fn stop(&mut self) -> Result<f64> {
        self.target = None;
        let began = Instant::now();
        self.server.take().map_or(Ok(()), |mut server| server.stop())?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// As rudely as it goes: dropping a server kills it by SIGKILL.
    pub fn kill(&mut self) {
        self.target = None;
        self.server = None;
    }

    /// Until the ledger has posted all there is.
    pub fn settle(&self) -> Result<()> {
        setup::settle(self.target()?, Some(&self.data()), SETTLE).map(drop)
    }

    /// What a call before has kept of its customers.
    pub fn noted(&self) -> Result<Option<Filled>> {
        let note = self.folder.join(NOTE);
        let Ok(text) = std::fs::read(&note) else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).with_context(|| note.display().to_string())
    }

    /// Keeps it for a later call.
    pub fn note(&self, filled: &Filled) -> Result<()> {
        let note = self.folder.join(NOTE);
        std::fs::write(&note, serde_json::to_vec(filled)?).with_context(|| note.display().to_string())
    }

    /// What these customers owe, yen.
    pub fn owed(&self, customers: &[u64]) -> Result<Vec<u64>> {
        let target = self.target()?;
        let mut owed = vec![0; customers.len()];
        let write = |at: usize, out: &mut Vec<u8>| {
            let id = customer_id(customers.get(at).copied().unwrap_or(0));
            target.requests.get(out, Role::Office, format_args!("/v1/customers/{id}"));
        };
        bulk(&target.admin, customers.len(), write, |at, answer| {
            ensure!(answer.status == 200, "a customer: {}", said(answer.status, answer.body));
            if let Some(owed) = owed.get_mut(at) {
                *owed = Standing::read(answer.body)?;
            }
            Ok(())
        })?;
        Ok(owed)
    }
}
