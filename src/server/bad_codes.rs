//! Who sends too many bad codes: sliding one-minute counts per key, merchant and terminal, and per key, so that
//! made-up terminals do not get around it. A customer's account is never touched by it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::domain::denial::Reason;
use crate::domain::ids::{MerchantId, TerminalId};
use crate::domain::orders::OrderState;
use crate::domain::request::Payer;
use crate::domain::rule::Reply;
use crate::metrics::metrics;

const WINDOW: Duration = Duration::from_secs(60);

/// Where a code came from. `key` is the caller's number, `key_limit` its bound over all its terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub key: u32,
    pub key_limit: usize,
    pub merchant: MerchantId,
    pub terminal: Option<TerminalId>,
}

/// Whether a source may have a new code judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Open,
    /// Not before this long.
    Shut(Duration),
}

/// What a code's text tells of it before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No code is shown.
    None,
    /// A seal of ours, or another issuer's. Keys of ours that others know make seals too: then the judgement tells.
    Good,
    /// Nineteen digits without a seal: a guess, where there is no such code, and a guess that hits is worth money. So
    /// their sources are told to wait sooner.
    Bare,
    Bad,
}

impl Kind {
    const fn of(payer: &Payer) -> Self {
        match payer {
            Payer::Customer(_) => Self::None,
            Payer::Code(scanned) if scanned.is_bad() => Self::Bad,
            Payer::Code(scanned) if scanned.is_bare() => Self::Bare,
            Payer::Code(_) => Self::Good,
        }
    }
}

/// Times of one source's bad codes, oldest first; never more than its highest limit.
type Times = VecDeque<Instant>;

#[derive(Default)]
struct Counts {
    by_terminal: HashMap<Source, Times, RandomState>,
    by_key: HashMap<u32, Times, RandomState>,
}

/// Bad codes a minute from one key, merchant and terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerTerminal {
    pub sealed: usize,
    /// Before 19 digits are not judged any more.
    pub tok19: usize,
}

pub struct BadCodes {
    per_terminal: PerTerminal,
    /// Most terminals counted at once.
    most: usize,
    counts: Mutex<Counts>,
}

/// One authorization on its way past the limit.
#[derive(Clone, Copy, Debug)]
#[must_use = "how it was judged decides whether it counts"]
pub struct Entry {
    source: Source,
    kind: Kind,
    pub pass: Pass,
}

/// Above the limit the oldest goes: those that were judged at once are counted one after the other.
fn add(times: &mut Times, limit: usize, now: Instant) {
    trim(times, now);
    while times.len() >= limit.max(1) {
        times.pop_front();
    }
    times.push_back(now);
}

fn trim(times: &mut Times, now: Instant) {
    while times.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
        times.pop_front();
    }
}

/// How long until one more fits, if none does now.
fn wait(times: Option<&Times>, limit: usize, now: Instant) -> Option<Duration> {
    let age = |at: &Instant| now.saturating_duration_since(*at);
    let in_force = || times.into_iter().flatten().filter(|at| age(at) < WINDOW);
    let too_many = in_force().count().checked_sub(limit)?;
    in_force().nth(too_many).map(|at| WINDOW.saturating_sub(age(at)))
}

impl BadCodes {
    pub fn new(per_terminal: PerTerminal, most: usize) -> Self {
        Self { per_terminal, most, counts: Mutex::default() }
    }

    /// Before an authorization is judged: whether a code from here may be. Then call [`BadCodes::leave`].
    pub fn enter(&self, source: Source, payer: &Payer, now: Instant) -> Entry {
        let kind = Kind::of(payer);
        let pass = if kind == Kind::None { Pass::Open } else { self.check(&source, kind, now) };
        Entry { source, kind, pass }
    }

    /// The record of its handle has told what a code is that was counted by its text: one of ours is forgiven.
    pub fn told(&self, entry: &mut Entry, payer: &Payer) {
        let kind = Kind::of(payer);
        if entry.kind == Kind::Bad && kind != Kind::Bad && !entry.is_shut() {
            self.forgive(&entry.source);
            entry.kind = kind;
        }
    }

    /// After the judgement, with its reply if there is one. What turned out to be no new bad code is forgiven; what the
    /// record did not bear out is counted: nineteen digits that are no code, a seal of other keys than its code's.
    pub fn leave(&self, entry: &Entry, reply: Option<&Reply>, now: Instant) {
        let state = match reply {
            Some(Reply::Decision { order, replayed: false }) => Some(order.state),
            _ => None,
        };
        let is_bad = match entry.kind {
            Kind::None => false,
            Kind::Good | Kind::Bare => state == Some(OrderState::Denied(Reason::CodeInvalid)),
            Kind::Bad => state.is_some(),
        };
        match entry.kind {
            Kind::Good | Kind::Bare if is_bad => {
                let mut counts = self.counts.lock();
                if !self.count(&mut counts, &entry.source, now) {
                    // It is judged already; its key at least is told to wait.
                    add(counts.by_key.entry(entry.source.key).or_default(), entry.source.key_limit, now);
                }
            }
            Kind::Bad if !is_bad && !entry.is_shut() => self.forgive(&entry.source),
            Kind::None | Kind::Good | Kind::Bare | Kind::Bad => {}
        }
        if is_bad {
            metrics().bad_codes.increment(1);
        }
    }

