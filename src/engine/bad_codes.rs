//! Who sends too many bad codes: sliding one-minute counts per key, merchant and terminal, and per key, so that
//! made-up terminals do not get around it. A customer's account is never touched by it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::domain::commands::reply::Reply;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{MerchantId, TerminalId};
use crate::domain::model::order::OrderState;
use crate::domain::model::request::Payer;
use crate::metrics::{Metrics, metrics};

const WINDOW: Duration = Duration::from_secs(60);
const MILLION: u64 = 1_000_000;
/// Terminals counted at once, at most.
const TERMINALS: usize = 65_536;

/// Bad codes a minute from one source, before the next one is not judged any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one key, merchant and terminal.
    pub per_terminal: usize,
    /// Of the same, before 19 digits are not judged any more.
    pub tok19_per_terminal: usize,
    /// Of one key that has no bound of its own, or
    pub per_key: usize,
    /// so many of a million of its good scans in that minute, whichever is more.
    pub per_key_share_ppm: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_terminal: 5, tok19_per_terminal: 2, per_key: 50, per_key_share_ppm: 20_000 }
    }
}

/// Where a code came from: who called, and the till that was named.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The caller's number.
    pub key: u32,
    /// The caller's name, for the log.
    pub name: &'a str,
    /// The caller's own bound over all its terminals.
    pub own_limit: Option<usize>,
    pub merchant: MerchantId,
    pub terminal: Option<TerminalId>,
}

/// A till of one key.
type Till = (u32, MerchantId, Option<TerminalId>);

impl Source<'_> {
    const fn till(&self) -> Till {
        (self.key, self.merchant, self.terminal)
    }
}

/// Which of a source's two bounds was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Terminal,
    Key,
}

impl Bound {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Key => "key",
        }
    }
}

/// Whether a source may have a new code judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Open,
    Shut {
        by: Bound,
        /// Not before this long.
        wait: Duration,
    },
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
#[derive(Default)]
struct Times {
    bad: VecDeque<Instant>,
    /// Until when it is known to be shut: it is told of once.
    shut_until: Option<Instant>,
}

impl Times {
    /// Above the limit the oldest goes: those that were judged at once are counted one after the other.
    fn add(&mut self, limit: usize, now: Instant) {
        self.trim(now);
        while self.bad.len() >= limit.max(1) {
            self.bad.pop_front();
        }
        self.bad.push_back(now);
    }

    fn trim(&mut self, now: Instant) {
        while self.bad.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.bad.pop_front();
        }
    }

    /// How long until one more fits, if none does now.
    fn wait(&self, limit: usize, now: Instant) -> Option<Duration> {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        let in_force = || self.bad.iter().filter(|at| age(at) < WINDOW);
        let too_many = in_force().count().checked_sub(limit)?;
        in_force().nth(too_many).map(|at| WINDOW.saturating_sub(age(at)))
    }

    /// Whether it was open until now.
    fn shuts(&mut self, wait: Duration, now: Instant) -> bool {
        let was_open = self.shut_until.is_none_or(|until| now >= until);
        self.shut_until = Some(now + wait);
        was_open
    }
}

/// The good scans of one key by the second, of the last minute.
struct Good {
    by_second: [u32; Self::SECONDS],
    /// The second of the newest count.
    newest: u64,
    sum: u64,
}

impl Good {
    const SECONDS: usize = 60;

    const fn new() -> Self {
        Self { by_second: [0; Self::SECONDS], newest: 0, sum: 0 }
    }

    fn at(second: u64) -> usize {
        usize::try_from(second % 60).unwrap_or(0)
    }

    /// Lets go of what is more than a minute old.
    fn turn(&mut self, second: u64) {
        for passed in (self.newest + 1..=second).take(Self::SECONDS) {
            let place = &mut self.by_second[Self::at(passed)];
            self.sum -= u64::from(std::mem::take(place));
        }
        self.newest = self.newest.max(second);
    }

    fn add(&mut self, second: u64) {
        self.turn(second);
        self.by_second[Self::at(self.newest)] += 1;
        self.sum += 1;
    }
}

struct OfKey {
    times: Times,
    good: Good,
}

#[derive(Default)]
struct Counts {
    by_terminal: HashMap<Till, Times, RandomState>,
    by_key: HashMap<u32, OfKey, RandomState>,
}

impl Counts {
    fn key(&mut self, key: u32) -> &mut OfKey {
        self.by_key.entry(key).or_insert_with(|| OfKey { times: Times::default(), good: Good::new() })
    }
}

