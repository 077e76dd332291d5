//! May this customer buy this, now? The credit policy as one list of checks, read top to bottom; the first that fails is
//! the reason.
//!
//! retry of a known order → deadline → tombstone → currency → code → merchant → customer's standing →
//! category → cap of one payment (the policy's and the shop's) → bound of open debts → velocity → same basket →
//! in-store limit (the customer's or the shop's, whichever is smaller) → total limit → yes.
//!
//! It only reads. Time and the random part of the id are arguments; what it finds becomes an event.

use std::sync::Arc;

use super::Ruling;
use super::past::{Turn, present_in_memory};
use super::reply::Reply;
use crate::domain::billing::account::Account;
use crate::domain::billing::lateness::Rules;
use crate::domain::model::bounds::{MOST_LOOKED_BACK, most_kept};
use crate::domain::model::code::{Code, CodeState, Form, REST, barcode_epoch, barcode_epoch_start};
use crate::domain::model::customer::Identity;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::merchant::{Merchant, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{FirstSale, Order, fingerprint};
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::policy::{CategoryAction, Policy};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, JPY, OrderKey, Payer, Proof, Scanned};
use crate::domain::model::time::{Date, Millis, Now, SECOND};
use crate::domain::state::State;
use crate::domain::state::event::{Approval, Decided, Event, Outcome};

/// A known order is answered as the first time; a new one is judged. With `throttled` nothing new is decided. `sealed_by` is
/// the key generation of the seal that holds.
pub(super) fn authorize(
    turn: &Turn<'_>,
    input: &Arc<Authorize>,
    throttled: bool,
    sealed_by: Option<u8>,
    draw: &mut dyn FnMut() -> u64,
) -> Ruling {
    let &Turn { state, now, in_force, .. } = turn;
    match decide(state, input, now, &in_force.policy) {
        Verdict::Replay(order) => {
            Ruling::Answer(Reply::Decision { order: present_in_memory(state, order, now).told(), replayed: true })
        }
        Verdict::Reused(order) => Ruling::Answer(Reply::OrderIdReused { first: order.id, terminal: order.terminal }),
        Verdict::Judged(_) if throttled => Ruling::Answer(Reply::Throttled),
        Verdict::Judged(judgement) => {
            let (input, judgement) = with_a_wrong_seal(state, input, sealed_by, now).map_or_else(
                || (Arc::clone(input), judgement),
                |forged| judge_forged(state, forged, now, &in_force.policy),
            );
            Ruling::Record(recorded(input, judgement, in_force.version, draw()), decision)
        }
    }
}

/// The decision that was recorded last.
fn decision(state: &State, _: &Event, _: &Now) -> Reply {
    let order = state.orders.newest();
    order.map_or(Reply::Unknown, |order| Reply::Decision { order: order.told(), replayed: false })
}

/// What is to be done with an authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The order is known with this content: the first answer stands.
    Replay(&'a Order),
    /// The order is known with other content.
    Reused(&'a Order),
    Judged(Judgement),
}

/// A new decision, ready to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub customer: Option<CustomerIx>,
    pub room: Yen,
    pub outcome: Outcome,
}

/// Why a check says no.
struct Denial {
    reason: Reason,
    first: Option<Box<FirstSale>>,
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { reason, first: None }
    }
}

type Check<T = ()> = Result<T, Denial>;

fn deny_if(condition: bool, reason: Reason) -> Check {
    if condition { Err(reason.into()) } else { Ok(()) }
}

/// Judges a request against the state as it is.
pub fn decide<'a>(state: &'a State, input: &Authorize, now: &Now, policy: &Policy) -> Verdict<'a> {
    let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
    let known = state.orders.by_key(&key, now.at);
    if let Some(order) = known.filter(|order| !order.is_tombstone()) {
        let same = order.fingerprint == fingerprint(input);
        return if same { Verdict::Replay(order) } else { Verdict::Reused(order) };
    }
    Verdict::Judged(judge(state, input, known.is_some(), now, policy))
}

/// Judges the content alone, as if the order had never come: also what `verify` repeats.
pub fn judge(state: &State, input: &Authorize, tombstone: bool, now: &Now, policy: &Policy) -> Judgement {
    let payer = find_payer(state, input, now);
    let customer = payer.map(|found| found.ix);
    let rules = Rules { policy, terms: &state.terms, calendar: &state.calendar };
    let room = |account: &Account| room_in(account, input.channel, now, rules);
    match run_checks(state, input, tombstone, payer, now, policy) {
        Ok((approval, account)) => {
            let room = room(account).minus_or_zero(input.amount);
            Judgement { customer, room, outcome: Outcome::Approved(approval) }
        }
        Err(Denial { reason, first }) => {
            let room = payer.map_or(Yen::ZERO, |found| room(found.account));
            Judgement { customer, room, outcome: Outcome::Denied { reason, first } }
        }
    }
}

