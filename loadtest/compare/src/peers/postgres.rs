//! PostgreSQL: one call is its own transaction, committed with a sync, on a standby too where there are any. The statement
//! is prepared once a connection, then only bound and executed.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use postgres_protocol::message::backend::Header;
use postgres_protocol::message::frontend;

use super::daemon::output;
use super::servers::{Servers, USER};
use super::template::{AMOUNT, CUSTOMER, ORDER, Template, hole};
use super::{Ask, Books, Heard, LIMIT, Options, POOR, POOR_LIMIT, Peer};
use loadtest::wire::{Answer, BadAnswer, Framing};

const STATEMENT: &str = "decide";
/// A byte of tag and four of length.
const HEADER: usize = 5;

/// What a call does, in a database of its own.
pub struct Deed {
    database: &'static str,
    /// For psql.
    schema: &'static str,
    /// Of an order, its customer, amount, merchant and terminal. It gives a truth.
    query: &'static str,
    /// Exposure of all and number of decisions.
    books: Option<&'static str>,
}

/// The whole decision.
pub const DECISION: Deed = Deed {
    database: "peers",
    schema: include_str!("decide.sql"),
    query: "SELECT decide($1, $2, $3, $4, $5)",
    books: Some("SELECT (SELECT sum(exposure) FROM customers), (SELECT count(*) FROM decisions)"),
};

/// One row and its commit, which is the least that anybody can do there.
pub const COMMIT: Deed = Deed {
    database: "commits",
    schema: "CREATE TABLE commits (order_id text, customer bigint, amount bigint, merchant text, terminal text);",
    query: "INSERT INTO commits VALUES ($1, $2, $3, $4, $5) RETURNING true",
    books: None,
};

pub struct Postgres {
    address: SocketAddr,
    servers: Rc<Servers>,
    deed: Deed,
    template: Template,
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

impl Postgres {
    pub fn start(options: &Options, folder: &Path, servers: &Rc<Servers>, deed: Deed) -> Result<Self> {
        let (address, servers) = (servers.primary()?, Rc::clone(servers));
        servers.sql(USER, &format!("CREATE DATABASE {}", deed.database))?;
        let file = folder.join(format!("{}.sql", deed.database));
        std::fs::write(&file, deed.schema)?;
        let values = [
            format!("customers={}", options.customers),
            format!("limit={LIMIT}"),
            format!("poor={POOR}"),
            format!("poor_limit={POOR_LIMIT}"),
        ];
        let mut client = servers.client(deed.database)?;
        for value in &values {
            client.args(["-v", value]);
        }
        output(client.arg("-f").arg(file))?;
        Ok(Self { address, servers, deed, template: call()? })
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
        // No text has a zero byte, which is all that could be wrong with it.
        frontend::startup_message([("user", USER), ("database", self.deed.database)], &mut start).ok();
        frontend::parse(STATEMENT, self.deed.query, [], &mut prepare).ok();
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
        let Some(query) = self.deed.books else { return Ok(None) };
        let said = self.servers.sql(self.deed.database, query)?;
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
