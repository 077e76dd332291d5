//! One record, byte by byte.
//!
//! ```text
//!  0  u32  length of the payload, at most 1 MiB
//!  4  u32  crc32c of the length and of everything from byte 8 to the end of the padding
//!  8  u8   version, 1
//!  9  u8   kind, 1: a payload
//! 10  u16  0
//! 12  u32  distance: lsn - (the last lsn known durable when this record was written), at least 1
//! 16  u64  lsn
//! 24  i64  time, Unix milliseconds
//! 32  16B  link of the record before
//! 48       payload, then zeros up to a multiple of 8
//! ```
//! All little-endian. The *link* of a record is the first 16 bytes of SHA-256 over its bytes 16 to
//! 48 + length: lsn, time, the link before it, payload. Length, crc, version and kind keep their places in
//! every later version, so that an old program tells "newer" from "damaged".

use sha2::{Digest, Sha256};

use crate::journal::{Lsn, TooLarge};

pub const HEADER: usize = 48;
/// Far above any event (a policy file is the largest); it bounds what a damaged length can make a reader do.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Records begin at multiples of it, so a scan for them need not try every byte.
pub const ALIGN: usize = 8;
pub const VERSION: u8 = 1;
pub const KIND: u8 = 1;
/// Public ids give a position 58 bits.
pub const MAX_LSN: u64 = (1 << 58) - 1;
/// Not zero, so that a run of zeros has no matching crc.
const CRC_SEED: u32 = 0x4a6f_524e;

/// A record's hash over itself and, through the link in it, over all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link(pub [u8; 16]);

/// Bytes of a record with a payload of this length.
#[must_use]
pub const fn size_of(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGN)
}

/// What a record says besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub lsn: Lsn,
    /// The last position known to be durable when the record was written; it proves that every record up to
    /// there once was.
    pub durable: Lsn,
    pub time_ms: i64,
    pub prev: Link,
}

/// A record in a buffer, its crc verified.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub meta: Meta,
    pub payload: &'a [u8],
    /// Of this record; the next one must carry it.
    pub link: Link,
    /// Bytes of all of it.
    pub size: usize,
}

/// What the bytes at a place are.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'a> {
    Good(View<'a>),
    /// A header of zeros: nothing was written here.
    Zero,
    /// It may be a record, but this many bytes are needed to tell.
    Short(usize),
    /// Intact, but of a version or kind this program does not know.
    Unknown {
        version: u8,
        kind: u8,
    },
    Bad,
}

/// Appends one record and answers its link.
pub fn encode(out: &mut Vec<u8>, meta: &Meta, payload: &[u8]) -> Result<Link, TooLarge> {
    let length = match u32::try_from(payload.len()) {
        Ok(length) if payload.len() <= MAX_PAYLOAD => length,
        _ => return Err(TooLarge),
    };
    let distance = u32::try_from(meta.lsn.0.saturating_sub(meta.durable.0)).unwrap_or(u32::MAX);
    let start = out.len();
    out.reserve(size_of(payload.len()));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[VERSION, KIND, 0, 0]);
    out.extend_from_slice(&distance.to_le_bytes());
    out.extend_from_slice(&meta.lsn.0.to_le_bytes());
    out.extend_from_slice(&meta.time_ms.to_le_bytes());
    out.extend_from_slice(&meta.prev.0);
    out.extend_from_slice(payload);
    let link = link_of(out.split_at(start + 16).1);
    out.resize(start + size_of(payload.len()), 0);
    let (head, body) = out.split_at_mut(start).1.split_at_mut(8);
    let crc = crc_of(length, body);
    head.split_at_mut(4).1.copy_from_slice(&crc.to_le_bytes());
    Ok(link)
}

/// Reads the record at the beginning of `bytes`. Total: any bytes have an answer.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(head) = bytes.first_chunk::<HEADER>() else { return Parsed::Short(HEADER) };
    let (Some(length), Some(crc), Some([version, kind])) = (u32_at(head, 0), u32_at(head, 4), field::<2>(head, 8))
    else {
        return Parsed::Bad;
    };
    if version == 0 {
        return if head.iter().all(|&b| b == 0) { Parsed::Zero } else { Parsed::Bad };
    }
    let payload_len = match usize::try_from(length) {
        Ok(len) if len <= MAX_PAYLOAD => len,
        _ => return Parsed::Bad,
    };
    let size = size_of(payload_len);
    let Some(body) = bytes.get(8..size) else { return Parsed::Short(size) };
    if crc_of(length, body) != crc {
        return Parsed::Bad;
    }
    if version != VERSION || kind != KIND || field::<2>(head, 10) != Some([0, 0]) {
        return Parsed::Unknown { version, kind };
    }
    good(bytes, payload_len, size).map_or(Parsed::Bad, Parsed::Good)
}

fn good(bytes: &[u8], payload_len: usize, size: usize) -> Option<View<'_>> {
    let distance = u64::from(u32_at(bytes, 12)?);
    let lsn = lsn_at(bytes)?;
    let durable = Lsn(lsn.0.checked_sub(distance)?);
    if distance == 0 || lsn.0 > MAX_LSN {
        return None;
    }
    let meta = Meta { lsn, durable, time_ms: i64::from_le_bytes(field(bytes, 24)?), prev: Link(field(bytes, 32)?) };
    let hashed = bytes.get(16..HEADER + payload_len)?;
    Some(View { meta, payload: bytes.get(HEADER..HEADER + payload_len)?, link: link_of(hashed), size })
}

/// The position a record at the beginning of `bytes` would have: a cheap look before the crc.
#[must_use]
pub fn lsn_at(bytes: &[u8]) -> Option<Lsn> {
    field(bytes, 16).map(|raw| Lsn(u64::from_le_bytes(raw)))
}

fn crc_of(length: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(CRC_SEED, &length.to_le_bytes()), body)
}

fn link_of(hashed: &[u8]) -> Link {
    let digest: [u8; 32] = Sha256::digest(hashed).into();
    let mut link = Link::default();
    link.0.copy_from_slice(digest.split_at(16).0);
    link
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
