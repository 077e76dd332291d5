//! What a node keeps of its database between two starts, in its data folder. A database that has less was restored from a copy of
//! before, or is another one; what was answered since would be decided again.

use std::fs;
use std::io;
use std::path::Path;

use super::table::Seen;
use crate::files;
use crate::hex;
use crate::journal::Link;
use crate::journal::{JournalError, Lsn};

pub(crate) const NAME: &str = "CLUSTER";

/// One line: cluster, timeline, epoch, record, link.
pub(super) fn write(path: &Path, seen: &Seen) -> io::Result<()> {
    let Seen { cluster, timeline, epoch, last, link } = seen;
    files::replace(path, format!("{cluster} {timeline} {epoch} {last} {}\n", hex::encode(&link.0).as_str()).as_bytes())
}

/// Nothing was seen yet where there is no file.
pub(crate) fn read(path: &Path) -> Result<Seen, JournalError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).ok_or_else(|| JournalError::Damaged {
            record: Lsn::ZERO,
            cause: format!("{} can't be read: it says what this node has seen of its database", path.display()).into(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::default()),
        Err(error) => Err(JournalError::failed("read what was seen of the database")(error)),
    }
}

fn parse(text: &str) -> Option<Seen> {
    let mut words = text.split_whitespace();
    let mut word = || words.next();
    let cluster = word()?.to_owned();
    let (timeline, epoch) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let (last, link) = (Lsn(word()?.parse().ok()?), word()?);
    let link = Link(hex::decode_any(link)?.as_slice().try_into().ok()?);
    Some(Seen { cluster, timeline, epoch, last, link })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_comes_back_and_a_file_that_means_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(read(&path).unwrap(), Seen::default());
        let seen = Seen { cluster: "9b1d".to_owned(), timeline: 3, epoch: 17, last: Lsn(99), link: Link([0xa5; 16]) };
        write(&path, &seen).unwrap();
        assert_eq!(read(&path).unwrap(), seen);
        fs::write(&path, "9b1d 3 17 99 a5\n").unwrap();
        assert!(matches!(read(&path), Err(JournalError::Damaged { .. })));
    }
}
