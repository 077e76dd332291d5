//! For tests of the commands: a history as a service would have left it on disk.

use crate::config;
use crate::config::{Ledger as LedgerConfig, LedgerPlace, Records};
use crate::domain::model::ids::Lsn;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::engine::Sync;
use crate::journal::local::{LocalJournal, Options};
use crate::journal::{Batch, Journal, codec};
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{Checkpoint, Posting};

/// A random history as a service would have left it on disk.
pub fn on_disk(events: &[(Lsn, Millis, Event)], data: &std::path::Path) -> Records {
    let options = Options { segment_size: 1 << 20, background: false, posted: Lsn::ZERO };
    let (mut journal, _) = LocalJournal::open(&data.join("journal"), &options, 0).unwrap();
    let mut batch = Batch::default();
    for (_, at, event) in events {
        batch.offer(at.0, |bytes| codec::encode(event, bytes)).unwrap();
    }
    journal.write(&batch).unwrap();
    journal.sync().unwrap();
    let place = data.join("ledger.db");
    let mut ledger = SqliteLedger::open(&place, Millis(0)).unwrap();
    let posting = |(lsn, time, event): &(Lsn, Millis, Event)| Posting { lsn: *lsn, time: *time, event: event.clone() };
    ledger.post(&events.iter().map(posting).collect::<Vec<_>>()).unwrap();
    Records {
        data: data.to_owned(),
        journal: config::Journal {
            place: config::JournalPlace::Files,
            segment_bytes: 1 << 20,
            sync: Sync::BeforeAnswer,
            max_gap: std::time::Duration::ZERO,
            retain_days: 400,
        },
        ledger: LedgerConfig { place: LedgerPlace::Embedded(place), chunk_records: 1_000 },
        settings: Settings::default(),
    }
}
