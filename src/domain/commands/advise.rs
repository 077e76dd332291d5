//! Advices: while we were silent the network approved a sale itself, and tells us now. An advice can't be refused, the
//! goods are gone. It is posted to the customer as far as its link may; the rest goes to suspense: the issuer owes the
//! network the amount, and no customer is charged.

use std::sync::Arc;

use super::Ruling;
use super::authorize::{
    FoundPayer, approval, find_payer, fits_limits, is_at_bound, judge, recorded, room_in, with_a_wrong_seal,
};
use super::past::Turn;
use super::refusal::{Refusal, Step, Stop};
use super::reply::Reply;
use crate::domain::billing::lateness::Rules;
use crate::domain::commands::reply::AdviceOutcome;
use crate::domain::model::advice::{Booked, SuspenseWhy};
use crate::domain::model::code::CodeState;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, OrderState, fingerprint};
use crate::domain::model::request::{Advice, Authorize, Beside, JPY, OrderKey, Payer, Post};
use crate::domain::model::time::Now;
use crate::domain::state::event::{Advised, Approval, Decided, Event, Outcome};
use crate::domain::state::{PolicyInForce, State};

impl From<Booked> for AdviceOutcome {
    fn from(booked: Booked) -> Self {
        match booked {
            Booked::Posted => Self::Posted,
            Booked::OverLimit => Self::OverLimit,
            Booked::Suspense(why) => Self::Suspense(why),
        }
    }
}

/// The sale is known; nothing is to be recorded.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// Under the advice's own key, with this content.
    Replay(&'a Order),
    /// Under its key, with other content.
    Reused(&'a Order),
    /// Under the key of the request that the network got no answer to.
    Counted(&'a Order),
}

impl Known<'_> {
    /// `replayed`: it was known before.
    fn reply(self, now: &Now, replayed: bool) -> Reply {
        let advised = |order: &Order, advice| Reply::Advised { order: order.told(), advice, replayed };
        match self {
            Self::Reused(order) => Reply::OrderIdReused { first: order.id, terminal: order.terminal },
            Self::Counted(order) => advised(order, AdviceOutcome::AlreadyCounted),
            Self::Replay(order) => match order.advice {
                Some(booked) => advised(order, booked.into()),
                None if is_counted(order, now) => advised(order, AdviceOutcome::AlreadyCounted),
                None => Reply::Decision { order: order.told(), replayed },
            },
        }
    }
}

/// Whether the sale is in the books. What was refunded of it since was given back for what was bought.
fn is_counted(order: &Order, now: &Now) -> bool {
    match order.state {
        OrderState::Captured { .. } | OrderState::Lost => true,
        OrderState::Held { expires_at } => now.at < expires_at,
        OrderState::Tombstone | OrderState::Denied(_) | OrderState::Cancelled => false,
    }
}

/// Whether an order is the sale of which an advice speaks: the same code or customer, and amount.
fn is_same_sale(state: &State, order: &Order, input: &Authorize) -> bool {
    let same_payer = match &input.payer {
        Payer::Code(scanned) => scanned.handle().is_some() && scanned.handle() == order.handle,
        Payer::Customer(id) => order.customer.is_some() && state.customer_ix(id) == order.customer,
    };
    same_payer && order.amount == input.amount
}

/// The network approved a sale itself. Under the very number of a sale that was denied here it stands beside that one.
pub(super) fn stand_in(turn: &Turn<'_>, advice: &Advice, draw: &mut dyn FnMut() -> u64) -> Result<Ruling, Stop> {
    let input = &advice.input;
    let now = turn.now;
    let mut key = input.key();
    let own = turn.by_key(&key)?;
    let is_same = |order: &Order| order.fingerprint == fingerprint(input);
    let is_denied = own.is_some_and(|own| matches!(own.order.state, OrderState::Denied(_)) && !own.order.is_blocked());
    if is_denied
        && own.is_some_and(|own| is_same(own.order))
        && let Some(beside) = key.beside(Beside::StoodIn)
    {
        key = beside;
    }
    let known = if key == input.key() { own } else { turn.of(own, &key)? };
    // Told again after days, it is in the ledger.
    if let Some(known) = known.filter(|known| known.is_past && is_same(known.order)) {
        return Ok(Ruling::Answer(Known::Replay(known.order).reply(now, true)));
    }
    let original = advice.original.map(|key| turn.by_key(&key)).transpose()?.flatten();
    if advice.must_be_known && original.is_none_or(|original| original.order.is_tombstone()) {
        return Err(Refusal::AuthorizationUnknown.into());
    }
    if let Some(original) = original.filter(|original| original.is_past)
        && is_counted(original.order, now)
        && is_same_sale(turn.state, original.order, input)
    {
        return Ok(Ruling::Answer(Known::Counted(original.order).reply(now, true)));
    }
    let input = Arc::new(Authorize { order_id: key.order_id, ..input.as_ref().clone() });
    Ok(advised(turn, &Advice { input, ..advice.clone() }, draw))
}

/// What comes of an advice under a name of its own.
pub(super) fn advised(turn: &Turn<'_>, advice: &Advice, draw: &mut dyn FnMut() -> u64) -> Ruling {
    let forged = with_a_wrong_seal(turn.state, &advice.input, advice.sealed_by, turn.now);
    let forged = forged.map(|input| Advice { input, ..advice.clone() });
    match advise(turn.state, forged.as_ref().unwrap_or(advice), turn.now, turn.in_force, draw) {
        Step::Record(event) => Ruling::Step(event),
        Step::Answer(known) => Ruling::Answer(known.reply(turn.now, turn.steps == 0)),
    }
}

/// Says where an advice goes. It reads only; `verify` asks it again.
pub fn advise<'a>(
    state: &'a State,
    advice: &Advice,
    now: &Now,
    in_force: &PolicyInForce,
    draw: &mut dyn FnMut() -> u64,
) -> Step<Known<'a>> {
    let input = &advice.input;
    let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
    match state.orders.by_key(&key, now.at) {
        // Reversed before it came: nothing is charged, as with a sale.
        Some(order) if order.is_tombstone() => {
            let judgement = judge(state, input, true, now, &in_force.policy);
            return Step::Record(recorded(input.clone(), judgement, in_force.version, draw()));
        }
        Some(order) if order.fingerprint == fingerprint(input) => return Step::Answer(Known::Replay(order)),
        Some(order) => return Step::Answer(Known::Reused(order)),
        None => {}
    }
    let mut original = advice.original.and_then(|key| state.orders.by_key(&key, now.at));
    if let Some(order) = original.filter(|order| is_counted(order, now)) {
        if is_same_sale(state, order, input) {
            return Step::Answer(Known::Counted(order));
        }
        // Another sale than the one it names: that one does not speak for it.
        original = None;
    }
    Step::Record(Event::Advised(Box::new(book(state, advice, original, now, in_force, draw()))))
}

