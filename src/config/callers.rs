//! The part of the check that is about `[[key]]`.

use std::path::PathBuf;

use super::access::{ApiKey, KeyHash, Merchants, PUBLISHED_KEYS, Role, SignatureSecret};
use super::check::Check;
use super::raw::{RawChannel, RawKey, RawMerchants};
use crate::domain::model::ids::{BadText, MerchantId, TerminalId};
use crate::domain::model::purchase::Channel;
use crate::files::Access;

impl Check {
    pub(super) fn keys(&mut self) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> = Vec::new();
        let written = std::mem::take(&mut self.raw.key);
        let none_written = written.is_empty();
        for (at, raw) in written.into_iter().enumerate() {
            let Some(key) = self.key(at, raw) else { continue };
            if keys.iter().any(|other| other.name == key.name) {
                self.bad(&format!("key[{at}].name"), format!("{:?} is the name of another key too", key.name));
            }
            if keys.iter().any(|other| other.hash == key.hash) {
                self.bad(&format!("key[{at}].hash"), "is the hash of another key too");
            }
            keys.push(key);
        }
        if self.sandbox {
            let published = PUBLISHED_KEYS.map(|(bearer, role)| ApiKey::published(bearer, role));
            let taken = |key: &ApiKey| keys.iter().any(|other| other.name == key.name || other.hash == key.hash);
            let missing: Vec<ApiKey> = published.into_iter().filter(|key| !taken(key)).collect();
            keys.extend(missing);
        } else if none_written {
            self.bad("key", "is missing: without a [[key]] nobody may call; `sokketsu keys new --api NAME` makes one");
        }
        keys
    }

    fn key(&mut self, at: usize, raw: RawKey) -> Option<ApiKey> {
        let of = |field: &str| format!("key[{at}].{field}");
        let name = self.required(&of("name"), raw.name.clone(), "the caller's name, for logs and reports");
        let name = name.unwrap_or_default();
        if !(1..=64).contains(&name.len()) || name.chars().any(char::is_control) {
            self.bad(&of("name"), "must be 1 to 64 characters");
        }
        let role = self.required(&of("role"), raw.role, "wallet, register, office or ops");
        let text = self.required(&of("hash"), raw.hash.clone(), "the SHA-256 of the bearer key, 64 hexadecimal digits");
        let hash = text.and_then(|text| {
            let hash = KeyHash::parse(&text).ok_or("must be the SHA-256 of the bearer key, 64 hexadecimal digits");
            self.parsed(&of("hash"), hash)
        });
        if hash.is_some_and(|hash| hash.is_published()) && !self.sandbox {
            self.bad(&of("hash"), "is the hash of a published sandbox key: anyone could call");
        }
        let bad_codes_per_minute =
            self.within_if_there(&of("bad_codes_per_minute"), raw.bad_codes_per_minute, 1..=1_000_000);
        let file = raw.signature_secret_file.clone();
        let signature_secret = file.and_then(|file| self.signature_secret(at, &name, file));
        let rights = self.rights(at, role?, raw);
        Some(ApiKey { name, role: role?, hash: hash?, bad_codes_per_minute, signature_secret, ..rights? })
    }

    /// With a secret that can't be had the configuration is not used: no key is taken unsigned by mistake.
    fn signature_secret(&mut self, at: usize, name: &str, file: PathBuf) -> Option<SignatureSecret> {
        if !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            let what = "is the `keyid` of signed requests: ASCII without quotes and backslashes, please";
            self.bad(&format!("key[{at}].name"), what);
        }
        let key = format!("key[{at}].signature_secret_file");
        let access = if self.sandbox { Access::Everyone } else { Access::Owner };
        let secret = SignatureSecret::read(&self.folder.join(file), access);
        let secret = self.parsed(&key, secret)?;
        if secret.is_published() && !self.sandbox {
            self.bad(
                &key,
                "holds the published sandbox secret: anyone could sign; `sokketsu keys new --signed` makes one",
            );
        }
        Some(secret)
    }

    /// What a register's key allows. No other role has these fields.
    fn rights(&mut self, at: usize, role: Role, raw: RawKey) -> Option<ApiKey> {
        let of = |field: &str| format!("key[{at}].{field}");
        let mut key = ApiKey::published("", role);
        if role != Role::Register {
            let fields = [
                ("merchants", raw.merchants.is_some()),
                ("terminals", raw.terminals.is_some()),
                ("channels", raw.channels.is_some()),
                ("may_refund", raw.may_refund.is_some()),
            ];
            for (field, _) in fields.iter().filter(|(_, written)| *written) {
                self.bad(&of(field), format!("is for register keys only, and this is a key of role {}", role.name()));
            }
            return Some(key);
        }
        key.merchants = match raw.merchants {
            Some(RawMerchants::All) => Merchants::All,
            Some(RawMerchants::Listed(names)) if !names.is_empty() => {
                Merchants::Only(self.names(&of("merchants"), &names, MerchantId::new))
            }
            _ if self.sandbox => Merchants::All,
            _ => {
                let what = "the merchants this register may speak for, or \"*\" for a network";
                self.required(&of("merchants"), None, what)?
            }
        };
        key.terminals = raw.terminals.map(|names| self.names(&of("terminals"), &names, TerminalId::new));
        key.channels = match raw.channels {
            None => vec![Channel::InStore],
            Some(listed) => listed.into_iter().map(channel).collect(),
        };
        key.may_refund = raw.may_refund.unwrap_or(false);
        Some(key)
    }

    pub(super) fn names<T>(&mut self, key: &str, names: &[String], parse: fn(&str) -> Result<T, BadText>) -> Vec<T> {
        let mut parsed = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let result = parse(name).map_err(|error| format!("{name:?} {error}"));
            parsed.extend(self.parsed(&format!("{key}[{at}]"), result));
        }
        parsed
    }
}

fn channel(raw: RawChannel) -> Channel {
    match raw {
        RawChannel::InStore => Channel::InStore,
        RawChannel::Online => Channel::Online,
        RawChannel::NpAtobarai => Channel::NpAtobarai,
    }
}
