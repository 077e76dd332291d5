//! One connection to the service. A thread of its own writes and keeps account of what is unanswered, another reads; a
//! connection that is gone is made again with the next message.

use std::collections::{HashMap, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::stan::Stans;
use loadtest::message::Message;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What came of a message.
pub enum Heard {
    Answer(Message),
    /// The connection went before an answer came.
    Lost,
}

/// What a line is told.
pub enum Order {
    Say {
        message: Message,
        answer: Sender<Heard>,
    },
    /// Bytes came, or the connection of this number has ended.
    Read {
        connection: u32,
        frame: Option<Vec<u8>>,
    },
    /// A connection is made, though there is nothing to say yet.
    Open,
    /// The connection is cut off, whatever is in flight.
    Cut,
    /// From now on the other side may close.
    Leave,
    End,
}

/// What a line has seen over its life.
#[derive(Default)]
pub struct Account {
    pub connections: u64,
    /// Closed by the other side, and not by us.
    pub closed_on_us: u64,
    pub echoes_answered: u64,
    pub sign_offs_answered: u64,
    /// Answers that nobody asked for, and what is no message at all.
    pub strange: Vec<String>,
}

/// Type, number and time of the answer that is waited for.
type Key = (String, String, String);

struct Line<'a> {
    address: SocketAddr,
    stans: &'a Stans,
    own: Sender<Order>,
    stream: Option<TcpStream>,
    connection: u32,
    /// A message and its repeat have answers of the same key: there may be several.
    waiting: HashMap<Key, VecDeque<Sender<Heard>>>,
    account: Account,
    /// The other side may close.
    is_leaving: bool,
}

pub fn key(answer: &Message) -> Key {
    (answer.mti.clone(), answer.get(11).to_owned(), answer.get(7).to_owned())
}

/// One frame's content; nothing at the end of the connection.
pub fn read_frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Serves its orders until the end.
pub fn serve(address: SocketAddr, stans: &Stans, own: Sender<Order>, orders: &Receiver<Order>) -> Account {
    let waiting = HashMap::new();
    let account = Account::default();
    let mut line = Line { address, stans, own, stream: None, connection: 0, waiting, account, is_leaving: false };
    while let Ok(order) = orders.recv() {
        match order {
            Order::Say { message, answer } => line.say(&message, answer),
            Order::Read { connection, frame } if connection == line.connection => match frame {
                Some(frame) => line.hear(&frame),
                None => {
                    line.account.closed_on_us += u64::from(line.stream.is_some() && !line.is_leaving);
                    line.gone();
                }
            },
            // The rest of a connection that is no more.
            Order::Read { .. } => {}
            Order::Open => {
                if let Err(error) = line.connect() {
                    line.account.strange.push(format!("connect: {error:#}"));
                }
            }
            Order::Cut => line.gone(),
            Order::Leave => line.is_leaving = true,
            Order::End => break,
        }
    }
    line.gone();
    line.account
}

impl Line<'_> {
    fn say(&mut self, message: &Message, answer: Sender<Heard>) {
        if self.stream.is_none()
            && let Err(error) = self.connect()
        {
            self.account.strange.push(format!("connect: {error:#}"));
            answer.send(Heard::Lost).ok();
            return;
        }
        let expected = message.of_type(&message.answer_type());
        self.waiting.entry(key(&expected)).or_default().push_back(answer);
        let sent = self.stream.as_mut().is_some_and(|stream| stream.write_all(&message.frame()).is_ok());
        if !sent {
            self.account.closed_on_us += 1;
            self.gone();
        }
    }

    /// A new connection, signed on.
    fn connect(&mut self) -> Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_WITHIN).context("the link")?;
        stream.set_nodelay(true)?;
        let sign_on = self.stans.network("001");
        stream.write_all(&sign_on.frame())?;
        stream.set_read_timeout(Some(CONNECT_WITHIN))?;
        let frame = read_frame(&mut stream).context("no answer to the sign-on")?;
        let answer = Message::read(&frame).ok().context("no message in answer to the sign-on")?;
        anyhow::ensure!(answer.mti == "0810" && answer.get(39) == "00", "the sign-on was answered {answer}");
        stream.set_read_timeout(None)?;
        self.connection += 1;
        self.account.connections += 1;
        let connection = self.connection;
        let own = self.own.clone();
        let mut reader = BufReader::new(stream.try_clone()?);
        std::thread::spawn(move || {
            loop {
                let frame = read_frame(&mut reader);
                let is_end = frame.is_none();
                // Nobody listens any more once the run is over.
                if own.send(Order::Read { connection, frame }).is_err() || is_end {
                    return;
                }
            }
        });
        self.stream = Some(stream);
        Ok(())
    }

    fn hear(&mut self, frame: &[u8]) {
        let Ok(message) = Message::read(frame) else {
            self.account.strange.push(format!("no message: {}", String::from_utf8_lossy(frame)));
            return;
        };
        if message.mti == "0800" {
            return self.answer(&message);
        }
        let key = key(&message);
        let waiting = self.waiting.get_mut(&key).and_then(VecDeque::pop_front);
        if self.waiting.get(&key).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(&key);
        }
        match waiting {
            Some(waiting) => drop(waiting.send(Heard::Answer(message))),
            None => self.account.strange.push(format!("nobody asked for {message}")),
        }
    }

    /// The service may ask whether we are there, and say that it goes.
    fn answer(&mut self, message: &Message) {
        match message.get(70) {
            "301" => self.account.echoes_answered += 1,
            "002" => self.account.sign_offs_answered += 1,
            _ => self.account.strange.push(format!("not expected from the service: {message}")),
        }
        let answer = message.of_type("0810").with(39, "00");
        if let Some(stream) = &mut self.stream {
            // If it is gone, its reader says so.
            stream.write_all(&answer.frame()).ok();
        }
    }

    /// Whoever waits is told that nothing will come.
    fn gone(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.shutdown(Shutdown::Both).ok();
        }
        self.connection += 1;
        for waiting in self.waiting.drain().flat_map(|(_, waiting)| waiting) {
            waiting.send(Heard::Lost).ok();
        }
    }
}

/// A line's channel of orders.
pub fn orders() -> (Sender<Order>, Receiver<Order>) {
    channel()
}
