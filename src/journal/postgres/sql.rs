//! The statements of the journal.
//!
//! An append locks the owner's row and does not rewrite it: any old snapshot would keep all versions of that row, and each append
//! would walk them. Rows are locked in the order of streams, or two nodes deadlock; by `FOR NO KEY UPDATE`, as `FOR KEY SHARE`
//! would let a takeover run past an append that still waits for its standby. There is no `NOTIFY`: it makes commits wait for each
//! other.

macro_rules! columns {
    () => {
        "stream, month, batch, epoch, first_lsn, n, body"
    };
}

/// What a host says of itself before it is chosen; whether a role may see the standbys is judged with the settings. Of
/// `synchronous_standby_names` nothing is read but whether it is empty: who manages a cluster may write one name there, or `*`.
pub(super) const STANDING: &str = "SELECT pg_is_in_recovery(),
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
    EXISTS (SELECT FROM pg_stat_replication
        WHERE sync_state IS NULL OR state = 'streaming' AND sync_state IN ('sync', 'quorum')),
    current_setting('synchronous_standby_names') = ''";

pub(super) const SETTINGS: &str = "SELECT pg_is_in_recovery(),
    current_setting('synchronous_commit'), current_setting('client_min_messages'),
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
    (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')),
    (SELECT count(*) FROM pg_stat_replication WHERE sync_state IS NULL),
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_backend_pid()";

pub(super) const CLUSTER: &str = "SELECT id::text FROM cluster";

/// $1 node, $2 boot, $3 ms.
pub(super) const REGISTER: &str = "INSERT INTO member (node, boot, seen_until)
    VALUES ($1, $2, clock_timestamp() + $3::bigint * interval '1 ms')
    ON CONFLICT (node) DO UPDATE SET boot = excluded.boot, seen_until = excluded.seen_until
        WHERE member.boot = excluded.boot OR member.seen_until < clock_timestamp()
    RETURNING node";

/// $1 streams, $2 node, $3 ms, $4 boot; gives the stream, the new epoch, the former one, and whose that was.
pub(super) const ACQUIRE: &str = "WITH f AS (
        SELECT stream, epoch, node, boot FROM owner
            WHERE stream = ANY($1::int[]) AND (lease_until < clock_timestamp() OR node = $2)
            ORDER BY stream FOR NO KEY UPDATE)
    UPDATE owner SET epoch = owner.epoch + 1, node = $2, boot = $4,
            lease_until = clock_timestamp() + $3::bigint * interval '1 ms'
        FROM f WHERE owner.stream = f.stream
        RETURNING owner.stream, owner.epoch, f.epoch, f.node, f.boot";

pub(super) const HOLDER: &str = "SELECT node, boot FROM owner WHERE stream = $1";

/// $1 node, $2 boot, $3 address, $4 build, $5 records that it lags behind, $6 ms. Gives whether it is to own nothing, or no row:
/// another process of this name lives.
pub(super) const RENEW_MEMBER: &str = "INSERT INTO member (node, boot, address, build, lag, seen_until)
    VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::bigint * interval '1 ms')
    ON CONFLICT (node) DO UPDATE SET boot = excluded.boot, address = excluded.address, build = excluded.build,
            lag = excluded.lag, seen_until = excluded.seen_until
        WHERE member.boot = excluded.boot OR member.seen_until < clock_timestamp()
    RETURNING draining";

/// $1 node, $2 boot. The process says that it is gone.
pub(super) const LEAVE: &str = "UPDATE member SET seen_until = '-infinity' WHERE node = $1 AND boot = $2";

