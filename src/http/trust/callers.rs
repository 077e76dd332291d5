//! Who calls: bearer keys, kept as hashes, and what each key may do.

use std::collections::HashMap;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::signature::Verifier;
use crate::domain::model::ids::{MerchantId, TerminalId, TerminalKey};
use crate::domain::model::merchant::Merchants;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Millis;
use crate::http::problem::{FORBIDDEN, Problem};

/// What a key is for. Each key has one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The issuer's app, through its backend.
    Wallet,
    /// Shops and their networks.
    Register,
    /// The issuer's staff tools.
    Office,
    /// Those who run this service.
    Ops,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Wallet, Self::Register, Self::Office, Self::Ops];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Register => "register",
            Self::Office => "office",
            Self::Ops => "ops",
        }
    }
}

/// One caller. What does not belong to its role is not looked at.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For logs; not the key.
    pub name: Box<str>,
    pub role: Role,
    pub merchants: Merchants,
    /// `None`: any terminal of its merchants.
    pub terminals: Option<Arc<[TerminalKey]>>,
    pub channels: Vec<Channel>,
    pub may_refund: bool,
    /// Bad codes a minute from this key, whatever merchants and terminals it names, in place of the bounds of every key.
    pub bad_codes_per_minute: Option<usize>,
    /// If it is there, every request must be signed.
    pub signature: Option<Arc<Verifier>>,
}

impl Caller {
    /// A caller with all of its role's rights.
    pub fn unbound(name: &str, role: Role) -> Self {
        Self {
            name: Box::from(name),
            role,
            merchants: Merchants::All,
            terminals: None,
            channels: Channel::ALL.to_vec(),
            may_refund: true,
            bad_codes_per_minute: Some(usize::MAX),
            signature: None,
        }
    }

    /// Whether this caller may know of the merchant's orders. Only register keys are bound.
    pub fn sees(&self, merchant: &MerchantId) -> bool {
        self.role != Role::Register || self.merchants.include(merchant)
    }

    pub(crate) fn sees_any_merchant(&self) -> bool {
        self.role != Role::Register || self.merchants == Merchants::All
    }

    /// Whether nothing need be looked up to know that an order is this caller's to act on.
    pub(crate) fn sees_all(&self) -> bool {
        self.sees_any_merchant() && self.terminals.is_none()
    }

    /// Refuses a register that asks about a merchant that is not its own; `field` is where the merchant stands.
    pub(crate) fn may_see(&self, merchant: &MerchantId, field: &str) -> Result<(), Problem> {
        if self.sees(merchant) {
            return Ok(());
        }
        let detail = "This key does not speak for this merchant. Use the merchant's own key.";
        Err(Problem::new(&FORBIDDEN, detail).with_field(field, "is not one of this key's"))
    }

    /// Refuses a register that sells for a merchant or at a terminal that is not its own, or through a channel that it was
    /// not granted.
    pub fn may_sell(
        &self,
        merchant: &MerchantId,
        terminal: Option<&TerminalId>,
        channel: Channel,
    ) -> Result<(), Problem> {
        self.may_see(merchant, "/merchant/id")?;
        match (&self.terminals, terminal.and_then(|id| TerminalKey::of(*id))) {
            (Some(list), Some(terminal)) if !list.contains(&terminal) => {
                let detail = "This key does not speak for this terminal. Use the terminal's own key.";
                let problem = Problem::new(&FORBIDDEN, detail);
                Err(problem.with_field("/merchant/terminal_id", "is not one of this key's"))
            }
            (Some(_), None) => {
                let problem = Problem::new(&FORBIDDEN, "This key is bound to terminals. Name the terminal.");
                Err(problem.with_field("/merchant/terminal_id", "is needed with this key"))
            }
            (_, _) if !self.channels.contains(&channel) => {
                let detail = "This channel was not granted to this key. Ask the issuer for it.";
                Err(Problem::new(&FORBIDDEN, detail).with_field("/channel", "is not granted to this key"))
            }
            (_, _) => Ok(()),
        }
    }

    /// Whether a sale at this terminal is this caller's to act on, or to be told of.
    pub fn is_at(&self, terminal: Option<TerminalKey>) -> bool {
        self.terminals.as_ref().is_none_or(|own| terminal.is_some_and(|terminal| own.contains(&terminal)))
    }

