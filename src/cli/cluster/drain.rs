//! `sokketsu cluster drain NODE`: another node is to own the journal, so that this one can be stopped or upgraded.

use std::time::{Duration, Instant};

use super::super::serve::{ServeError, backends};
use crate::config::Records;
use crate::journal::JournalError;

/// A node looks twice a second, answers what is under way and gives the stream back; who comes next looks every 50 ms.
const WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is wanted of a node.
pub struct Drain {
    pub node: String,
    /// It may own the journal again.
    pub undo: bool,
    /// Although no other node lives that would.
    pub force: bool,
}

/// Says it, and waits until another node owns what this one had; says what came of it.
pub fn drain(records: &Records, drain: &Drain) -> Result<String, ServeError> {
    let Drain { node, undo, force } = drain;
    let mut database = backends::draining(records)?;
    if *undo {
        database.set(node, false)?;
        return Ok(format!("{node} may own the journal again"));
    }
    if database.others(node)?.is_empty() && !force {
        let why =
            format!("no other node lives that would take over from {node}: start one, or say --force to have none");
        return Err(JournalError::Unfit(why).into());
    }
    let (before, _) = database.owner()?;
    database.set(node, true)?;
    if before != *node {
        return Ok(format!("{node} owned nothing, and will own nothing until `cluster drain {node} --undo`"));
    }
    let began = Instant::now();
    while began.elapsed() < WITHIN {
        match database.owner()? {
            (owner, true) if owner != *node => {
                let took = began.elapsed().as_millis();
                return Ok(format!(
                    "{owner} owns the journal, {took} ms later; {node} stands by until `cluster drain {node} --undo`"
                ));
            }
            _ => rest(),
        }
    }
    let why = format!(
        "{node} is to own nothing, and nobody has taken over in {} s: start another node, or `cluster drain {node} --undo`; \
         `sokketsu cluster status` says who lives",
        WITHIN.as_secs()
    );
    Err(ServeError::NobodyTookOver(why))
}

#[expect(clippy::disallowed_methods, reason = "it hides no race: the owner is looked at anew each time")]
fn rest() {
    std::thread::sleep(LOOK_EVERY);
}
