//! Why a decision came out as it did: every check of the ladder with its numbers and its verdict, also those after the one that said
//! no, and what would have passed.
//!
//! It is worked out from the record alone, with the text of the policy that it cites: what the checks found then is in its
//! [`Basis`]. `sokketsu explain` judges again by the state of that moment too, and compares.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::model::basis::Basis;
use crate::domain::model::bilingual::{Bilingual, grouped};
use crate::domain::model::customer::Limits;
use crate::domain::model::denial::{Reason, Words};
use crate::domain::model::ids::{AuthorizationId, CustomerId};
use crate::domain::model::ladder_words::{NOT_ASKED, NOT_IN_STORE, denied, passed};
use crate::domain::model::money::Yen;
use crate::domain::model::order::FirstSale;
use crate::domain::model::policy::{CategoryAction, Policy};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, Payer};
use crate::domain::model::time::{HOUR, Millis, SECOND};
use crate::domain::state::event::{Decided, Outcome};

/// A decision, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub authorization_id: AuthorizationId,
    pub decided_at: Millis,
    pub decision: &'static str,
    pub reason: Option<Reason>,
    /// The earlier sale that a denial points to.
    pub first: Option<FirstSale>,
    pub request: Asked,
    pub policy: Cited,
    pub ladder: Vec<Check>,
    /// None where no customer was known, and of a record of before it was kept.
    pub account: Option<BeforeAndAfter>,
    pub would_pass: WouldPass,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub merchant_id: String,
    pub order_id: String,
    pub store_id: Option<String>,
    pub terminal_id: Option<String>,
    pub customer_id: Option<CustomerId>,
    pub channel: Channel,
    pub amount: Yen,
    pub currency: String,
    pub capture: bool,
    pub confirm_repeat: bool,
    pub categories: Vec<String>,
}

/// The policy that it was judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cited {
    pub version: u32,
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    /// It is the decision's reason.
    Denied,
    /// It says no too, after the one that did.
    AlsoDenies,
    /// Nobody's account was known, or it is not on record.
    NotAsked,
}

/// One check of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The reason for which it denies.
    pub check: Reason,
    pub verdict: Verdict,
    /// In yen, times, days or hours, as their names say.
    pub numbers: BTreeMap<&'static str, u64>,
    /// The category rule's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(flatten)]
    pub text: Bilingual,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BeforeAndAfter {
    /// From 0.
    pub rung: u8,
    pub limit_total: Yen,
    /// The customer's or the shop's, whichever is smaller.
    pub limit_in_store: Yen,
    pub before: Used,
    pub after: Used,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    pub exposure_total: Yen,
    pub exposure_in_store: Yen,
    pub spendable_in_store: Yen,
    pub spendable_online: Yen,
}

/// What would have passed at that moment, at that shop, with everything else as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WouldPass {
    /// The largest amount; none where something else stood in the way, or nobody's account was known.
    pub amount: Option<Yen>,
    /// What stood in the way, whatever the amount.
    pub blocked_by: Vec<Reason>,
    #[serde(flatten)]
    pub text: Bilingual,
}

impl Used {
    fn of(basis: &Basis) -> Self {
        Self {
            exposure_total: basis.exposure_total,
            exposure_in_store: basis.exposure_in_store,
            spendable_in_store: basis.spendable(Channel::InStore),
            spendable_online: basis.spendable(Channel::Online),
        }
    }
}

