//! Redis: the whole decision in one script, its effects in the append-only file, and with a replica if one is wanted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::daemon::{Daemon, free_port, output};
use super::template::{AMOUNT, CUSTOMER, ORDER, Template, hole};
use super::{Ask, Books, Heard, LIMIT, Options, POOR, POOR_LIMIT, Peer};
use loadtest::wire::{Answer, BadAnswer, Framing};

const DECIDE: &str = include_str!("decide.lua");
/// Makes the customers: how many, everybody's limit, the poor one and that one's limit.
const FILL: &str = "for at = 0, ARGV[1] - 1 do
    redis.call('HSET', string.format('c:%06d', at), 'limit', ARGV[2], 'exposure', 0)
end
redis.call('HSET', string.format('c:%06d', ARGV[3]), 'limit', ARGV[4])";
/// Exposure of all, and the number of decisions.
const SUM: &str = "local sum = 0
for at = 0, ARGV[1] - 1 do sum = sum + redis.call('HGET', string.format('c:%06d', at), 'exposure') end
return {sum, redis.call('XLEN', 'decisions')}";

/// A replica has to confirm within so many milliseconds, or the decision has failed.
const CONFIRMS_WITHIN: &str = "5000";

pub struct Redis {
    address: SocketAddr,
    customers: u32,
    template: Template,
    /// Those who have the books: the server, and its replica if there is one.
    all: Vec<(SocketAddr, Daemon)>,
}

