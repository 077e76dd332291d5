//! A sale on its way into the engine: its code is judged as far as it can be before, by its text, and where that leaves
//! open whether a barcode is an old one or a forged one, by the record of its handle.

use std::sync::Arc;
use std::time::Instant;

use super::bad_codes::Entry;
use super::client::{Client, NoAnswer};
use super::outlet::Answered;
use crate::code;
use crate::code::Scan;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::request::{Authorize, Payer};

/// A sale that was read, with its code judged by its text.
pub struct Sale {
    pub input: Arc<Authorize>,
    /// Of a sale with a code.
    pub scan: Option<Scan>,
    pub deadline: Instant,
}

impl Client {
    /// A text that was scanned, judged by itself, at the time of the service.
    pub fn read_scan(&self, text: &str) -> Scan {
        code::read(text, &self.issuers, &self.keyring.load(), self.now().0)
    }

    /// What an old barcode is, beside the record of its handle. Everything else was said by its text.
    pub async fn settle_scan(&self, scan: Scan) -> Result<Scan, NoAnswer> {
        let Scan::Old(old) = scan else { return Ok(scan) };
        let record = match self.ask(Request::FindIssue(old.handle()), None).await?.reply {
            Reply::Issue { at, generation } => Some((at.0, generation)),
            _ => None,
        };
        Ok(old.beside(record, &self.keyring.load()))
    }

    /// Whether only the engine can tell that a sale's code was a guess, which must then be counted whoever hangs up: digits
    /// without a seal, an old barcode, a seal made with keys that issue no more.
    pub fn is_guessable(&self, sale: &Sale) -> bool {
        match (&sale.input.payer, sale.scan) {
            (Payer::Customer(_), _) | (_, None) => false,
            (_, Some(Scan::Old(_))) => true,
            (Payer::Code(scanned), Some(scan)) => {
                let active = self.keyring.load().active();
                scanned.is_bare() || scan.sealed_by().is_some_and(|generation| generation != active)
            }
        }
    }

    /// Decides a sale, and counts its code where it was a bad one.
    pub async fn decide(&self, sale: Sale, mut entry: Entry) -> Result<Answered, NoAnswer> {
        let answered = self.put(sale, &mut entry).await;
        self.bad_codes.leave(&entry, answered.as_ref().ok().map(|answered| &answered.reply), Instant::now());
        answered
    }

    async fn put(&self, sale: Sale, entry: &mut Entry) -> Result<Answered, NoAnswer> {
        let Sale { mut input, scan, deadline } = sale;
        let sealed_by = scan.and_then(|scan| scan.sealed_by());
        // A source that sent too many bad codes has no record looked up: only a known order is answered.
        if let Some(old @ Scan::Old(_)) = scan
            && !entry.is_shut()
        {
            let payer = Payer::Code(self.settle_scan(old).await?.into());
            self.bad_codes.settled(entry, &payer);
            Arc::make_mut(&mut input).payer = payer;
        }
        let question = Request::Authorize { input, throttled: entry.is_shut(), sealed_by };
        self.ask(question, Some(deadline)).await
    }
}