/// Explains a record. `customer` is who paid, or was to; `policy` is the one that the record cites.
pub fn explain(
    decided: &Decided,
    (id, at): (AuthorizationId, Millis),
    customer: Option<CustomerId>,
    policy: &Policy,
) -> Explained {
    let input = decided.input.as_ref();
    let (reason, first) = match &decided.outcome {
        Outcome::Approved(_) => (None, None),
        Outcome::Denied { reason, first } => (Some(*reason), first.as_deref().copied()),
    };
    let basis = decided.basis.as_ref();
    let account = basis.map(|basis| {
        let taken = if reason.is_none() { input.amount } else { Yen::ZERO };
        let in_store = if input.channel == Channel::InStore { taken } else { Yen::ZERO };
        let after = Basis {
            exposure_total: basis.exposure_total + taken,
            exposure_in_store: basis.exposure_in_store + in_store,
            ..*basis
        };
        BeforeAndAfter {
            rung: basis.rung,
            limit_total: basis.limits.total,
            limit_in_store: basis.in_store_limit(),
            before: Used::of(basis),
            after: Used::of(&after),
        }
    });
    let verdict = |check: Reason| verdict_of(check, reason, basis);
    Explained {
        authorization_id: id,
        decided_at: at,
        decision: if reason.is_none() { "approved" } else { "denied" },
        reason,
        first,
        request: asked(input, customer),
        policy: Cited { version: decided.policy, label: policy.label.clone() },
        ladder: Reason::ALL.into_iter().map(|check| step(check, verdict(check), input, basis, policy)).collect(),
        account,
        would_pass: would_pass(input, basis, policy),
    }
}

fn asked(input: &Authorize, customer: Option<CustomerId>) -> Asked {
    let named = match &input.payer {
        Payer::Customer(id) => Some(*id),
        Payer::Code(_) => None,
    };
    Asked {
        merchant_id: input.merchant.to_string(),
        order_id: input.order_id.to_string(),
        store_id: input.store.map(|id| id.to_string()),
        terminal_id: input.terminal.map(|id| id.to_string()),
        customer_id: customer.or(named),
        channel: input.channel,
        amount: input.amount,
        currency: String::from_utf8_lossy(&input.currency).into_owned(),
        capture: input.capture,
        confirm_repeat: input.confirm_repeat,
        categories: input.categories.iter().map(ToString::to_string).collect(),
    }
}

/// With a basis every check was asked. Without one it is known of those up to the one that said no; of an approval, of all.
fn verdict_of(check: Reason, reason: Option<Reason>, basis: Option<&Basis>) -> Verdict {
    if reason == Some(check) {
        return Verdict::Denied;
    }
    let place = |of: Reason| Reason::ALL.into_iter().position(|reason| reason == of);
    let is_before = reason.is_none_or(|reason| place(check) < place(reason));
    match basis {
        Some(basis) if basis.against.holds(check) => Verdict::AlsoDenies,
        None if !is_before => Verdict::NotAsked,
        _ => Verdict::Passed,
    }
}

fn step(check: Reason, verdict: Verdict, input: &Authorize, basis: Option<&Basis>, policy: &Policy) -> Check {
    let numbers = if verdict == Verdict::NotAsked { BTreeMap::new() } else { numbers_of(check, input, basis, policy) };
    let rule = basis.filter(|_| check == Reason::CategoryNotAllowed).and_then(|basis| policy.rule(basis.category));
    let rule = rule.map(|rule| rule.name.clone());
    let words = match verdict {
        Verdict::Passed if check == Reason::OverInStoreLimit && input.channel != Channel::InStore => NOT_IN_STORE,
        Verdict::Passed => passed(check),
        Verdict::Denied | Verdict::AlsoDenies => denied(check),
        Verdict::NotAsked => NOT_ASKED,
    };
    let yen = |name: &str| numbers.get(name).map_or_else(|| "?".to_owned(), |number| grouped(*number));
    let places = [
        ("amount", grouped(input.amount.get())),
        ("exposure", yen("exposure")),
        ("limit", yen("limit")),
        ("cap", yen("cap")),
        ("count", yen("count")),
        ("sum", yen("sum")),
        ("days", yen("days_overdue")),
        ("rule", rule.clone().unwrap_or_else(|| "?".to_owned())),
    ];
    let places = places.each_ref().map(|(place, value)| (*place, value.as_str()));
    Check { check, verdict, text: Bilingual::filled(words, &places), numbers, rule }
}

