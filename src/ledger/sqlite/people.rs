//! Facts about shops and customers, in the tables.

use rusqlite::{OptionalExtension, params};

use super::post::{Poster, bits, yen};
use crate::domain::model::customer::Profile;
use crate::domain::model::ids::{CustomerId, CustomerIx, Lsn};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::time::Date;
use crate::ledger::LedgerError;

impl Poster<'_> {
    pub(crate) fn merchant_set(&self, merchant: &Merchant) -> Result<(), LedgerError> {
        let limits = (merchant.limits.per_payment.map(yen), merchant.limits.in_store.map(yen));
        let row = params![merchant.id.as_str(), merchant.name, merchant.mcc, merchant.status as u8, limits.0, limits.1];
        self.run("INSERT OR REPLACE INTO merchant VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).map(drop)
    }

    pub(crate) fn customer_set(
        &mut self,
        ix: CustomerIx,
        id: &CustomerId,
        profile: &Profile,
        lsn: Lsn,
    ) -> Result<(), LedgerError> {
        self.let_go(ix)?;
        let before: Option<u8> = self
            .db
            .prepare_cached("SELECT payment_method FROM account WHERE customer = ?1")?
            .query_row([ix.0], |row| row.get(0))
            .optional()?;
        if before.is_some_and(|before| before != profile.payment_method as u8) {
            self.freeze_bills(ix, profile.payment_method)?;
        }
        let sql = "INSERT INTO account (customer, customer_id, identity, identity_reason, birth_date,
            guardian_consent, payment_method, status, limit_total, limit_in_store, rung, touched)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            ON CONFLICT (customer) DO UPDATE SET identity = excluded.identity,
            identity_reason = excluded.identity_reason, birth_date = excluded.birth_date,
            guardian_consent = excluded.guardian_consent, payment_method = excluded.payment_method,
            status = excluded.status, limit_total = excluded.limit_total, limit_in_store = excluded.limit_in_store,
            rung = excluded.rung, touched = excluded.touched";
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
                bits(lsn.0),
            ],
        )
    }
}