    pub fn may_refund(&self) -> Result<(), Problem> {
        if self.role != Role::Register || self.may_refund {
            return Ok(());
        }
        Err(Problem::new(&FORBIDDEN, "Refunds were not granted to this key. Use a key that may refund."))
    }
}

/// SHA-256 of a bearer key.
pub type KeyHash = [u8; 32];

pub fn hash_key(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

/// Two callers with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("callers {0:?} and {1:?} have the same key")]
pub struct SameKey(Box<str>, Box<str>);

/// All callers by the hashes of their keys. A caller may have two keys while it changes them.
#[derive(Debug, Default)]
pub struct Callers {
    by_key: HashMap<KeyHash, Arc<Known>>,
}

/// A caller with its number, by which it is counted.
#[derive(Debug)]
pub struct Known {
    pub number: u32,
    pub caller: Caller,
}

impl Callers {
    pub fn new(list: impl IntoIterator<Item = (Caller, Vec<KeyHash>)>) -> Result<Self, SameKey> {
        let mut by_key: HashMap<KeyHash, Arc<Known>> = HashMap::new();
        for (number, (caller, keys)) in (0_u32..).zip(list) {
            let known = Arc::new(Known { number, caller });
            for key in keys {
                if let Some(other) = by_key.insert(key, Arc::clone(&known)) {
                    return Err(SameKey(other.caller.name.clone(), known.caller.name.clone()));
                }
            }
        }
        Ok(Self { by_key })
    }

    /// A node that begins to decide takes no request that was signed before: the one before it may have taken it.
    pub fn begin_at(&self, now: Millis) {
        self.by_key.values().filter_map(|known| known.caller.signature.as_ref()).for_each(|it| it.begin_at(now));
    }

    /// The caller with this key. Only hashes are compared, so the time it takes says nothing about a key.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Known>> {
        self.by_key.get(&hash_key(key)).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(terminals: Option<&[&str]>) -> Caller {
        Caller {
            merchants: Merchants::Only(vec![MerchantId::new("mrc_a").unwrap()]),
            terminals: terminals
                .map(|list| list.iter().map(|id| TerminalKey::of(TerminalId::new(id).unwrap()).unwrap()).collect()),
            channels: vec![Channel::InStore],
            may_refund: false,
            ..Caller::unbound("shop", Role::Register)
        }
    }

    #[test]
    fn a_register_speaks_for_its_own_only() {
        let (a, b) = (MerchantId::new("mrc_a").unwrap(), MerchantId::new("mrc_b").unwrap());
        let (t1, t2) = (TerminalId::new("T1").unwrap(), TerminalId::new("T2").unwrap());
        let (here, online) = (Channel::InStore, Channel::Online);
        assert!(shop(None).may_sell(&a, Some(&t2), here).is_ok());
        assert!(shop(None).may_sell(&b, None, here).is_err());
        assert!(shop(Some(&["T1"])).may_sell(&a, Some(&t1), here).is_ok());
        assert!(shop(Some(&["T1"])).may_sell(&a, Some(&t2), here).is_err());
        assert!(shop(Some(&["T1"])).may_sell(&a, None, here).is_err());
        assert!(shop(None).may_sell(&a, Some(&t2), online).is_err());
        assert!(shop(None).may_refund().is_err());
        let office = Caller { role: Role::Office, ..shop(None) };
        assert!(office.sees(&b) && office.may_refund().is_ok());
    }

    #[test]
    fn keys_are_found_by_hash_and_shared_by_nobody() {
        let list = || {
            let (a, b) = (Caller::unbound("a", Role::Ops), Caller::unbound("b", Role::Wallet));
            [(a, vec![hash_key("one"), hash_key("two")]), (b, vec![hash_key("three")])]
        };
        let callers = Callers::new(list()).unwrap();
        assert_eq!(callers.find("two").unwrap().caller.role, Role::Ops);
        assert!(callers.find("four").is_none());
        let [(a, keys), (b, _)] = list();
        assert!(Callers::new([(a, keys.clone()), (b, keys)]).is_err());
    }
}
