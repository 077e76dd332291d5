//! Many calls whose answers are needed and whose speed is not measured: setting up, and auditing.

use std::collections::VecDeque;

use anyhow::{Result, bail};

use crate::clock::{Clock, MILLISECOND, SECOND};
use crate::tls::Peer;
use crate::wire::{Answer, Outcome, Wire};

const CONNECTIONS: usize = 16;
const DEPTH: usize = 8;
/// In all, for as many calls: a server that refuses this often is not fit for a run.
const MOST_REPEATS_A_CALL: usize = 20;

/// Makes `count` calls, in any order, each until it is answered by something other than 503. `write` gets the
/// number of the call, `read` its number and the answer.
pub fn bulk(
    to: &Peer,
    count: usize,
    mut write: impl FnMut(usize, &mut Vec<u8>),
    mut read: impl FnMut(usize, Answer<'_>) -> Result<()>,
) -> Result<()> {
    let clock = Clock::start();
    let mut wire = Wire::new(to, crate::http::read, clock, CONNECTIONS.min(count.max(1)), DEPTH, 10 * SECOND)?;
    let mut again = VecDeque::new();
    let (mut next, mut done, mut repeats, mut swept) = (0, 0, 0, 0);
    let mut failure = None;
    while done < count {
        let now = clock.now();
        while wire.has_room() {
            let Some(call) = again.pop_front().or_else(|| (next < count).then_some(next)) else { break };
            next = next.max(call + 1);
            wire.send(call, now, |out| write(call, out));
        }
        let mut hear = |sent: crate::wire::Sent<usize>, outcome: Outcome<'_>, _| match outcome {
            Outcome::Answer(answer) if answer.status != 503 => {
                done += 1;
                if let Err(error) = read(sent.tag, answer) {
                    failure.get_or_insert(error);
                }
            }
            _ => {
                repeats += 1;
                again.push_back(sent.tag);
            }
        };
        wire.flush(&mut hear)?;
        wire.wait(10 * MILLISECOND, &mut hear)?;
        if now > swept + SECOND {
            swept = now;
            wire.give_up(now, &mut hear)?;
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if repeats > 1_000 + count * MOST_REPEATS_A_CALL {
            bail!("the server is too busy: {repeats} calls had to be made again");
        }
    }
    Ok(())
}

/// The answer to one call.
pub fn once(to: &Peer, write: impl Fn(&mut Vec<u8>)) -> Result<(u16, Vec<u8>)> {
    let mut got = (0, Vec::new());
    bulk(
        to,
        1,
        |_, out| write(out),
        |_, answer| {
            got = (answer.status, answer.body.to_vec());
            Ok(())
        },
    )?;
    Ok(got)
}