/// Whom the advice names, and whom it charges.
fn book(
    state: &State,
    advice: &Advice,
    original: Option<&Order>,
    now: &Now,
    in_force: &PolicyInForce,
    random: u64,
) -> Advised {
    let input = &advice.input;
    let policy = in_force.policy.as_ref();
    let rules = Rules { policy, terms: &state.terms, calendar: &state.calendar };
    let payer = find_payer(state, input, now);
    let booked = booked(state, advice, payer, original, now, rules);
    let known = payer.map(|payer| payer.ix);
    let room = payer.map_or(Yen::ZERO, |payer| room_in(payer.account, input.channel, now, rules));
    let charged = payer.filter(|_| booked.suspense().is_none());
    let (customer, room, approval) = match charged {
        Some(payer) => {
            let approval = approval(state, input, payer.account, now);
            (Some(payer.ix), room.minus_or_zero(input.amount), approval)
        }
        None => (None, room, unbilled(state, input, now)),
    };
    let input = input.clone();
    let version = in_force.version;
    let outcome = Outcome::Approved(approval);
    let decided = Decided { random, policy: version, input, customer, room, outcome, basis: None };
    Advised { decided, original: advice.original, post: advice.post, booked, known }
}

/// Approved, and on nobody's statement.
fn unbilled(state: &State, input: &Authorize, now: &Now) -> Approval {
    let hold_expires_at = (!input.capture).then(|| now.at.plus(state.settings.hold_life));
    Approval { month: now.month, due: now.date, points: 0, hold_expires_at }
}

/// Standing, category, caps, velocity and same basket say whether we would have sold. The network did.
fn booked(
    state: &State,
    advice: &Advice,
    payer: Option<FoundPayer<'_>>,
    original: Option<&Order>,
    now: &Now,
    rules: Rules<'_>,
) -> Booked {
    let input = &advice.input;
    if input.currency != JPY {
        return Booked::Suspense(SuspenseWhy::CurrencyNotSupported);
    }
    let Some(payer) = payer else {
        return Booked::Suspense(match input.payer {
            Payer::Code(_) => SuspenseWhy::CodeNotVerified,
            Payer::Customer(_) => SuspenseWhy::CustomerUnknown,
        });
    };
    // Expired or voided since: the network saw it when it lived. Used by the very sale that was taken back when the
    // network heard nothing from us: it is this sale's.
    if let Some(CodeState::Used { by }) = payer.code.map(|code| code.state(now.at))
        && original.is_none_or(|order| order.id.lsn != by)
    {
        return Booked::Suspense(SuspenseWhy::CodeUsed);
    }
    let Some(merchant) = state.merchants.get(&input.merchant) else {
        return Booked::Suspense(SuspenseWhy::MerchantUnknown);
    };
    // Bare digits carry no seal: a guess must not be worth more here than at a register.
    let cap = Yen::new(rules.policy.codes.tok19_cap_yen);
    let is_guessable = matches!(&input.payer, Payer::Code(scanned) if scanned.is_bare());
    if advice.post == Post::Never || is_guessable && input.amount > cap {
        return Booked::Suspense(SuspenseWhy::PostingNotAllowed);
    }
    if is_at_bound(state, payer.account, now) {
        return Booked::Suspense(SuspenseWhy::TooManyPayments);
    }
    if fits_limits(input, merchant, payer.account, now, rules) {
        return Booked::Posted;
    }
    match advice.post {
        Post::UpTo(cap) if posted_today(state, payer, now) + input.amount <= cap => Booked::OverLimit,
        Post::UpTo(_) => Booked::Suspense(SuspenseWhy::OverDayCap),
        Post::WithinLimits | Post::Never => Booked::Suspense(SuspenseWhy::OverLimit),
    }
}

/// Yen of this customer's advices of this JST day that still stand.
fn posted_today(state: &State, payer: FoundPayer<'_>, now: &Now) -> Yen {
    let since = now.date.start();
    let today = state.approvals(payer.account).take_while(|order| order.decided_at >= since);
    today.filter(|order| order.advice.is_some() && order.stands(now.at)).map(|order| order.amount).sum()
}
