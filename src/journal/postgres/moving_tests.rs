//! Moves on real servers: months, batches, settings, damage; and how long a large one takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::cluster::Cluster;
use super::moving::{Files, MOVED, MoveError, Moved};
use super::table::Node;
use crate::database::Server;
use crate::domain::model::ids::MerchantId;
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::state::event::Event;
use crate::journal::contract_tests::batch_at;
use crate::journal::local::copy::SegmentBytes;
use crate::journal::local::{LocalJournal, Options};
use crate::journal::raw::{Compared, compare};
use crate::journal::{Journal, JournalError, Lsn, codec};
use crate::postgres_server::cluster::{NODE, OWNER, PgCluster};

#[expect(clippy::disallowed_methods, reason = "the real clock, which is compared with the real database's")]
fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// 2026-01-31 12:00 in Japan, and an hour, in ms.
const BEGIN: i64 = 1_769_828_400_000;
const HOUR: i64 = 3_600_000;

struct Place {
    pg: Arc<PgCluster>,
    database: String,
    data: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new() -> Self {
        let (pg, turn) = PgCluster::shared();
        let database = pg.database();
        let place = Self { pg, database, data: tempfile::tempdir().unwrap(), _turn: turn };
        place.cluster(OWNER).init(false).unwrap();
        place
    }

    fn cluster(&self, role: &str) -> Cluster {
        let server = Server::parse(&self.pg.url(role, &self.database), None, None).unwrap();
        Cluster::new(Arc::new(server), self.data.path(), wall)
    }

    fn sql(&self, sql: &str) -> String {
        self.pg.sql(&self.database, sql)
    }

    fn move_in(&self) -> Result<Moved, MoveError> {
        self.cluster(OWNER).move_in(self.data.path(), Lsn::ZERO, &mut |_, _, _| {})
    }

    fn move_out(&self, to: &Path) -> Result<Moved, MoveError> {
        let files = Files { segment_bytes: 1 << 20, now_ms: wall() };
        self.cluster(NODE).move_out(to, files, &mut |_, _, _| {})
    }
}

fn shop() -> Merchant {
    let (status, limits) = (MerchantStatus::Active, MerchantLimits::default());
    Merchant { id: MerchantId::new("m").unwrap(), name: "店".into(), mcc: 5_411, status, limits }
}

/// A policy of this version, a merchant, and holidays that change again and again, one every so many ms.
fn fill(data: &Path, policy: u32, records: u64, every_ms: i64) {
    let options = Options { segment_size: 1 << 20, ..Options::default() };
    let (mut journal, _) = LocalJournal::open(&data.join("journal"), &options, BEGIN).unwrap();
    let bytes = |event: &Event| {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        bytes
    };
    journal
        .write(&batch_at(BEGIN, &[bytes(&Event::PolicySet { version: policy, text: "the policy".into() })]))
        .unwrap();
    for n in 1..records {
        let time = BEGIN + i64::try_from(n).unwrap() * every_ms;
        let event = match n {
            1 => Event::MerchantSet(Box::new(shop())),
            n => Event::HolidaysSet { text: format!("holidays {n}").into() },
        };
        journal.write(&batch_at(time, &[bytes(&event)])).unwrap();
        if n % 100 == 0 {
            journal.sync().unwrap();
        }
    }
    journal.sync().unwrap();
}

#[test]
fn records_of_several_months_move_in_and_out_and_the_next_owner_goes_on() {
    let place = Place::new();
    // Two days, and more than one batch in each.
    fill(place.data.path(), 3, 1_000, HOUR / 20);
    let moved = place.move_in().unwrap();
    assert_eq!((moved.counted.first, moved.counted.last, moved.counted.records), (Lsn(1), Lsn(1_000), 1_000));
    assert_eq!(moved.counted.bytes.to_string(), place.sql("SELECT sum(length(body)) FROM journal"));
    let rows = "SELECT month % 12 + 1, count(*), min(first_lsn), max(n), min(batch), max(batch) FROM journal GROUP BY month ORDER BY month";
    // The first one is the barrier; the 241st is of February.
    assert_eq!(place.sql(rows), "1|2|1|240|1|2\n2|3|241|256|3|5");
    assert_eq!(
        place.sql("SELECT kind, version, convert_from(body, 'UTF8') FROM setting ORDER BY kind"),
        format!("holidays|1|holidays 999\nmerchant|1|{}\npolicy|3|the policy", serde_json::to_string(&shop()).unwrap())
    );
    assert_eq!(place.sql("SELECT epoch, node, epoch_from_batch FROM owner"), "1|(moved from files)|1");

    let node = Node { name: "a".to_owned(), boot: "1".to_owned() };
    let mut journal = place.cluster(NODE).take(&node).unwrap().journal;
    journal.write(&batch_at(wall(), &[b"one more".to_vec()])).unwrap();
    journal.sync().unwrap();
    journal.leave().unwrap();
    assert_eq!(place.cluster(NODE).at_rest().examine(Lsn(1_000)).unwrap().last, Lsn(1_001));

    let out = tempfile::tempdir().unwrap();
    assert_eq!(place.move_out(out.path()).unwrap().counted.last, Lsn(1_001));
    let mut one = SegmentBytes::open(&place.data.path().join(MOVED), Lsn::ZERO).unwrap().0;
    let mut other = SegmentBytes::open(&out.path().join("journal"), Lsn::ZERO).unwrap().0;
    let (compared, counted) = compare(&mut one, &mut other, &mut |_| {}).unwrap();
    assert_eq!((compared, counted), (Compared::Beginning, moved.counted), "the same bytes, and one record more");
    let refused = place.cluster(NODE).may_join(false).unwrap_err();
    assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("moved to files")), "{refused}");
}

