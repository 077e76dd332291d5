//! What leaves the service while its journal may be somebody else's, or is in doubt.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::inbox::Inbox;
use super::outlet::Outcome;
use super::owner::Owner;
use super::queues::{Bounds, queues};
use super::serve::serve;
use super::{Engine, Sync};
use crate::clock::Clock;
use crate::domain::commands::request::Request;
use crate::domain::model::ids::{CustomerId, MerchantId};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::settings::Settings;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::journal::{Batch, Journal, JournalError, Lease, Lsn};

const LONG: Duration = Duration::from_secs(3_600);

/// A journal that says what it is told to; by itself it does all.
#[derive(Clone)]
struct Told {
    lease: Lease,
    /// What the next syncs say.
    syncs: Arc<Mutex<Vec<JournalError>>>,
    last: Arc<Mutex<u64>>,
    was_left: Arc<Mutex<bool>>,
}

impl Journal for Told {
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        let mut last = self.last.lock();
        *last += batch.len() as u64;
        Ok(Lsn(*last))
    }
    fn sync(&mut self) -> Result<(), JournalError> {
        self.syncs.lock().pop().map_or(Ok(()), Err)
    }
    fn room(&self) -> Result<(), String> {
        Ok(())
    }
    fn lease(&self) -> Lease {
        self.lease.clone()
    }
    fn leave(&mut self) -> Result<(), JournalError> {
        *self.was_left.lock() = true;
        Ok(())
    }
}

struct Service {
    journal: Told,
    inbox: Inbox,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Owner, JournalError>>,
}

fn start() -> Service {
    let lease = Lease::new();
    lease.extend(lease.now() + LONG);
    let journal = Told { lease, syncs: Arc::default(), last: Arc::default(), was_left: Arc::default() };
    let state = State::new(Settings::default());
    let mut engine =
        Engine::new(state, Box::new(journal.clone()), Sync::BeforeAnswer, [1; 32], Arc::default(), Arc::default());
    let text = include_str!("../../config/policy.toml").into();
    engine.begin(Clock::system().now());
    engine.record(&Event::PolicySet { version: 1, text }).unwrap();
    engine.commit().unwrap();
    let bounds = Bounds { normal: 9, urgent: 9, batch: 4, target: Duration::from_millis(50) };
    let (inbox, queues) = queues(bounds, Duration::ZERO);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(engine, queues, Clock::system(), |_| (), async { drop(stopped.await) }));
    Service { journal, inbox, stop, task }
}

impl Service {
    /// A request that records something, or one that only reads.
    fn ask(&self, records: bool) -> oneshot::Receiver<Outcome> {
        let request = if records {
            let (id, limits) = (MerchantId::new("shop").unwrap(), MerchantLimits::default());
            // Another each time, or nothing would be recorded.
            let mcc = 5_000 + u16::try_from(*self.journal.last.lock()).unwrap();
            let status = MerchantStatus::Active;
            Request::PutMerchant(Box::new(Merchant { id, name: "shop".into(), mcc, status, limits }))
        } else {
            Request::FindCustomer(CustomerId::new("1001").unwrap())
        };
        self.inbox.submit(request, None).unwrap()
    }
}

/// Long enough for an answer, were there one.
async fn is_silent(answer: &mut oneshot::Receiver<Outcome>) -> bool {
    tokio::time::timeout(Duration::from_millis(400), answer).await.is_err()
}

#[tokio::test]
async fn no_answer_and_no_read_leaves_without_the_lease_and_all_leave_with_it_in_order() {
    let service = start();
    service.ask(true).await.unwrap().unwrap();
    service.journal.lease.end();
    let (mut read, mut write, mut again) = (service.ask(false), service.ask(true), service.ask(false));
    assert!(is_silent(&mut read).await && is_silent(&mut write).await && is_silent(&mut again).await);
    assert_eq!(*service.journal.last.lock(), 3, "the record is durable all the same");
    service.journal.lease.extend(service.journal.lease.now() + LONG);
    for answer in [read, write, again] {
        tokio::time::timeout(Duration::from_secs(5), answer).await.unwrap().unwrap().unwrap();
    }
    drop(service.stop);
    service.task.await.unwrap().unwrap();
    assert!(*service.journal.was_left.lock(), "the next owner need not wait");
}

#[tokio::test]
async fn in_doubt_nothing_is_answered_until_it_is_known_and_a_replaced_owner_answers_nobody() {
    let service = start();
    *service.journal.syncs.lock() = (0..3).map(|n| JournalError::Doubt(n.to_string())).collect();
    service.ask(true).await.unwrap().unwrap();
    assert!(service.journal.syncs.lock().is_empty(), "it was asked until it knew");
    *service.journal.syncs.lock() = vec![JournalError::Fenced("n2".to_owned())];
    let answer = service.ask(true);
    let ended = service.task.await.unwrap();
    assert!(matches!(ended.err(), Some(JournalError::Fenced(by)) if by == "n2"));
    assert!(answer.await.is_err(), "closed without an answer");
    assert!(!*service.journal.was_left.lock());
}
