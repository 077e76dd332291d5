//! What is asked of the database: a few statements. The protocol (`mod.rs`, `regain.rs`) knows no more of PostgreSQL, so it runs
//! on a simulated one too.

use std::time::Duration;

use crate::domain::model::time::Millis;
use crate::journal::Link;
use crate::journal::{JournalError, Lsn};

/// The unit of ownership: a journal of its own. There is one, 0, until a cluster is made with more.
pub(crate) type Stream = i32;

/// There is one stream.
pub(super) const STREAM: Stream = 0;

/// Whose the stream is when its records were moved to files. No node has such a name; its lease never ends.
pub(super) const MOVED_OUT: &str = "(moved to files)";

/// Who asks: the node's name, and which process of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Drawn at the start of the process: an owner of our name that has another one is not us.
    pub boot: String,
}

/// A batch as the table has it. One without records is a barrier: it takes no position and leaves the chain as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub stream: Stream,
    /// Of its first record, in Japan: the partition. It never goes back.
    pub month: i32,
    /// Without a gap, from 1.
    pub batch: i64,
    pub epoch: i64,
    /// Of its first record, or of the next one.
    pub first: Lsn,
    pub count: i32,
    /// The records' bytes as a segment has them.
    pub body: Vec<u8>,
}

/// The partition of a moment.
pub(crate) fn month_of(time_ms: i64) -> i32 {
    i32::from(Millis(time_ms).date().month().to_number())
}

/// A stream that became ours, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acquired {
    pub epoch: i64,
    pub former_epoch: i64,
    pub former: Node,
}

/// What the server is and how it is set, as far as a confirmed commit rests on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub in_recovery: bool,
    pub synchronous_commit: String,
    pub client_min_messages: String,
    pub fsync: bool,
    pub full_page_writes: bool,
    /// Standbys that stream and are synchronous, by priority or by quorum.
    pub sync_standbys: i64,
    /// Standbys of which our role may not see whether they are.
    pub unseen_standbys: i64,
    /// The server's time, Unix ms, less ours.
    pub clock_ahead_ms: i64,
}

/// The server that was chosen, and what it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Of our cluster, drawn when it was made.
    pub cluster: String,
    pub timeline: u32,
}

/// What this node has seen of its database; one below it was restored from the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Empty before the first look.
    pub cluster: String,
    pub timeline: u32,
    pub epoch: i64,
    /// The last record that was durable then.
    pub last: Lsn,
    pub link: Link,
}

/// Why there is no answer. The session is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The database is away, or did not say for sure what became of the statement.
    Doubt(String),
    /// The database is not as it has to be; the text says what to set. Nothing was changed.
    Unfit(String),
    /// Its tables or records are of a later version of this program.
    Newer(String),
}

impl Fault {
    pub fn why(&self) -> &str {
        let (Self::Doubt(why) | Self::Unfit(why) | Self::Newer(why)) = self;
        why
    }
}

pub(crate) type Answer<T> = Result<T, Fault>;

/// As whoever opens a journal hears it.
pub(super) fn told(fault: Fault) -> JournalError {
    match fault {
        Fault::Doubt(why) => JournalError::Doubt(why),
        Fault::Unfit(why) => JournalError::Unfit(why),
        Fault::Newer(why) => JournalError::Newer(why),
    }
}

/// What a member sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The node that owns the stream, or did last; empty before the first one.
    pub owner: String,
    /// Where that one is asked; empty where it is not known.
    pub address: String,
    /// The stream may be taken: its lease ran out or was given back, or it is of our name.
    pub is_free: bool,
    /// Of that owner: its epoch, and until when it has the stream, as the database writes it. Both change by a statement of the owner,
    /// which sends one only when it is sure of the one before.
    pub epoch: i64,
    pub lease: String,
    /// So many living members take it rather than we do.
    pub before_us: u32,
    /// The last record of the table, confirmed or not.
    pub last: Lsn,
    /// The last one that the ledger has.
    pub posted: Lsn,
}

/// The database, wherever its primary is now.
pub(crate) trait Database: Send + Sync + 'static {
    type Session: Session;

    /// A session with the one server that may be written to, of this timeline or a higher one. It takes a moment at least,
    /// so that asking again and again does no harm.
    fn connect(&mut self, least_timeline: u32) -> Answer<(Self::Session, Found)>;

    /// Monotonic, since the lease was born.
    fn now(&self) -> Duration;

    /// Keeps what was seen, for the next start.
    fn keep(&mut self, seen: &Seen) -> Result<(), String>;

    /// For a reader beside this one.
    fn another(&self) -> Self;
}

/// One connection. Each call is one statement that is sent once.
pub(crate) trait Session: Send {
    fn settings(&mut self) -> Answer<Settings>;

    /// Says that the node lives, unless another process of this name does: then false.
    fn register(&mut self, node: &Node, lasts: Duration) -> Answer<bool>;

    /// Takes the stream if nobody holds it, or our name does; the epoch rises. No batch of an older epoch appears after it.
    fn acquire(&mut self, stream: Stream, node: &Node, lasts: Duration) -> Answer<Option<Acquired>>;

    /// Who holds the stream.
    fn holder(&mut self, stream: Stream) -> Answer<Node>;

    /// Adds a row, or none, if the stream is still of this epoch, and renews lease and membership if `renewal` says for how
    /// long. False: it is of another epoch, and nothing was done.
    fn append(&mut self, held: Held<'_>, row: Option<&Row>, renewal: Option<Duration>) -> Answer<bool>;

    /// Gives the stream away, if it is of this epoch.
    fn release(&mut self, held: Held<'_>) -> Answer<()>;

    /// The last row, and the last one with records.
    fn last(&mut self, stream: Stream) -> Answer<(Option<Row>, Option<Row>)>;

    /// Rows from this batch of this month on, barriers too.
    fn rows_from(&mut self, stream: Stream, month: i32, batch: i64) -> Answer<Vec<Row>>;

    /// Some rows with records: the one that holds the record, if any does, and what comes after it, in order; where the record
    /// was released, what is left.
    fn holding(&mut self, stream: Stream, record: Lsn) -> Answer<Vec<Row>>;

    /// Makes the partition of this month and of the two after it.
    fn make_months(&mut self, month: i32) -> Answer<()>;
}

/// As whom a stream is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub stream: Stream,
    pub epoch: i64,
    pub node: &'a Node,
}
