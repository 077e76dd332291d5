//! Where a page of a list ended, as text that callers hand back and do not read: a form, the journal and the record, or the
//! journal and the id.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::problem::Problem;
use super::query::Query;
use crate::domain::model::ids::Lsn;
use crate::ledger::lists::{Page, Position};

/// The first byte; another form would have another one.
const OF_RECORDS: u8 = 1;
const OF_IDS: u8 = 2;

/// The parameter's name.
pub(crate) const CURSOR: &str = "cursor";
/// Rows of one answer when nothing is said, and at most.
const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 100;

pub(crate) fn limit(query: &Query<'_>) -> Result<usize, Problem> {
    let limit = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    usize::try_from(limit).map_err(|_| Problem::internal())
}

fn wrong() -> Problem {
    Problem::parameter(CURSOR, "is none of this list. Take `end.cursor` of the page before as it is, or leave it out")
}

/// What stands behind the form: the journal, and the place in it.
fn read(query: &Query<'_>, form: u8) -> Result<Option<(i16, Vec<u8>)>, Problem> {
    let Some(text) = query.text(CURSOR) else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    match bytes.as_slice() {
        [first, high, low, place @ ..] if *first == form => {
            Ok(Some((i16::from_be_bytes([*high, *low]), place.to_vec())))
        }
        _ => Err(wrong()),
    }
}

fn write(form: u8, stream: i16, place: &[u8]) -> String {
    let mut bytes = vec![form];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(place);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Of which journal a cursor is: a page of another one would not go on where it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(Option<i16>);

impl Stream {
    pub(crate) fn check(self, position: Position) -> Result<(), Problem> {
        if self.0.is_none_or(|stream| stream == position.stream) { Ok(()) } else { Err(wrong()) }
    }
}

pub(crate) fn record(query: &Query<'_>) -> Result<(Stream, Option<Lsn>), Problem> {
    let Some((stream, place)) = read(query, OF_RECORDS)? else { return Ok((Stream(None), None)) };
    let lsn = place.try_into().map(u64::from_be_bytes).ok().filter(|lsn| *lsn <= u64::MAX >> 1);
    Ok((Stream(Some(stream)), Some(Lsn(lsn.ok_or_else(wrong)?))))
}

pub(crate) fn id<T>(query: &Query<'_>, make: impl Fn(&str) -> Option<T>) -> Result<(Stream, Option<T>), Problem> {
    let Some((stream, place)) = read(query, OF_IDS)? else { return Ok((Stream(None), None)) };
    let id = std::str::from_utf8(&place).ok().and_then(make);
    Ok((Stream(Some(stream)), Some(id.ok_or_else(wrong)?)))
}

/// Where the page ended.
#[derive(Serialize)]
pub(crate) struct End {
    /// For the next page; null where the list ends.
    cursor: Option<String>,
    more: bool,
    /// Fewer rows than were asked for, because as many were looked at as may be; the next page goes on.
    incomplete: bool,
}

impl End {
    fn of<T, C>(page: &Page<T, C>, limit: usize, cursor: impl Fn(&C) -> String) -> Self {
        let more = page.next.is_some();
        Self { cursor: page.next.as_ref().map(cursor), more, incomplete: more && page.rows.len() < limit }
    }

    pub(crate) fn of_records<T>(page: &Page<T, Lsn>, limit: usize) -> Self {
        Self::of(page, limit, |lsn| write(OF_RECORDS, page.position.stream, &lsn.0.to_be_bytes()))
    }

    pub(crate) fn of_ids<T, C: Display>(page: &Page<T, C>, limit: usize) -> Self {
        Self::of(page, limit, |id| write(OF_IDS, page.position.stream, id.to_string().as_bytes()))
    }
}

/// Up to which record of which journal the page knows all.
#[derive(Serialize)]
pub(crate) struct PositionShown {
    stream: i16,
    lsn: u64,
}

impl From<Position> for PositionShown {
    fn from(position: Position) -> Self {
        Self { stream: position.stream, lsn: position.lsn.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ids::CustomerId;

    fn page<C>(next: Option<C>) -> Page<u8, C> {
        Page { rows: vec![1], next, position: Position { stream: 3, lsn: Lsn(9) } }
    }

    fn query(text: &str) -> String {
        format!("cursor={text}")
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let end = End::of_records(&page(Some(Lsn(1 << 40))), 1);
        assert!(end.more && !end.incomplete);
        let text = query(&end.cursor.unwrap());
        let read = Query::read(Some(&text), &[CURSOR]).unwrap();
        let (stream, before) = record(&read).unwrap();
        assert_eq!(before, Some(Lsn(1 << 40)));
        assert!(stream.check(Position { stream: 3, lsn: Lsn(1) }).is_ok());
        assert_eq!(stream.check(Position::default()).unwrap_err().status(), 422, "another journal's");
        assert!(id(&read, |text| CustomerId::new(text).ok()).is_err(), "another list's");

        let end = End::of_ids(&page(Some(CustomerId::new("c-1").unwrap())), 2);
        assert!(end.more && end.incomplete);
        let text = query(&end.cursor.unwrap());
        let read = Query::read(Some(&text), &[CURSOR]).unwrap();
        assert_eq!(id(&read, |text| CustomerId::new(text).ok()).unwrap().1, CustomerId::new("c-1").ok());
        assert!(record(&read).is_err());
        let last = End::of_ids(&page::<CustomerId>(None), 2);
        assert!(last.cursor.is_none() && !last.more && !last.incomplete);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for wrong in ["", "x", "1042", "AQAA", "AQAA_____________w", "AQAAAAAAAAAAAAAAAA", "%20"] {
            let text = query(wrong);
            let problem = record(&Query::read(Some(&text), &[CURSOR]).unwrap()).unwrap_err();
            assert_eq!((problem.status(), problem.reason()), (422, "invalid_field"), "{wrong}");
            assert!(problem.detail().contains("`cursor`"), "{}", problem.detail());
        }
    }
}
