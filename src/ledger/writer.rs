//! The write-behind loop: tails the journal from the ledger's own position and posts it, chunk by chunk.
//! There is no queue: what is not posted yet is in the journal. The ledger may be away for as long as it likes;
//! decisions go on, the lag grows, and the writer tries again; so it does where the journal can't be read for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Checkpoint;
use super::write_loop::Loop;
use crate::domain::model::ids::Lsn;
use crate::journal::Follower;
use crate::ledger::write_loop::{Condition, Shared, State};

/// The lowest there is, on Linux for this thread alone: posting comes in bursts, and while the cores are full it may
/// wait. It drains some 200,000 records a second once there is room.
const NICE: i32 = 19;
/// How long a dropped writer waits for its thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// The writer's thread. Dropping it stops the thread after its present chunk, or leaves it behind if it hangs.
pub struct Writer {
    shared: Arc<Shared>,
    /// And a channel that is closed when the thread has done its last.
    thread: Mutex<Option<(JoinHandle<()>, Receiver<()>)>>,
}

impl Writer {
    /// Starts posting, at most `chunk` records a transaction: a page that many of them change is then written once,
    /// and 20,000 still take no more than a tenth of a second. `posted` is set to the last record posted, whenever it
    /// moves.
    pub fn start(
        ledger: Box<dyn Checkpoint>,
        journal: Follower,
        posted: Arc<AtomicU64>,
        chunk: usize,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            posted,
            secured: AtomicU64::new(0),
            state: Mutex::new(State { condition: Condition::Working, stop: false, waiting: 0, is_asked: false }),
            wake: Condvar::new(),
            moved: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let (alive, ended) = std::sync::mpsc::channel();
        let run = move || {
            // It may wait for a core, an authorization may not. A refusal changes nothing but tail latency.
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "the ledger's thread keeps its priority");
            }
            Loop { ledger, journal, shared: theirs, position: Lsn::ZERO, chunk, secured: Lsn::ZERO, tried: None }.run();
            drop::<Sender<()>>(alive);
        };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Mutex::new(Some((thread, ended))) })
    }

    /// Last record posted.
    pub fn posted(&self) -> Lsn {
        Lsn(self.shared.posted.load(Ordering::Acquire))
    }

    /// Last record that the ledger has for good: no power cut takes it back. Behind [`Self::posted`] by a minute or so.
    pub fn secured(&self) -> Lsn {
        Lsn(self.shared.secured.load(Ordering::Acquire))
    }

    pub fn condition(&self) -> Condition {
        self.shared.state.lock().condition.clone()
    }

    /// Waits until record `until` is posted; `false` if it is not by the deadline or the writer has stopped.
    pub fn drain(&self, until: Lsn, deadline: Instant) -> bool {
        let mut state = self.shared.state.lock();
        state.waiting += 1;
        state.is_asked = true;
        self.shared.wake.notify_one();
        while self.posted() < until {
            let ended = matches!(state.condition, Condition::Failed { .. } | Condition::Stopped);
            if ended || self.shared.moved.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.waiting -= 1;
        self.posted() >= until
    }

    /// Stops after the present chunk; what is not posted stays in the journal. A thread that hangs in the ledger is left
    /// behind at the deadline: the end of the process takes it along, and what it had not committed is posted at the next
    /// start. Whether the thread has ended.
    pub fn stop_by(&self, deadline: Instant) -> bool {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_one();
        let Some((thread, ended)) = self.thread.lock().take() else { return true };
        let left = deadline.saturating_duration_since(Instant::now());
        if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            return false;
        }
        if thread.join().is_err() {
            self.shared.set(Condition::Failed { error: "the writer panicked".to_owned() });
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop_by(Instant::now() + PATIENCE);
    }
}
