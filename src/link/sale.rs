//! A sale as it came, with its code judged by itself.

use crate::code;
use crate::code::Scan;
use crate::code::body::Body;
use crate::domain::model::ids::MerchantId;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, EntryMode, OrderKey, Payer, Scanned};
use crate::engine::client::Client;
use crate::iso8583::translate::{Presented, Request, Sale, Wrong};

use super::response::Response;

pub(crate) fn input(
    client: &Client,
    request: &Request<'_>,
    sale: &Sale<'_>,
    merchant: MerchantId,
) -> Result<(Authorize, Scan), Response> {
    let (scan, entry_mode) = scan(client, &sale.code)?;
    let key = OrderKey { merchant, order_id: request.order_id };
    let input = Authorize {
        terminal: request.terminal,
        currency: sale.currency,
        capture: sale.capture,
        confirm_repeat: sale.confirm_repeat,
        entry_mode: sale.entry_mode.or(Some(entry_mode)),
        ..Authorize::new(key, Payer::Code(scan.into()), Channel::InStore, sale.amount)
    };
    Ok((input, scan))
}

/// An account number beside a scan must be of the same code.
pub(crate) fn scan(client: &Client, code: &Presented<'_>) -> Result<(Scan, EntryMode), Response> {
    match code {
        Presented::Scan { text, pan } => {
            let scan = client.read_scan(text);
            let handle = Scanned::from(scan).handle();
            let same = |pan: &&str| {
                let body = pan.as_bytes().try_into().ok().and_then(|pan| Body::from_tok19(pan).ok());
                body.is_some_and(|body| Some(body.handle()) == handle)
            };
            if handle.is_some() && pan.as_ref().is_some_and(|pan| !same(pan)) {
                return Err(Response::wrong(Wrong { code: *b"30", element: 2 }));
            }
            let digits = code::bare(text).bytes().all(|byte| byte.is_ascii_digit());
            Ok((scan, if digits { EntryMode::Barcode } else { EntryMode::Qr }))
        }
        Presented::Split { pan, template } => {
            let mode = if template.is_empty() { EntryMode::Barcode } else { EntryMode::Qr };
            Ok((code::read_split(pan, template, &client.issuers, &client.keyring.load()), mode))
        }
    }
}
