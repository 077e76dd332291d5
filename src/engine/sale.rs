//! A sale on its way into the engine and back, the same for every door. Its code is judged by its text; its source is let
//! in or shut ([`Client::enter`]); where the text leaves open when a barcode was issued (an old one, or a forged one), the record
//! of its handle is looked up; the sale is put to the engine ([`Sale::question`]); and the answer counts or forgives its
//! code ([`Client::settled`]). [`Client::decide`] does all of it from the entry on, for who can wait.

use std::sync::Arc;
use std::time::Instant;

use super::bad_codes::{Entry, Source};
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

impl Sale {
    /// Whether the record of its handle is to be looked up before the question. A source that sent too many bad codes has
    /// none looked up: only a known order is answered.
    pub fn waits_for_record(&self, entry: &Entry) -> bool {
        matches!(self.scan, Some(Scan::Undated(_))) && !entry.is_shut()
    }

    /// What the engine is asked.
    pub fn question(self, entry: &Entry) -> Request {
        let sealed_by = self.scan.and_then(|scan| scan.sealed_by());
        Request::Authorize { input: self.input, throttled: entry.is_shut(), sealed_by }
    }
}

impl Client {
    /// A text that was scanned, judged by itself, at the time of the service.
    pub fn read_scan(&self, text: &str) -> Scan {
        code::read(text, &self.issuers, &self.keyring.load(), self.now().0)
    }

    /// What a barcode is whose text does not say when it was issued, beside the record of its handle.
    pub async fn settle_scan(&self, scan: Scan) -> Result<Scan, NoAnswer> {
        let Scan::Undated(old) = scan else { return Ok(scan) };
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
            (_, Some(Scan::Undated(_))) => true,
            (Payer::Code(scanned), Some(scan)) => {
                let active = self.keyring.load().active();
                scanned.is_bare() || scan.sealed_by().is_some_and(|generation| generation != active)
            }
        }
    }

    /// Lets a sale in, or shuts it out where its source sent too many bad codes. Whatever comes of it goes through
    /// [`Client::settled`].
    pub fn enter(&self, source: Source<'_>, sale: &Sale, now: Instant) -> Entry {
        self.bad_codes.enter(source, &sale.input.payer, now)
    }

    /// Decides a sale that was let in or shut out, with as many questions as that takes.
    pub async fn decide(&self, mut sale: Sale, mut entry: Entry) -> Result<Answered, NoAnswer> {
        if sale.waits_for_record(&entry)
            && let Err(why) = self.look_up(&mut sale, &mut entry).await
        {
            return self.settled(&entry, Err(why));
        }
        let deadline = sale.deadline;
        let answered = self.ask(sale.question(&entry), Some(deadline)).await;
        self.settled(&entry, answered)
    }

    /// Takes what the record of its handle says of its code for the code.
    async fn look_up(&self, sale: &mut Sale, entry: &mut Entry) -> Result<(), NoAnswer> {
        let Some(scan) = sale.scan else { return Ok(()) };
        let settled = self.settle_scan(scan).await?;
        sale.scan = Some(settled);
        let payer = Payer::Code(settled.into());
        self.bad_codes.reconsider(entry, &payer);
        Arc::make_mut(&mut sale.input).payer = payer;
        Ok(())
    }

    /// What came of a sale; its code counts where it was a bad one.
    pub fn settled(&self, entry: &Entry, answered: Result<Answered, NoAnswer>) -> Result<Answered, NoAnswer> {
        self.bad_codes.leave(entry, answered.as_ref().ok().map(|answered| &answered.reply), Instant::now());
        answered
    }
}