/// A seal counts only under the keys that its code was issued with: one made with other keys of ours, which may be known to
/// others by now, is a forged one, and judged and recorded as such. Nothing where it is not that.
pub(super) fn with_a_wrong_seal(
    state: &State,
    input: &Arc<Authorize>,
    sealed_by: Option<u8>,
    now: &Now,
) -> Option<Arc<Authorize>> {
    let (Payer::Code(Scanned::Sealed { handle, .. }), Some(generation)) = (&input.payer, sealed_by) else {
        return None;
    };
    let code = state.codes.get(*handle, now.at).filter(|code| code.generation != generation)?;
    let payer = Payer::Code(Scanned::Forged { handle: code.handle });
    Some(Arc::new(Authorize { payer, ..input.as_ref().clone() }))
}

/// The same sale, with a forged code.
fn judge_forged(state: &State, input: Arc<Authorize>, now: &Now, policy: &Policy) -> (Arc<Authorize>, Judgement) {
    let tombstone = state.orders.by_key(&input.key(), now.at).is_some();
    let judgement = judge(state, &input, tombstone, now, policy);
    (input, judgement)
}

pub(crate) fn room_in(account: &Account, channel: Channel, now: &Now, rules: Rules<'_>) -> Yen {
    let spendable = account.spendable(now, rules);
    if channel == Channel::InStore { spendable.in_store } else { spendable.online }
}

/// Who pays, and the record of the code that was shown.
#[derive(Clone, Copy)]
pub(crate) struct FoundPayer<'a> {
    pub ix: CustomerIx,
    pub account: &'a Account,
    pub code: Option<&'a Code>,
}

pub(crate) fn find_payer<'a>(state: &'a State, input: &Authorize, now: &Now) -> Option<FoundPayer<'a>> {
    let (ix, code) = match &input.payer {
        Payer::Customer(id) => (state.customer_ix(id)?, None),
        Payer::Code(scanned) => {
            let code = own_code(state, scanned, now)?;
            (code.customer, Some(code))
        }
    };
    Some(FoundPayer { ix, account: state.account(ix)?, code })
}

/// The record of the very code that was scanned. Another life of the same handle, or a wrong seal, is not it.
fn own_code<'a>(state: &'a State, scanned: &Scanned, now: &Now) -> Option<&'a Code> {
    let code = state.codes.get(scanned.handle()?, now.at)?;
    let issued_second = u64::try_from(code.issued_at.0 / 1_000).unwrap_or(0);
    let own = match scanned {
        Scanned::Sealed { proof: Proof::Barcode { epoch }, .. } => *epoch == barcode_epoch(code.issued_at),
        Scanned::Sealed { proof: Proof::Qr { counter, random, issued_at, .. }, .. } => {
            *counter == code.counter && *random == code.random && u64::from(*issued_at) == issued_second
        }
        // Without a seal only a code that was issued without one.
        Scanned::Sealed { proof: Proof::Tok19, .. } => code.form == Form::Tok19,
        // A seal this old can only be this code's if the code itself is that old.
        Scanned::Stale { .. } => code.state(now.at) != CodeState::Live,
        Scanned::Forged { .. } | Scanned::Unverifiable { .. } | Scanned::Invalid | Scanned::Foreign => false,
    };
    own.then_some(code)
}

fn run_checks<'a>(
    state: &'a State,
    input: &Authorize,
    tombstone: bool,
    payer: Option<FoundPayer<'a>>,
    now: &Now,
    policy: &Policy,
) -> Check<(Approval, &'a Account)> {
    deny_if(input.late, Reason::TooLate)?;
    deny_if(tombstone, Reason::Cancelled)?;
    deny_if(input.currency != JPY, Reason::CurrencyNotSupported)?;
    let account = payer_may_be_known(state, input, payer, now)?;
    let merchant = merchant_is_active(state, input)?;
    let rules = Rules { policy, terms: &state.terms, calendar: &state.calendar };
    if let Some(reason) = account.blocked_by(input.channel, now, rules) {
        return Err(reason.into());
    }
    category_is_allowed(input, merchant, account, policy)?;
    within_payment_caps(input, merchant, policy)?;
    has_room_for_one_more(state, account, now)?;
    within_velocity(state, input, account, now, policy)?;
    not_the_same_basket(state, input, account, now, policy)?;
    within_limits(input, merchant, account, now, rules)?;
    // From here on the answer is yes.
    Ok((approval(state, input, account, now), account))
}