pub struct BadCodes {
    limits: Limits,
    /// Terminals counted at once, at most.
    most_terminals: usize,
    /// Seconds of good scans are counted from here.
    start: Instant,
    counts: Mutex<Counts>,
}

/// One authorization on its way past the limit.
#[derive(Clone, Copy, Debug)]
#[must_use = "how it was judged decides whether it counts"]
pub struct Entry {
    till: Till,
    own_limit: Option<usize>,
    kind: Kind,
    pub pass: Pass,
}

impl BadCodes {
    pub fn new(limits: Limits) -> Self {
        Self { limits, most_terminals: TERMINALS, start: Instant::now(), counts: Mutex::default() }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }

    /// Bad codes a minute of a key over all its terminals.
    fn limit_of(&self, own_limit: Option<usize>, key: &mut OfKey, now: Instant) -> usize {
        own_limit.unwrap_or_else(|| {
            key.good.turn(self.second(now));
            let share = key.good.sum * u64::from(self.limits.per_key_share_ppm) / MILLION;
            self.limits.per_key.max(usize::try_from(share).unwrap_or(usize::MAX))
        })
    }

    /// Before an authorization is judged: whether a code from here may be. Then call [`BadCodes::leave`].
    pub fn enter(&self, source: Source<'_>, payer: &Payer, now: Instant) -> Entry {
        let kind = Kind::of(payer);
        let pass = if kind == Kind::None { Pass::Open } else { self.check(&source, kind, now) };
        Entry { till: source.till(), own_limit: source.own_limit, kind, pass }
    }

    /// The record of its handle has told what a code is that was counted by its text: one of ours is forgiven.
    pub fn reconsider(&self, entry: &mut Entry, payer: &Payer) {
        let kind = Kind::of(payer);
        if entry.kind == Kind::Bad && kind != Kind::Bad && !entry.is_shut() {
            self.forgive(&entry.till);
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
            Kind::None => return,
            Kind::Good | Kind::Bare => state == Some(OrderState::Denied(Reason::CodeInvalid)),
            Kind::Bad => state.is_some(),
        };
        match entry.kind {
            Kind::Good | Kind::Bare if is_bad => {
                let mut counts = self.counts.lock();
                if !self.count(&mut counts, &entry.till, entry.own_limit, now) {
                    // It is judged already; its key at least is told to wait.
                    self.count_key(&mut counts, entry.till.0, entry.own_limit, now);
                }
            }
            Kind::Good if state.is_some() && entry.own_limit.is_none() => {
                self.counts.lock().key(entry.till.0).good.add(self.second(now));
            }
            Kind::Bad if !is_bad && !entry.is_shut() => self.forgive(&entry.till),
            Kind::None | Kind::Good | Kind::Bare | Kind::Bad => {}
        }
        if is_bad {
            metrics().bad_codes.increment(1);
        }
    }

    /// What is bad by its text is counted before the judgement, so that many at once do not slip through;
    /// [`BadCodes::forgive`] takes it back.
    fn check(&self, source: &Source<'_>, kind: Kind, now: Instant) -> Pass {
        let Limits { per_terminal, tok19_per_terminal, .. } = self.limits;
        let per_terminal = if kind == Kind::Bare { tok19_per_terminal.min(per_terminal) } else { per_terminal };
        let mut counts = self.counts.lock();
        let Counts { by_terminal, by_key } = &mut *counts;
        let of_terminal = by_terminal.get_mut(&source.till());
        let by_its_terminal = of_terminal.as_ref().and_then(|times| times.wait(per_terminal, now));
        let mut of_key = by_key.get_mut(&source.key);
        let by_its_key = of_key.as_mut().and_then(|key| {
            let limit = self.limit_of(source.own_limit, key, now);
            key.times.wait(limit, now)
        });
        let shut = match (by_its_terminal, by_its_key) {
            (terminal, Some(wait)) if terminal.is_none_or(|other| wait > other) => {
                Some((Bound::Key, wait, of_key.map(|key| &mut key.times)))
            }
            (Some(wait), _) => Some((Bound::Terminal, wait, of_terminal)),
            (None, _) => None,
        };
        if let Some((by, wait, times)) = shut {
            if times.is_some_and(|times| times.shuts(wait, now)) {
                tell(source, by, wait);
            }
            return Pass::Shut { by, wait };
        }
        // No room to count one more source, and no count in force is given up for it.
        if kind == Kind::Bad && !self.count(&mut counts, &source.till(), source.own_limit, now) {
            return Pass::Shut { by: Bound::Terminal, wait: WINDOW };
        }
        Pass::Open
    }

