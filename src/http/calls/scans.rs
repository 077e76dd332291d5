//! What a register scanned, judged as far as it can be before the engine: by its text, and where that leaves open whether a
//! barcode is an old one or a forged one, by the record of its handle. Then the sale is put to the engine.

use std::sync::Arc;
use std::time::Instant;

use crate::code;
use crate::code::Scan;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::request::{Authorize, Payer};
use crate::engine::inbox::Answered;
use crate::http::Edge;
use crate::http::call::ask;
use crate::http::problem::Problem;
use crate::http::trust::bad_codes::Entry;

/// A text judged by itself, at the time of the service.
pub(crate) fn read(edge: &Edge, text: &str) -> Scan {
    code::read(text, &edge.issuers, &edge.keyring.load(), edge.now().0)
}

/// What an old barcode is, beside the record of its handle. Everything else was told by its text.
pub(crate) async fn settle(edge: &Edge, scan: Scan) -> Result<Scan, Problem> {
    let Scan::Old(old) = scan else { return Ok(scan) };
    let record = match ask(edge, Request::FindIssue(old.handle()), None).await?.reply {
        Reply::Issue { at, generation } => Some((at.0, generation)),
        _ => None,
    };
    Ok(old.beside(record, &edge.keyring.load()))
}

/// A sale that was read, with its code judged by its text.
pub(crate) struct Sale {
    pub input: Arc<Authorize>,
    /// Of a sale with a code.
    pub scan: Option<Scan>,
    pub deadline: Instant,
}

impl Sale {
    /// Whether only the engine can tell that its code was a guess, which must then be counted whoever hangs up: digits
    /// without a seal, an old barcode, a seal made with keys that issue no more.
    pub fn is_guessable(&self, edge: &Edge) -> bool {
        match (&self.input.payer, self.scan) {
            (Payer::Customer(_), _) | (_, None) => false,
            (_, Some(Scan::Old(_))) => true,
            (Payer::Code(scanned), Some(scan)) => {
                let active = edge.keyring.load().active();
                scanned.is_bare() || scan.sealed_by().is_some_and(|generation| generation != active)
            }
        }
    }
}

/// Decides a sale, and counts its code where it was a bad one.
pub(crate) async fn decide(edge: &Edge, sale: Sale, mut entry: Entry) -> Result<Answered, Problem> {
    let answered = put(edge, sale, &mut entry).await;
    edge.bad_codes.leave(&entry, answered.as_ref().ok().map(|answered| &answered.reply), Instant::now());
    answered
}

async fn put(edge: &Edge, sale: Sale, entry: &mut Entry) -> Result<Answered, Problem> {
    let Sale { mut input, scan, deadline } = sale;
    let sealed_by = scan.and_then(|scan| scan.sealed_by());
    // A source that sent too many bad codes has no record looked up: only a known order is answered.
    if let Some(old @ Scan::Old(_)) = scan
        && !entry.is_shut()
    {
        let payer = Payer::Code(settle(edge, old).await?.into());
        edge.bad_codes.told(entry, &payer);
        Arc::make_mut(&mut input).payer = payer;
    }
    let question = Request::Authorize { input, throttled: entry.is_shut(), sealed_by };
    ask(edge, question, Some(deadline)).await
}