/// $1 stream, $2 node. Whose the stream is and where that one is asked, whether it may be had, how many nodes go first, the
/// last record of the table, and how far the ledger is, which is in the same database.
pub(super) const VIEW: &str = "SELECT o.node, coalesce(m.address, ''), o.lease_until < clock_timestamp() OR o.node = $2,
    (SELECT count(*) FROM member AS other
        WHERE other.node < $2 AND other.seen_until >= clock_timestamp() AND NOT other.draining),
    coalesce((SELECT first_lsn + n - 1 FROM journal WHERE stream = $1 AND n > 0 ORDER BY month DESC, batch DESC LIMIT 1), 0),
    coalesce((SELECT lsn FROM posted WHERE stream = $1), 0), o.epoch, o.lease_until::text
    FROM owner AS o LEFT JOIN member AS m ON m.node = o.node WHERE o.stream = $1";

/// The columns of rows as arrays; gives each stream that is still of its row's epoch. Public for who measures it
/// (`benches/cluster.rs`).
pub const APPEND: &str = concat!(
    "WITH a AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::bytea[])
            AS t(stream, month, batch, epoch, first_lsn, n, body)),
        o AS (SELECT o.stream FROM owner o JOIN a ON a.stream = o.stream AND o.epoch = a.epoch
            ORDER BY o.stream FOR NO KEY UPDATE OF o)
    INSERT INTO journal (",
    columns!(),
    ") SELECT a.* FROM a JOIN o USING (stream) RETURNING stream"
);

/// The columns of rows as arrays, then all that is held: $8 streams, $9 epochs; $10 ms, $11 node, $12 boot. Gives each stream that
/// is still of its epoch. A row without records is the barrier with which its epoch begins.
pub(super) const APPEND_AND_RENEW: &str = concat!(
    "WITH a AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::bytea[])
            AS t(stream, month, batch, epoch, first_lsn, n, body)),
        h AS (SELECT * FROM unnest($8::int[], $9::bigint[]) AS t(stream, epoch)),
        o AS (SELECT o.stream FROM owner o JOIN h ON h.stream = o.stream AND o.epoch = h.epoch
            ORDER BY o.stream FOR NO KEY UPDATE OF o),
        r AS (UPDATE owner SET lease_until = clock_timestamp() + $10::bigint * interval '1 ms',
                epoch_from_batch = coalesce((SELECT a.batch FROM a WHERE a.stream = owner.stream AND a.n = 0), epoch_from_batch)
            FROM o WHERE owner.stream = o.stream RETURNING owner.stream),
        m AS (UPDATE member SET seen_until = clock_timestamp() + $10::bigint * interval '1 ms'
            WHERE node = $11 AND boot = $12),
        i AS (INSERT INTO journal (",
    columns!(),
    ") SELECT a.* FROM a JOIN o USING (stream))
    SELECT stream FROM r"
);

/// $1 stream, $2 epoch, $3 node, $4 boot. The process says too that it is gone.
pub(super) const RELEASE: &str = "WITH m AS (UPDATE member SET seen_until = '-infinity' WHERE node = $3 AND boot = $4)
    UPDATE owner SET lease_until = '-infinity' WHERE stream = $1 AND epoch = $2";

pub(super) const LAST: &str =
    concat!("SELECT ", columns!(), " FROM journal WHERE stream = $1 ORDER BY month DESC, batch DESC LIMIT 1");

pub(super) const LAST_WITH_RECORDS: &str =
    concat!("SELECT ", columns!(), " FROM journal WHERE stream = $1 AND n > 0 ORDER BY month DESC, batch DESC LIMIT 1");

/// $1 stream, $2 month, $3 batch.
pub(super) const ROWS_FROM: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM journal WHERE stream = $1 AND month >= $2 AND batch >= $3 ORDER BY month, batch"
);

/// $1 stream, $2 record.
pub(super) const HOLDING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM journal WHERE stream = $1 AND n > 0 AND first_lsn + n > $2 AND first_lsn >= coalesce(
            (SELECT first_lsn FROM journal WHERE stream = $1 AND n > 0 AND first_lsn <= $2 ORDER BY first_lsn DESC LIMIT 1), $2)
        ORDER BY first_lsn LIMIT 64"
);

/// $1 month.
pub(super) const MAKE_MONTHS: &str = "SELECT journal_months($1)";
