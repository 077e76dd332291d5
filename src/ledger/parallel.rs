//! Reading a ledger with several connections, all at one position: decoding rows is most of the work of a start.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use super::LedgerError;

/// Blocks that a reader may be ahead.
const AHEAD: usize = 2;

/// Connections that see the same ledger, whatever a writer does meanwhile.
pub(crate) struct Readers<C>(pub Vec<C>);

impl<C: Send> Readers<C> {
    /// For what is not worth dividing.
    pub(crate) fn one(&mut self) -> Result<&mut C, LedgerError> {
        self.0.first_mut().ok_or_else(|| LedgerError::Io("no reader is open".to_owned()))
    }

    /// Reads the numbers of `whole` in blocks of `size`, the readers in turns, and hands them to `take` in order.
    pub(crate) fn in_blocks<B: Send>(
        &mut self,
        whole: Range<i64>,
        size: i64,
        read: impl Fn(&mut C, i64, i64) -> Result<B, LedgerError> + Sync,
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
