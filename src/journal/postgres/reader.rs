//! Reads records in order out of the table, beside the writer or at rest, and verifies each as it goes.

use std::collections::VecDeque;
use std::fmt;

use parking_lot::Mutex;

use super::End;
use super::table::{Database, Fault, Row, Session, Stream};
use crate::journal::cursor::Cursor;
use crate::journal::record::{self, Parsed};
use crate::journal::{Durable, Examined, JournalError, JournalReader, Lsn, Record};

/// A journal in the table, read from wherever one is asked for; see [`JournalReader`].
pub(crate) struct TableReader<D: Database> {
    /// Shared with [`TableReader::behind`], which asks too.
    asked: Mutex<Asked<D>>,
    stream: Stream,
    /// None until a journal at rest was examined.
    durable: Option<Durable>,
    /// The record asked for or read last, and the place behind it.
    at: Option<(Lsn, Place)>,
    /// After the record given last, also where the place was lost: what is given next has to follow from it.
    given: Option<Cursor>,
}

struct Asked<D: Database> {
    database: D,
    session: Option<D::Session>,
}

impl<D: Database> Asked<D> {
    /// Rows from the one that holds the record on. A session that failed is given up; the next question makes another.
    fn holding(&mut self, stream: Stream, record: Lsn) -> Result<Vec<Row>, JournalError> {
        self.ask(|session| session.holding(stream, record))
    }

    fn ask<T>(&mut self, question: impl FnOnce(&mut D::Session) -> Result<T, Fault>) -> Result<T, JournalError> {
        let answer = match self.session.take() {
            Some(session) => Ok(session),
            None => self.database.connect(0).map(|(session, _)| session),
        };
        let answer = answer.and_then(|mut session| Ok((question(&mut session)?, session)));
        let failed = |fault: Fault| JournalError::failed("read records")(fault.why());
        let (answer, session) = answer.map_err(failed)?;
        self.session = Some(session);
        Ok(answer)
    }
}

impl<D: Database> TableReader<D> {
    /// Beside a live writer give its [`Durable`]; without one the journal is at rest.
    pub fn new(database: D, stream: Stream, durable: Option<Durable>) -> Self {
        Self { asked: Mutex::new(Asked { database, session: None }), stream, durable, at: None, given: None }
    }

    /// The record given last, as the table had it; none where none was.
    pub fn end(&self) -> Option<End> {
        self.given.map(|given| End { last: given.last(), link: given.link })
    }

    /// The rows from the one that holds the next record on, and the cursor before the first of their records.
    fn seek(&mut self, after: Lsn) -> Result<Option<Place>, JournalError> {
        let wanted = after.next();
        let rows = self.asked.get_mut().holding(self.stream, wanted)?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.first > wanted {
            return Err(JournalError::Released { wanted, first: row.first });
        }
        let Parsed::Good(view) = record::parse(&row.body) else { return Err(damaged(row, row.first, &"is damaged")) };
        // The first of them is taken for what it says where the one before it is not known; what comes after it has to follow.
        let said = Cursor { next: row.first, link: view.meta.prev, last_time: view.meta.time_ms };
        let cursor = self.given.filter(|given| given.next == row.first).unwrap_or(said);
        Ok(Some(Place { cursor, rows: rows.into(), offset: 0 }))
    }

    fn read_on(&mut self, place: &mut Place) -> Result<bool, JournalError> {
        let rows = self.asked.get_mut().holding(self.stream, place.cursor.next)?;
        // The last row read is among them as long as there is no later one.
        let later = rows.into_iter().filter(|row| row.first >= place.cursor.next);
        (place.rows, place.offset) = (later.collect(), 0);
        Ok(!place.rows.is_empty())
    }
}