/// What a check compares.
fn numbers_of(check: Reason, input: &Authorize, basis: Option<&Basis>, policy: &Policy) -> BTreeMap<&'static str, u64> {
    let amount = ("amount", Some(input.amount.get()));
    let known = |number: fn(&Basis) -> u64| basis.map(number);
    let velocity = &policy.velocity;
    let numbers: &[(&'static str, Option<u64>)] = match check {
        Reason::Overdue => &[("days_overdue", known(|basis| basis.days_overdue.into()))],
        Reason::CategoryNotAllowed => &[("rung", known(|basis| basis.rung.into()))],
        Reason::OverPaymentCap => &[amount, ("cap", cap_of(input, basis, policy).map(Yen::get))],
        Reason::TooManyPayments => &[
            amount,
            ("count", known(|basis| basis.window_count.into())),
            ("sum", known(|basis| basis.window_sum.get())),
            ("most_count", velocity.max_count.map(u64::from)),
            ("most_sum", velocity.max_amount.map(Yen::get)),
            ("window_hours", u64::try_from(velocity.window_ms / HOUR).ok()),
        ],
        Reason::DuplicateSuspect => &[amount, ("window_seconds", u64::try_from(policy.same_basket_ms / SECOND).ok())],
        Reason::OverInStoreLimit if input.channel == Channel::InStore => &[
            amount,
            ("exposure", known(|basis| basis.exposure_in_store.get())),
            ("limit", known(|basis| basis.in_store_limit().get())),
        ],
        Reason::OverTotalLimit => &[
            amount,
            ("exposure", known(|basis| basis.exposure_total.get())),
            ("limit", known(|basis| basis.limits.total.get())),
        ],
        _ => &[],
    };
    numbers.iter().filter_map(|(name, number)| Some((*name, (*number)?))).collect()
}

/// The smallest of the caps for one payment that are on this sale.
fn cap_of(input: &Authorize, basis: Option<&Basis>, policy: &Policy) -> Option<Yen> {
    let bare = matches!(&input.payer, Payer::Code(scanned) if scanned.is_bare());
    let rule = basis.and_then(|basis| policy.rule(basis.category)).and_then(|rule| match rule.action {
        CategoryAction::Cap(cap) => Some(cap),
        _ => None,
    });
    let caps = [
        policy.payment_cap,
        basis.and_then(|basis| basis.shop_cap),
        bare.then(|| Yen::new(policy.codes.tok19_cap_yen)),
        rule,
    ];
    caps.into_iter().flatten().min()
}

fn would_pass(input: &Authorize, basis: Option<&Basis>, policy: &Policy) -> WouldPass {
    let Some(basis) = basis else {
        let words = Words {
            ja: "口座が分からないため、または記録がないため、示せません。",
            en: "Not known: nobody's account was known, or it is not on record.",
        };
        return WouldPass { amount: None, blocked_by: Vec::new(), text: Bilingual::filled(words, &[]) };
    };
    let velocity = &policy.velocity;
    let is_too_often = velocity.max_count.is_some_and(|most| u32::from(basis.window_count) >= most);
    let left_in_window = velocity.max_amount.map(|most| most.minus_or_zero(basis.window_sum));
    let is_over_sum = left_in_window.is_some_and(|left| input.amount > left);
    let by_amount = |reason: Reason| match reason {
        Reason::OverPaymentCap | Reason::OverInStoreLimit | Reason::OverTotalLimit => true,
        // The same amount is what makes it suspect.
        Reason::TooManyPayments => is_over_sum && !is_too_often,
        _ => false,
    };
    let blocked_by: Vec<Reason> = basis.against.iter().filter(|reason| !by_amount(*reason)).collect();
    let at_the_shop = Limits { in_store: basis.in_store_limit(), ..basis.limits };
    let room = Basis { limits: at_the_shop, ..*basis }.spendable(input.channel);
    let most = [cap_of(input, Some(basis), policy), left_in_window].into_iter().flatten().fold(room, Yen::min);
    let amount = Some(most).filter(|most| blocked_by.is_empty() && !most.is_zero());
    let words = match (amount, blocked_by.is_empty()) {
        (Some(_), _) => {
            Words { ja: "{most}円までなら承認されました。", en: "Up to {most} yen would have passed." }
        }
        (None, true) => {
            Words { ja: "利用できる枠がありませんでした。", en: "Nothing: there was no room." }
        }
        (None, false) => Words {
            ja: "金額にかかわらず承認されませんでした（{why}）。",
            en: "No amount would have passed: {why}.",
        },
    };
    let why = blocked_by.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(", ");
    let text = Bilingual::filled(words, &[("most", &grouped(most.get())), ("why", &why)]);
    WouldPass { amount, blocked_by, text }
}