/// The code is alive (or the customer exists) and names an account.
fn payer_may_be_known<'a>(
    state: &'a State,
    input: &Authorize,
    payer: Option<FoundPayer<'a>>,
    now: &Now,
) -> Check<&'a Account> {
    let scanned = match &input.payer {
        Payer::Customer(_) => return payer.map(|found| found.account).ok_or(Reason::CustomerUnknown.into()),
        Payer::Code(scanned) => scanned,
    };
    match scanned {
        Scanned::Foreign => return Err(Reason::IssuerUnknown.into()),
        Scanned::Invalid | Scanned::Forged { .. } | Scanned::Unverifiable { .. } => {
            return Err(Reason::CodeInvalid.into());
        }
        Scanned::Sealed { .. } | Scanned::Stale { .. } => {}
    }
    // Our seal without its record: issued so long ago that it is forgotten, or not by us.
    let unknown = if would_be_remembered(scanned, now) { Reason::CodeInvalid } else { Reason::CodeExpired };
    let (code, account) = payer.and_then(|found| Some((found.code?, found.account))).ok_or(unknown)?;
    match code.state(now.at) {
        CodeState::Live => {}
        CodeState::Voided => return Err(Reason::CodeVoided.into()),
        CodeState::Expired => return Err(Reason::CodeExpired.into()),
        CodeState::Used { by } => {
            let first = state.orders.by_lsn(by).map(|order| Box::new(order.as_first()));
            return Err(Denial { reason: Reason::CodeUsed, first });
        }
    }
    Ok(account)
}

/// Whether the code would still have its record, had we issued it: then keys of ours that others know made its seal, or it
/// has none. It is told as a guess, so that guesses at handles are counted.
fn would_be_remembered(scanned: &Scanned, now: &Now) -> bool {
    let rests_at = |ended: Millis| now.at < ended.plus(REST);
    match scanned {
        Scanned::Sealed { proof: Proof::Tok19, .. } => true,
        Scanned::Sealed { proof: Proof::Barcode { epoch }, .. } => rests_at(barcode_epoch_start(*epoch)),
        Scanned::Sealed { proof: Proof::Qr { issued_at, ttl, .. }, .. } => {
            rests_at(Millis((i64::from(*issued_at) + i64::from(*ttl)) * SECOND))
        }
        _ => false,
    }
}

fn merchant_is_active<'a>(state: &'a State, input: &Authorize) -> Check<&'a Merchant> {
    let merchant = state.merchants.get(&input.merchant).ok_or(Reason::MerchantUnknown)?;
    deny_if(merchant.status != MerchantStatus::Active, Reason::MerchantInactive)?;
    Ok(merchant)
}

fn category_is_allowed(input: &Authorize, merchant: &Merchant, account: &Account, policy: &Policy) -> Check {
    for rule in policy.rules_for(merchant.mcc, &input.categories) {
        match rule.action {
            CategoryAction::Block => return Err(Reason::CategoryNotAllowed.into()),
            CategoryAction::FromRung(rung) => deny_if(account.profile.rung < rung, Reason::CategoryNotAllowed)?,
            CategoryAction::Verified => {
                deny_if(account.profile.identity != Identity::Verified, Reason::CategoryNotAllowed)?;
            }
            CategoryAction::Cap(_) => {}
        }
    }
    Ok(())
}

fn within_payment_caps(input: &Authorize, merchant: &Merchant, policy: &Policy) -> Check {
    let over = |cap: Yen| input.amount > cap;
    deny_if(policy.payment_cap.is_some_and(over), Reason::OverPaymentCap)?;
    deny_if(merchant.limits.per_payment.is_some_and(over), Reason::OverPaymentCap)?;
    if let Payer::Code(scanned) = &input.payer {
        deny_if(scanned.is_bare() && over(Yen::new(policy.codes.tok19_cap_yen)), Reason::OverPaymentCap)?;
    }
    for rule in policy.rules_for(merchant.mcc, &input.categories) {
        if let CategoryAction::Cap(cap) = rule.action {
            deny_if(over(cap), Reason::OverPaymentCap)?;
        }
    }
    Ok(())
}

