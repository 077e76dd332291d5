//! What a start takes into memory, in the order in which the state takes it in: a backend reads the rows.

use super::LedgerError;
use crate::domain::model::ids::Lsn;
use crate::domain::model::policy::Policy;
use crate::domain::model::time::{BankCalendar, Millis};
use crate::domain::state::State;
use crate::domain::state::receipts::Receipt;

/// Records decoded at once: some milliseconds' work.
pub(crate) const BLOCK: i64 = 8_192;

/// The texts are read with care first: taking them in stops the process if they no longer parse.
pub(crate) fn set_rules(
    state: &mut State,
    policies: Vec<(u32, String, Lsn, Millis)>,
    holidays: Option<String>,
) -> Result<(), LedgerError> {
    for (version, text, since, at) in policies {
        Policy::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the policy: {error}")))?;
        state.set_policy(version, &text, since, at.date());
    }
    if let Some(text) = holidays {
        BankCalendar::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the holidays: {error}")))?;
        state.set_calendar(&text);
    }
    Ok(())
}

/// The office's facts of the last days, by their records.
pub(crate) fn set_receipts(state: &mut State, receipts: Vec<Receipt>) -> Result<(), LedgerError> {
    for receipt in receipts {
        let key = receipt.event.receipt_key();
        let key = key.ok_or_else(|| LedgerError::Corrupt("a receipt is of no fact".to_owned()))?;
        state.receipts.push(key, receipt);
    }
    Ok(())
}
