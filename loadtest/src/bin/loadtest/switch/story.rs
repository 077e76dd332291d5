//! What is played: which story each sale is, drawn by the seed alone.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Purchase,
    Hold,
    RepeatAnswered,
    RepeatInFlight,
    /// The answer is treated as not come: it is reversed after it came.
    LateAfter,
    /// Reversed before it is sent.
    LateBefore,
    /// Reversed while it is in flight.
    LateDuring,
    /// The reversal of what never comes.
    ReversalOfNothing,
    PartialReversal,
    Refund,
    OverLimit,
    ForeignCode,
    UsedCode,
    StandInSale,
    StandInHold,
    /// The network approved what we had answered as well.
    StandInAnswered,
    /// It approves what is still in flight to us.
    StandInInFlight,
    Echo,
    SignOff,
    /// The connection is cut with everything that is in flight.
    Cut,
    Garbage,
    AbsurdLength,
}

use Kind::*;

/// Each kind, its name, and how often it comes in a hundred or so.
pub const KINDS: [(Kind, &str, u32); 22] = [
    (Purchase, "purchase", 30),
    (Hold, "hold and capture", 10),
    (RepeatAnswered, "repeat of an answered sale", 7),
    (RepeatInFlight, "repeat of one in flight", 7),
    (LateAfter, "reversed after its answer", 6),
    (LateBefore, "reversed before it came", 4),
    (LateDuring, "reversed in flight", 6),
    (ReversalOfNothing, "reversal of nothing", 2),
    (PartialReversal, "reversal of a part", 3),
    (Refund, "refunds", 8),
    (OverLimit, "over the limit", 3),
    (ForeignCode, "another issuer's code", 3),
    (UsedCode, "used code", 4),
    (StandInSale, "stand-in sale", 5),
    (StandInHold, "stand-in hold", 4),
    (StandInAnswered, "stand-in, answered too", 3),
    (StandInInFlight, "stand-in, in flight too", 3),
    (Echo, "echo test", 2),
    (SignOff, "sign-off and on", 1),
    (Cut, "connection cut", 1),
    (Garbage, "garbage", 2),
    (AbsurdLength, "absurd length", 1),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    pub fn is_stand_in(self) -> bool {
        matches!(self, StandInSale | StandInHold | StandInAnswered | StandInInFlight)
    }
}

#[derive(Clone)]
pub struct Story {
    pub number: usize,
    pub kind: Kind,
    /// What is sold. Each story has a customer of its own: a new code would replace the one that is about to pay.
    pub yen: u64,
    /// Decides whatever else is open.
    pub random: SmallRng,
}

/// The kinds that are drawn from.
pub type Deck = Vec<(Kind, &'static str, u32)>;

/// Those with this text in their names; without those of stand-in, if it is not wanted.
pub fn deck(stand_in: bool, only: &str) -> Deck {
    let wanted = |kind: Kind, name: &str| (stand_in || !kind.is_stand_in()) && name.contains(only);
    KINDS.into_iter().filter(|(kind, name, _)| wanted(*kind, name)).collect()
}

/// The story of this number; the same for the same seed.
pub fn story(seed: u64, number: usize, deck: &Deck) -> Story {
    let mut random = SmallRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut drawn = random.random_range(0..deck.iter().map(|(.., weight)| weight).sum());
    let mut kind = Purchase;
    for (each, _, weight) in deck {
        if drawn < *weight {
            kind = *each;
            break;
        }
        drawn -= weight;
    }
    Story { number, kind, yen: random.random_range(1_000..30_000), random }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_tells_the_same_stories_and_all_kinds() {
        let told = |seed, stand_in| {
            let deck = deck(stand_in, "");
            (0..2_000).map(|n| story(seed, n, &deck)).map(|s| (s.kind, s.yen)).collect()
        };
        let all: Vec<(Kind, u64)> = told(1, true);
        assert_eq!(all, told(1, true));
        assert_ne!(all, told(2, true));
        assert!(KINDS.iter().all(|(kind, ..)| all.iter().any(|(told, _)| told == kind)));
        let without: Vec<(Kind, u64)> = told(1, false);
        assert!(!without.iter().any(|(kind, _)| kind.is_stand_in()));
        assert_eq!(deck(true, "in flight").len(), 3);
    }
}
