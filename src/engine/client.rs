//! How the doors ask the engine: a question goes into the inbox and its answer is waited for; where memory cannot tell of
//! an order, the ledger is asked, and then the engine once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::{Sender, TrySendError};
use tokio::sync::{Semaphore, oneshot, watch};

use super::bad_codes::BadCodes;
use super::board::Board;
use super::inbox::Inbox;
use super::outlet::{Answered, Outcome, Shed};
use super::readiness::{Condition, Readiness};
use super::times;
use crate::clock::Clock;
use crate::code::{Issuers, Keyring};
use crate::domain::billing::stories::Kept;
use crate::domain::commands::past::Past;
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::{OnOrder, Request};
use crate::domain::model::bounds::Full;
use crate::domain::model::ids::CustomerId;
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::Order;
use crate::domain::model::request::{Beside, Named};
use crate::domain::model::time::Millis;
use crate::ledger::{Books, LedgerError};
use crate::metrics::Metrics;

/// Questions to the ledger at once: as many threads as may hang on a slow one.
const LEDGER_QUESTIONS: usize = 16;
/// How long the ledger may take to answer.
const LEDGER_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a ledger that is behind is waited for, and how often it is looked at: mostly it is some 0.5 s behind.
const LEDGER_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a question has no answer. No decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Too much work is waiting.
    Busy,
    /// The service is stopping, or the ledger did not answer.
    NotReady,
    /// As many of these as may be are in memory.
    Full(Full),
    /// The fact would be larger than a record may be.
    TooLarge,
}

impl From<Shed> for NoAnswer {
    /// Counts it, too.
    fn from(shed: Shed) -> Self {
        match shed {
            Shed::Full => Metrics::shed("inbox_full"),
            Shed::Waited => Metrics::shed("queue_time"),
            Shed::Stopping => return Self::NotReady,
        }
        Self::Busy
    }
}

/// What every door shares.
pub struct Client {
    pub inbox: Inbox,
    pub board: Arc<Board>,
    /// Swapped whole at a rotation.
    pub keyring: Arc<ArcSwap<Keyring>>,
    pub issuers: Issuers,
    /// The wall clock. See [`Client::now`].
    pub clock: Clock,
    pub readiness: Arc<Readiness>,
    pub bad_codes: BadCodes,
    pub ledger: Ledger,
    /// Where merchants are kept beside the journal.
    pub merchants: Option<Sender<MerchantPut>>,
    pub stop: watch::Sender<bool>,
}

/// A merchant to be kept where all nodes look, and journaled then; and who waits for it.
pub struct MerchantPut {
    pub merchant: Merchant,
    pub reply: oneshot::Sender<Result<Answered, NoAnswer>>,
}

/// The ledger as it is asked about the past, off the hot path.
pub struct Ledger {
    books: Option<Arc<dyn Books>>,
    permits: Arc<Semaphore>,
}

impl Ledger {
    pub fn new(books: Option<Arc<dyn Books>>) -> Self {
        Self { books, permits: Arc::new(Semaphore::new(LEDGER_QUESTIONS)) }
    }

    /// Asks on a thread that may block. `None` where there is no ledger.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Books) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<Option<T>, NoAnswer> {
        let Some(books) = self.books.as_ref().map(Arc::clone) else { return Ok(None) };
        let permit = tokio::time::timeout(LEDGER_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(NoAnswer::NotReady) };
        let look = tokio::task::spawn_blocking(move || {
            // Held until the ledger lets go, also when nobody waits any more.
            let _permit = permit;
            question(books.as_ref())
        });
        match tokio::time::timeout(LEDGER_TIMEOUT, look).await {
            Ok(Ok(Ok(found))) => Ok(Some(found)),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the ledger could not be read");
                Err(NoAnswer::NotReady)
            }
            Ok(Err(_)) | Err(_) => Err(NoAnswer::NotReady),
        }
    }

    /// The stories that it keeps of a customer; none where there is no ledger.
    async fn kept(&self, customer: CustomerId) -> Result<Kept, NoAnswer> {
        Ok(self.ask(move |books| books.kept(&customer)).await?.unwrap_or(Kept::nothing()))
    }

    /// Looks orders up, in one question. Nothing is known where there is no ledger.
    pub async fn orders(&self, names: Vec<Named>) -> Past {
        match self.ask(move |books| orders(books, &names)).await {
            Ok(found) => Past::Orders(found.unwrap_or_default()),
            Err(_) => Past::Unavailable,
        }
    }
}

