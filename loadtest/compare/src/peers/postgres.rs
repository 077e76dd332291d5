//! PostgreSQL: one call of a function is the whole decision and its own transaction, committed with a sync. The
//! statement is prepared once a connection, then only bound and executed.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use postgres_protocol::message::backend::Header;
use postgres_protocol::message::frontend;
use rustix::process::Signal;

use super::daemon::{Daemon, free_port, output};
use super::template::{AMOUNT, CUSTOMER, ORDER, Template, hole};
use super::{Ask, Books, Heard, LIMIT, Options, POOR, POOR_LIMIT, Peer};
use loadtest::wire::{Answer, BadAnswer, Framing};

const SCHEMA: &str = include_str!("decide.sql");
/// Data of the run fits into memory, and no checkpoint falls into it: only what makes a decision durable.
const CONFIG: &str = "
shared_buffers = 1GB
max_wal_size = 8GB
checkpoint_timeout = 1h
max_connections = 300
synchronous_commit = on
unix_socket_directories = ''
";
/// Who may run it: it refuses root.
const USER: &str = "postgres";
const STATEMENT: &str = "decide";
/// A byte of tag and four of length.
const HEADER: usize = 5;

pub struct Postgres {
    address: SocketAddr,
    programs: PathBuf,
    template: Template,
    _daemon: Daemon,
}

/// All messages up to `ReadyForQuery`. The body is the one row's one column, or the error.
pub fn read(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer> {
    let mut at = 0;
    let mut answer = Answer { status: 200, head: b"", body: b"", is_last: false, number: None };
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(header) = Header::parse(rest).map_err(|_| BadAnswer)? else { return Ok(None) };
        // The tag is not part of the length.
        let length = usize::try_from(header.len()).map_err(|_| BadAnswer)? + 1;
        let Some(message) = rest.get(HEADER..length) else { return Ok(None) };
        at += length;
        match header.tag() {
            b'D' => answer.body = column(message)?,
            b'E' => (answer.status, answer.body) = (500, message),
            b'Z' => return Ok(Some((answer, at))),
            _ => (),
        }
    }
}

/// The first column of a row: the number of columns, then length and bytes of each.
fn column(row: &[u8]) -> Result<&[u8], BadAnswer> {
    let [_, _, a, b, c, d, rest @ ..] = row else { return Err(BadAnswer) };
    let length = usize::try_from(i32::from_be_bytes([*a, *b, *c, *d])).map_err(|_| BadAnswer)?;
    rest.get(..length).ok_or(BadAnswer)
}

fn parameters() -> [String; 5] {
    [format!("peers-{}", hole(ORDER)), hole(CUSTOMER), hole(AMOUNT), "load-mrc-001".to_owned(), "S001-T01".to_owned()]
}

/// Bind, Execute and Sync in one piece, with holes.
fn call() -> Result<Template> {
    let mut pattern = BytesMut::new();
    let write = |text: String, out: &mut BytesMut| {
        out.extend_from_slice(text.as_bytes());
        Ok(postgres_protocol::IsNull::No)
    };
    // No format codes: all text.
    frontend::bind("", STATEMENT, [], parameters(), write, [], &mut pattern)
        .map_err(|_| anyhow::anyhow!("the parameters cannot be written"))?;
    frontend::execute("", 0, &mut pattern)?;
    frontend::sync(&mut pattern);
    Ok(Template::new(pattern.to_vec()))
}

/// Where the server's programs are: in the newest of Debian's folders, which are not in the path.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path));
    let programs = newest.context("PostgreSQL is not installed")?.join("bin");
    anyhow::ensure!(programs.join("initdb").is_file(), "{}: no initdb; install postgresql", programs.display());
    Ok(programs)
}

