//! The real binary on a data directory of its own, and a small blocking client for it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_sokketsu");

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub http: SocketAddr,
    /// Where `--admin` or `--iso8583` was among the options.
    pub admin: Option<SocketAddr>,
    pub iso8583: Option<SocketAddr>,
    pub data: PathBuf,
    how: How,
}

/// How it is started.
#[derive(Default)]
pub struct How {
    pub options: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Another build than the one for tests.
    pub binary: Option<String>,
    /// A program that becomes the server, with its arguments: `prlimit`, `strace`.
    pub through: Vec<String>,
    /// Where its log goes; the test's own standard error otherwise.
    pub log: Option<PathBuf>,
    /// Any free port of the loopback otherwise.
    pub http: Option<SocketAddr>,
}

impl How {
    pub fn with(options: &[&str]) -> Self {
        Self { options: options.iter().map(|&option| option.to_owned()).collect(), ..Self::default() }
    }

    pub fn through(self, program: &[&str]) -> Self {
        Self { through: program.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    pub fn logging_to(self, log: &Path) -> Self {
        Self { log: Some(log.to_owned()), ..self }
    }

    /// `serve --sandbox` on this data.
    pub fn command(&self, data: &Path) -> Command {
        let binary = self.binary.as_deref().unwrap_or(BINARY);
        let mut words = self.through.iter().map(String::as_str).chain([binary]);
        let mut command = Command::new(words.next().unwrap_or(binary));
        // The server takes every SOKKETSU_ variable for configuration.
        command.env_remove("SOKKETSU_BIN");
        let (name, patient) = PATIENT;
        command.args(words).env(name, patient).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let http = self.http.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        command.args(["serve", "--sandbox", "--http", &http, "--data"]).arg(data).args(&self.options);
        if let Some(log) = &self.log {
            command.stderr(std::fs::File::create(log).expect("a log"));
        }
        command
    }
}

impl Server {
    /// Starts a sandbox on any free port and waits until it is ready.
    pub fn sandbox(data: &Path, options: &[&str]) -> Self {
        Self::sandbox_in(data, options, &[])
    }

    /// The same with these variables in its environment.
    pub fn sandbox_in(data: &Path, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::start(data, How { environment: environment.iter().map(own).collect(), ..How::with(options) })
    }

    pub fn start(data: &Path, how: How) -> Self {
        let (child, Spoken { http, admin, iso8583 }) = start(data, &how);
        Self { child, http, admin, iso8583, data: data.to_owned(), how }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server is ours to kill");
        self.child.wait().expect("a killed process ends");
    }

    /// Starts it again on the same data. A sandbox's birth time is given at birth only.
    pub fn start_again(&mut self) {
        if let Some(at) = self.how.options.iter().position(|option| option == "--sandbox-start") {
            self.how.options.drain(at..at + 2);
        }
        let (child, Spoken { http, admin, iso8583 }) = start(&self.data, &self.how);
        (self.child, self.http, self.admin, self.iso8583) = (child, http, admin, iso8583);
    }

    /// What it has said so far, where that goes to a file.
    pub fn said(&self) -> String {
        self.how.log.as_ref().map(|log| std::fs::read_to_string(log).expect("a log")).unwrap_or_default()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill is installed").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < until, "the server did not end within {within:?}");
            pause();
        }
    }

    pub fn client(&self) -> Client {
        Client::to(self.http)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Between two looks at something that another process does.
#[expect(clippy::disallowed_methods, reason = "polling another process; every loop around it has an end")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// A server turns no sale away because it waited, unless a test is about that: on a busy machine one could, and a caller who is gone
/// does not ask again.
const PATIENT: (&str, &str) = ("SOKKETSU_ENGINE__QUEUE_MS", "1000");

/// Looks again and again until it is so.
pub fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < until, "{what} not within {within:?}");
        pause();
    }
}

/// The addresses it says it listens on.
struct Spoken {
    http: SocketAddr,
    admin: Option<SocketAddr>,
    iso8583: Option<SocketAddr>,
}

fn start(data: &Path, how: &How) -> (Child, Spoken) {
    let mut child = how.command(data).stdout(Stdio::piped()).spawn().expect("the binary is built");
    // The server prints its addresses once every listener is bound.
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut address = || loop {
        let line = lines.next().expect("the server says where it listens").expect("UTF-8");
        if let Some(address) = line.split("://").nth(1) {
            break address.split(['/', ' ']).next().and_then(|text| text.parse().ok()).expect("an address");
        }
    };
    let has = |flag: &str| how.options.iter().any(|option| option == flag);
    let http = address();
    let admin = has("--admin").then(&mut address);
    let iso8583 = has("--iso8583").then(address);
    // Keep reading, or the server would one day wait for room in the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, Spoken { http, admin, iso8583 })
}

/// One keep-alive connection.
pub struct Client {
    to: SocketAddr,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub fn to(to: SocketAddr) -> Self {
        Self { to, patience: Duration::from_secs(40), stream: None }
    }

    /// How long to wait for an answer.
    pub fn patience(&mut self, time: Duration) {
        self.patience = time;
    }

    /// Sends a call with the sandbox's key of `role`. An error means that no whole answer came.
    pub fn call(&mut self, role: &str, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.put(role, method, path, "application/json", &body)
    }

    /// Sends a file of comma-separated values.
    pub fn import(&mut self, role: &str, csv: &str) -> Answer {
        self.put(role, "POST", "/v1/imports", "text/csv", csv).expect("an answer")
    }

    fn put(&mut self, role: &str, method: &str, path: &str, media: &str, body: &str) -> std::io::Result<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sokketsu\r\nauthorization: Bearer sandbox-{role}\r\n\
             content-type: {media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let result = self.exchange(format!("{head}{body}").as_bytes());
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    fn exchange(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.to)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.patience))?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("just made");
        stream.get_mut().write_all(request)?;
        read_answer(stream)
    }

    pub fn get(&mut self, role: &str, path: &str) -> Answer {
        self.call(role, "GET", path, None).expect("an answer")
    }

    pub fn send(&mut self, role: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.call(role, method, path, Some(body)).expect("an answer")
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut line = String::new();
    let mut next = |stream: &mut BufReader<TcpStream>| -> std::io::Result<String> {
        line.clear();
        if stream.read_line(&mut line)? == 0 || !line.ends_with("\r\n") {
            return Err(cut());
        }
        Ok(line.trim_end().to_owned())
    };
    let status = next(stream)?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
    let mut headers = Vec::new();
    loop {
        let line = next(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let of = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if of("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&next(stream)?, 16).map_err(|_| cut())?;
            let begin = body.len();
            body.resize(begin + size, 0);
            stream.read_exact(&mut body[begin..])?;
            next(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(of("content-length").and_then(|value| value.parse().ok()).unwrap_or(0), 0);
        stream.read_exact(&mut body)?;
    }
    let text = String::from_utf8(body).map_err(|_| cut())?;
    Ok(Answer { status, headers, text })
}
