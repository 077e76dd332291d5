//! The configuration as it is written. Every key is optional here: what must be there is said by `check`, which
//! knows whether it is a sandbox.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::access::Role;
use super::link::{RawAcquirer, RawLink};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    pub data: Option<PathBuf>,
    pub server: RawServer,
    pub journal: RawJournal,
    pub ledger: RawLedger,
    pub orders: RawOrders,
    pub holds: RawHolds,
    pub codes: RawMost,
    pub customers: RawMost,
    pub merchants: RawMost,
    pub bounds: RawBounds,
    pub engine: RawEngine,
    pub bad_codes: RawBadCodes,
    pub signatures: RawSignatures,
    pub issuer: Vec<RawIssuer>,
    pub aid: Vec<RawAid>,
    pub signing: RawSigning,
    pub policy: RawFile,
    pub holidays: RawFile,
    pub key: Vec<RawKey>,
    pub iso8583: RawLink,
    pub acquirer: Vec<RawAcquirer>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawServer {
    pub http: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub iso8583: Option<SocketAddr>,
    pub insecure: Option<bool>,
    pub threads: Option<usize>,
    pub max_connections: Option<u32>,
    pub max_connections_per_ip: Option<u32>,
    pub header_timeout: Option<RawDuration>,
    pub body_timeout: Option<RawDuration>,
    pub idle_timeout: Option<RawDuration>,
    pub drain_seconds: Option<u64>,
    pub tls: Option<RawTls>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTls {
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub client_ca_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawJournal {
    pub segment_mib: Option<u64>,
    pub sync: Option<RawSync>,
    pub at_risk_yen: Option<u64>,
    pub max_gap_us: Option<u64>,
    pub retain_days: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawSync {
    BeforeAnswer,
    Bounded,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLedger {
    pub url: Option<String>,
    pub chunk_records: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOrders {
    pub retain: Option<RawDuration>,
    pub max: Option<u64>,
}

/// How many there may be in all.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMost {
    pub max: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBounds {
    pub refunds_per_purchase: Option<usize>,
    pub open_debts: Option<usize>,
    pub changes_per_bill: Option<usize>,
    pub open_slips: Option<usize>,
    pub blocks: Option<usize>,
    pub pending_payments: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHolds {
    pub expire_after: Option<RawDuration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawEngine {
    pub inbox: Option<usize>,
    pub urgent_inbox: Option<usize>,
    pub batch: Option<usize>,
    pub queue_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBadCodes {
    pub per_terminal: Option<u32>,
    pub tok19_per_terminal: Option<u32>,
    pub per_key: Option<u32>,
    pub per_key_share: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSignatures {
    pub tolerance: Option<RawDuration>,
    pub nonces: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawIssuer {
    pub prefix: Option<String>,
    pub form: Option<RawForm>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAid {
    pub aid: Option<String>,
    pub form: Option<RawForm>,
    pub label: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawForm {
    L24,
    Tok19,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSigning {
    pub keys_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFile {
    pub file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawKey {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub hash: Option<String>,
    pub merchants: Option<RawMerchants>,
    pub terminals: Option<Vec<String>>,
    pub channels: Option<Vec<RawChannel>>,
    pub may_refund: Option<bool>,
    pub bad_codes_per_minute: Option<u32>,
    pub signature_secret_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawChannel {
    InStore,
    Online,
    NpAtobarai,
}

/// `"*"`, or a list.
pub enum RawMerchants {
    All,
    Listed(Vec<String>),
}

impl<'de> Deserialize<'de> for RawMerchants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawMerchants;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" or a list of merchant ids")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawMerchants, E> {
                if text == "*" {
                    Ok(RawMerchants::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawMerchants, A::Error> {
                let mut listed = Vec::new();
                while let Some(item) = items.next_element()? {
                    listed.push(item);
                }
                Ok(RawMerchants::Listed(listed))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A length of time in milliseconds, written like `500ms`, `300s`, `15m`, `48h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawDuration(pub i64);

impl RawDuration {
    pub fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(unit_at)?;
        let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms)?;
        number.parse::<i64>().ok()?.checked_mul(unit).map(Self)
    }
}

/// Largest first, as they are shown.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// In the largest unit that leaves no rest, but hours up to two days.
impl fmt::Display for RawDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(name, ms): &&(&str, i64)| self.0 % ms == 0 && (*name != "d" || self.0 > 2 * ms);
        let (name, ms) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", self.0 / ms)
    }
}

impl<'de> Deserialize<'de> for RawDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = RawDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"500ms\", \"300s\", \"15m\", \"48h\" or \"7d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawDuration, E> {
                RawDuration::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let cases = [("500ms", 500), ("300s", 300_000), ("15m", 900_000), ("48h", 172_800_000), ("7d", 604_800_000)];
        for (text, ms) in cases {
            assert_eq!(RawDuration::parse(text), Some(RawDuration(ms)), "{text}");
            assert_eq!(RawDuration::parse(&RawDuration(ms).to_string()), Some(RawDuration(ms)));
        }
        for text in ["", "5", "s", "-5s", "1.5h", "5 s", "5S", "9223372036854775807d", "99999999999999999999s", "５s"]
        {
            assert_eq!(RawDuration::parse(text), None, "{text}");
        }
    }
}
