//! `sokketsu cluster move`: the journal out of files into the database, or back; and what is to be done then.

use super::super::serve::ServeError;
use super::super::serve::backends::{self, Moved};
use crate::config::Records;
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;

/// Records between two lines about them.
const TELL_EVERY: u64 = 100_000;

/// Says now and then how far it is.
fn telling(say: &mut dyn FnMut(String)) -> impl FnMut(&str, Lsn, Lsn) {
    move |what, at, of| {
        if at.0.is_multiple_of(TELL_EVERY) || at == of {
            say(format!("{what} record {at} of {of}"));
        }
    }
}

/// Into the table; says what was moved, and what to do now.
pub fn to_database(records: &Records, say: &mut dyn FnMut(String)) -> Result<String, ServeError> {
    let (moved, server) = backends::move_in(records, &mut telling(say))?;
    let mut text = summary(&moved, &format!("{} into {server}", records.data.join("journal").display()));
    if moved.torn_bytes > 0 {
        text += &format!("\n{} bytes of a tail that was never answered stayed behind", moved.torn_bytes);
    }
    text += &format!(
        "\nthe files are in {} now, and are not read any more\nnow: start each node with `journal.url` and `journal.node`; its ledger in the \
         same database is posted from the journal, and {} is of no use any more",
        moved.folder.display(),
        records.data.join("ledger.db").display(),
    );
    Ok(text)
}

/// Into files; says what was moved, and what to do now.
pub fn to_files(records: &Records, now: Millis, say: &mut dyn FnMut(String)) -> Result<String, ServeError> {
    let (moved, server) = backends::move_out(records, now, &mut telling(say))?;
    let text = summary(&moved, &format!("{server} into {}", moved.folder.display()));
    Ok(format!(
        "{text}\nthe table keeps its copy, and no node can own it again\nnow: take `journal.url` and `journal.node` out of the configuration, and \
         start one node with this data folder; without `ledger.url` a new ledger is posted from the journal into {}, and with it into that \
         server's database",
        records.data.join("ledger.db").display(),
    ))
}

fn summary(moved: &Moved, ways: &str) -> String {
    let counted = moved.counted;
    let were = if moved.was_there { "were moved before" } else { "are moved" };
    format!(
        "records {} to {} ({} of them, {} bytes) {were} from {ways}, compared byte by byte",
        counted.first, counted.last, counted.records, counted.bytes
    )
}