/// What stands beside an order that is named by its id is found by its key.
fn orders(books: &dyn Books, names: &[Named]) -> Result<Vec<Order>, LedgerError> {
    let mut found = Vec::new();
    for name in names {
        match name {
            Named::Key(key) => found.extend(books.past_order_by_key(key)?),
            Named::Id(id) => {
                let Some(order) = books.past_order(*id)? else { continue };
                for beside in [Beside::Captured, Beside::StoodIn] {
                    let Some(key) = order.key.beside(beside) else { continue };
                    found.extend(books.past_order_by_key(&key)?);
                }
                found.push(order);
            }
        }
    }
    Ok(found)
}

impl Client {
    /// Puts a question to the engine and waits for its answer.
    pub async fn ask(&self, question: Request, deadline: Option<Instant>) -> Result<Answered, NoAnswer> {
        times::asked();
        let waiting = self.inbox.submit(question, deadline)?;
        let Ok(outcome) = waiting.await else {
            // The engine drops a request unanswered only when the journal failed, and the process is about to end.
            // Whether the record is on disk is unknown, so nothing may be said: a 503 would mean "no decision".
            return std::future::pending().await;
        };
        if let Ok(answered) = &outcome {
            times::answered(answered);
        }
        Self::answer(outcome)
    }

    /// Sets a merchant: at once, or where all nodes look first.
    pub async fn put_merchant(&self, merchant: Merchant) -> Result<Answered, NoAnswer> {
        let Some(door) = &self.merchants else { return self.ask(Request::PutMerchant(Box::new(merchant)), None).await };
        times::asked();
        let (reply, answer) = oneshot::channel();
        door.try_send(MerchantPut { merchant, reply }).map_err(|full| match full {
            TrySendError::Full(_) => NoAnswer::Busy,
            TrySendError::Disconnected(_) => NoAnswer::NotReady,
        })?;
        let answered = answer.await.unwrap_or(Err(NoAnswer::NotReady))?;
        times::answered(&answered);
        Ok(answered)
    }

    /// Puts a question of the office or about an order; where it reaches further back than memory, again with what the ledger keeps of its customer. A ledger that
    /// does not know all that memory knows of them is waited for, but not for long: nothing was done.
    pub async fn ask_in_depth(&self, question: impl Fn() -> Request) -> Result<Answered, NoAnswer> {
        let mut answered = self.ask(question(), None).await?;
        let deadline = Instant::now() + LEDGER_PATIENCE;
        let mut stopping = self.stopping();
        let mut is_read = false;
        while let Reply::AskStories(customer) = answered.reply {
            if is_read {
                if Instant::now() >= deadline || *stopping.borrow() {
                    return Err(NoAnswer::NotReady);
                }
                drop(tokio::time::timeout(LOOK_AGAIN, stopping.changed()).await);
            }
            let kept = self.ledger.kept(customer).await?;
            is_read = true;
            answered = self.ask(Request::Knowing { kept, question: Box::new(question()) }, None).await?;
        }
        Ok(answered)
    }

    /// What an outcome says; what was turned away is counted.
    pub fn answer(outcome: Outcome) -> Result<Answered, NoAnswer> {
        let answered = outcome?;
        match answered.reply {
            Reply::Full(full) => {
                Metrics::shed(full.label());
                Err(NoAnswer::Full(full))
            }
            Reply::TooLarge => Err(NoAnswer::TooLarge),
            _ => Ok(answered),
        }
    }

    /// Puts a question about an order to the engine; where memory can't tell, once more, with what the ledger has.
    pub async fn ask_on_order(&self, doing: OnOrder) -> Result<Answered, NoAnswer> {
        self.ask_knowing(doing, Past::NotAsked).await
    }

    /// As [`Client::ask_on_order`], by one who may have asked the ledger already.
    pub async fn ask_knowing(&self, doing: OnOrder, mut past: Past) -> Result<Answered, NoAnswer> {
        loop {
            let has_asked = past != Past::NotAsked;
            let question = || Request::OnOrder { doing: Box::new(doing.clone()), past: past.clone() };
            let answered = self.ask_in_depth(question).await?;
            match answered.reply {
                Reply::AskLedger if !has_asked => past = self.ledger.orders(doing.names()).await,
                // It could not tell, and nothing was done.
                Reply::AskLedger | Reply::Refused(Refusal::LedgerKnows) => return Err(NoAnswer::NotReady),
                _ => return Ok(answered),
            }
        }
    }

    /// What time it is for the service: the engine's, which does not go back where the wall clock does. What the engine
    /// stamped is judged, and shown, by no other. Only the signatures of requests are of their callers' clocks.
    pub fn now(&self) -> Millis {
        self.clock.now().max(self.board.time())
    }

    /// Turns true when the process stops: long polls and feeds end then.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends what waits, closes idle connections, and shows as not ready.
    pub fn begin_stop(&self) {
        self.readiness.set(Condition::NotDraining, false);
        self.stop.send_replace(true);
    }
}
