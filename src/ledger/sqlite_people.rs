//! Facts about shops, customers and their codes, in the tables.

use rusqlite::{OptionalExtension, params};

use super::LedgerError;
use super::sqlite_post::{Poster, bits, yen};
use crate::domain::account::Profile;
use crate::domain::codes::{FIRST_KEPT, REST, WRONG_SEALS};
use crate::domain::denial::Reason;
use crate::domain::event::{CodeIssued, Decided, Outcome};
use crate::domain::ids::{CustomerId, CustomerIx, Handle, Lsn};
use crate::domain::jst::{Date, Millis};
use crate::domain::merchant::Merchant;
use crate::domain::request::{Payer, Scanned};

/// `code.ending`.
pub(super) mod code_ending {
    pub const USED: u8 = 1;
    pub const VOIDED: u8 = 2;
}

/// An approval ends the code if it is live; a denial only counts.
pub(super) const CODE_PAID: &str = "UPDATE code SET attempts = min(attempts + 1, 4294967295), latest_attempt = ?2,
    ending = CASE WHEN ending IS NULL AND ?3 < expires_at THEN 1 ELSE ending END,
    ended_by = CASE WHEN ending IS NULL AND ?3 < expires_at THEN ?2 ELSE ended_by END,
    ended_at = CASE WHEN ending IS NULL AND ?3 < expires_at THEN ?3 ELSE ended_at END,
    forget_at = CASE WHEN ending IS NULL AND ?3 < expires_at THEN ?4 ELSE forget_at END
    WHERE handle = ?1";

impl Poster<'_> {
    /// Removes codes past their time, at most `most`. Reading judges the time by itself.
    pub(super) fn forget_codes(&self, now: Millis, most: usize) -> Result<(), LedgerError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let sql = "DELETE FROM code WHERE handle IN (SELECT handle FROM code WHERE forget_at <= ?1 LIMIT ?2)";
        self.run(sql, [now.0, most]).map(drop)
    }

    pub(super) fn merchant_set(&self, merchant: &Merchant) -> Result<(), LedgerError> {
        let limits = (merchant.limits.per_payment.map(yen), merchant.limits.in_store.map(yen));
        let row = params![merchant.id.as_str(), merchant.name, merchant.mcc, merchant.status as u8, limits.0, limits.1];
        self.run("INSERT OR REPLACE INTO merchant VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).map(drop)
    }

    pub(super) fn customer_set(&self, ix: CustomerIx, id: &CustomerId, profile: &Profile) -> Result<(), LedgerError> {
        let before: Option<u8> = self
            .db
            .prepare_cached("SELECT payment_method FROM account WHERE customer = ?1")?
            .query_row([ix.0], |row| row.get(0))
            .optional()?;
        if let Some(before) = before {
            // Bills already issued keep their method.
            let freeze = "UPDATE open_month SET billed_by = ?3
                WHERE customer = ?1 AND month < ?2 AND billed_by IS NULL";
            self.run(freeze, params![ix.0, self.now.month.to_number(), before])?;
        }
        let sql = "INSERT INTO account (customer, customer_id, identity, identity_reason, birth_date,
            guardian_consent, payment_method, status, limit_total, limit_in_store, rung)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (customer) DO UPDATE SET identity = excluded.identity,
            identity_reason = excluded.identity_reason, birth_date = excluded.birth_date,
            guardian_consent = excluded.guardian_consent, payment_method = excluded.payment_method,
            status = excluded.status, limit_total = excluded.limit_total, limit_in_store = excluded.limit_in_store,
            rung = excluded.rung";
        let limits = profile.limits.as_ref();
        self.change(
            "a customer",
            sql,
            params![
                ix.0,
                id.as_str(),
                profile.identity as u8,
                profile.identity_reason,
                profile.birth_date.map(Date::to_number),
                profile.guardian_consent,
                profile.payment_method as u8,
                profile.status as u8,
                limits.map(|limits| yen(limits.total)),
                limits.map(|limits| yen(limits.in_store)),
                profile.rung,
            ],
        )
    }

    pub(super) fn code_issued(&self, issued: &CodeIssued, lsn: Lsn) -> Result<(), LedgerError> {
        let (customer, now) = (issued.customer.0, self.now.at);
        let end_before = "UPDATE code SET ending = 2, ended_at = ?2
            WHERE handle = (SELECT live_code FROM account WHERE customer = ?1) AND customer = ?1
            AND ending IS NULL AND ?2 < expires_at";
        self.run(end_before, params![customer, now.0])?;
        let count = "UPDATE account SET codes_issued = ?2, live_code = ?3 WHERE customer = ?1";
        self.change("a customer", count, params![customer, issued.counter, issued.handle.get()])?;
        // The handle's old life, past its time, may still be there.
        let insert = "INSERT OR REPLACE INTO code
            (handle, lsn, id_random, customer, counter, random, issued_at, expires_at, forget_at,
            generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (expires, forget) = (issued.expires_at, issued.expires_at.plus(REST));
        let (id, random) = (bits(lsn.0), bits(issued.id_random));
        let handle = issued.handle.get();
        let (counter, generation) = (issued.counter, issued.generation);
        let row = params![handle, id, random, customer, counter, issued.random, now.0, expires.0, forget.0, generation];
        self.run(insert, row).map(drop)
    }

    pub(super) fn void_code(&self, handle: Handle) -> Result<(), LedgerError> {
        let sql = "UPDATE code SET ending = 2, ended_at = ?2 WHERE handle = ?1 AND ending IS NULL AND ?2 < expires_at";
        self.run(sql, params![handle.get(), self.now.at.0]).map(drop)
    }

    /// A try with a code leaves its trace on the code: used, attempted, or wrongly sealed.
    pub(super) fn mark_code(&mut self, decided: &Decided, handle: Option<Handle>, lsn: Lsn) -> Result<(), LedgerError> {
        let Some(handle) = handle.map(Handle::get) else { return Ok(()) };
        let (lsn, now) = (bits(lsn.0), self.now.at);
        match &decided.outcome {
            Outcome::Approved(_) => {
                self.code_paid.execute(params![handle, lsn, now.0, now.plus(FIRST_KEPT).0])?;
                Ok(())
            }
            Outcome::Denied { reason: Reason::CodeInvalid, .. } => {
                if !matches!(decided.input.payer, Payer::Code(Scanned::Forged { .. })) {
                    return Ok(());
                }
                let sql = "UPDATE code SET wrong_seals = min(wrong_seals + 1, 255),
                    ended_at = CASE WHEN ending IS NULL AND ?2 < expires_at AND ?3 <= wrong_seals + 1
                        THEN ?2 ELSE ended_at END,
                    ending = CASE WHEN ending IS NULL AND ?2 < expires_at AND ?3 <= wrong_seals + 1
                        THEN 2 ELSE ending END
                    WHERE handle = ?1";
                self.run(sql, params![handle, now.0, WRONG_SEALS]).map(drop)
            }
            Outcome::Denied { .. } if decided.customer.is_none() => Ok(()),
            Outcome::Denied { .. } => {
                let sql = "UPDATE code SET attempts = min(attempts + 1, 4294967295), latest_attempt = ?2
                    WHERE handle = ?1";
                self.run(sql, params![handle, lsn]).map(drop)
            }
        }
    }
}
