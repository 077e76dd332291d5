//! A decision as an answer tells it.

use crate::json::members;

pub struct Decided<'a> {
    pub authorization_id: &'a str,
    pub approval_code: Option<&'a str>,
    pub order_id: &'a str,
    pub decision: &'a str,
    pub status: &'a str,
    pub amount: u32,
    pub reason: Option<&'a str>,
    pub replayed: bool,
}

impl<'a> Decided<'a> {
    /// A decision, by its members that are judged: all of them, or nothing.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (mut id, mut order_id, mut decision, mut status) = (None, None, None, None);
        let (mut amount, mut reason, mut replayed, mut approval_code) = (None, None, None, None);
        for member in members(body) {
            let (name, value) = member.ok()?;
            match name {
                b"authorization_id" => id = Some(value.text()?),
                b"order_id" => order_id = Some(value.text()?),
                b"decision" => decision = Some(value.text()?),
                b"status" => status = Some(value.text()?),
                b"amount" => amount = Some(value.number()?),
                b"reason" => reason = if value.is_null() { None } else { Some(value.text()?) },
                b"approval_code" => approval_code = value.text(),
                b"replayed" => replayed = Some(value.truth()?),
                _ => (),
            }
        }
        Some(Self {
            authorization_id: id?,
            approval_code,
            order_id: order_id?,
            decision: decision?,
            status: status?,
            amount: amount?,
            reason,
            replayed: replayed?,
        })
    }
}
