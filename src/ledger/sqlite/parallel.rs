//! Reading a ledger with several connections, all at one position: decoding rows is most of the work of a start.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use rusqlite::Connection;

use super::{open_reader, position};
use crate::ledger::LedgerError;

/// As many as the cores of the smallest machine. Each decodes about as fast as the state takes rows in.
const READERS: usize = 2;
/// Tries to have all readers at one position; a writer moves it twice a second, a try takes milliseconds.
const TRIES: usize = 20;
/// Blocks that a reader may be ahead.
const AHEAD: usize = 2;

/// Connections that see the same ledger, whatever a writer does meanwhile.
pub(crate) struct Readers(Vec<Connection>);

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        for _ in 0..TRIES {
            let readers = (0..READERS).map(|_| Self::begin(path)).collect::<Result<Vec<_>, _>>()?;
            let positions = readers.iter().map(position).collect::<Result<Vec<_>, _>>()?;
            if positions.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(Self(readers));
            }
        }
        Err(LedgerError::Busy("it changes faster than it can be read at one position".to_owned()))
    }

    /// The transaction's first read, that of the position, fixes what it sees.
    fn begin(path: &Path) -> Result<Connection, LedgerError> {
        let db = open_reader(path)?;
        db.execute_batch("BEGIN")?;
        position(&db)?;
        Ok(db)
    }

    /// For what is not worth dividing.
    pub(crate) fn one(&self) -> Result<&Connection, LedgerError> {
        self.0.first().ok_or_else(|| LedgerError::Io("no reader is open".to_owned()))
    }

    /// Reads the numbers of `whole` in blocks of `size`, the readers in turns, and hands them to `take` in order.
    pub(crate) fn in_blocks<B: Send>(
        &mut self,
        whole: Range<i64>,
        size: i64,
        read: impl Fn(&Connection, i64, i64) -> Result<B, LedgerError> + Sync,
        mut take: impl FnMut(B),
    ) -> Result<(), LedgerError> {
        let blocks: Vec<i64> = (whole.start..whole.end).step_by(usize::try_from(size).unwrap_or(1)).collect();
        let count = self.0.len();
        let read = &read;
        std::thread::scope(|scope| {
            let mut receivers = Vec::with_capacity(count);
            for (n, db) in self.0.iter_mut().enumerate() {
                let (sender, receiver) = sync_channel(AHEAD);
                receivers.push(receiver);
                let mine: Vec<i64> = blocks.iter().copied().skip(n).step_by(count).collect();
                scope.spawn(move || {
                    for start in mine {
                        let rows = read(db, start, (start + size).min(whole.end));
                        // Nobody takes any more after an error.
                        if sender.send(rows).is_err() {
                            return;
                        }
                    }
                });
            }
            for (block, _) in blocks.iter().enumerate() {
                let Some(receiver) = receivers.get(block % count) else { break };
                take(receiver.recv().map_err(|_| LedgerError::Io("a reader has gone".to_owned()))??);
            }
            Ok(())
        })
    }
}
