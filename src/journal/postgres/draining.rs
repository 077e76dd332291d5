//! An operator says that a node is to own nothing, or may again.

use super::choose::choose;
use super::cluster::Cluster;
use super::schema;
use super::session::{PgSession, fault};
use super::table::{Answer, Fault, STREAM, Session, told};
use crate::journal::JournalError;

/// $1 node, $2 whether it is to own nothing.
const SET: &str = "UPDATE member SET draining = $2 WHERE node = $1 RETURNING node";

const ALIVE: &str = "SELECT node FROM member WHERE seen_until >= clock_timestamp() AND NOT draining ORDER BY node";
const ALL: &str = "SELECT node FROM member ORDER BY node";

/// An operator's connection.
pub struct Draining(PgSession);

impl Cluster {
    /// As a role that may say so.
    pub fn draining(&self) -> Result<Draining, JournalError> {
        let open = || {
            let (mut session, _) = PgSession::of_node(&self.server, self.wall, |said| choose(said, 0))?;
            schema::check_tables(&mut session)?;
            Ok(Draining(session))
        };
        open().map_err(told)
    }
}

impl Draining {
    /// The living nodes that may own a stream, this one aside.
    pub fn others(&mut self, node: &str) -> Result<Vec<String>, JournalError> {
        let alive = self.0.texts(ALIVE).map_err(told)?;
        Ok(alive.into_iter().map(|[name]| name).filter(|name| name != node).collect())
    }

    /// Says it; [`JournalError::Unfit`] where there is no such node.
    pub fn set(&mut self, node: &str, is_draining: bool) -> Result<(), JournalError> {
        let mut set = || -> Answer<()> {
            if !self.0.rows(SET, &[&node, &is_draining])?.is_empty() {
                return Ok(());
            }
            let all: Vec<String> = self.0.texts(ALL)?.into_iter().map(|[name]| name).collect();
            Err(Fault::Unfit(format!("there is no node {node}; it knows {}", all.join(", "))))
        };
        set().map_err(told)
    }

    /// The node that owns the stream, or did last; and whether its lease still runs.
    pub fn owner(&mut self) -> Result<(String, bool), JournalError> {
        let mut ask = || {
            let runs = self.0.rows("SELECT lease_until >= clock_timestamp() FROM owner WHERE stream = 0", &[])?;
            let runs = runs.first().map(|row| row.try_get(0).map_err(fault)).transpose()?.unwrap_or(false);
            Ok((self.0.holder(STREAM)?.name, runs))
        };
        ask().map_err(told)
    }
}
