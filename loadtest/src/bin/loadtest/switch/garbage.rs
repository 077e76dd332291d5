//! Messages that were damaged on their way, with a length that fits: the link bears them, and says so where it can.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;

use super::line::read_frame;
use super::stage::Stage;
use loadtest::message::{Message, Unreadable, framed};

/// Damaged messages in one story.
const PIECES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// A type and a bitmap.
const SHORTEST: usize = 12;
/// A shop that there is not: what is still readable is denied, and touches nobody's books.
const NO_SHOP: &str = "garbage        ";
const NO_CODE: &str = "315899007924294301234567";
const REQUESTS: [&str; 14] =
    ["0100", "0101", "0120", "0121", "0200", "0201", "0220", "0221", "0400", "0401", "0420", "0421", "0800", "0801"];

/// What may come of a piece.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It can't be read, but whose it is can: 30.
    Refused(String),
    /// It is read; what it asks now is anybody's guess.
    Anything(String),
    Dropped,
}

fn fate(piece: &[u8]) -> Fate {
    let (message, is_whole) = match Message::read(piece) {
        Ok(message) => (message, true),
        Err(Unreadable(message)) => (message, false),
    };
    let stan = message.get(11).to_owned();
    let is_request = REQUESTS.contains(&message.mti.as_str());
    // A request or advice of the standard that is none of these is told so, where its number can be read.
    let may_be_request = matches!(message.mti.as_bytes(), [b'0', _, b'0' | b'2', _]);
    if !may_be_request || stan.len() != 6 || !stan.bytes().all(|byte| byte.is_ascii_digit()) {
        return Fate::Dropped;
    }
    if is_whole || !is_request { Fate::Anything(stan) } else { Fate::Refused(stan) }
}

impl Stage<'_> {
    /// One to eight bytes changed, cut or added.
    fn damage(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut message = frame.get(2..).unwrap_or_default().to_vec();
        for _ in 0..=self.die(8) {
            let at = self.die(message.len());
            let byte: u8 = self.story.random.random();
            match self.die(4) {
                0 => drop(message.splice(at..=at, [byte])),
                // Doubled.
                1 => message.insert(at, message.get(at).copied().unwrap_or(byte)),
                2 if message.len() > SHORTEST => drop(message.remove(at)),
                _ => message.insert(at, byte),
            }
        }
        message
    }

    pub fn garbage(&mut self) {
        if let Err(error) = self.send_garbage() {
            self.wrong(format!("garbage: {error:#}"));
        }
    }

    /// On a connection of its own, so that each answer can be put down to what was sent.
    fn send_garbage(&mut self) -> Result<()> {
        let mut stream = TcpStream::connect(self.network.link).context("connect")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut known = Vec::new();
        for _ in 0..PIECES {
            let sale = self.sale("0200", NO_CODE, self.story.yen).with(42, NO_SHOP);
            let good = match self.die(4) {
                0 => sale.of_type("0100"),
                1 => self.reversal(&sale),
                2 => self.about(&sale, "0200").with(3, "200000"),
                _ => sale,
            };
            let piece = self.damage(&good.frame());
            let echo = self.network.stans.network("301");
            stream.write_all(&[framed(&piece), echo.frame()].concat()).context("the link does not take it")?;
            self.notes.garbage += 1;
            let fate = fate(&piece);
            if let Fate::Refused(stan) | Fate::Anything(stan) = &fate {
                known.push(stan.clone());
            }
            let refused = until_echo(&mut reader, &echo, &known).with_context(|| hex(&piece))?;
            if let Fate::Refused(stan) = &fate {
                ensure!(refused.contains(stan), "{}: not answered 30", hex(&piece));
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    framed(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads until the echo test is answered: all that was sent before it was read by then, and what can't be read was
/// answered. Gives the numbers of the messages that were answered 30.
fn until_echo(reader: &mut BufReader<TcpStream>, echo: &Message, known: &[String]) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    loop {
        let frame = read_frame(reader).context("the link was closed, or is silent")?;
        let Ok(answer) = Message::read(&frame) else { bail!("answered by no message: {}", hex(&frame)) };
        if answer.mti == "0810" && answer.get(11) == echo.get(11) && answer.get(7) == echo.get(7) {
            ensure!(answer.get(39) == "00", "the echo test behind it was answered {answer}");
            return Ok(refused);
        }
        ensure!(known.iter().any(|stan| stan == answer.get(11)), "answered {answer}, which nobody asked for");
        if answer.get(39) == "30" {
            refused.push(answer.get(11).to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_come_of_a_piece_depends_on_what_can_be_read_of_it() {
        let good = Message::new("0200").with(7, "1123084530").with(11, "004217").with(49, "392").frame();
        let stan = || "004217".to_owned();
        assert_eq!(fate(&good[2..]), Fate::Anything(stan()));
        assert_eq!(fate(&good[2..good.len() - 1]), Fate::Refused(stan()));
        assert_eq!(fate(&[&good[2..], b"1"].concat()), Fate::Refused(stan()));
        assert_eq!(fate(&good[2..20]), Fate::Dropped);
        assert_eq!(fate(&Message::new("0210").with(11, "004217").frame()[2..]), Fate::Dropped);
        assert_eq!(fate(b"0200\0\0\0\0\0\0\0\0"), Fate::Dropped);
    }
}
