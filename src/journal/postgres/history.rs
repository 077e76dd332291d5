//! A naive check of what nodes answered against the rows that stayed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::table::Row;
use crate::journal::record::{self, Link, Parsed};

/// An answer that left.
#[derive(Clone, Debug)]
pub struct Answer {
    /// True time.
    pub at: Duration,
    pub epoch: i64,
    /// What the records say that it speaks of, and where they are; none for a read.
    pub records: Vec<(u64, u64)>,
    /// The last record that whoever answered knew.
    pub last: u64,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// In order of time.
    pub answers: Vec<Answer>,
    pub rows: Vec<Row>,
}

/// What a record of these tests says: 8 bytes that no other record has.
pub fn said(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload.try_into().unwrap())
}

impl History {
    /// How many records there are, unless something is wrong.
    pub fn check(&self) -> Result<usize, String> {
        let records = self.records()?;
        let mut places = HashMap::new();
        for (at, said) in records.iter().enumerate() {
            if places.insert(*said, at as u64 + 1).is_some() {
                return Err(format!("{said} is doubled"));
            }
        }
        let (mut epoch, mut last, mut at) = (0, 0, Duration::ZERO);
        let mut answered = HashSet::new();
        for answer in &self.answers {
            if answer.at < at {
                return Err("the history has no order".to_owned());
            }
            at = answer.at;
            if answer.epoch < epoch {
                return Err(format!("epoch {} answered after epoch {epoch}", answer.epoch));
            }
            epoch = answer.epoch;
            if answer.last < last {
                return Err(format!("an answer knew {} records, and {last} were answered before", answer.last));
            }
            for (said, place) in &answer.records {
                if places.get(said) != Some(place) {
                    return Err(format!("{said} was answered as record {place} and is lost"));
                }
                if !answered.insert(said) {
                    return Err(format!("{said} was answered twice"));
                }
                last = last.max(*place);
            }
        }
        Ok(records.len())
    }

    /// What all records say, if rows and chain are whole.
    fn records(&self) -> Result<Vec<u64>, String> {
        let mut all = Vec::new();
        let (mut link, mut epoch, mut batch, mut month) = (Link::default(), 0, 0, 0);
        for row in &self.rows {
            if row.batch != batch + 1 || row.month < month {
                return Err(format!("batch {} follows batch {batch}", row.batch));
            }
            if row.epoch < epoch {
                return Err(format!("batch {} is of epoch {} after epoch {epoch}", row.batch, row.epoch));
            }
            if row.epoch > epoch && row.count > 0 {
                return Err(format!("epoch {} began without a barrier", row.epoch));
            }
            (epoch, batch, month) = (row.epoch, row.batch, row.month);
            if row.first.0 != all.len() as u64 + 1 {
                return Err(format!("batch {batch} begins with record {}", row.first));
            }
            let (before, mut rest) = (all.len(), row.body.as_slice());
            while let Parsed::Good(view) = record::parse(rest) {
                if view.meta.lsn.0 != all.len() as u64 + 1 || view.meta.prev != link {
                    return Err(format!("the chain is broken at record {}", view.meta.lsn));
                }
                link = view.link;
                all.push(said(view.payload));
                rest = &rest[view.size..];
            }
            if !rest.is_empty() || i32::try_from(all.len() - before).ok() != Some(row.count) {
                return Err(format!("batch {batch} is not whole"));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Lsn;
    use crate::journal::cursor::Cursor;

    /// Two epochs, each with a barrier and two batches of two records; all answered, with a read at the end.
    fn whole() -> History {
        let mut history = History::default();
        let mut cursor = Cursor::START;
        for epoch in [1, 2] {
            for count in [0, 2, 2] {
                let first = cursor.next;
                let mut body = Vec::new();
                for _ in 0..count {
                    let durable = Lsn(first.0 - 1);
                    cursor.append(&mut body, durable, 5, &(cursor.next.0 + 100).to_le_bytes()).unwrap();
                }
                let batch = history.rows.len() as i64 + 1;
                history.rows.push(Row { stream: 0, month: 7, batch, epoch, first, count, body });
                let records = (first.0..cursor.next.0).map(|lsn| (lsn + 100, lsn)).collect();
                history.answers.push(Answer {
                    at: Duration::from_secs(batch.unsigned_abs()),
                    epoch,
                    records,
                    last: cursor.last().0,
                });
            }
        }
        history
    }

    #[test]
    fn a_whole_history_passes_and_each_broken_one_is_found() {
        assert_eq!(whole().check(), Ok(8));
        let broken = |says: &str, breaks: fn(&mut History)| {
            let mut history = whole();
            breaks(&mut history);
            let found = history.check().unwrap_err();
            assert!(found.contains(says), "{found}");
        };
        broken("is lost", |it| it.rows.truncate(5));
        broken("follows batch", |it| drop(it.rows.remove(4)));
        broken("follows batch", |it| it.rows[5].month = 6);
        broken("of epoch 1 after epoch 2", |it| it.rows[5].epoch = 1);
        broken("without a barrier", |it| it.rows[2].epoch = 2);
        broken("begins with record", |it| it.rows[2].first = Lsn(4));
        broken("not whole", |it| it.rows[1].body[60] ^= 1);
        broken("not whole", |it| it.rows[1].count = 1);
        broken("epoch 1 answered after epoch 2", |it| it.answers.last_mut().unwrap().epoch = 1);
        broken("knew 7 records", |it| {
            let at = it.answers.last().unwrap().at;
            it.answers.push(Answer { at, epoch: 2, records: Vec::new(), last: 7 });
        });
        broken("is lost", |it| it.answers[1].records[0].1 = 2);
        broken("answered twice", |it| it.answers[2].records[0] = (101, 1));
        broken("no order", |it| it.answers[0].at = Duration::from_secs(9));
        broken("the chain is broken", |it| {
            // The same words as another chain would have them.
            let mut other = Cursor { link: Link([9; 16]), ..Cursor::START };
            other.next = it.rows[4].first;
            it.rows[4].body.clear();
            for said in [105_u64, 106] {
                let row = &mut it.rows[4];
                other.append(&mut row.body, Lsn(4), 5, &said.to_le_bytes()).unwrap();
            }
        });
        broken("is doubled", |it| {
            let mut cursor = Cursor::START;
            it.rows[1].body.clear();
            it.answers.clear();
            for _ in 0..2 {
                let row = &mut it.rows[1];
                cursor.append(&mut row.body, Lsn(0), 5, &101_u64.to_le_bytes()).unwrap();
            }
            it.rows.truncate(2);
        });
    }
}