/// A command as a user whom it accepts.
fn run_as_user(program: &Path, is_root: bool) -> Command {
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    pub fn start(options: &Options, folder: &Path) -> Result<Self> {
        let programs = programs()?;
        let address = free_port()?;
        let data = folder.join("postgres");
        std::fs::create_dir(&data)?;
        let is_root = std::fs::metadata(&data)?.uid() == 0;
        if is_root {
            output(Command::new("chown").arg(USER).arg(&data))?;
        }
        let mut init = run_as_user(&programs.join("initdb"), is_root);
        output(init.args(["-A", "trust", "-U", USER, "--no-sync", "-D"]).arg(&data).current_dir(folder))?;
        let config = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, text + CONFIG)?;
        let mut server = run_as_user(&programs.join("postgres"), is_root);
        server.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-D"]).arg(&data).current_dir(folder);
        // SIGINT is its fast shutdown.
        let server = server.stdout(Stdio::null());
        let mut daemon = Daemon::start(server, &folder.join("postgres.log"), Signal::INT)?;
        // It listens a little before it takes sessions.
        let mut is_ready = Command::new(programs.join("pg_isready"));
        is_ready.args(["-q", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
        daemon.wait_until(|| output(&mut is_ready).is_ok()).context("postgres")?;
        let postgres = Self { address, programs, template: call()?, _daemon: daemon };
        postgres.fill(folder, options.customers)?;
        Ok(postgres)
    }

    fn client(&self) -> Command {
        let mut client = Command::new(self.programs.join("psql"));
        client.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string(), "-U", USER, "-d", USER]);
        client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        client
    }

    fn fill(&self, folder: &Path, customers: u32) -> Result<()> {
        let file = folder.join("decide.sql");
        std::fs::write(&file, SCHEMA)?;
        let values = [
            format!("customers={customers}"),
            format!("limit={LIMIT}"),
            format!("poor={POOR}"),
            format!("poor_limit={POOR_LIMIT}"),
        ];
        let mut client = self.client();
        for value in &values {
            client.args(["-v", value]);
        }
        output(client.arg("-f").arg(file)).map(drop)
    }
}

impl Peer for Postgres {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn framing(&self) -> Framing {
        read
    }

    fn hellos(&self) -> Vec<Vec<u8>> {
        let (mut start, mut prepare) = (BytesMut::new(), BytesMut::new());
        let query = "SELECT decide($1, $2, $3, $4, $5)";
        // Neither text has a zero byte, which is all that could be wrong with it.
        frontend::startup_message([("user", USER), ("database", USER)], &mut start).ok();
        frontend::parse(STATEMENT, query, [], &mut prepare).ok();
        frontend::sync(&mut prepare);
        vec![start.to_vec(), prepare.to_vec()]
    }

    fn write(&mut self, ask: &Ask, _call: u8, out: &mut Vec<u8>) {
        self.template.write(ask, "", out);
    }

    fn read(&mut self, _ask: &Ask, _call: u8, answer: Answer<'_>) -> Result<Heard> {
        match answer.body {
            b"t" => Ok(Heard::Approved),
            b"f" => Ok(Heard::Denied),
            other => bail!("the function answered {}", String::from_utf8_lossy(other)),
        }
    }

    fn books(&mut self) -> Result<Option<Books>> {
        let query = "SELECT (SELECT sum(exposure) FROM customers), (SELECT count(*) FROM decisions)";
        let said = output(self.client().args(["-c", query]))?;
        let (exposure, records) = said.split_once('|').context("two sums")?;
        Ok(Some(Books { exposure: exposure.parse()?, records: records.parse()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    #[test]
    fn answers_are_read_wherever_the_reads_split_them() {
        let row = [0, 1, 0, 0, 0, 1, b't'];
        let text =
            [message(b'2', b""), message(b'D', &row), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut]), Ok(None), "cut at {cut}");
        }
        let two = [&text[..], &text].concat();
        let (answer, length) = read(&two).unwrap().unwrap();
        assert_eq!((answer.status, answer.body, length), (200, &b"t"[..], text.len()));
    }

    #[test]
    fn an_error_is_told_and_ends_with_ready_too() {
        let text = [message(b'E', b"SFATAL\0\0"), message(b'Z', b"I")].concat();
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut]), Ok(None), "cut at {cut}");
        }
        let (answer, _) = read(&text).unwrap().unwrap();
        assert_eq!((answer.status, answer.body), (500, &b"SFATAL\0\0"[..]));
        for wrong in [&message(b'D', &[0, 1, 0, 0, 0, 9, b't'])[..], &message(b'D', &[0, 1]), b"HTTP\0\0\0\0\x01"] {
            let text = [wrong, &message(b'Z', b"I")].concat();
            assert!(!matches!(read(&text), Ok(Some(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_call_carries_its_numbers_as_text() {
        let mut out = Vec::new();
        call().unwrap().write(&Ask { order: 42, customer: 7, amount: 1_980 }, "", &mut out);
        let has = |text: &[u8]| out.windows(text.len()).any(|window| window == text);
        assert!(has(b"\0\0\0\x10peers-0000000042\0\0\0\x06000007\0\0\0\x041980\0\0\0\x0cload-mrc-001"));
        assert_eq!((out[0], out.ends_with(b"S\0\0\0\x04")), (b'B', true));
    }
}