    /// What is bad by its text is counted before the judgement, so that many at once do not slip through;
    /// [`BadCodes::forgive`] takes it back.
    fn check(&self, source: &Source, kind: Kind, now: Instant) -> Pass {
        let PerTerminal { sealed, tok19 } = self.per_terminal;
        let per_terminal = if kind == Kind::Bare { tok19.min(sealed) } else { sealed };
        let mut counts = self.counts.lock();
        let waits = [
            wait(counts.by_terminal.get(source), per_terminal, now),
            wait(counts.by_key.get(&source.key), source.key_limit, now),
        ];
        if let Some(longest) = waits.into_iter().flatten().max() {
            return Pass::Shut(longest);
        }
        // No room to count one more source, and no count in force is given up for it.
        if kind == Kind::Bad && !self.count(&mut counts, source, now) {
            return Pass::Shut(WINDOW);
        }
        Pass::Open
    }

    /// Adds a bad code, unless there is no room for its source.
    fn count(&self, counts: &mut Counts, source: &Source, now: Instant) -> bool {
        let Counts { by_terminal, by_key } = counts;
        if !by_terminal.contains_key(source) && by_terminal.len() >= self.most {
            by_terminal.retain(|_, times| {
                trim(times, now);
                !times.is_empty()
            });
            if by_terminal.len() >= self.most {
                return false;
            }
        }
        add(by_terminal.entry(*source).or_default(), self.per_terminal.sealed, now);
        add(by_key.entry(source.key).or_default(), source.key_limit, now);
        true
    }

    /// Takes back the latest count: it was a known order sent again, not a new code.
    fn forgive(&self, source: &Source) {
        let mut counts = self.counts.lock();
        if let Some(times) = counts.by_terminal.get_mut(source) {
            times.pop_back();
        }
        if let Some(times) = counts.by_key.get_mut(&source.key) {
            times.pop_back();
        }
    }
}

impl Entry {
    /// Only a known order may be answered.
    pub fn is_shut(&self) -> bool {
        self.pass != Pass::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AuthorizationId, Handle, Lsn, OrderId, Part};
    use crate::domain::jst::{Millis, Now};
    use crate::domain::orders::Order;
    use crate::domain::request::{OrderKey, Proof, Scanned};

    const KEY_LIMIT: usize = 7;

    fn limiter(sealed: usize, most: usize) -> BadCodes {
        BadCodes::new(PerTerminal { sealed, tok19: 2 }, most)
    }

    fn source(key: u32, terminal: &str) -> Source {
        Source {
            key,
            key_limit: KEY_LIMIT,
            merchant: MerchantId::new("mrc_a").unwrap(),
            terminal: Some(TerminalId::new(terminal).unwrap()),
        }
    }

