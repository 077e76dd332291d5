//! Customers and their codes: who may be given one, and what a change of a customer comes to.

use crate::domain::billing::account::Account;
use crate::domain::billing::lateness::Rules;
use crate::domain::model::bounds::MOST_DRAWS;
use crate::domain::model::code::{CodeState, Form};
use crate::domain::model::customer::Profile;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CodeId, CustomerId, Handle, Part};
use crate::domain::model::policy::Policy;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::CustomerChange;
use crate::domain::model::time::{Now, SECOND};
use crate::domain::state::State;
use crate::domain::state::event::{CodeIssued, Event};

/// A customer as it is after the change; `None` when nothing changes.
pub fn put_customer(state: &State, id: CustomerId, change: &CustomerChange) -> Option<Event> {
    let known = state.customer_ix(&id).and_then(|ix| Some((ix, state.account(ix)?)));
    let before = known.map_or_else(Profile::newcomer, |(_, account)| account.profile.clone());
    let after = changed(&before, change);
    let ix = known.map_or_else(|| state.next_customer(), |(ix, _)| ix);
    (known.is_none() || after != before).then(|| Event::CustomerSet { ix, id, profile: Box::new(after) })
}

fn changed(before: &Profile, change: &CustomerChange) -> Profile {
    Profile {
        identity: change.identity.unwrap_or(before.identity),
        // A reason belongs to the state it was given with.
        identity_reason: match (change.identity, &change.identity_reason) {
            (_, Some(reason)) => reason.clone().map(Box::new),
            (Some(identity), None) if identity != before.identity => None,
            (_, None) => before.identity_reason.clone(),
        },
        birth_date: change.birth_date.unwrap_or(before.birth_date),
        guardian_consent: change.guardian_consent.unwrap_or(before.guardian_consent),
        payment_method: change.payment_method.unwrap_or(before.payment_method),
        status: change.status.unwrap_or(before.status),
        limits: change.limits.map_or_else(|| before.limits.clone(), |limits| limits.map(Box::new)),
        rung: change.rung.unwrap_or(before.rung),
    }
}

/// Why no code is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCode {
    /// The customer may not pay.
    Refused(Reason),
    /// As many as in an hour may be; how long until the next, ms.
    TooMany { wait: i64 },
    /// No handle is free: of all codes, or in the customer's part as far as was looked.
    Full,
}

impl From<Reason> for NoCode {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// A code of a form for a customer who may pay in store. `generation` is that of the keys that will seal it, `draw` gives
/// random numbers.
pub fn issue_code(
    state: &State,
    id: &CustomerId,
    generation: u8,
    form: Form,
    now: &Now,
    policy: &Policy,
    draw: &mut dyn FnMut() -> u64,
) -> Result<CodeIssued, NoCode> {
    let customer = state.customer_ix(id).ok_or(Reason::CustomerUnknown)?;
    let account = state.account(customer).ok_or(Reason::CustomerUnknown)?;
    let rules = Rules { policy, calendar: &state.calendar };
    if let Some(reason) = account.blocked_by(Channel::InStore, now, rules) {
        return Err(reason.into());
    }
    let hour = state.codes.hour_of(customer, account.live_code, now.at).filter(|hour| now.at < hour.end());
    if let (Some(most), Some(hour)) = (policy.codes.max_per_hour, hour)
        && hour.count >= most
    {
        return Err(NoCode::TooMany { wait: hour.end().0 - now.at.0 });
    }
    if state.codes.len() >= state.settings.codes_max {
        return Err(NoCode::Full);
    }
    let life = match form {
        Form::L24 => policy.codes.life_seconds,
        Form::Tok19 => policy.codes.tok19_life_seconds,
    };
    Ok(CodeIssued {
        customer,
        handle: free_handle(state, account, now, draw).ok_or(NoCode::Full)?,
        generation,
        id_random: draw(),
        counter: account.codes_issued.wrapping_add(1),
        random: u32::try_from(draw() >> 32).unwrap_or(0),
        expires_at: now.at.plus(i64::from(life) * SECOND),
    })
}

/// A handle of the customer's part that is not alive nor resting. A part has 15,625,000 handles;
/// with 1,000,000 codes remembered a draw hits a taken one in 1.6 of 1,000.
fn free_handle(state: &State, account: &Account, now: &Now, draw: &mut dyn FnMut() -> u64) -> Option<Handle> {
    let part = Part::of(&account.id);
    let mut drawn = (0..MOST_DRAWS).map(|_| Handle::draw(part, draw()));
    drawn.find(|handle| !state.codes.holds(*handle, now.at))
}

/// Voids a live code; one that has ended stays as it ended.
pub fn void_code(state: &State, id: CodeId, now: &Now) -> Option<Event> {
    let code = state.codes.by_id(id, now.at)?;
    (code.state(now.at) == CodeState::Live).then_some(Event::CodeVoided { handle: code.handle })
}
