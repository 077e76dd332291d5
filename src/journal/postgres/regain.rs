//! After an answer that was not sure, and at the start: a new session, a new epoch, a barrier, and then a look at the table.
//!
//! | since our last sure row the table has | then |
//! |---|---|
//! | not that row any more | it lost what it had confirmed: damage |
//! | a row of an epoch that was not ours | somebody else owned the stream: fenced |
//! | the pending row, bytes the same | it is durable |
//! | barriers of ours, or nothing | the same bytes are appended under the new epoch |
//! | other records of an epoch of ours | damage |
//!
//! Whose the epoch before the new one was is looked at too, but is not enough: an acquire of ours that was given up may run late,
//! after another owner, and make that epoch look like ours. Whoever owned a stream has left its barrier in the table.
//!
//! **Why a barrier.** A primary that was restarted shows rows that no standby has. Once a later commit was confirmed, all
//! before it are on a standby too, as the log is one line. Rows are read before the barrier and believed after it: nobody
//! else can add one in between.

use super::table::{Acquired, Database, Fault, Found, Row, Seen, Session, month_of};
use super::{KEEP_EVERY, LEASE, PostgresJournal, Stop, Tail, settings};
use crate::journal::cursor::Cursor;
use crate::journal::record::{self, Link, Parsed};
use crate::journal::{JournalError, Lsn};

impl<D: Database> PostgresJournal<D> {
    /// The stream is ours when it returns, its end is known, and the lease runs. What was written is still pending, or durable.
    pub(super) fn regain(&mut self) -> Result<D::Session, Stop> {
        let (mut session, found) = self.database.connect(self.options.seen.timeline)?;
        let checked = self.database.now();
        settings::check(&session.settings()?)?;
        self.checked = checked;
        is_our_cluster(&self.options.seen.cluster, &found)?;
        if !session.register(&self.options.node, LEASE)? {
            let name = self.options.node.name.clone();
            return Err(Stop::Other(JournalError::InUse(format!("the node name {name} in the journal's database"))));
        }
        let Some(acquired) = session.acquire(self.options.stream, &self.options.node, LEASE)? else {
            return Err(Stop::Fenced(session.holder(self.options.stream)?.name));
        };
        self.is_not_replaced(&acquired)?;
        self.epochs.push(acquired.epoch);
        let rows = self.rows(&mut session)?;
        let barrier = self.barrier(&rows);
        self.make_months(&mut session, barrier.month)?;
        let sent = self.database.now();
        if !session.append(self.held(), Some(&barrier), Some(LEASE))? {
            return Err(Stop::Fault(Fault::Doubt("the stream was taken again before the barrier".to_owned())));
        }
        self.believe(rows)?;
        self.tail = Some(Tail::of(&barrier));
        self.epochs = vec![acquired.epoch];
        self.keep(&found);
        self.renewed_at(sent);
        Ok(session)
    }

    fn is_not_replaced(&self, acquired: &Acquired) -> Result<(), Stop> {
        if acquired.former_epoch < self.options.seen.epoch {
            let (found, seen) = (acquired.former_epoch, self.options.seen.epoch);
            return Err(Stop::Other(self.restored(&format!("its epoch is {found}, and {seen} was seen"))));
        }
        let is_ours = acquired.former.boot == self.options.node.boot;
        if self.tail.is_some() && !is_ours { Err(Stop::Fenced(acquired.former.name.clone())) } else { Ok(()) }
    }

