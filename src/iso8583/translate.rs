//! What a request asks, in the words of the domain. Whether it may be asked and what the code is worth is not judged
//! here.

use super::message::Message;
use super::private::{CONFIRM_REPEAT, ORIGINAL_TERMINAL, Private, STAND_IN};
use super::profile::Kind;
use crate::domain::model::bounds::MOST_YEN;
use crate::domain::model::ids::{OrderId, TerminalId};
use crate::domain::model::money::Yen;
use crate::domain::model::request::{Currency, EntryMode, JPY, Of};
use crate::domain::model::time::Date;

/// A request that makes no sense, by its code of response and the element to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub code: [u8; 2],
    pub element: u8,
}

/// It is missing or not in its form.
const FORMAT: [u8; 2] = *b"30";
const AMOUNT: [u8; 2] = *b"13";
/// Nothing that we do.
const TRANSACTION: [u8; 2] = *b"12";

type Read<T> = Result<T, Wrong>;

const fn wrong(code: [u8; 2], element: u8) -> Wrong {
    Wrong { code, element }
}

const fn bad(element: u8) -> Wrong {
    wrong(FORMAT, element)
}

#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    /// Element 32, 11 digits.
    pub acquirer: [u8; 11],
    /// Element 42 without the spaces around it.
    pub acceptor: &'m str,
    pub terminal: Option<TerminalId>,
    /// Of this message: elements 7, 11, 32 and 41.
    pub order_id: OrderId,
    pub asks: Asks<'m>,
    /// Whether element 90, where it is there, can name a message that is still to come: its number is not 000000, and where
    /// element 7 of the original belongs it has a time of the calendar. What can't may be the name of an order that was made
    /// with such elements, and of no other.
    pub may_still_come: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Asks<'m> {
    Sale(Sale<'m>),
    OnOrder(AsksOnOrder<'m>),
}

/// What is asked of an order that was decided before, or told of one that the network decided.
#[derive(Clone, Copy, Debug)]
pub enum AsksOnOrder<'m> {
    /// A sale that the network approved itself, and the request of it that we did not answer, if it names one.
    StandIn {
        sale: Sale<'m>,
        original: Option<OrderId>,
    },
    /// The code, where it was sent again.
    Capture {
        original: OrderId,
        amount: Yen,
        code: Option<Presented<'m>>,
    },
    Refund {
        original: OrderId,
        amount: Yen,
    },
    /// `kept`: not all of it is taken back.
    Reversal {
        original: OrderId,
        of: Of,
        kept: Option<Yen>,
    },
    /// Of a refund, and its amount.
    RefundReversal {
        original: OrderId,
        amount: Option<Yen>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Sale<'m> {
    pub code: Presented<'m>,
    pub amount: Yen,
    pub currency: Currency,
    pub capture: bool,
    pub confirm_repeat: bool,
    /// Where element 22 says that it was typed; else the code tells.
    pub entry_mode: Option<EntryMode>,
}

/// How the code came.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'m> {
    /// The raw scan, and the account number beside it, which must then be that of the same code.
    Scan { text: &'m str, pan: Option<&'m str> },
    /// The account number, and the content of the QR's template 63; empty if there was none.
    Split { pan: &'m str, template: &'m [u8] },
}

/// What must be there, by what is asked.
const SALE: &[u8] = &[3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 42, 49];
const ADVICE: &[u8] = &[3, 4, 7, 11, 32, 41, 42, 49];
const REFUND: &[u8] = &[3, 4, 7, 11, 32, 41, 42, 49, 90];
// As little as can be: a reversal that is not understood leaves a customer charged.
const REVERSAL: &[u8] = &[7, 11, 32, 41, 42, 90];

/// Reads a request that is not the network's own. An advice that asks for what there is not is not in its form: there is no
/// other way to refuse one.
pub fn read<'m>(message: &Message<'m>, kind: Kind) -> Read<Request<'m>> {
    let is_advice = matches!(kind, Kind::Advice | Kind::HoldAdvice);
    request(message, kind).map_err(|wrong| if is_advice { bad(wrong.element) } else { wrong })
}

