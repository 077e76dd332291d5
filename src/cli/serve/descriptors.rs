//! File descriptors: the limit is raised as far as needed at the start, or connections are capped below it. Else a crowd
//! of idle sockets would take the one that the journal's next segment needs, and the process would end.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServeError;
use crate::config::Config;
use crate::http::{ADMIN_CONNECTIONS, EVENT_FEEDS};
use crate::ledger::BOOKS_CONNECTIONS;

/// What is opened besides connections, at most at one time.
const RESERVE: u64 = {
    let (mut sum, mut at) = (0, 0);
    while at < RESERVED.len() {
        sum += RESERVED[at];
        at += 1;
    }
    sum
};
const RESERVED: [u64; 9] = [
    // Standard input, output and error; the lock; the sandbox's clock while it is set, and its folder.
    3 + 1 + 2,
    // The writer: the segment in use, the next one, a large one, its folder.
    4,
    // Releasing a segment: the header it looks at, the folder.
    2,
    // The write-behind worker in the journal: a segment, the one it enters, the folder.
    3,
    // The ledger's writer: database, WAL, shared memory, a directory.
    4,
    // The connections that questions to the ledger share: database, WAL, shared memory.
    3 * BOOKS_CONNECTIONS as u64,
    // Feeds of events, as the worker.
    3 * EVENT_FEEDS as u64,
    // Three listeners, and a connection accepted at each before its cap is looked at; two runtimes with epoll, its
    // waker and the signals' pipe.
    3 + 3 + 2 * 5,
    // For what a library may open for a moment: random numbers, time zones, names.
    16,
];
/// With fewer HTTP connections it is no service.
const LEAST_HTTP: u64 = 16;

/// Connections wanted.
#[derive(Clone, Copy)]
struct Wanted {
    http: u64,
    /// Of the admin address and the network's link, if they are served: their shares stay whole.
    others: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The soft limit to set; `None` where it suffices.
    raise_to: Option<u64>,
    http: u64,
}

/// As many HTTP connections as fit under the limit of open files, which is raised before as far as needed.
pub(crate) fn make_room(config: &Config) -> Result<usize, ServeError> {
    let server = &config.server;
    let admin = if server.admin.is_some() { ADMIN_CONNECTIONS } else { 0 };
    let link = if server.iso8583.is_some() { config.link.options.max_connections } else { 0 };
    let count = |connections: usize| u64::try_from(connections).unwrap_or(u64::MAX);
    let wanted = Wanted { http: count(server.max_connections), others: count(admin + link) };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut plan = plan(wanted, current, maximum)?;
    if let Some(limit) = plan.raise_to {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
        if let Err(error) = raised {
            tracing::warn!(%error, limit, "the limit of open files could not be raised");
            plan = self::plan(wanted, current, current)?;
        }
    }
    if plan.http < wanted.http {
        let (most, wanted) = (plan.http, wanted.http);
        tracing::warn!(
            most,
            wanted,
            "fewer connections than server.max_connections are served: the hard limit of open files (ulimit -Hn) is too low"
        );
    }
    Ok(usize::try_from(plan.http).unwrap_or(usize::MAX))
}

fn plan(wanted: Wanted, soft: Option<u64>, hard: Option<u64>) -> Result<Plan, ServeError> {
    let besides = RESERVE.saturating_add(wanted.others);
    let needed = besides.saturating_add(wanted.http);
    let (soft, hard) = (soft.unwrap_or(u64::MAX), hard.unwrap_or(u64::MAX));
    let limit = needed.min(hard).max(soft);
    let http = wanted.http.min(limit.saturating_sub(besides));
    if http < LEAST_HTTP.min(wanted.http) {
        return Err(ServeError::TooFewFiles { limit, least: besides.saturating_add(LEAST_HTTP) });
    }
    Ok(Plan { raise_to: (limit > soft).then_some(limit), http })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_connections_are_capped_below_it() {
        let wanted = Wanted { http: 4_096, others: 256 + 64 };
        let needed = 4_096 + 256 + 64 + RESERVE;
        let plan = |soft, hard| plan(wanted, Some(soft), hard);
        let raised = |http, limit| Plan { raise_to: Some(limit), http };
        assert_eq!(plan(1_024, Some(524_288)).unwrap(), raised(4_096, needed));
        assert_eq!(plan(1_024, None).unwrap(), raised(4_096, needed));
        assert_eq!(plan(100_000, Some(524_288)).unwrap(), Plan { raise_to: None, http: 4_096 });
        assert_eq!(plan(256, Some(1_024)).unwrap(), raised(1_024 - 320 - RESERVE, 1_024), "never above the hard limit");
        assert_eq!(plan(1_024, Some(1_024)).unwrap().http, 1_024 - 320 - RESERVE);
        let least = 320 + RESERVE + LEAST_HTTP;
        assert_eq!(plan(1, Some(least)).unwrap().http, LEAST_HTTP);
        let error = plan(1, Some(least - 1)).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains(&least.to_string()), "{error}");
    }
}
