//! A peer on the network's link: messages in, messages out, nothing hidden.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sokketsu::iso8583::frame::Framing;
use sokketsu::iso8583::message::{Layout, Message, pack};

pub const LAYOUT: Layout = Layout { hex_bitmap: false };
/// Elements 7 and 32 of all its messages.
pub const SENT: &str = "1123084530";
pub const ACQUIRER: &str = "353001";

/// A message as the tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub mti: String,
    pub elements: BTreeMap<u8, String>,
}

impl Text {
    pub fn get(&self, number: u8) -> &str {
        self.elements.get(&number).map_or("", String::as_str)
    }

    pub fn code(&self) -> &str {
        self.get(39)
    }

    /// With these elements instead; an empty one is taken out.
    pub fn with(&self, changes: &[(u8, &str)]) -> Self {
        let mut changed = self.clone();
        for (number, value) in changes {
            if value.is_empty() {
                changed.elements.remove(number);
            } else {
                changed.elements.insert(*number, (*value).to_owned());
            }
        }
        changed
    }

    pub fn as_type(&self, mti: &str) -> Self {
        Self { mti: mti.to_owned(), ..self.clone() }
    }

    /// Its bytes without a length.
    pub fn pack(&self, layout: Layout) -> Vec<u8> {
        let mut out = Vec::new();
        let mti = self.mti.as_bytes().try_into().expect("four digits");
        let elements = self.elements.iter().map(|(number, value)| (*number, value.as_bytes()));
        pack(mti, elements, layout, &mut out).expect("a message of the profile");
        out
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Framing::default().put(None, &mut out, &self.pack(LAYOUT));
        out
    }

    pub fn read(bytes: &[u8], layout: Layout) -> Self {
        let message = Message::unpack(bytes, layout).unwrap_or_else(|bad| panic!("{bad:?}"));
        let text = |number| String::from_utf8_lossy(message.get(number).unwrap_or_default()).into_owned();
        Self {
            mti: String::from_utf8_lossy(&message.mti).into_owned(),
            elements: message.numbers().map(|number| (number, text(number))).collect(),
        }
    }

    /// The order's id over HTTP.
    pub fn order_id(&self) -> String {
        format!("{}{}{:0>11}{}", self.get(7), self.get(11), self.get(32), self.get(41).trim())
    }

    /// Element 90 of what speaks of it.
    pub fn original(&self) -> String {
        format!("{}{}{}{:0>11}{:0>11}", self.mti, self.get(11), self.get(7), self.get(32), "")
    }

    /// The reversal of it, after a timeout.
    pub fn reversal(&self, stan: u32) -> Self {
        let stan = format!("{stan:06}");
        self.with(&[(11, &stan), (39, "68"), (62, ""), (90, &self.original())]).as_type("0420")
    }
}

/// A sale at `mrc_konbini`.
pub fn sale(stan: u32, code: &str, yen: u64) -> Text {
    let elements = [
        (3, "000000".to_owned()),
        (4, format!("{yen:012}")),
        (7, SENT.to_owned()),
        (11, format!("{stan:06}")),
        (12, "174530".to_owned()),
        (13, "1123".to_owned()),
        (22, "033".to_owned()),
        (32, ACQUIRER.to_owned()),
        (37, format!("632708{stan:06}")),
        (41, "T01     ".to_owned()),
        (42, format!("{:<15}", "mrc_konbini")),
        (49, "392".to_owned()),
        (62, code.to_owned()),
    ];
    Text { mti: "0200".to_owned(), elements: elements.into() }
}

/// A message of the network itself.
pub fn network(stan: u32, code: &str) -> Text {
    let elements = [(7, SENT.to_owned()), (11, format!("{stan:06}")), (70, code.to_owned())];
    Text { mti: "0800".to_owned(), elements: elements.into() }
}

pub struct Peer<S = TcpStream> {
    pub stream: S,
}

impl Peer {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the link listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Self { stream }
    }

    /// Whether the other side has closed, within the timeout of a read.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

impl<S: Read + Write> Peer<S> {
    pub fn send(&mut self, message: &Text) {
        self.stream.write_all(&message.frame()).expect("the link takes it");
    }

    pub fn hear(&mut self) -> Text {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).expect("an answer");
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut bytes).expect("all of it");
        Text::read(&bytes, LAYOUT)
    }

    pub fn ask(&mut self, message: &Text) -> Text {
        self.send(message);
        self.hear()
    }
}
