//! The end: heard on a thread of its own, so that no slow disk, no locked ledger and no busy engine can keep the process
//! alive longer than the contract says, and a second signal works until the last moment.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{ServeError, system};
use crate::engine::readiness::{Condition, Readiness};
use crate::journal::{Alarm, JournalError};

/// From the first signal to the end of the process, whatever happens. The contract gives 5 s, and the kernel needs some of
/// it: a write of the ledger that is under way is waited for, and memory is given back.
const AT_MOST: Duration = Duration::from_millis(4_500);
/// A log that nobody reads may block; the end does not wait longer for it.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Tells of the first signal.
#[derive(Clone)]
pub(crate) struct Stop(Arc<Shared>);

struct Shared {
    /// The moment of the first signal.
    begun: watch::Sender<Option<Instant>>,
    /// The engine's, once there is one: the calendar adds nothing more then.
    engine: Mutex<Option<Arc<AtomicBool>>>,
    /// It was no signal: the process goes on as another one.
    is_handing_over: AtomicBool,
}

impl Shared {
    /// Whether there is somebody to be answered, who hears of it.
    fn begin(&self) -> bool {
        let engine = self.engine.lock();
        let Some(engine) = engine.as_ref() else { return false };
        engine.store(true, Ordering::Relaxed);
        self.begun.send_if_modified(|begun| begun.is_none() && begun.replace(Instant::now()).is_none());
        true
    }
}

impl Stop {
    /// Hears SIGTERM and SIGINT from now on. Until [`Self::serving`] there is nobody to be answered, so a signal ends
    /// the process at once; recovery may be cut short anywhere and begins anew at the next start.
    pub fn listen() -> Result<Self, ServeError> {
        let shared = Arc::new(Shared {
            begun: watch::Sender::new(None),
            engine: Mutex::new(None),
            is_handing_over: AtomicBool::new(false),
        });
        let runtime = Builder::new_current_thread().enable_all().build().map_err(system("listen for signals"))?;
        let signals = {
            let _inside = runtime.enter();
            let of = |kind| signal(kind).map_err(system("listen for signals"));
            Signals { term: of(SignalKind::terminate())?, int: of(SignalKind::interrupt())? }
        };
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let hear = move || runtime.block_on(hear(signals, &theirs));
        thread.spawn(hear).map_err(system("listen for signals"))?;
        Ok(Self(shared))
    }

    /// From now on the first signal is the service's to answer. `engine` turns true with it.
    pub fn serving(&self, engine: &Arc<AtomicBool>) {
        *self.0.engine.lock() = Some(Arc::clone(engine));
    }

    /// As a signal does, but for the end: the process begins anew, for another node is to have the journal.
    pub fn hand_over(&self) {
        self.0.is_handing_over.store(true, Ordering::Relaxed);
        self.0.begin();
    }

    pub fn is_handing_over(&self) -> bool {
        self.0.is_handing_over.load(Ordering::Relaxed)
    }

    /// Ends with the first signal; gives its moment.
    pub async fn begun(&self) -> Instant {
        let mut begun = self.0.begun.subscribe();
        loop {
            if let Some(at) = *begun.borrow_and_update() {
                return at;
            }
            if begun.changed().await.is_err() {
                return Instant::now();
            }
        }
    }
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! { _ = self.term.recv() => (), _ = self.int.recv() => () }
    }
}

async fn hear(mut signals: Signals, shared: &Shared) {
    signals.next().await;
    shared.is_handing_over.store(false, Ordering::Relaxed);
    if !shared.begin() {
        leave(0, || tracing::info!("a signal before the service was up: stopping at once"))
    }
    tokio::select! {
        () = signals.next() => leave(0, || tracing::warn!("second signal: stopping at once")),
        () = tokio::time::sleep(AT_MOST) => leave(0, || tracing::warn!("the time for a stop is over: leaving the rest")),
    }
}

/// As for a journal that is damaged at a start.
const DAMAGED: i32 = 65;

/// What whoever finds damage in the live journal does: nothing new is taken from this moment on, what is under way is not
/// answered, and the process ends. `posted` is the ledger's position, `is_halted` the engine's.
pub(crate) fn on_damage(posted: &Arc<AtomicU64>, readiness: &Arc<Readiness>, is_halted: &Arc<AtomicBool>) -> Alarm {
    let (readiness, is_halted) = (Arc::clone(readiness), Arc::clone(is_halted));
    let stop = move |error: &JournalError| {
        is_halted.store(true, Ordering::Relaxed);
        readiness.set(Condition::JournalSound, false);
        let error = error.to_string();
        leave(DAMAGED, move || tracing::error!(error, "the journal is damaged; stopping"))
    };
    Alarm::new(posted, Arc::new(stop))
}

/// The same process from its beginning: whoever is connected hears nothing, and the state is read again from what is durable.
pub(crate) fn begin_anew(why: &str) -> ! {
    tracing::warn!(why, "beginning anew");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // The very file that runs, also where a newer one has taken its place.
    let error = Command::new("/proc/self/exe").arg0(name).args(arguments).exec();
    leave(74, move || tracing::error!(%error, "could not begin anew; stopping"))
}

/// Ends the process, which loses nothing: what was answered is on disk.
pub(crate) fn leave(code: i32, say: impl FnOnce() + Send + 'static) -> ! {
    let (said, heard) = std::sync::mpsc::channel();
    let speak = move || {
        say();
        // Whether somebody still waits does not matter.
        said.send(()).ok();
    };
    if std::thread::Builder::new().spawn(speak).is_ok() {
        heard.recv_timeout(LAST_WORDS).ok();
    }
    std::process::exit(code)
}
