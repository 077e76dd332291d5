//! The MACs that seal a code, and their comparison, which is constant-time and only here.
//!
//! ```text
//! barcode: int(HMAC-SHA256(K_V, "CPB1" | body | u64be(epoch))[0..8], big-endian) mod 10^6
//! QR:      HMAC-SHA256(K_Q, "CPQ1" | TOK19 | bytes of template 63 before tag 9F26)[0..16]
//! ```
//!
//! The epoch keeps an old screenshot from becoming valid again when its handle is issued anew.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::body::{BODY_DIGITS, TOK19_DIGITS};
use super::keyring::Usable;

/// Six decimal digits of MAC.
const MAC_RANGE: u64 = 1_000_000;

/// The barcode's MAC, below 10^6.
pub(super) fn barcode_mac(keys: Usable<'_>, body: &[u8; BODY_DIGITS], epoch: u64) -> u64 {
    #[cfg(test)]
    MACS.with(|count| count.set(count.get() + 1));
    let bytes = finish(keys.barcode().chain_update(b"CPB1").chain_update(body).chain_update(epoch.to_be_bytes()));
    let head = bytes.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(head) % MAC_RANGE
}

/// Of which epochs a barcode's MAC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epochs {
    One(u64),
    /// By chance also of the other one, as one code in a million is.
    Both,
    Neither,
}

/// Whether a barcode's MAC is of one of the two epochs that a live code can have at the epoch `now`.
///
/// Both are computed and compared whatever the first one says, so that the time taken tells nothing.
pub(super) fn current_epochs(keys: Usable<'_>, body: &[u8; BODY_DIGITS], mac: u64, now: u64) -> Epochs {
    let before = now.saturating_sub(1);
    let (is_now, is_before) = (is_of_epoch(keys, body, mac, now), is_of_epoch(keys, body, mac, before));
    match (is_now, is_before) {
        (true, true) if before != now => Epochs::Both,
        (true, _) => Epochs::One(now),
        (false, true) => Epochs::One(before),
        (false, false) => Epochs::Neither,
    }
}

/// Whether a barcode's MAC is that of one epoch.
pub(super) fn is_of_epoch(keys: Usable<'_>, body: &[u8; BODY_DIGITS], mac: u64, epoch: u64) -> bool {
    barcode_mac(keys, body, epoch).ct_eq(&mac).into()
}

/// The QR's MAC: 128 bits of it, over the PAN and the head of template 63 alone, so that it can be
/// checked from the whole payload and from ISO 8583 DE 2 and DE 55.
pub(super) fn qr_mac(keys: Usable<'_>, tok19: &[u8; TOK19_DIGITS], head: &[u8]) -> [u8; 16] {
    let bytes = finish(keys.qr().chain_update(b"CPQ1").chain_update(tok19).chain_update(head));
    bytes.first_chunk::<16>().copied().unwrap_or_default()
}

pub(super) fn check_qr(keys: Usable<'_>, tok19: &[u8; TOK19_DIGITS], head: &[u8], mac: &[u8; 16]) -> bool {
    qr_mac(keys, tok19, head).ct_eq(mac).into()
}

fn finish(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
thread_local! {
    /// Barcode MACs computed by this thread: what a forged one costs is counted.
    pub(super) static MACS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use hmac::KeyInit;

    use super::*;
    use crate::code::keyring::Keyring;
    use crate::domain::model::code::barcode_epoch;
    use crate::domain::model::time::Millis;

    const BODY: &[u8; BODY_DIGITS] = b"900099991314159265";
    const EPOCH: u64 = 2_992_372;

    #[test]
    fn published_barcode_mac() {
        let ring = Keyring::sandbox();
        let keys = ring.usable(1).unwrap();
        let full = finish(keys.barcode().chain_update(b"CPB1").chain_update(BODY).chain_update(EPOCH.to_be_bytes()));
        assert_eq!(full[..8], 0x3d9f_dd52_34c5_6040_u64.to_be_bytes());
        assert_eq!(barcode_mac(keys, BODY, EPOCH), 5_632);
        assert_eq!(barcode_epoch(Millis(1_795_423_500_000)), EPOCH);
    }

    #[test]
    fn published_qr_mac() {
        let ring = Keyring::sandbox();
        let head: [u8; 23] = [
            0x9F, 0x36, 2, 0, 7, 0x9F, 0x37, 4, 0xA1, 0xB2, 0xC3, 0xD4, 0x9F, 0x10, 8, 1, 1, 0x6B, 0x03, 0xFD, 0x0C,
            0x01, 0x2C,
        ];
        let keys = ring.usable(1).unwrap();
        let tok19 = b"9000999913141592657";
        let full = finish(keys.qr().chain_update(b"CPQ1").chain_update(tok19).chain_update(head));
        let hex: String = full.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f7790a91ccaef768ffcdf680b458ecaa563ad6d1b45a2f4a4a6ee5d056a14913");
        assert_eq!(qr_mac(keys, tok19, &head), full[..16]);
        assert!(check_qr(keys, tok19, &head, &qr_mac(keys, tok19, &head)));
    }

    #[test]
    fn published_offline_mac_shares_the_arithmetic() {
        let device =
            Hmac::<Sha256>::new_from_slice(&std::array::from_fn::<u8, 32, _>(|i| 64 + u8::try_from(i).unwrap()))
                .unwrap();
        let full = finish(
            device.chain_update(b"CPB2").chain_update(b"900099996271828185").chain_update(29_923_725_u64.to_be_bytes()),
        );
        let head = u64::from_be_bytes(full[..8].try_into().unwrap());
        assert_eq!(head, 0xb942_797d_b048_c4ae);
        assert_eq!(head % MAC_RANGE, 3_310);
    }

    #[test]
    fn epoch_borders() {
        let ring = Keyring::sandbox();
        let keys = ring.usable(1).unwrap();
        let seen = |now| current_epochs(keys, BODY, 5_632, now);
        assert_eq!(seen(EPOCH - 1), Epochs::Neither);
        assert_eq!((seen(EPOCH), seen(EPOCH + 1)), (Epochs::One(EPOCH), Epochs::One(EPOCH)));
        assert_eq!(seen(EPOCH + 2), Epochs::Neither);
        assert!(is_of_epoch(keys, BODY, 5_632, EPOCH));
        assert!(!is_of_epoch(keys, BODY, 5_632, EPOCH + 1) && !is_of_epoch(keys, BODY, 5_633, EPOCH));
    }

    #[test]
    fn epochs_of_odd_times() {
        assert_eq!(barcode_epoch(Millis(0)), 0);
        assert_eq!(barcode_epoch(Millis(599_999)), 0);
        assert_eq!(barcode_epoch(Millis(600_000)), 1);
        assert_eq!(barcode_epoch(Millis(-1)), 0);
        assert_eq!(barcode_epoch(Millis(i64::MIN)), 0);
        let ring = Keyring::sandbox();
        let keys = ring.usable(1).unwrap();
        for now in [0, 1, 2, 143, u64::MAX] {
            let mac = barcode_mac(keys, BODY, now);
            assert_eq!(current_epochs(keys, BODY, mac, now), Epochs::One(now));
        }
    }
}
