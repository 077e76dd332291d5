//! Policy, holidays and merchants as all nodes are to have them: a row each in the table `setting`, whose version rises with each change.
//! A node reads them. Policy and holidays are written by an operator, or by the owner of the tables (`sokketsu cluster apply`); a merchant
//! by them, or by the node that is called to (`PUT /v1/merchants`), with a function of the tables' owner.

use super::session::{PgSession, fault};
use super::table::{Answer, Fault};
use crate::domain::model::merchant::Merchant;

pub const POLICY: &str = "policy";
pub const HOLIDAYS: &str = "holidays";

const READ: &str = "SELECT kind, version, body FROM setting WHERE id = '' AND kind IN ('policy', 'holidays')";

/// $1 kinds, $2 bodies, $3 whether those that are there may change. Gives each kind, its version now, and whether this statement made it.
const PUT: &str = "WITH given AS (SELECT * FROM unnest($1::text[], $2::bytea[]) AS t(kind, body)),
        put AS (INSERT INTO setting (kind, id, version, body) SELECT kind, '', 1, body FROM given
            ON CONFLICT (kind, id) DO UPDATE SET version = setting.version + 1, body = excluded.body
                WHERE $3 AND setting.body <> excluded.body
            RETURNING kind, version)
    SELECT given.kind, coalesce(put.version, setting.version, 1), put.version IS NOT NULL
        FROM given LEFT JOIN put ON put.kind = given.kind
            LEFT JOIN setting ON setting.kind = given.kind AND setting.id = ''";

/// $1 ids, $2 bodies, $3 how many there may be; of no merchant twice. Each gets a version above all others.
const PUT_MERCHANTS: &str = "SELECT put_merchants($1, $2, $3)";

/// The same of those that say something else than the table.
const PUT_OTHER_MERCHANTS: &str = "SELECT put_merchants(array_agg(given.id), array_agg(given.body), $3)
    FROM unnest($1::text[], $2::bytea[]) AS given(id, body)
        LEFT JOIN setting ON setting.kind = 'merchant' AND setting.id = given.id
    WHERE setting.body IS DISTINCT FROM given.body";

/// $1 version.
const MERCHANTS_AFTER: &str =
    "SELECT version, body FROM setting WHERE kind = 'merchant' AND version > $1 ORDER BY version LIMIT 1000";

/// As many at once as are read at once.
pub const MERCHANTS_TOGETHER: usize = 1_000;

pub(super) const MAY_WRITE: &str =
    "SELECT CASE WHEN has_table_privilege('setting', 'INSERT') AND has_table_privilege('setting', 'UPDATE')
    THEN 'yes' ELSE 'no' END";

pub(super) const IS_THERE: &str = "SELECT CASE WHEN count(*) = 2 THEN 'yes' ELSE 'no' END
    FROM setting WHERE id = '' AND kind IN ('policy', 'holidays')";

/// What the cluster's nodes are to have; each with its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub policy: Option<(i64, String)>,
    pub holidays: Option<(i64, String)>,
}

/// A merchant's id, and the JSON that calls show of it.
pub type MerchantBody = (String, Vec<u8>);

pub fn merchant_body(merchant: &Merchant) -> MerchantBody {
    // No map in it has a key that is no text.
    (merchant.id.to_string(), serde_json::to_vec(merchant).unwrap_or_default())
}

/// What became of one that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub kind: String,
    /// In the table now.
    pub version: i64,
    /// It was not there, or said something else.
    pub is_new: bool,
}

impl PgSession {
    /// Policy and holidays of one moment.
    pub fn applied(&mut self) -> Answer<Applied> {
        let mut applied = Applied::default();
        for row in self.rows(READ, &[])? {
            let kind: String = row.try_get(0).map_err(fault)?;
            let body: Vec<u8> = row.try_get(2).map_err(fault)?;
            let text = String::from_utf8(body)
                .map_err(|_| Fault::Unfit(format!("its {kind} is no text: `sokketsu cluster apply` writes it anew")))?;
            let found = Some((row.try_get(1).map_err(fault)?, text));
            if kind == POLICY { applied.policy = found } else { applied.holidays = found }
        }
        Ok(applied)
    }

    /// All or none, of no merchant twice; gives how many were written: all, or those that say something else than the table. None
    /// where there would be more than `most` in all.
    pub(super) fn put_merchants(&mut self, given: &[MerchantBody], all: bool, most: usize) -> Answer<Option<i64>> {
        let (ids, bodies): (Vec<&str>, Vec<&[u8]>) =
            given.iter().map(|(id, body)| (id.as_str(), body.as_slice())).unzip();
        let sql = if all { PUT_MERCHANTS } else { PUT_OTHER_MERCHANTS };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let row = self.rows(sql, &[&ids, &bodies, &most])?.pop();
        row.map_or(Ok(None), |row| row.try_get(0)).map_err(fault)
    }

    /// The next ones in the order of their versions, a page of them.
    pub(super) fn merchants_after(&mut self, version: i64) -> Answer<Vec<(i64, Vec<u8>)>> {
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        self.rows(MERCHANTS_AFTER, &[&version])?.iter().map(read).collect::<Result<_, _>>().map_err(fault)
    }

    pub(super) fn put(&mut self, given: &[(&str, &str)], replaces: bool) -> Answer<Vec<Put>> {
        let (kinds, bodies): (Vec<&str>, Vec<&[u8]>) =
            given.iter().map(|(kind, text)| (*kind, text.as_bytes())).unzip();
        let read = |row: &tokio_postgres::Row| {
            Ok(Put {
                kind: row.try_get(0).map_err(fault)?,
                version: row.try_get(1).map_err(fault)?,
                is_new: row.try_get(2).map_err(fault)?,
            })
        };
        self.rows(PUT, &[&kinds, &bodies, &replaces])?.iter().map(read).collect()
    }
}
