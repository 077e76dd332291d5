//! A phone asks for a code, looks at it, or voids it.

use super::Ruling;
use super::past::{Turn, beside_in_memory};
use super::reply::{CodeView, Reply, Tried};
use crate::domain::billing::account::Account;
use crate::domain::billing::lateness::Rules;
use crate::domain::model::bounds::{Full, MOST_DRAWS};
use crate::domain::model::code::{Code, CodeState, Ending, Form};
use crate::domain::model::customer::Status;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CodeId, CustomerId, Handle, Part};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Now, SECOND};
use crate::domain::model::wording::Circumstances;
use crate::domain::state::State;
use crate::domain::state::event::{CodeIssued, Event};

pub(super) fn issue_code(
    turn: &Turn<'_>,
    customer: &CustomerId,
    generation: u8,
    form: Form,
    draw: &mut dyn FnMut() -> u64,
) -> Ruling {
    match issued(turn, customer, generation, form, draw) {
        Ok(issued) => Ruling::Record(Event::issued(form, issued), answer),
        Err(NoCode::Refused(reason)) => Ruling::Answer(refused(turn.state, customer, reason)),
        Err(NoCode::TooMany { wait }) => Ruling::Answer(Reply::TooManyCodes { wait }),
        Err(NoCode::Full) => Ruling::Answer(Reply::Full(Full::Codes)),
    }
}

/// Why no code is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoCode {
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
fn issued(
    turn: &Turn<'_>,
    id: &CustomerId,
    generation: u8,
    form: Form,
    draw: &mut dyn FnMut() -> u64,
) -> Result<CodeIssued, NoCode> {
    let &Turn { state, now, in_force, .. } = turn;
    let policy = &in_force.policy;
    let customer = state.customer_ix(id).ok_or(Reason::CustomerUnknown)?;
    let account = state.account(customer).ok_or(Reason::CustomerUnknown)?;
    let rules = Rules { policy, terms: &state.terms, calendar: &state.calendar };
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

fn refused(state: &State, customer: &CustomerId, reason: Reason) -> Reply {
    let account = state.customer_ix(customer).and_then(|ix| state.account(ix));
    let circumstances = account.map(|account| circumstances(account, None));
    Reply::CodeRefused(reason, circumstances.unwrap_or_default())
}

fn circumstances(account: &Account, code: Option<&Code>) -> Circumstances {
    // Whoever is suspended otherwise too is told so: lifting the one would not be enough.
    let is_blocked = account.notes().is_some_and(|notes| !notes.blocks.is_empty());
    let by_loss = account.is_frozen() && account.profile.status == Status::Active && !is_blocked;
    Circumstances::of(&account.profile, code).by_loss(by_loss)
}

/// Voids a live code; one that has ended stays as it ended, and is shown.
pub(super) fn void_code(turn: &Turn<'_>, id: CodeId) -> Ruling {
    let &Turn { state, now, .. } = turn;
    let live = state.codes.by_id(id, now.at).filter(|code| code.state(now.at) == CodeState::Live);
    match live {
        Some(code) => Ruling::Record(Event::CodeVoided { handle: code.handle }, answer),
        None => Ruling::Answer(find(state, id, now)),
    }
}

/// The code that was issued or voided.
fn answer(state: &State, event: &Event, now: &Now) -> Reply {
    let handle = match event {
        Event::CodeIssued(issued) | Event::Tok19Issued(issued) => issued.handle,
        Event::CodeVoided { handle } => *handle,
        _ => return Reply::Unknown,
    };
    shown(state, state.codes.get(handle, now.at), now)
}

pub(super) fn find(state: &State, id: CodeId, now: &Now) -> Reply {
    shown(state, state.codes.by_id(id, now.at), now)
}

/// When the code with this handle was issued, and under which keys.
pub(super) fn find_issue(state: &State, handle: Handle, now: &Now) -> Reply {
    let code = state.codes.get(handle, now.at);
    code.map_or(Reply::Unknown, |code| Reply::Issue { at: code.issued_at, generation: code.generation })
}

fn shown(state: &State, code: Option<&Code>, now: &Now) -> Reply {
    code.and_then(|code| view(state, code, now)).map_or(Reply::Unknown, |view| Reply::Code(Box::new(view)))
}

fn view(state: &State, code: &Code, now: &Now) -> Option<CodeView> {
    let tried = |lsn| {
        // In suspense it is charged to nobody, so there is nothing to show.
        let order = state.orders.by_lsn(lsn)?;
        let beside = beside_in_memory(state, order, now).filter(|order| order.customer.is_some());
        let order = order.with_beside(beside, now.at).into_owned();
        let shop = state.merchants.get(&order.key.merchant).map(|merchant| merchant.name.clone());
        Some(Tried { order, shop })
    };
    let sale = match code.ending {
        Some(Ending::Used { by, .. }) => tried(by),
        Some(Ending::Voided { .. }) | None => None,
    };
    let account = state.account(code.customer)?;
    let spendable = account.spendable(now, state.rules()?);
    let circumstances = circumstances(account, Some(code));
    let latest = code.latest_attempt.and_then(tried);
    let version = state.version_of(code)?;
    Some(CodeView { code: *code, version, circumstances, spendable, sale, latest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::notes::Note;
    use crate::domain::model::customer::{Identity, Profile};
    use crate::domain::model::ids::{CustomerIx, OfficeId};
    use crate::domain::model::settings::Settings;
    use crate::domain::model::time::{Date, Millis};

    /// What a lost phone is told, and who is told it.
    #[test]
    fn a_lost_phone_has_words_of_its_own_unless_more_than_it_is_in_the_way() {
        let now = Now::at(Millis::parse("2026-11-23T17:45:00+09:00").unwrap());
        let ix = CustomerIx(0);
        let id = |text| OfficeId::new(text).unwrap();
        let customer = CustomerId::new("1001").unwrap();
        let mut state = State::new(Settings::default());
        let policy = Box::from(include_str!("../../../config/policy.toml"));
        state.apply(&Event::PolicySet { version: 1, text: policy }, &now);
        let birth_date = Date::parse("1990-04-01");
        let profile = Profile { identity: Identity::Verified, birth_date, ..Profile::newcomer() };
        state.apply(&Event::CustomerSet { ix, id: customer, profile: Box::new(profile) }, &now);
        let mut note = |note| {
            state.apply(&Event::Noted { customer: ix, note }, &now);
            let account = state.account(ix).unwrap();
            let rules = state.rules().unwrap();
            let blocked = [Channel::InStore, Channel::Online, Channel::NpAtobarai]
                .map(|channel| account.blocked_by(channel, &now, rules).is_some());
            let Reply::CodeRefused(reason, told) = refused(&state, &customer, Reason::Suspended) else {
                panic!("a refusal")
            };
            (blocked, told.words(reason).en)
        };
        let (blocked, words) = note(Note::Frozen { id: id("Z-1") });
        assert_eq!(blocked, [true, false, false], "also of a code that is alive");
        assert!(words.contains("lost phone"), "{words}");
        let (blocked, words) = note(Note::Blocked { id: id("B-1"), reason: "x".into(), by: None, key: None });
        assert_eq!((blocked, words), ([true; 3], Reason::Suspended.row().customer.en));
        let (_, words) = note(Note::Released { id: id("B-1"), staff: None });
        assert!(words.contains("lost phone"), "{words}");
    }
}