    #[test]
    fn the_sixth_bad_code_in_a_minute_waits() {
        let (codes, start) = (limiter(5, 100), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(second)), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T1"), Kind::Good, after(10)), Pass::Shut(Duration::from_secs(50)));
        assert_eq!(codes.check(&source(1, "T2"), Kind::Bad, after(10)), Pass::Open, "another terminal is not slowed");
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(60)), Pass::Open, "the first has left the window");
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(60)), Pass::Shut(Duration::from_secs(1)));
    }

    #[test]
    fn made_up_terminals_are_counted_by_their_key() {
        let (codes, now) = (limiter(5, 100), Instant::now());
        for n in 0..7 {
            assert_eq!(codes.check(&source(1, &format!("T{n}")), Kind::Bad, now), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T9"), Kind::Bad, now), Pass::Shut(WINDOW));
        assert_eq!(codes.check(&source(2, "T9"), Kind::Bad, now), Pass::Open);
    }

    #[test]
    fn a_full_map_refuses_new_sources_and_keeps_its_counts() {
        let (codes, now) = (limiter(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T2"), Kind::Bad, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T3"), Kind::Bad, now), Pass::Shut(WINDOW));
        assert_eq!(codes.check(&source(1, "T3"), Kind::Good, now), Pass::Open, "good codes pass");
        assert_ne!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open, "the old count stands");
        assert_eq!(codes.check(&source(1, "T3"), Kind::Bad, now + WINDOW), Pass::Open);
    }

    #[test]
    fn a_replay_is_forgiven() {
        let (codes, now) = (limiter(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open);
        codes.forgive(&source(1, "T1"));
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open);
    }

    fn bare() -> Payer {
        Payer::Code(Scanned::Sealed { handle: Handle::new(7).unwrap(), proof: Proof::Tok19 })
    }

    fn reply(state: OrderState, replayed: bool) -> Reply {
        let now = Now::at(Millis(0));
        let key = OrderKey { merchant: MerchantId::new("m").unwrap(), order_id: OrderId::new("R").unwrap() };
        let id = AuthorizationId { part: Part::default(), lsn: Lsn(1), random: 1 };
        let order = Order { state, ..Order::tombstone(id, key, &now) };
        Reply::Decision { order: order.told(), replayed }
    }

    #[test]
    fn two_wrong_guesses_of_19_digits_wait_and_no_good_code_does() {
        let (codes, start) = (limiter(5, 100), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let (till, other) = (source(1, "T1"), source(1, "T2"));
        let denied = |reason| reply(OrderState::Denied(reason), false);
        // A live code that is refused for another reason is none of these, nor is an order known already.
        for known in [denied(Reason::OverPaymentCap), denied(Reason::CodeExpired)] {
            codes.leave(&codes.enter(till, &bare(), start), Some(&known), start);
        }
        codes.leave(
            &codes.enter(till, &bare(), start),
            Some(&reply(OrderState::Denied(Reason::CodeInvalid), true)),
            start,
        );
        codes.leave(&codes.enter(till, &bare(), start), None, start);
        for second in 0..2 {
            let entry = codes.enter(till, &bare(), after(second));
            assert!(!entry.is_shut());
            codes.leave(&entry, Some(&denied(Reason::CodeInvalid)), after(second));
        }
        assert_eq!(codes.enter(till, &bare(), after(10)).pass, Pass::Shut(Duration::from_secs(50)));
        assert_eq!(codes.check(&till, Kind::Good, after(10)), Pass::Open, "a sealed code is judged");
        assert!(!codes.enter(other, &bare(), after(10)).is_shut(), "another terminal's too");
        // One more bad code of any kind: both of the first two have to leave the window.
        assert_eq!(codes.check(&till, Kind::Bad, after(10)), Pass::Open);
        assert_eq!(codes.enter(till, &bare(), after(10)).pass, Pass::Shut(Duration::from_secs(51)));
        assert!(!codes.enter(till, &bare(), after(61)).is_shut());
    }

    fn coded(scanned: Scanned) -> Payer {
        Payer::Code(scanned)
    }

    #[test]
    fn a_seal_that_its_record_does_not_bear_out_is_counted_and_an_old_code_is_forgiven() {
        let (codes, now) = (limiter(2, 100), Instant::now());
        let (till, handle) = (source(1, "T1"), Handle::new(7).unwrap());
        let sealed = coded(Scanned::Sealed { handle, proof: Proof::Barcode { epoch: 1 } });
        let denied = |reason| reply(OrderState::Denied(reason), false);
        // An old code, as many times as one likes: it is counted until its record has told.
        for _ in 0..5 {
            let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
            assert!(!entry.is_shut());
            codes.told(&mut entry, &coded(Scanned::Stale { handle }));
            codes.leave(&entry, Some(&denied(Reason::CodeExpired)), now);
        }
        // A forged one stays counted.
        let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
        codes.told(&mut entry, &coded(Scanned::Forged { handle }));
        codes.leave(&entry, Some(&denied(Reason::CodeInvalid)), now);
        codes.leave(&codes.enter(till, &sealed, now), Some(&denied(Reason::CodeInvalid)), now);
        assert!(codes.enter(till, &sealed, now).is_shut());
        // Who is shut out is forgiven nothing.
        let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
        codes.told(&mut entry, &coded(Scanned::Stale { handle }));
        assert!(codes.enter(till, &sealed, now).is_shut());
    }

    #[test]
    fn guesses_judged_at_once_are_all_counted_by_their_key() {
        let (codes, now) = (limiter(5, 1), Instant::now());
        let sources: Vec<_> = (0..9).map(|n| source(1, &format!("T{n}"))).collect();
        let entries: Vec<_> = sources.iter().map(|source| codes.enter(*source, &bare(), now)).collect();
        assert!(entries.iter().all(|entry| !entry.is_shut()));
        for entry in entries {
            codes.leave(&entry, Some(&reply(OrderState::Denied(Reason::CodeInvalid), false)), now);
        }
        assert_eq!(codes.check(&sources[0], Kind::Good, now), Pass::Shut(WINDOW));
        let counts = codes.counts.lock();
        assert_eq!((counts.by_terminal.len(), counts.by_key[&1].len()), (1, KEY_LIMIT), "bounded");
    }
}