impl<D: Database> JournalReader for TableReader<D> {
    /// After an error the place is sought anew. A failover may have put another record in the place of the one given last: that
    /// is damage.
    fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
        let visible = self.durable.as_ref().map(Durable::get);
        if visible.is_some_and(|last| after >= last) {
            return Ok(false);
        }
        let mut place = match self.at.take() {
            Some((at, place)) if at == after => place,
            _ => match self.seek(after)? {
                Some(place) => place,
                None => return Ok(false),
            },
        };
        let is_found = loop {
            // A row may be seen before its owner knows that it stays.
            if visible.is_some_and(|last| place.cursor.next > last) {
                break false;
            }
            if place.step(out)? {
                if out.lsn > after {
                    break true;
                }
                let is_another = |given: Cursor| given.next == place.cursor.next && given.link != place.cursor.link;
                if let Some(row) = place.rows.front()
                    && self.given.is_some_and(is_another)
                {
                    return Err(damaged(row, out.lsn, &"has another record in the place of one that was read"));
                }
            } else if !self.read_on(&mut place)? {
                break false;
            }
        };
        if is_found {
            self.given = Some(place.cursor);
        }
        self.at = Some((if is_found { out.lsn } else { after }, place));
        Ok(is_found)
    }

    fn last(&self) -> Lsn {
        self.durable.as_ref().map_or(Lsn::ZERO, Durable::get)
    }

    fn examine(&mut self, posted: Lsn) -> Result<Examined, JournalError> {
        self.durable = None;
        (self.at, self.given) = (None, None);
        let rows = self.asked.get_mut().holding(self.stream, Lsn(1))?;
        let first = rows.first().map_or(Lsn(1), |row| row.first);
        if posted.next() < first {
            return Err(JournalError::Released { wanted: posted.next(), first });
        }
        let (mut last, mut epoch, mut batches) = (Lsn(first.0 - 1), 0, 0_u64);
        let mut record = Record::default();
        let mut row = None;
        while self.next(last, &mut record)? {
            last = record.lsn;
            let Some((_, place)) = &self.at else { break };
            let Some(now) = place.rows.front() else { break };
            if row.replace(now.batch) != Some(now.batch) {
                if now.epoch < epoch {
                    return Err(damaged(now, now.first, &"is of an older epoch than the one before it"));
                }
                (epoch, batches) = (now.epoch, batches + 1);
            }
        }
        if last < posted {
            let text =
                format!("the journal's table ends with record {last}, and the ledger has records up to {posted}");
            return Err(JournalError::Damaged { record: last.next(), cause: text.into() });
        }
        self.durable = Some(Durable::fixed(last));
        (self.at, self.given) = (None, None);
        Ok(Examined { first, last, kept_in: format!("{batches} batches"), torn_bytes: 0 })
    }

    fn unreadable(&self, problem: &dyn fmt::Display) -> JournalError {
        let spot = self.at.as_ref().and_then(|(lsn, place)| Some((*lsn, place.rows.front()?.batch)));
        let (record, batch) = spot.unwrap_or_default();
        let what =
            format!("batch {batch} of the journal's table is damaged, record {record}: it is intact but {problem}");
        JournalError::Damaged { record, cause: what.into() }
    }

    /// A start reads the batch that holds the ledger's position, and all after it.
    fn is_needed(&self, record: Lsn, posted: Lsn) -> bool {
        if record > posted {
            return true;
        }
        let rows = self.asked.lock().holding(self.stream, posted).ok();
        rows.and_then(|rows| Some(record >= rows.first()?.first)).unwrap_or(false)
    }

    fn behind(&self, record: Lsn) -> Option<Lsn> {
        let rows = self.asked.lock().holding(self.stream, record).ok()?;
        rows.iter().map(|row| row.first).find(|&first| first > record)
    }

    fn another(&self) -> Box<dyn JournalReader> {
        let database = self.asked.lock().database.another();
        Box::new(Self::new(database, self.stream, self.durable.clone()))
    }
}

fn damaged(row: &Row, record: Lsn, what: &dyn fmt::Display) -> JournalError {
    let text = format!("batch {} of the journal's table {what} (record {record})", row.batch);
    JournalError::Damaged { record, cause: text.into() }
}

/// Where in which row.
struct Place {
    /// Before the next record.
    cursor: Cursor,
    /// The first is the one being read.
    rows: VecDeque<Row>,
    offset: usize,
}

impl Place {
    /// The next record of the rows at hand; false at their end, where the last one stays.
    fn step(&mut self, out: &mut Record) -> Result<bool, JournalError> {
        while let Some(row) = self.rows.front() {
            let rest = row.body.get(self.offset..).unwrap_or_default();
            if rest.is_empty() {
                let expected = Lsn(row.first.0 + u64::from(row.count.unsigned_abs()));
                if expected != self.cursor.next {
                    return Err(damaged(row, self.cursor.next, &"has fewer or more records than it says"));
                }
                if self.rows.len() == 1 {
                    return Ok(false);
                }
                self.rows.pop_front();
                self.offset = 0;
                continue;
            }
            let what = match record::parse(rest) {
                Parsed::Good(view) => match self.cursor.accept(&view) {
                    Ok(()) => {
                        (out.lsn, out.time_ms, out.link) = (view.meta.lsn, view.meta.time_ms, view.link);
                        out.payload.clear();
                        out.payload.extend_from_slice(view.payload);
                        self.offset += view.size;
                        return Ok(true);
                    }
                    Err(misplaced) => format!("is damaged: {misplaced}"),
                },
                Parsed::Unknown { version, kind } => {
                    format!("has a record of version {version}, kind {kind}; a newer program wrote it")
                }
                Parsed::Zero | Parsed::Short(_) | Parsed::Bad => "is damaged".to_owned(),
            };
            return Err(damaged(row, self.cursor.next, &what));
        }
        Ok(false)
    }
}
