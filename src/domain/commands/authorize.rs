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
use crate::domain::model::basis::{Basis, Reasons};
use crate::domain::model::bounds::{MOST_LOOKED_BACK, most_kept};
use crate::domain::model::code::{Code, CodeState, Form, REST, barcode_epoch, barcode_epoch_start};
use crate::domain::model::customer::Identity;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::merchant::{Merchant, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{FirstSale, Order, fingerprint};
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::policy::{CategoryAction, CategoryRule, Policy};
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
    /// Of a known customer.
    pub basis: Option<Basis>,
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

type Check = Result<(), Denial>;

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

/// Judges the content alone, as if the order had never come: also what `verify` repeats. Of a known customer every check is
/// asked, also after the one that says no: the decision's [`Basis`] tells them all.
pub fn judge(state: &State, input: &Authorize, tombstone: bool, now: &Now, policy: &Policy) -> Judgement {
    let mut ladder = Ladder::default();
    ladder.ask(deny_if(input.late, Reason::TooLate));
    ladder.ask(deny_if(tombstone, Reason::Cancelled));
    ladder.ask(deny_if(input.currency != JPY, Reason::CurrencyNotSupported));
    let payer = find_payer(state, input, now);
    ladder.ask(payer_may_pay(state, input, payer, now));
    let merchant = state.merchants.get(&input.merchant);
    ladder.ask(merchant_is_active(merchant));
    let Some(FoundPayer { ix, account, .. }) = payer else {
        let outcome = ladder.denied(Reason::CustomerUnknown);
        return Judgement { customer: None, room: Yen::ZERO, outcome, basis: None };
    };
    let rules = Rules { policy, terms: &state.terms, calendar: &state.calendar };
    let mut basis = Basis::of(account, merchant, now, rules);
    for reason in account.blocked_by_standing(input.channel, now, policy).into_iter().flatten() {
        ladder.ask(Err(reason.into()));
    }
    ladder.ask(deny_if(basis.days_overdue > 0, Reason::Overdue));
    basis.category = category_rule(input, merchant, account, policy);
    let rule = policy.rule(basis.category);
    ladder.ask(deny_if(rule.is_some_and(|rule| forbids(rule, account)), Reason::CategoryNotAllowed));
    ladder.ask(within_payment_caps(input, merchant, policy));
    ladder.ask(has_room_for_one_more(state, account, now));
    ladder.ask(within_velocity(state, input, account, (now, policy), &mut basis));
    ladder.ask(not_the_same_basket(state, input, account, now, policy));
    ladder.ask(within_in_store_limit(input, &basis));
    ladder.ask(within_total_limit(input, &basis));
    basis.against = ladder.against;
    let room = basis.spendable(input.channel);
    let (outcome, room) = match ladder.denial {
        None => (Outcome::Approved(approval(state, input, account, now)), room.minus_or_zero(input.amount)),
        Some(denial) => (denial.into(), room),
    };
    Judgement { customer: Some(ix), room, outcome, basis: Some(basis) }
}

/// The checks as they are asked, from first to last.
#[derive(Default)]
struct Ladder {
    /// The first that said no.
    denial: Option<Denial>,
    against: Reasons,
}

impl Ladder {
    fn ask(&mut self, check: Check) {
        if let Err(denial) = check {
            self.against = self.against.with(denial.reason);
            self.denial.get_or_insert(denial);
        }
    }

    /// By the first that said no, or else for this reason.
    fn denied(self, otherwise: Reason) -> Outcome {
        self.denial.unwrap_or_else(|| otherwise.into()).into()
    }
}

impl From<Denial> for Outcome {
    fn from(Denial { reason, first }: Denial) -> Self {
        Self::Denied { reason, first }
    }
}

impl Basis {
    fn of(account: &Account, merchant: Option<&Merchant>, now: &Now, rules: Rules<'_>) -> Self {
        let exposure = account.exposure(now, rules);
        let overdue = account.overdue_since(now, rules).map_or(0, |due| now.date.days_since(due));
        Self {
            limits: account.limits(rules.policy),
            shop_limit: merchant.and_then(|merchant| merchant.limits.in_store),
            shop_cap: merchant.and_then(|merchant| merchant.limits.per_payment),
            exposure_total: exposure.total,
            exposure_in_store: exposure.in_store,
            rung: account.profile.rung,
            window_count: 0,
            window_sum: Yen::ZERO,
            category: 0,
            days_overdue: u16::try_from(overdue).unwrap_or(u16::MAX),
            against: Reasons::default(),
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

/// The code is alive (or the customer exists) and names an account.
fn payer_may_pay(state: &State, input: &Authorize, payer: Option<FoundPayer<'_>>, now: &Now) -> Check {
    let scanned = match &input.payer {
        Payer::Customer(_) => return payer.map(drop).ok_or(Reason::CustomerUnknown.into()),
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
    let code = payer.and_then(|found| found.code).ok_or(unknown)?;
    match code.state(now.at) {
        CodeState::Live => Ok(()),
        CodeState::Voided => Err(Reason::CodeVoided.into()),
        CodeState::Expired => Err(Reason::CodeExpired.into()),
        CodeState::Used { by } => {
            let first = state.orders.by_lsn(by).map(|order| Box::new(order.as_first()));
            Err(Denial { reason: Reason::CodeUsed, first })
        }
    }
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

fn merchant_is_active(merchant: Option<&Merchant>) -> Check {
    let merchant = merchant.ok_or(Reason::MerchantUnknown)?;
    deny_if(merchant.status != MerchantStatus::Active, Reason::MerchantInactive)
}

/// The place of the category rule that forbids this sale, or of one that caps it lower, or else of the first that speaks of this
/// shop or these goods; 0 for none.
fn category_rule(input: &Authorize, merchant: Option<&Merchant>, account: &Account, policy: &Policy) -> u8 {
    let Some(merchant) = merchant else { return 0 };
    let rules = || policy.rules_for(merchant.mcc, &input.categories);
    let Some((first, _)) = rules().next() else { return 0 };
    let forbids = rules().find(|(_, rule)| forbids(rule, account));
    let says_no = forbids.or_else(|| rules().find(|(_, rule)| is_capped(rule, input)));
    says_no.map_or(first, |(place, _)| place)
}

fn forbids(rule: &CategoryRule, account: &Account) -> bool {
    match rule.action {
        CategoryAction::Block => true,
        CategoryAction::FromRung(rung) => account.profile.rung < rung,
        CategoryAction::Verified => account.profile.identity != Identity::Verified,
        CategoryAction::Cap(_) => false,
    }
}

fn is_capped(rule: &CategoryRule, input: &Authorize) -> bool {
    matches!(rule.action, CategoryAction::Cap(cap) if input.amount > cap)
}

fn within_payment_caps(input: &Authorize, merchant: Option<&Merchant>, policy: &Policy) -> Check {
    let over = |cap: Yen| input.amount > cap;
    deny_if(policy.payment_cap.is_some_and(over), Reason::OverPaymentCap)?;
    if let Payer::Code(scanned) = &input.payer {
        deny_if(scanned.is_bare() && over(Yen::new(policy.codes.tok19_cap_yen)), Reason::OverPaymentCap)?;
    }
    let Some(merchant) = merchant else { return Ok(()) };
    deny_if(merchant.limits.per_payment.is_some_and(over), Reason::OverPaymentCap)?;
    let mut rules = policy.rules_for(merchant.mcc, &input.categories);
    deny_if(rules.any(|(_, rule)| is_capped(rule, input)), Reason::OverPaymentCap)
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

/// Approvals that still stand, within the rolling window; they are counted as far as it takes.
fn within_velocity(
    state: &State,
    input: &Authorize,
    account: &Account,
    (now, policy): (&Now, &Policy),
    basis: &mut Basis,
) -> Check {
    let rule = &policy.velocity;
    if rule.max_count.is_none() && rule.max_amount.is_none() {
        return Ok(());
    }
    let since = now.at.plus(-rule.window_ms);
    let (mut count, mut sum, mut looked_at) = (0, Yen::ZERO, 0);
    for order in state.approvals(account).take_while(|order| order.decided_at > since) {
        looked_at += 1;
        if looked_at > MOST_LOOKED_BACK || rule.max_count.is_some_and(|most| count >= most) {
            break;
        }
        if order.stands(now.at) {
            count += 1;
            sum += order.amount;
        }
    }
    (basis.window_count, basis.window_sum) = (u16::try_from(count).unwrap_or(u16::MAX), sum);
    deny_if(looked_at > MOST_LOOKED_BACK, Reason::TooManyPayments)?;
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

fn within_in_store_limit(input: &Authorize, basis: &Basis) -> Check {
    let over = || basis.exposure_in_store + input.amount > basis.in_store_limit();
    deny_if(input.channel == Channel::InStore && over(), Reason::OverInStoreLimit)
}

fn within_total_limit(input: &Authorize, basis: &Basis) -> Check {
    deny_if(basis.exposure_total + input.amount > basis.limits.total, Reason::OverTotalLimit)
}

/// Whether an advice fits the customer's limits.
pub(crate) fn fits_limits(
    input: &Authorize,
    merchant: &Merchant,
    account: &Account,
    now: &Now,
    rules: Rules<'_>,
) -> bool {
    let basis = Basis::of(account, Some(merchant), now, rules);
    within_in_store_limit(input, &basis).and_then(|()| within_total_limit(input, &basis)).is_ok()
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
    let Judgement { customer, room, outcome, basis } = judgement;
    Event::Decided(Decided { random, policy, input, customer, room, outcome, basis })
}