    /// Adds a bad code, unless there is no room for its source.
    fn count(&self, counts: &mut Counts, till: &Till, own_limit: Option<usize>, now: Instant) -> bool {
        let by_terminal = &mut counts.by_terminal;
        if !by_terminal.contains_key(till) && by_terminal.len() >= self.most_terminals {
            by_terminal.retain(|_, times| {
                times.trim(now);
                !times.bad.is_empty()
            });
            if by_terminal.len() >= self.most_terminals {
                return false;
            }
        }
        by_terminal.entry(*till).or_default().add(self.limits.per_terminal, now);
        self.count_key(counts, till.0, own_limit, now);
        true
    }

    fn count_key(&self, counts: &mut Counts, key: u32, own_limit: Option<usize>, now: Instant) {
        let key = counts.key(key);
        let limit = self.limit_of(own_limit, key, now);
        key.times.add(limit, now);
    }

    /// Takes back the latest count: it was a known order sent again, not a new code.
    fn forgive(&self, till: &Till) {
        let mut counts = self.counts.lock();
        if let Some(times) = counts.by_terminal.get_mut(till) {
            times.bad.pop_back();
        }
        if let Some(key) = counts.by_key.get_mut(&till.0) {
            key.times.bad.pop_back();
        }
    }
}

/// Once for each time that a source is shut.
fn tell(source: &Source<'_>, by: Bound, wait: Duration) {
    Metrics::source_shut(by.name());
    let Source { name, merchant, terminal, .. } = source;
    let terminal = terminal.map(|id| id.to_string()).unwrap_or_default();
    tracing::warn!(
        caller = name,
        %merchant,
        terminal,
        by = by.name(),
        wait_seconds = wait.as_secs(),
        "too many bad codes: no new code of this source is judged for a while"
    );
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
    use crate::domain::model::ids::{AuthorizationId, Handle, Lsn, OrderId, Part};
    use crate::domain::model::order::Order;
    use crate::domain::model::request::{OrderKey, Proof, Scanned};
    use crate::domain::model::time::{Millis, Now};

    const KEY_LIMIT: usize = 7;

    fn limiter(per_terminal: usize, most: usize) -> BadCodes {
        BadCodes { most_terminals: most, ..BadCodes::new(Limits { per_terminal, ..Limits::default() }) }
    }

    fn source(key: u32, terminal: &str) -> Source<'static> {
        Source {
            key,
            name: "shop",
            own_limit: Some(KEY_LIMIT),
            merchant: MerchantId::new("mrc_a").unwrap(),
            terminal: Some(TerminalId::new(terminal).unwrap()),
        }
    }

    fn shut(by: Bound, seconds: u64) -> Pass {
        Pass::Shut { by, wait: Duration::from_secs(seconds) }
    }

    #[test]
    fn one_till_does_not_shut_its_chain_and_a_busy_chain_may_misread_more() {
        let (codes, start) = (limiter(5, 100), Instant::now());
        let till = |n: usize| Source { own_limit: None, ..source(1, &format!("T{n}")) };
        for _ in 0..5 {
            assert_eq!(codes.check(&till(0), Kind::Bad, start), Pass::Open);
        }
        assert_eq!(codes.check(&till(0), Kind::Good, start), shut(Bound::Terminal, 60));
        for n in 1..46 {
            assert_eq!(codes.check(&till(n), Kind::Bad, start), Pass::Open, "the chain's {n}th other till");
        }
        assert_eq!(codes.check(&till(99), Kind::Good, start), shut(Bound::Key, 60), "50 in a minute");
        // 3,000 good scans in the same minute allow 60.
        let sealed = coded(Scanned::Sealed { handle: Handle::new(7).unwrap(), proof: Proof::Barcode { epoch: 1 } });
        let later = start + Duration::from_secs(61);
        for _ in 0..3_000 {
            codes.leave(&codes.enter(till(1), &sealed, later), Some(&denied(Reason::OverInStoreLimit)), later);
        }
        for n in 100..160 {
            assert_eq!(codes.check(&till(n), Kind::Bad, later), Pass::Open, "{n}");
        }
        assert_eq!(codes.check(&till(160), Kind::Good, later), shut(Bound::Key, 60));
        // Where they are more than a minute old they allow nothing more.
        let end = later + Duration::from_secs(61);
        for n in 200..250 {
            assert_eq!(codes.check(&till(n), Kind::Bad, end), Pass::Open, "{n}");
        }
        assert_eq!(codes.check(&till(251), Kind::Bad, end), shut(Bound::Key, 60));
    }

    #[test]
    fn a_source_that_is_shut_is_told_of_once() {
        let (mut times, now) = (Times::default(), Instant::now());
        assert!(times.shuts(Duration::from_secs(5), now));
        assert!(!times.shuts(Duration::from_secs(4), now + Duration::from_secs(1)));
        assert!(times.shuts(Duration::from_secs(5), now + Duration::from_secs(6)), "shut anew");
    }

    #[test]
    fn the_sixth_bad_code_in_a_minute_waits() {
        let (codes, start) = (limiter(5, 100), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(second)), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T1"), Kind::Good, after(10)), shut(Bound::Terminal, 50));
        assert_eq!(codes.check(&source(1, "T2"), Kind::Bad, after(10)), Pass::Open, "another terminal is not slowed");
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(60)), Pass::Open, "the first has left the window");
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, after(60)), shut(Bound::Terminal, 1));
    }

    #[test]
    fn made_up_terminals_are_counted_by_their_key() {
        let (codes, now) = (limiter(5, 100), Instant::now());
        for n in 0..7 {
            assert_eq!(codes.check(&source(1, &format!("T{n}")), Kind::Bad, now), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T9"), Kind::Bad, now), shut(Bound::Key, 60));
        assert_eq!(codes.check(&source(2, "T9"), Kind::Bad, now), Pass::Open);
    }

    #[test]
    fn a_full_map_refuses_new_sources_and_keeps_its_counts() {
        let (codes, now) = (limiter(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T2"), Kind::Bad, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T3"), Kind::Bad, now), shut(Bound::Terminal, 60));
        assert_eq!(codes.check(&source(1, "T3"), Kind::Good, now), Pass::Open, "good codes pass");
        assert_ne!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open, "the old count stands");
        assert_eq!(codes.check(&source(1, "T3"), Kind::Bad, now + WINDOW), Pass::Open);
    }

    #[test]
    fn a_replay_is_forgiven() {
        let (codes, now) = (limiter(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), Kind::Bad, now), Pass::Open);
        codes.forgive(&source(1, "T1").till());
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
        assert_eq!(codes.enter(till, &bare(), after(10)).pass, shut(Bound::Terminal, 50));
        assert_eq!(codes.check(&till, Kind::Good, after(10)), Pass::Open, "a sealed code is judged");
        assert!(!codes.enter(other, &bare(), after(10)).is_shut(), "another terminal's too");
        // One more bad code of any kind: both of the first two have to leave the window.
        assert_eq!(codes.check(&till, Kind::Bad, after(10)), Pass::Open);
        assert_eq!(codes.enter(till, &bare(), after(10)).pass, shut(Bound::Terminal, 51));
        assert!(!codes.enter(till, &bare(), after(61)).is_shut());
    }

    fn denied(reason: Reason) -> Reply {
        reply(OrderState::Denied(reason), false)
    }

    fn coded(scanned: Scanned) -> Payer {
        Payer::Code(scanned)
    }

    #[test]
    fn a_seal_that_its_record_does_not_bear_out_is_counted_and_an_old_code_is_forgiven() {
        let (codes, now) = (limiter(2, 100), Instant::now());
        let (till, handle) = (source(1, "T1"), Handle::new(7).unwrap());
        let sealed = coded(Scanned::Sealed { handle, proof: Proof::Barcode { epoch: 1 } });
        // An old code, as many times as one likes: it is counted until its record has told.
        for _ in 0..5 {
            let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
            assert!(!entry.is_shut());
            codes.reconsider(&mut entry, &coded(Scanned::Stale { handle }));
            codes.leave(&entry, Some(&denied(Reason::CodeExpired)), now);
        }
        // A forged one stays counted.
        let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
        codes.reconsider(&mut entry, &coded(Scanned::Forged { handle }));
        codes.leave(&entry, Some(&denied(Reason::CodeInvalid)), now);
        codes.leave(&codes.enter(till, &sealed, now), Some(&denied(Reason::CodeInvalid)), now);
        assert!(codes.enter(till, &sealed, now).is_shut());
        // Who is shut out is forgiven nothing.
        let mut entry = codes.enter(till, &coded(Scanned::Forged { handle }), now);
        codes.reconsider(&mut entry, &coded(Scanned::Stale { handle }));
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
        assert_eq!(codes.check(&sources[0], Kind::Good, now), shut(Bound::Key, 60));
        let counts = codes.counts.lock();
        assert_eq!((counts.by_terminal.len(), counts.by_key[&1].times.bad.len()), (1, KEY_LIMIT), "bounded");
    }
}