fn request<'m>(message: &Message<'m>, kind: Kind) -> Read<Request<'m>> {
    let is_refund = message.get(3).is_some_and(|code| code.starts_with(b"20"));
    let private = Private::read(message.get(48));
    let needed = match kind {
        Kind::Hold | Kind::Financial if is_refund => REFUND,
        Kind::Hold | Kind::Financial => SALE,
        Kind::HoldAdvice | Kind::Advice => ADVICE,
        Kind::Reversal | Kind::Network => REVERSAL,
    };
    if let Some(missing) = needed.iter().find(|number| message.get(**number).is_none()) {
        return Err(bad(*missing));
    }
    let terminal_text = trimmed(message, 41)?;
    let terminal = if terminal_text.is_empty() { None } else { Some(TerminalId::new(terminal_text)) };
    let terminal = terminal.transpose().map_err(|_| bad(41))?;
    let acquirer = padded(message.get(32).unwrap_or_default()).ok_or(bad(32))?;
    let (sent, stan) = (message.text(7).ok_or(bad(7))?, message.text(11).ok_or(bad(11))?);
    let acceptor = trimmed(message, 42)?;
    if acceptor.is_empty() {
        return Err(bad(42));
    }
    let order_id = order_id(sent, stan, &acquirer, terminal_text).ok_or(bad(41))?;
    let original_of = |types| original(message, private, &acquirer, terminal_text, types);
    let original = || original_of(ORIGINALS);
    let asks = match kind {
        Kind::Reversal if is_refund => {
            let amount = message.get(4).is_some().then(|| amount(message)).transpose()?;
            Asks::OnOrder(AsksOnOrder::RefundReversal { original: original_of(REFUNDS)?, amount })
        }
        Kind::Reversal | Kind::Network => {
            let of = match message.get(90).and_then(|element| element.get(1..3)) {
                Some(b"10") => Of::Hold,
                Some(b"12" | b"22") => Of::Advice,
                _ => Of::Sale,
            };
            Asks::OnOrder(AsksOnOrder::Reversal { original: original()?, of, kept: replacement(message)? })
        }
        Kind::Financial if is_refund => {
            in_yen(message)?;
            Asks::OnOrder(AsksOnOrder::Refund { original: original()?, amount: amount(message)? })
        }
        Kind::Hold | Kind::Financial => Asks::Sale(sale(message, private, kind == Kind::Financial)?),
        Kind::HoldAdvice | Kind::Advice if private.is_set(STAND_IN) => {
            let sale = sale(message, private, kind == Kind::Advice)?;
            let original = message.get(90).is_some().then(original).transpose()?;
            Asks::OnOrder(AsksOnOrder::StandIn { sale, original })
        }
        // Without the mark it would be an advice of nothing.
        Kind::HoldAdvice => return Err(bad(48)),
        Kind::Advice => {
            is_purchase(message)?;
            in_yen(message)?;
            Asks::OnOrder(AsksOnOrder::Capture {
                original: original()?,
                amount: amount(message)?,
                code: presented(message),
            })
        }
    };
    let may_still_come = message.text(90).is_none_or(names_a_message);
    Ok(Request { acquirer, acceptor, terminal, order_id, asks, may_still_come })
}

fn sale<'m>(message: &Message<'m>, private: Private<'m>, capture: bool) -> Read<Sale<'m>> {
    is_purchase(message)?;
    Ok(Sale {
        code: presented(message).ok_or(bad(62))?,
        amount: amount(message)?,
        currency: currency(message)?,
        capture,
        confirm_repeat: private.is_set(CONFIRM_REPEAT),
        entry_mode: message.get(22).filter(|mode| mode.starts_with(b"01")).map(|_| EntryMode::Manual),
    })
}

fn is_purchase(message: &Message<'_>) -> Read<()> {
    if message.get(3).is_some_and(|code| code.starts_with(b"00")) { Ok(()) } else { Err(wrong(TRANSACTION, 3)) }
}

/// What was sold in yen is captured and refunded in yen.
fn in_yen(message: &Message<'_>) -> Read<()> {
    if currency(message)? == JPY { Ok(()) } else { Err(wrong(TRANSACTION, 49)) }
}

fn trimmed<'m>(message: &Message<'m>, number: u8) -> Read<&'m str> {
    message.text(number).map(|text| text.trim_matches(' ')).ok_or(bad(number))
}

