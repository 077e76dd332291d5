//! Records for the benches of the journals, of the same size in files and in a table.

#![allow(clippy::expect_used, reason = "a bench stops at the first surprise")]

use sokketsu::journal::Batch;

/// Bytes of a record's event.
pub const PAYLOAD: usize = 250;

pub fn batch_of(records: usize) -> Batch {
    let mut batch = Batch::default();
    for n in 0..records {
        let bytes = (0..PAYLOAD).map(|i| u8::try_from((n * 31 + i * 7) % 256).unwrap_or(0));
        let filled = batch.offer(1, |buf| {
            buf.extend(bytes);
            Ok(())
        });
        filled.expect("it is short");
    }
    batch
}