/// What one customer may have open at once, whatever the amounts. It is judged here so that no capture need be refused.
fn has_room_for_one_more(state: &State, account: &Account, now: &Now) -> Check {
    deny_if(is_at_bound(state, account, now), Reason::TooManyPayments)
}

pub(crate) fn is_at_bound(state: &State, account: &Account, now: &Now) -> bool {
    let bounds = &state.settings.bounds;
    // Bought in both channels by turns, a month is a list.
    let turns = account.listed_bill(BillKey::Month(now.month)).map_or(0, |bill| bill.purchases.len());
    if turns >= bounds.changes_per_bill {
        return true;
    }
    if account.listed_debts() < bounds.open_debts {
        return false;
    }
    let (open, kept) = account.debts(now.date);
    open >= bounds.open_debts || kept >= most_kept(bounds.open_debts)
}

/// Approvals that still stand, within the rolling window.
fn within_velocity(state: &State, input: &Authorize, account: &Account, now: &Now, policy: &Policy) -> Check {
    let rule = &policy.velocity;
    if rule.max_count.is_none() && rule.max_amount.is_none() {
        return Ok(());
    }
    let since = now.at.plus(-rule.window_ms);
    let (mut count, mut sum, mut looked_at) = (0, Yen::ZERO, 0);
    for order in state.approvals(account).take_while(|order| order.decided_at > since) {
        looked_at += 1;
        deny_if(looked_at > MOST_LOOKED_BACK, Reason::TooManyPayments)?;
        if order.stands(now.at) {
            count += 1;
            sum += order.amount;
        }
        if rule.max_count.is_some_and(|most| count >= most) {
            break;
        }
    }
    deny_if(rule.max_count.is_some_and(|most| count >= most), Reason::TooManyPayments)?;
    deny_if(rule.max_amount.is_some_and(|most| sum + input.amount > most), Reason::TooManyPayments)
}

/// The same customer, shop and amount moments ago, under another order id: a retry that changed its id?
fn not_the_same_basket(state: &State, input: &Authorize, account: &Account, now: &Now, policy: &Policy) -> Check {
    if input.confirm_repeat {
        return Ok(());
    }
    let since = now.at.plus(-policy.same_basket_ms);
    let twin = state
        .approvals(account)
        .take_while(|order| order.decided_at > since)
        .take(MOST_LOOKED_BACK)
        .find(|order| order.key.merchant == input.merchant && order.amount == input.amount && order.stands(now.at));
    match twin {
        Some(order) => Err(Denial { reason: Reason::DuplicateSuspect, first: Some(Box::new(order.as_first())) }),
        None => Ok(()),
    }
}

fn within_limits(input: &Authorize, merchant: &Merchant, account: &Account, now: &Now, rules: Rules<'_>) -> Check {
    let limits = account.limits(rules.policy);
    let exposure = account.exposure(now, rules);
    if input.channel == Channel::InStore {
        let limit = merchant.limits.in_store.map_or(limits.in_store, |shop| shop.min(limits.in_store));
        deny_if(exposure.in_store + input.amount > limit, Reason::OverInStoreLimit)?;
    }
    deny_if(exposure.total + input.amount > limits.total, Reason::OverTotalLimit)
}

/// Whether an advice fits the customer's limits.
pub(crate) fn fits_limits(
    input: &Authorize,
    merchant: &Merchant,
    account: &Account,
    now: &Now,
    rules: Rules<'_>,
) -> bool {
    within_limits(input, merchant, account, now, rules).is_ok()
}

pub(crate) fn approval(state: &State, input: &Authorize, account: &Account, now: &Now) -> Approval {
    let hold_expires_at = (!input.capture).then(|| now.at.plus(state.settings.hold_life));
    Approval {
        month: now.month,
        due: due_of(state, input.channel, account.profile.payment_method, now),
        points: state.terms.on(now.date).points(input.amount),
        hold_expires_at,
    }
}

/// When a purchase captured now is to be paid.
pub fn due_of(state: &State, channel: Channel, method: PaymentMethod, now: &Now) -> Date {
    match channel {
        Channel::NpAtobarai => now.date.plus_days(state.terms.on(now.date).np_due_days),
        Channel::InStore | Channel::Online => state.terms.billing(now.month).due(method, now.month, &state.calendar),
    }
}

pub(crate) fn recorded(input: Arc<Authorize>, judgement: Judgement, policy: u32, random: u64) -> Event {
    let Judgement { customer, room, outcome } = judgement;
    Event::Decided(Decided { random, policy, input, customer, room, outcome })
}
