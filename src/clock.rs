//! The only reader of the system clock, and the sandbox's clock that can be set.
//!
//! The sandbox's clock is the system's until it is first set; from then on it stands still until it is set again,
//! forward only, across restarts. Deadlines, pacing and long-polls use `std::time::Instant` instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use parking_lot::Mutex;

use crate::domain::model::time::Millis;
use crate::files;

/// In the data directory: the time that the sandbox's clock shows, RFC 3339.
pub const FILE: &str = "sandbox-clock";
/// May be in an otherwise empty data directory: the process that starts there has taken its lock.
const LOCK: &str = "LOCK";
/// No time that can be set: it would be before the year -9999.
const NOT_SET: i64 = i64::MIN;

/// What time it is. Cheap to clone; all clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Sandbox(Arc<Sandbox>),
}

#[derive(Debug)]
struct Sandbox {
    set_to: AtomicI64,
    file: PathBuf,
    /// Held while the clock is set, so that two callers can't take it back.
    setting: Mutex<()>,
}

/// Why a clock could not be opened or set.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("the clock can be set in a sandbox only")]
    NotASandbox,
    #[error("the clock moves forward only: it is {present}, so it can't be set to {asked}")]
    Backward { present: Millis, asked: Millis },
    #[error("the clock can't show such a time: years 0000 to 9999")]
    OutOfRange,
    #[error("--sandbox-start sets the clock of a new sandbox, but {} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} does not hold a time like 2026-11-23T17:45:01.000+09:00", .0.display())]
    Damaged(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl ClockError {
    /// The process's exit code when this happens at start.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotASandbox | Self::Backward { .. } | Self::OutOfRange | Self::NotEmpty(_) => 64,
            Self::Damaged(_) => 65,
            Self::Io { .. } => 74,
        }
    }
}

impl Clock {
    /// The clock of a service: the system's.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The clock of the sandbox in `data`, as it was left. `start` sets it at birth, in an empty directory only.
    pub fn sandbox(data: &Path, start: Option<Millis>) -> Result<Self, ClockError> {
        let sandbox = Sandbox { set_to: AtomicI64::new(NOT_SET), file: data.join(FILE), setting: Mutex::new(()) };
        if let Some(start) = start {
            fs::create_dir_all(data).map_err(failed(data))?;
            if !is_empty(data).map_err(failed(data))? {
                return Err(ClockError::NotEmpty(data.to_owned()));
            }
            sandbox.store(start)?;
        } else if let Some(left) = sandbox.read()? {
            sandbox.set_to.store(left.0, Ordering::Release);
        }
        Ok(Self(Source::Sandbox(Arc::new(sandbox))))
    }

    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => system_now(),
            Source::Sandbox(sandbox) => sandbox.now(),
        }
    }

    /// Sets the sandbox's clock, durably. From here on it stands still.
    pub fn set(&self, now: Millis) -> Result<(), ClockError> {
        let Source::Sandbox(sandbox) = &self.0 else { return Err(ClockError::NotASandbox) };
        let _alone = sandbox.setting.lock();
        let present = sandbox.now();
        if now < present {
            return Err(ClockError::Backward { present, asked: now });
        }
        sandbox.store(now)
    }
}

impl Sandbox {
    fn now(&self) -> Millis {
        match self.set_to.load(Ordering::Acquire) {
            NOT_SET => system_now(),
            set_to => Millis(set_to),
        }
    }

    /// On disk first: what was once shown is not taken back by a restart.
    fn store(&self, now: Millis) -> Result<(), ClockError> {
        let text = now.to_string();
        if Millis::parse(&text) != Some(now) {
            return Err(ClockError::OutOfRange);
        }
        files::replace(&self.file, format!("{text}\n").as_bytes()).map_err(failed(&self.file))?;
        self.set_to.store(now.0, Ordering::Release);
        Ok(())
    }

    fn read(&self) -> Result<Option<Millis>, ClockError> {
        match fs::read_to_string(&self.file) {
            Ok(text) => match Millis::parse(text.trim_end()) {
                Some(time) => Ok(Some(time)),
                None => Err(ClockError::Damaged(self.file.clone())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ClockError::Damaged(self.file.clone())),
            Err(error) => Err(failed(&self.file)(error)),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ClockError {
    move |source| ClockError::Io { path: path.to_owned(), source }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != LOCK {
            return Ok(false);
        }
    }
    Ok(true)
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn system_now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        Millis::parse(text).unwrap()
    }

    #[test]
    fn the_system_clock_runs_and_cannot_be_set() {
        let clock = Clock::system();
        assert!(clock.now() > at("2026-01-01T00:00:00+09:00"));
        assert!(matches!(clock.set(Millis(i64::MAX)), Err(ClockError::NotASandbox)));
    }

    #[test]
    fn the_sandbox_runs_until_it_is_set_then_stands_still() {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::sandbox(data.path(), None).unwrap();
        let before = Clock::system().now();
        assert!(clock.now() >= before && clock.now() <= Clock::system().now());
        let far = at("2099-12-31T23:59:59.999+09:00");
        clock.set(far).unwrap();
        assert_eq!((clock.now(), clock.clone().now()), (far, far));
        clock.set(far).unwrap();
        assert_eq!(Clock::sandbox(data.path(), None).unwrap().now(), far);
    }

    #[test]
    fn the_sandbox_moves_forward_only() {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::sandbox(data.path(), None).unwrap();
        let error = clock.set(at("2021-01-01T00:00:00+09:00")).unwrap_err();
        assert!(matches!(error, ClockError::Backward { .. }), "unset, the present is the system's");
        assert!(error.to_string().contains("2021-01-01T00:00:00.000+09:00"), "{error}");
        assert!(!data.path().join(FILE).exists());
        assert!(matches!(clock.set(Millis(i64::MAX)), Err(ClockError::OutOfRange)));
        let born = data.path().join("new");
        let clock = Clock::sandbox(&born, Some(at("2021-04-01T09:00:00+09:00"))).unwrap();
        let later = clock.now().plus(1);
        clock.set(later).unwrap();
        assert!(matches!(clock.set(later.plus(-1)), Err(ClockError::Backward { .. })));
        assert_eq!(clock.now(), later);
        assert_eq!(Clock::sandbox(&born, None).unwrap().now(), later);
    }

    #[test]
    fn a_start_is_for_an_empty_directory() {
        let data = tempfile::tempdir().unwrap();
        let start = Some(at("2021-04-01T09:00:00+09:00"));
        fs::write(data.path().join(LOCK), "").unwrap();
        assert_eq!(Some(Clock::sandbox(data.path(), start).unwrap().now()), start);
        let error = Clock::sandbox(data.path(), start).unwrap_err();
        assert!(matches!(error, ClockError::NotEmpty(_)), "{error}");
        assert_eq!(error.exit_code(), 64);
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_a_time() {
        let data = tempfile::tempdir().unwrap();
        for wrong in [&b""[..], b"yesterday", b"\xff"] {
            fs::write(data.path().join(FILE), wrong).unwrap();
            let error = Clock::sandbox(data.path(), None).unwrap_err();
            assert!(matches!(error, ClockError::Damaged(_)), "{error}");
        }
    }
}
