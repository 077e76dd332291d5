//! Who speaks on a link: acquirers by element 32, and what each may do.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::model::ids::MerchantId;
use crate::domain::model::merchant::Merchants;
use crate::domain::model::money::Yen;

/// SHA-256 of a certificate, DER.
pub type Fingerprint = [u8; 32];
/// Element 32, zeros on the left.
pub type AcquirerId = [u8; 11];

/// One acquirer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquirer {
    /// For logs.
    pub name: Box<str>,
    pub merchants: Merchants,
    /// Our names of its shops, by element 42 without the spaces around it; what is not here is its own name.
    pub merchant_ids: HashMap<Box<str>, MerchantId>,
    pub may_refund: bool,
    /// Most yen that its own approvals may put on one customer above the limits in a day.
    pub stand_in: Option<Yen>,
    /// In place of the bounds of every key.
    pub bad_codes_per_minute: Option<usize>,
    /// The client certificates it may speak with; any if there are none.
    pub certificates: Vec<Fingerprint>,
}

impl Acquirer {
    /// Whom the sandbox takes everybody for.
    pub fn unbound() -> Self {
        Self {
            name: Box::from("sandbox"),
            merchants: Merchants::All,
            merchant_ids: HashMap::new(),
            may_refund: true,
            stand_in: Some(Yen::new(20_000)),
            bad_codes_per_minute: None,
            certificates: Vec::new(),
        }
    }

    /// The shop that element 42 names.
    pub fn merchant(&self, acceptor: &str) -> Option<MerchantId> {
        self.merchant_ids.get(acceptor).copied().or_else(|| MerchantId::new(acceptor).ok())
    }

    pub fn speaks_for(&self, merchant: &MerchantId) -> bool {
        self.merchants.include(merchant)
    }
}

/// An acquirer with the number by which its bad codes are counted; no key of the HTTP side has it.
#[derive(Debug)]
pub(crate) struct Known {
    pub number: u32,
    pub acquirer: Acquirer,
}

/// Above the numbers of keys.
const FIRST_NUMBER: u32 = 1 << 31;

#[derive(Debug)]
pub struct Acquirers {
    by_id: HashMap<AcquirerId, Arc<Known>>,
    /// Everybody else, in the sandbox.
    others: Option<Arc<Known>>,
}

impl Acquirers {
    pub fn new(list: impl IntoIterator<Item = (AcquirerId, Acquirer)>, others: Option<Acquirer>) -> Self {
        let known = |number, acquirer| Arc::new(Known { number, acquirer });
        let by_id = (FIRST_NUMBER + 1..).zip(list).map(|(number, (id, acquirer))| (id, known(number, acquirer)));
        Self { by_id: by_id.collect(), others: others.map(|acquirer| known(FIRST_NUMBER, acquirer)) }
    }

    /// The acquirer, if it may speak with this certificate.
    pub(crate) fn find(&self, id: &AcquirerId, certificate: Option<&Fingerprint>) -> Option<&Known> {
        let known = self.by_id.get(id).or(self.others.as_ref())?;
        let listed = &known.acquirer.certificates;
        (listed.is_empty() || certificate.is_some_and(|one| listed.contains(one))).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acquirer_speaks_with_its_own_certificate_for_its_own_shops() {
        let shop = |id| MerchantId::new(id).unwrap();
        let acquirer = Acquirer {
            merchants: Merchants::Only(vec![shop("mrc_konbini")]),
            merchant_ids: HashMap::from([(Box::from("JPM 1234"), shop("mrc_konbini"))]),
            certificates: vec![[7; 32]],
            ..Acquirer::unbound()
        };
        assert_eq!(acquirer.merchant("JPM 1234"), Some(shop("mrc_konbini")));
        assert_eq!(acquirer.merchant("mrc_other"), Some(shop("mrc_other")));
        assert_eq!(acquirer.merchant("no name"), None);
        assert!(acquirer.speaks_for(&shop("mrc_konbini")) && !acquirer.speaks_for(&shop("mrc_other")));
        let all = Acquirers::new([(*b"00000353001", acquirer)], None);
        assert!(all.find(b"00000353001", Some(&[7; 32])).is_some());
        assert!(all.find(b"00000353001", Some(&[8; 32])).is_none());
        assert!(all.find(b"00000353001", None).is_none());
        assert!(all.find(b"00000353002", Some(&[7; 32])).is_none());
        let sandbox = Acquirers::new([], Some(Acquirer::unbound()));
        assert!(sandbox.find(b"00000353002", None).is_some());
    }
}
