//! The part of the check that is about `[[key]]`.

use std::path::PathBuf;

use super::access::{ApiKey, KeyHash, PUBLISHED_KEYS, Role, SignatureSecret, unbound};
use super::check::Check;
use super::values::MerchantNames;
use crate::domain::model::ids::{BadText, MerchantId, TerminalId, TerminalKey};
use crate::domain::model::merchant::Merchants;
use crate::domain::model::purchase::Channel;
use crate::files::Access;
use crate::http::trust::callers::Caller;

impl Check {
    pub(super) fn keys(&mut self) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> = Vec::new();
        let written = self.source.sections("key");
        for at in 0..written {
            let Some(key) = self.key(at) else { continue };
            if keys.iter().any(|other| other.caller.name == key.caller.name) {
                self.bad(&format!("key[{at}].name"), format!("{:?} is the name of another key too", key.caller.name));
            }
            if keys.iter().any(|other| other.hash == key.hash) {
                self.bad(&format!("key[{at}].hash"), "is the hash of another key too");
            }
            keys.push(key);
        }
        if self.flags.sandbox {
            let published = PUBLISHED_KEYS.map(|(bearer, role)| ApiKey::published(bearer, role));
            let taken =
                |key: &ApiKey| keys.iter().any(|other| other.caller.name == key.caller.name || other.hash == key.hash);
            let missing: Vec<ApiKey> = published.into_iter().filter(|key| !taken(key)).collect();
            keys.extend(missing);
        } else if written == 0 {
            self.bad("key", "is missing: without a [[key]] nobody may call; `sokketsu keys new --api NAME` makes one");
        }
        keys
    }

    fn key(&mut self, at: usize) -> Option<ApiKey> {
        let of = |field: &str| format!("key[{at}].{field}");
        let name: Option<String> = self.needed(&of("name"), "the caller's name, for logs and reports");
        let name = name.unwrap_or_default();
        if !(1..=64).contains(&name.len()) || name.chars().any(char::is_control) {
            self.bad(&of("name"), "must be 1 to 64 characters");
        }
        let role: Option<Role> = self.needed(&of("role"), "wallet, register, office or ops");
        let what = "the SHA-256 of the bearer key, 64 hexadecimal digits";
        let text: Option<String> = self.needed(&of("hash"), what);
        let hash = text
            .and_then(|text| self.parsed(&of("hash"), KeyHash::parse(&text).ok_or_else(|| format!("must be {what}"))));
        if hash.is_some_and(|hash| hash.is_published()) && !self.flags.sandbox {
            self.bad(&of("hash"), "is the hash of a published sandbox key: anyone could call");
        }
        let bad_codes_per_minute = self.own_bad_codes(&of("bad_codes_per_minute"));
        let file = self.read(&of("signature_secret_file"));
        let signature_secret = file.and_then(|file| self.signature_secret(at, &name, file));
        let rights = self.rights(at, role);
        let caller = Caller { name: name.into(), bad_codes_per_minute, ..rights? };
        Some(ApiKey { hash: hash?, caller, signature_secret })
    }

    /// With a secret that can't be had the configuration is not used: no key is taken unsigned by mistake.
    fn signature_secret(&mut self, at: usize, name: &str, file: PathBuf) -> Option<SignatureSecret> {
        if !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            let what = "is the `keyid` of signed requests: ASCII without quotes and backslashes, please";
            self.bad(&format!("key[{at}].name"), what);
        }
        let key = format!("key[{at}].signature_secret_file");
        let access = if self.flags.sandbox { Access::Everyone } else { Access::Owner };
        let secret = SignatureSecret::read(&self.folder.join(file), access);
        let secret = self.parsed(&key, secret)?;
        if secret.is_published() && !self.flags.sandbox {
            self.bad(
                &key,
                "holds the published sandbox secret: anyone could sign; `sokketsu keys new --signed` makes one",
            );
        }
        Some(secret)
    }

    /// What a register's key allows. No other role has these fields.
    fn rights(&mut self, at: usize, role: Option<Role>) -> Option<Caller> {
        let of = |field: &str| format!("key[{at}].{field}");
        let merchants: Option<MerchantNames> = self.read(&of("merchants"));
        let terminals: Option<Vec<String>> = self.read(&of("terminals"));
        let channels: Option<Vec<String>> = self.read(&of("channels"));
        let may_refund: Option<bool> = self.read(&of("may_refund"));
        let role = role?;
        if role != Role::Register {
            let fields = [
                ("merchants", merchants.is_some()),
                ("terminals", terminals.is_some()),
                ("channels", channels.is_some()),
                ("may_refund", may_refund.is_some()),
            ];
            for (field, _) in fields.iter().filter(|(_, written)| *written) {
                self.bad(&of(field), format!("is for register keys only, and this is a key of role {}", role.name()));
            }
            return Some(unbound("", role));
        }
        let listed = self.merchants(&of("merchants"), merchants);
        let merchants = listed.or(self.flags.sandbox.then_some(Merchants::All));
        let what = "the merchants this register may speak for, or \"*\" for a network";
        let merchants = self.required(&of("merchants"), merchants, what);
        let terminals = terminals.map(|names| self.names(&of("terminals"), &names, TerminalId::new));
        let channels = channels.map(|names| self.channels(&of("channels"), &names));
        Some(Caller {
            merchants: merchants?,
            terminals: terminals.map(|own| own.into_iter().filter_map(TerminalKey::of).collect()),
            channels: channels.unwrap_or_else(|| vec![Channel::InStore]),
            may_refund: may_refund.unwrap_or(false),
            ..unbound("", role)
        })
    }

    /// Nothing of an empty list.
    pub(super) fn merchants(&mut self, key: &str, written: Option<MerchantNames>) -> Option<Merchants> {
        match written? {
            MerchantNames::All => Some(Merchants::All),
            MerchantNames::Listed(names) if names.is_empty() => None,
            MerchantNames::Listed(names) => Some(Merchants::Only(self.names(key, &names, MerchantId::new))),
        }
    }

    fn channels(&mut self, key: &str, names: &[String]) -> Vec<Channel> {
        let words = Channel::ALL.map(|channel| (channel.name(), channel));
        let mut channels = Vec::new();
        for (at, name) in names.iter().enumerate() {
            channels.extend(self.meant(&format!("{key}[{at}]"), name, &words));
        }
        channels
    }

    fn names<T>(&mut self, key: &str, names: &[String], parse: fn(&str) -> Result<T, BadText>) -> Vec<T> {
        let mut parsed = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let result = parse(name).map_err(|error| format!("{name:?} {error}"));
            parsed.extend(self.parsed(&format!("{key}[{at}]"), result));
        }
        parsed
    }
}
