//! The next segment, made before it is needed.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk::Disk;
use super::segment;

/// The file of zeros that waits to become a segment.
pub(crate) const NEXT: &str = "next.tmp";
/// After a failure, most often a full disk, the background tries again this often.
const RETRY: Duration = Duration::from_secs(5);

/// How far the next segment is.
enum Slot<F> {
    Wanted,
    Ready(F),
    Failed(io::Error),
    /// Taken; the temporary name is still in use.
    Taken,
    Stop,
}

struct Shared<F> {
    slot: Mutex<Slot<F>>,
    changed: Condvar,
}

/// Prepares on a thread of its own, or on the caller's when a test wants every call in one order.
pub(crate) struct Preparer<D: Disk> {
    disk: D,
    /// Of each segment.
    pub(crate) size: u64,
    shared: Arc<Shared<D::File>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Disk> Preparer<D> {
    pub(crate) fn start(disk: D, size: u64, background: bool) -> io::Result<Self> {
        let shared = Arc::new(Shared { slot: Mutex::new(Slot::Wanted), changed: Condvar::new() });
        let mut this = Self { disk, size, shared, thread: None };
        if background {
            let shared = Arc::clone(&this.shared);
            let disk = this.disk.clone();
            let thread = std::thread::Builder::new().name("journal-prepare".to_owned());
            this.thread = Some(thread.spawn(move || work(&shared, &disk, size))?);
        }
        this.want();
        Ok(this)
    }

    /// Asks for the next one, once the last one taken has its name.
    pub(crate) fn want(&self) {
        *self.shared.slot.lock() = Slot::Wanted;
        self.work_inline();
        self.shared.changed.notify_all();
    }

    /// The next segment, waiting for it if need be. After a failure in the background it is tried once more,
    /// as space may have been freed since.
    pub(crate) fn take(&self) -> io::Result<D::File> {
        let mut slot = self.shared.slot.lock();
        if matches!(*slot, Slot::Failed(_)) {
            *slot = Slot::Wanted;
            drop(slot);
            self.work_inline();
            self.shared.changed.notify_all();
            slot = self.shared.slot.lock();
        }
        while matches!(*slot, Slot::Wanted) {
            self.shared.changed.wait(&mut slot);
        }
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Ready(file) => Ok(file),
            Slot::Failed(e) => Err(e),
            Slot::Wanted | Slot::Taken | Slot::Stop => Err(io::Error::other("no segment is being prepared")),
        }
    }

    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.shared.slot.lock(), Slot::Ready(_))
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &*self.shared.slot.lock() {
            Slot::Failed(e) => Some(e.to_string()),
            Slot::Wanted | Slot::Ready(_) | Slot::Taken | Slot::Stop => None,
        }
    }

    fn work_inline(&self) {
        if self.thread.is_none() {
            let made = segment::zeroed(&self.disk, NEXT, self.size);
            *self.shared.slot.lock() = made.map_or_else(Slot::Failed, Slot::Ready);
        }
    }
}

impl<D: Disk> Drop for Preparer<D> {
    fn drop(&mut self) {
        *self.shared.slot.lock() = Slot::Stop;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was reported by the panic hook; there is nothing left to do about it.
            thread.join().ok();
        }
    }
}

fn work<D: Disk>(shared: &Shared<D::File>, disk: &D, size: u64) {
    let mut slot = shared.slot.lock();
    loop {
        match &*slot {
            Slot::Stop => return,
            Slot::Ready(_) | Slot::Taken => shared.changed.wait(&mut slot),
            Slot::Failed(_) => {
                let waited = shared.changed.wait_for(&mut slot, RETRY);
                if waited.timed_out() && matches!(*slot, Slot::Failed(_)) {
                    *slot = Slot::Wanted;
                }
            }
            Slot::Wanted => {
                drop(slot);
                let made = segment::zeroed(disk, NEXT, size);
                slot = shared.slot.lock();
                if matches!(*slot, Slot::Wanted) {
                    *slot = made.map_or_else(Slot::Failed, Slot::Ready);
                }
                shared.changed.notify_all();
            }
        }
    }
}