/// One answer of the protocol RESP 2. Arrays are never asked for.
pub fn read(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let (line, rest) = input.split_at(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(BadAnswer)?;
    let (kind, line) = line.split_first().ok_or(BadAnswer)?;
    let answer =
        |status, body, length| Ok(Some((Answer { status, head: b"", body, is_last: false, number: None }, length)));
    match kind {
        b'+' | b':' => answer(200, line, end + 1),
        b'-' => answer(500, line, end + 1),
        b'$' if line == b"-1" => answer(200, b"", end + 1),
        b'$' => {
            let length = std::str::from_utf8(line).ok().and_then(|text| text.parse::<usize>().ok()).ok_or(BadAnswer)?;
            let Some(body) = rest.get(..length.checked_add(2).ok_or(BadAnswer)?) else { return Ok(None) };
            answer(200, body.strip_suffix(b"\r\n").ok_or(BadAnswer)?, end + 1 + body.len())
        }
        _ => Err(BadAnswer),
    }
}

/// The script's answer and that of the `WAIT` behind it, which says how many replicas have it. None is a failure.
pub fn read_both(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer> {
    let Some((answer, length)) = read(input)? else { return Ok(None) };
    let Some((replicas, more)) = read(input.get(length..).unwrap_or_default())? else { return Ok(None) };
    let length = length + more;
    match (replicas.status, replicas.body) {
        (200, b"0") => Ok(Some((Answer { status: 500, body: b"no replica has confirmed it", ..answer }, length))),
        (200, _) => Ok(Some((answer, length))),
        _ => Ok(Some((replicas, length))),
    }
}

/// A command: an array of strings.
fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

fn client(address: SocketAddr) -> Command {
    let mut client = Command::new("redis-cli");
    client.args(["-e", "-p", &address.port().to_string()]);
    client
}

/// Starts a server, which may be the replica of another one.
fn serve(folder: &Path, name: &str, of: Option<SocketAddr>) -> Result<(SocketAddr, Daemon)> {
    let address = free_port()?;
    let data = folder.join(name);
    std::fs::create_dir(&data)?;
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(&data);
    // No snapshots and no rewriting meanwhile: only what makes a decision durable.
    server.args(["--save", "", "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]);
    server.args(["--appendfsync", "everysec"]).stdout(Stdio::null());
    if let Some(of) = of {
        server.args(["--replicaof", "127.0.0.1", &of.port().to_string(), "--repl-diskless-sync-delay", "0"]);
    }
    let mut daemon = Daemon::start(&mut server, &data.with_extension("log"), Signal::TERM)?;
    daemon.wait_for(address).context("redis-server")?;
    Ok((address, daemon))
}

impl Redis {
    /// `fsync` is that of `appendfsync`, of the replica too if there is one.
    pub fn start(options: &Options, folder: &Path, fsync: &str, has_replica: bool) -> Result<Self> {
        let name = if has_replica { "redis-replicated".to_owned() } else { format!("redis-{fsync}") };
        let (address, daemon) = serve(folder, &name, None)?;
        let customers = options.customers.to_string();
        let (limit, poor, poor_limit) = (LIMIT.to_string(), POOR.to_string(), POOR_LIMIT.to_string());
        output(client(address).args(["EVAL", FILL, "0", &customers, &limit, &poor, &poor_limit]))?;
        let mut all = vec![(address, daemon)];
        if has_replica {
            all.push(serve(folder, "redis-replica", Some(address))?);
            // Answered once there is one that follows.
            let follow = output(client(address).args(["WAIT", "1", "60000"]))?;
            ensure!(follow == "1", "the replica does not follow: {follow}");
        }
        for (address, _) in &all {
            output(client(*address).args(["CONFIG", "SET", "appendfsync", fsync]))?;
        }
        let script = output(client(address).args(["SCRIPT", "LOAD", DECIDE]))?;
        let (customer, order, amount) = (hole(CUSTOMER), hole(ORDER), hole(AMOUNT));
        let keys = [&format!("c:{customer}"), &format!("o:peers-{order}"), "decisions"];
        let words = [&["EVALSHA", &script, "3"], &keys[..], &[&amount, "load-mrc-001", "S001-T01"]].concat();
        let mut pattern = command(&words);
        if has_replica {
            pattern.extend(command(&["WAIT", "1", CONFIRMS_WITHIN]));
        }
        Ok(Self { address, customers: options.customers, template: Template::new(pattern), all })
    }

    fn sums(&self, address: SocketAddr) -> Result<Books> {
        let said = output(client(address).args(["EVAL_RO", SUM, "0", &self.customers.to_string()]))?;
        let sums: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("two sums")?;
        ensure!(sums.len() == 2, "two sums, not {said}");
        Ok(Books { exposure: sums.first().copied().unwrap_or(0), records: sums.last().copied().unwrap_or(0) })
    }
}

impl Peer for Redis {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn framing(&self) -> Framing {
        if self.all.len() > 1 { read_both } else { read }
    }

    fn write(&mut self, ask: &Ask, _call: u8, out: &mut Vec<u8>) {
        self.template.write(ask, "", out);
    }

    fn read(&mut self, _ask: &Ask, _call: u8, answer: Answer<'_>) -> Result<Heard> {
        match answer.body {
            b"1" => Ok(Heard::Approved),
            b"0" => Ok(Heard::Denied),
            other => anyhow::bail!("the script answered {}", String::from_utf8_lossy(other)),
        }
    }

    fn books(&mut self) -> Result<Option<Books>> {
        let mut books = None;
        for (address, _) in &self.all {
            let sums = self.sums(*address)?;
            let first = *books.get_or_insert(sums);
            ensure!(sums == first, "the replica has {sums:?}, not {first:?}");
        }
        Ok(books)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_wherever_the_reads_split_them() {
        let cases: [(&[u8], u16, &[u8]); 6] = [
            (b":1\r\n", 200, b"1"),
            (b"+OK\r\n", 200, b"OK"),
            (b"-ERR no\r\n", 500, b"ERR no"),
            (b"$5\r\na\r\nb\n\r\n", 200, b"a\r\nb\n"),
            (b"$0\r\n\r\n", 200, b""),
            (b"$-1\r\n", 200, b""),
        ];
        for (text, status, body) in cases {
            for cut in 0..text.len() {
                assert_eq!(read(&text[..cut]), Ok(None), "cut at {cut}");
            }
            let two = [text, text].concat();
            let (answer, length) = read(&two).unwrap().unwrap();
            assert_eq!((answer.status, answer.body, length), (status, body, text.len()));
        }
        for wrong in [&b"HTTP/1.1 200 OK\r\n"[..], b"*1\r\n:1\r\n", b":1\n", b"\n", b"$x\r\n", b"$1\r\nabc"] {
            assert_eq!(read(wrong), Err(BadAnswer), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn a_decision_that_no_replica_has_is_a_failure() {
        for (text, status, body) in [
            (&b":1\r\n:1\r\n"[..], 200, &b"1"[..]),
            (b":0\r\n:2\r\n", 200, b"0"),
            (b":1\r\n:0\r\n", 500, b"no replica has confirmed it"),
            (b":1\r\n-ERR no\r\n", 500, b"ERR no"),
            (b"-ERR script\r\n:1\r\n", 500, b"ERR script"),
        ] {
            for cut in 0..text.len() {
                assert_eq!(read_both(&text[..cut]), Ok(None), "cut at {cut}");
            }
            let two = [text, text].concat();
            let (answer, length) = read_both(&two).unwrap().unwrap();
            assert_eq!((answer.status, answer.body, length), (status, body, text.len()));
        }
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        assert_eq!(command(&["GET", "o:1"]), b"*2\r\n$3\r\nGET\r\n$3\r\no:1\r\n");
    }
}
