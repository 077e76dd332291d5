//! Our profile: which types of messages there are, and how each is answered.

use super::message::{Layout, Message, Mti, put_bitmap};

/// What a request is for, by its type. A repeat is for what its original was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0100: room is set aside until a capture.
    Hold,
    /// 0200: a sale, or a refund by element 3.
    Financial,
    /// 0120: a hold that the network granted itself.
    HoldAdvice,
    /// 0220: the capture of a hold, or a sale that the network approved itself.
    Advice,
    /// 0400, 0420
    Reversal,
    /// 0800
    Network,
}

impl Kind {
    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Financial => "financial",
            Self::HoldAdvice => "hold_advice",
            Self::Advice => "advice",
            Self::Reversal => "reversal",
            Self::Network => "network",
        }
    }

    pub const ALL: [Self; 6] =
        [Self::Hold, Self::Financial, Self::HoldAdvice, Self::Advice, Self::Reversal, Self::Network];

    /// The elements that the answer repeats, rising.
    const fn repeated(self) -> &'static [u8] {
        match self {
            Self::Hold | Self::Financial | Self::HoldAdvice | Self::Advice => {
                &[2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49]
            }
            Self::Reversal => &[2, 3, 4, 7, 11, 32, 33, 37, 41, 42, 49, 90],
            // Switches match an answer by 11 and 41, whatever was asked.
            Self::Network => &[7, 11, 32, 33, 37, 41, 42, 70],
        }
    }
}

/// Requests, repeats among them, with the types of their answers.
const REQUESTS: [(&Mti, Kind, &Mti); 14] = [
    (b"0200", Kind::Financial, b"0210"),
    (b"0201", Kind::Financial, b"0210"),
    (b"0100", Kind::Hold, b"0110"),
    (b"0101", Kind::Hold, b"0110"),
    (b"0120", Kind::HoldAdvice, b"0130"),
    (b"0121", Kind::HoldAdvice, b"0130"),
    (b"0220", Kind::Advice, b"0230"),
    (b"0221", Kind::Advice, b"0230"),
    (b"0400", Kind::Reversal, b"0410"),
    (b"0401", Kind::Reversal, b"0410"),
    (b"0420", Kind::Reversal, b"0430"),
    (b"0421", Kind::Reversal, b"0430"),
    (b"0800", Kind::Network, b"0810"),
    (b"0801", Kind::Network, b"0810"),
];

/// What a request of this type is for, and the type of its answer; nothing for what is no request of the profile.
pub fn request(mti: Mti) -> Option<(Kind, Mti)> {
    REQUESTS.iter().find(|(request, ..)| **request == mti).map(|(_, kind, answer)| (*kind, **answer))
}

/// How any request or advice of the standard is answered, one that the profile does not have as its class is; nothing for
/// what is itself an answer, or a notification, which has none.
pub fn answer_to(mti: Mti) -> Option<(Kind, Mti)> {
    let [version @ b'0', class, function @ (b'0' | b'2'), _] = mti else { return None };
    let kind = match class {
        b'1' => Kind::Hold,
        b'2' => Kind::Financial,
        b'4' => Kind::Reversal,
        _ => Kind::Network,
    };
    Some((kind, [version, class, function + 1, b'0']))
}

/// What the answer to a request says besides what it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Element 39.
    pub code: [u8; 2],
    /// Element 38, of an approval.
    pub approval: Option<[u8; 6]>,
    /// Element 44: printable, at most 25.
    pub details: &'a [u8],
}

/// What an answer repeats of its request, packed already: the answer comes when the request's bytes are long gone.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    mti: Mti,
    map: u128,
    packed: Vec<u8>,
    /// Where in `packed` the elements above 39, and those above 44, begin.
    splits: [usize; 2],
}

const fn bit(number: u8) -> u128 {
    1 << (128 - number)
}

impl Echo {
    /// Takes what `message` has of the elements that an answer of this type repeats; its former content goes, its memory
    /// is used again.
    pub fn fill(&mut self, message: &Message<'_>, kind: Kind, answer: Mti) {
        self.mti = answer;
        self.map = 0;
        self.splits = [0; 2];
        self.packed.clear();
        for number in kind.repeated() {
            let Some(element) = message.packed(*number) else { continue };
            self.packed.extend_from_slice(element);
            self.map |= bit(*number);
            if *number < 38 {
                self.splits[0] = self.packed.len();
            }
            if *number < 44 {
                self.splits[1] = self.packed.len();
            }
        }
    }

    /// Appends the answer.
    pub fn put(&self, answer: &Answer<'_>, layout: Layout, out: &mut Vec<u8>) {
        let approval = answer.approval.as_ref().map(<[u8; 6]>::as_slice).unwrap_or_default();
        let details = answer.details.get(..answer.details.len().min(25)).unwrap_or_default();
        let mut map = self.map | bit(39);
        map |= if approval.is_empty() { 0 } else { bit(38) };
        map |= if details.is_empty() { 0 } else { bit(44) };
        let (head, rest) = self.packed.split_at(self.splits[0]);
        let (place, tail) = rest.split_at(self.splits[1] - self.splits[0]);
        out.extend_from_slice(&self.mti);
        put_bitmap(map, layout, out);
        for part in [head, approval, &answer.code, place] {
            out.extend_from_slice(part);
        }
        if let (Ok(len), false) = (u8::try_from(details.len()), details.is_empty()) {
            out.extend_from_slice(&[b'0' + len / 10, b'0' + len % 10]);
            out.extend_from_slice(details);
        }
        out.extend_from_slice(tail);
    }
}