#[test]
fn a_policy_of_the_table_is_the_next_one_where_it_says_something_else() {
    for (text, version) in [("the policy", 7), ("another policy", 8)] {
        let place = Place::new();
        place.cluster(OWNER).apply_first(&[("policy", text), ("holidays", "x")], &[]).unwrap();
        fill(place.data.path(), 7, 2, HOUR);
        place.move_in().unwrap();
        let settings = place.sql(
            "SELECT kind, version, convert_from(body, 'UTF8') FROM setting WHERE kind <> 'merchant' ORDER BY kind",
        );
        assert_eq!(settings, format!("holidays|1|x\npolicy|{version}|{text}"));
    }
}

#[test]
fn damage_is_moved_nowhere() {
    let place = Place::new();
    fill(place.data.path(), 1, 600, HOUR);
    let segment = place.data.path().join("journal").join("00000000000000000001.seg");
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[8_000] ^= 1;
    std::fs::write(&segment, damaged).unwrap();
    let refused = place.move_in().unwrap_err();
    assert!(matches!(refused, MoveError::Journal(JournalError::Damaged { .. })), "{refused}");
    assert_eq!(place.sql("SELECT count(*) FROM journal"), "0");
    std::fs::write(&segment, whole).unwrap();
    place.move_in().unwrap();

    let out = tempfile::tempdir().unwrap();
    let flip = "UPDATE journal SET body = set_byte(body, 500, get_byte(body, 500) # 1) WHERE batch = 3";
    place.sql(flip);
    let refused = place.move_out(out.path()).unwrap_err();
    assert!(matches!(&refused, MoveError::Journal(JournalError::Damaged { .. })), "{refused}");
    assert!(refused.to_string().contains("batch 3"), "{refused}");
    place.sql(flip);
    place.sql("DELETE FROM journal WHERE batch = 3");
    let refused = place.move_out(out.path()).unwrap_err();
    assert!(matches!(&refused, MoveError::Journal(JournalError::Damaged { .. })), "a gap: {refused}");
    assert!(!out.path().join("journal").exists());
}

#[test]
#[ignore = "a measurement: SOKKETSU_MOVE_RECORDS=1000000 cargo test --lib a_large_move -- --ignored --nocapture"]
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "figures are to be read, and are asked for by a variable"
)]
fn a_large_move_is_timed() {
    let records = std::env::var("SOKKETSU_MOVE_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let place = Place::new();
    fill(place.data.path(), 1, records, 1_000);
    let began = Instant::now();
    let moved = place.move_in().unwrap();
    println!("{records} records, {} bytes, into the table: {:?}", moved.counted.bytes, began.elapsed());
    let (began, out) = (Instant::now(), tempfile::tempdir().unwrap());
    place.move_out(out.path()).unwrap();
    println!("and into files: {:?}", began.elapsed());
}

/// A sandbox's keys are published: nobody is to open real books with them, nor these with real ones.
#[test]
fn a_journal_moves_only_into_a_cluster_of_its_kind() {
    for (sandbox, says) in [(true, "is of a sandbox, and the cluster was made for real records"), (false, "")] {
        let place = Place::new();
        let options = Options { segment_size: 1 << 20, ..Options::default() };
        let (mut journal, _) = LocalJournal::open(&place.data.path().join("journal"), &options, BEGIN).unwrap();
        let mut opened = Vec::new();
        codec::encode(&Event::Opened { sandbox }, &mut opened).unwrap();
        journal.write(&batch_at(BEGIN, &[opened])).unwrap();
        journal.sync().unwrap();
        drop(journal);
        match place.move_in() {
            Ok(moved) => assert_eq!((moved.counted.records, sandbox), (1, false)),
            Err(MoveError::Refused(why)) => assert!(sandbox && why.contains(says), "{why}"),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(place.sql("SELECT count(*) FROM journal WHERE n > 0"), if sandbox { "0" } else { "1" });
    }
}

/// A second `cluster init` of the other kind does not say that all is well.
#[test]
fn a_cluster_stays_what_it_was_made_for() {
    let place = Place::new();
    let refused = place.cluster(OWNER).init(true).unwrap_err();
    assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("it was made for real records")), "{refused}");
    place.cluster(OWNER).init(false).unwrap();
}