fn amount(message: &Message<'_>) -> Read<Yen> {
    let digits = message.text(4).ok_or(bad(4))?;
    let yen = digits.parse().ok().filter(|yen| (1..=MOST_YEN).contains(yen));
    yen.map(Yen::new).ok_or(wrong(AMOUNT, 4))
}

fn currency(message: &Message<'_>) -> Read<Currency> {
    match message.get(49) {
        Some(b"392" | b"JPY") => Ok(JPY),
        other => other.and_then(|text| text.try_into().ok()).ok_or(bad(49)),
    }
}

/// The scan wins over the parts.
fn presented<'m>(message: &Message<'m>) -> Option<Presented<'m>> {
    let pan = message.text(2);
    if let Some(scan) = message.get(62) {
        // What is no text is no code of anybody's; it is judged as such.
        return Some(Presented::Scan { text: std::str::from_utf8(scan).unwrap_or("?"), pan });
    }
    pan.map(|pan| Presented::Split { pan, template: message.get(55).unwrap_or_default() })
}

/// Element 32 as it stands in an order's id: 11 digits, zeros on the left.
pub fn padded(digits: &[u8]) -> Option<[u8; 11]> {
    let mut out = [b'0'; 11];
    out.get_mut(11_usize.checked_sub(digits.len())?..)?.copy_from_slice(digits);
    out.iter().all(u8::is_ascii_digit).then_some(out)
}

fn order_id(sent: &str, stan: &str, acquirer: &[u8; 11], terminal: &str) -> Option<OrderId> {
    let mut text = [0; 35];
    let parts = [sent.as_bytes(), stan.as_bytes(), acquirer, terminal.as_bytes()];
    let mut at = 0;
    for part in parts {
        text.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    OrderId::new(std::str::from_utf8(text.get(..at)?).ok()?).ok()
}

/// The types of the messages that an order comes of.
const ORIGINALS: &[&str] = &["0100", "0101", "0120", "0121", "0200", "0201", "0220", "0221"];
/// Of those that a refund comes of.
const REFUNDS: &[&str] = &["0200", "0201"];

/// Whether a message can have the number and the time that stand in element 90.
fn names_a_message(original: &str) -> bool {
    original.get(4..10) != Some("000000") && original.get(10..20).is_some_and(is_time)
}

/// Whether these can be the digits of a time, `MMDDhhmmss`. The year is not said, so 29 February can be.
fn is_time(text: &str) -> bool {
    const LEAP_YEAR: i16 = 2024;
    let part = |at: usize| text.get(at..at + 2).and_then(|digits| digits.parse::<i8>().ok()).unwrap_or(i8::MAX);
    Date::new(LEAP_YEAR, part(0), part(2)).is_some() && part(4) < 24 && part(6) < 60 && part(8) < 60
}

/// The order that element 90 names: its type, number, time, acquirer and forwarder.
fn original(
    message: &Message<'_>,
    private: Private<'_>,
    own: &[u8; 11],
    own_terminal: &str,
    types: &[&str],
) -> Read<OrderId> {
    let named = || {
        let digits = message.text(90)?;
        let (kind, stan) = (digits.get(..4)?, digits.get(4..10)?);
        let (sent, acquirer) = (digits.get(10..20)?, digits.get(20..31)?);
        if !types.contains(&kind) {
            return None;
        }
        // One acquirer does not undo what another did.
        if acquirer.as_bytes() != own && acquirer.bytes().any(|digit| digit != b'0') {
            return None;
        }
        let terminal = match private.get(ORIGINAL_TERMINAL) {
            Some(named) => std::str::from_utf8(named).ok()?.trim_matches(' '),
            None => own_terminal,
        };
        order_id(sent, stan, own, terminal)
    };
    named().ok_or(bad(90))
}

/// What a partial reversal leaves: the first 12 digits of element 95. Nothing left is a full one.
fn replacement(message: &Message<'_>) -> Read<Option<Yen>> {
    let Some(element) = message.text(95) else { return Ok(None) };
    let yen: u64 = element.get(..12).and_then(|digits| digits.parse().ok()).ok_or(bad(95))?;
    if yen > MOST_YEN { Err(bad(95)) } else { Ok((yen > 0).then(|| Yen::new(yen))) }
}