    /// From our last sure row on; at the start, or where there is no such row, the last row, after the last one with records.
    fn rows(&self, session: &mut D::Session) -> Result<Vec<Row>, Stop> {
        let stream = self.options.stream;
        if let Some(tail) = self.tail {
            let rows = session.rows_from(stream, tail.month, tail.batch)?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        let (last, full) = session.last(stream)?;
        self.is_of_today(session)?;
        Ok([full.clone(), last.filter(|last| full.as_ref() != Some(last))].into_iter().flatten().collect())
    }

    /// Whether the database still has the record that this node saw durable.
    fn is_of_today(&self, session: &mut D::Session) -> Result<(), Stop> {
        let Seen { last, link, .. } = self.options.seen;
        if last == Lsn::ZERO {
            return Ok(());
        }
        let rows = session.holding(self.options.stream, last)?;
        // Where it was released, what is left comes after it.
        let is_released = rows.first().is_some_and(|row| row.first > last);
        if is_released || rows.first().and_then(|row| link_in(row, last)) == Some(link) {
            return Ok(());
        }
        Err(Stop::Other(self.restored(&format!("record {last}, which was durable, is not in it any more"))))
    }

    fn restored(&self, what: &str) -> JournalError {
        let text = format!("the journal's database was restored from the past or lost what it had confirmed: {what}");
        JournalError::Damaged { record: self.cursor.next, cause: text.into() }
    }

    fn barrier(&self, rows: &[Row]) -> Row {
        let before = rows.last();
        let earliest = if self.cursor == Cursor::START { self.options.now_ms } else { self.cursor.last_time };
        Row {
            stream: self.options.stream,
            month: month_of(earliest).max(before.map_or(0, |row| row.month)),
            batch: before.map_or(0, |row| row.batch) + 1,
            epoch: self.epoch(),
            first: before.map_or(Lsn(1), |row| Lsn(row.first.0 + u64::from(row.count.unsigned_abs()))),
            count: 0,
            body: Vec::new(),
        }
    }

    /// What the rows mean, now that it is sure that they stay.
    fn believe(&mut self, rows: Vec<Row>) -> Result<(), Stop> {
        let Some(tail) = self.tail else { return self.begin_after(&rows) };
        let mut rows = rows.into_iter();
        if !rows.next().is_some_and(|row| self.is_tail(&row, tail)) {
            let what = format!("batch {}, which was confirmed, is not in it any more", tail.batch);
            return Err(Stop::Other(self.restored(&what)));
        }
        for row in rows {
            if !self.epochs.contains(&row.epoch) {
                return Err(Stop::Fenced(format!("the owner of epoch {}", row.epoch)));
            }
            if row.count == 0 {
                continue;
            }
            if self.pending.count == 0 || row.first != self.pending.first || row.body != self.pending.body {
                let (batch, record) = (row.batch, row.first);
                let cause = format!("batch {batch} of the journal's table has records that its owner did not write");
                return Err(Stop::Other(JournalError::Damaged { record, cause: cause.into() }));
            }
            self.pending_is_durable();
        }
        Ok(())
    }

    fn is_tail(&self, row: &Row, tail: Tail) -> bool {
        Tail::of(row) == tail && (row.count == 0 || link_in(row, self.cursor.last()) == Some(self.cursor.link))
    }

    /// At the start: the cursor is after the last record.
    fn begin_after(&mut self, rows: &[Row]) -> Result<(), Stop> {
        let Some(row) = rows.iter().find(|row| row.count > 0) else { return Ok(()) };
        let mut cursor = None;
        let is_whole = each_record(row, |view| {
            cursor = Some(Cursor { next: view.meta.lsn.next(), link: view.link, last_time: view.meta.time_ms });
        });
        let expected = Lsn(row.first.0 + u64::from(row.count.unsigned_abs()));
        match cursor {
            Some(cursor) if is_whole && cursor.next == expected => {
                (self.cursor, self.written) = (cursor, cursor);
                self.durable.publish(cursor.last());
                Ok(())
            }
            _ => {
                let cause = format!("batch {} of the journal's table is damaged", row.batch);
                Err(Stop::Other(JournalError::Damaged { record: row.first, cause: cause.into() }))
            }
        }
    }

    /// So that a database which is restored from an older copy is known by this node. A failure is no danger by itself.
    pub(super) fn keep(&mut self, found: &Found) {
        self.options.seen = self.seen(&found.cluster, found.timeline);
        self.kept = self.database.now();
        if let Err(error) = self.database.keep(&self.options.seen) {
            tracing::warn!(error, "what was seen of the journal's database could not be kept");
        }
    }

    pub(super) fn keep_now_and_then(&mut self) {
        if self.database.now().saturating_sub(self.kept) >= KEEP_EVERY {
            let Seen { cluster, timeline, .. } = self.options.seen.clone();
            self.keep(&Found { cluster, timeline });
            if self.trouble.is_some() {
                self.months = 0;
            }
        }
    }
}

/// Whether this is the cluster that the node was of before; empty where it was of none.
pub(super) fn is_our_cluster(known: &str, found: &Found) -> Result<(), Fault> {
    if known.is_empty() || *known == found.cluster {
        return Ok(());
    }
    let found = &found.cluster;
    Err(Fault::Unfit(format!(
        "it is of the cluster {found}, and this node belongs to {known}: correct `journal.url`, or give the node an empty \
         data folder"
    )))
}

/// Gives the records of a row to `each`; whether all of its bytes are records.
fn each_record(row: &Row, mut each: impl FnMut(&record::View<'_>)) -> bool {
    let mut rest = row.body.as_slice();
    while let Parsed::Good(view) = record::parse(rest) {
        each(&view);
        rest = rest.get(view.size..).unwrap_or_default();
    }
    rest.is_empty()
}

/// The link of a record in a row.
fn link_in(row: &Row, lsn: Lsn) -> Option<Link> {
    let mut found = None;
    each_record(row, |view| {
        if view.meta.lsn == lsn {
            found = Some(view.link);
        }
    });
    found
}
