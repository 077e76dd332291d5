//! How the database has to be set, so that what it confirms is on a standby's disk too. Looked at when a session begins and every
//! second, on the session that appends.

use super::table::{Fault, Settings};

/// A node whose clock is further off the database's does not own a stream: its records would be of another time.
const CLOCK_OFF_MS: u64 = 500;

pub(crate) fn check(found: &Settings) -> Result<(), Fault> {
    let unfit = |why: String| Err(Fault::Unfit(why));
    if found.in_recovery {
        return Err(Fault::Doubt("the server is a standby".to_owned()));
    }
    if !matches!(found.synchronous_commit.as_str(), "on" | "remote_apply") {
        let is = &found.synchronous_commit;
        return unfit(format!(
            "a commit does not wait for a standby's disk (synchronous_commit is {is}): \
             `ALTER ROLE … SET synchronous_commit = on`"
        ));
    }
    if !matches!(
        found.client_min_messages.as_str(),
        "debug5" | "debug4" | "debug3" | "debug2" | "debug1" | "debug" | "log" | "notice" | "warning"
    ) {
        let is = &found.client_min_messages;
        return unfit(format!(
            "a wait for standbys that was cancelled would look like a success (client_min_messages is {is}): \
             `ALTER ROLE … SET client_min_messages = warning`"
        ));
    }
    if !found.fsync {
        return unfit("what is confirmed may be on no disk: set `fsync = on` and reload".to_owned());
    }
    if !found.full_page_writes {
        return unfit("a crash may tear the tables' pages: set `full_page_writes = on` and reload".to_owned());
    }
    if found.unseen_standbys > 0 {
        return unfit("our role may not see the standbys' state: `GRANT pg_read_all_stats` to it".to_owned());
    }
    if found.sync_standbys == 0 {
        return Err(Fault::Doubt(
            "no synchronous standby is streaming: start one, or name them in `synchronous_standby_names`, \
             such as 'ANY 1 (s1, s2)', and reload"
                .to_owned(),
        ));
    }
    if found.clock_ahead_ms.unsigned_abs() > CLOCK_OFF_MS {
        let by = found.clock_ahead_ms.unsigned_abs();
        let way = if found.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
        return unfit(format!("the database's clock is {by} ms {way} ours: set both by NTP"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_is_too_weak_is_refused_and_the_refusal_says_what_to_set() {
        let good = Settings::good();
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&Settings { clock_ahead_ms: -500, ..good.clone() }), Ok(()));
        assert_eq!(check(&Settings { synchronous_commit: "remote_apply".into(), ..good.clone() }), Ok(()));
        let weak = |change: fn(&mut Settings)| {
            let mut settings = Settings::good();
            change(&mut settings);
            settings
        };
        for (is_unfit, says, settings) in [
            (true, "SET synchronous_commit = on", weak(|s| s.synchronous_commit = "remote_write".into())),
            (true, "SET synchronous_commit = on", weak(|s| s.synchronous_commit = "local".into())),
            (true, "SET client_min_messages = warning", weak(|s| s.client_min_messages = "error".into())),
            (true, "`fsync = on`", weak(|s| s.fsync = false)),
            (true, "`full_page_writes = on`", weak(|s| s.full_page_writes = false)),
            (true, "GRANT pg_read_all_stats", weak(|s| s.unseen_standbys = 1)),
            (true, "501 ms behind ours: set both by NTP", weak(|s| s.clock_ahead_ms = -501)),
            (true, "501 ms ahead of ours", weak(|s| s.clock_ahead_ms = 501)),
            // These end by themselves after a failover or a repair.
            (false, "a standby", weak(|s| s.in_recovery = true)),
            (false, "synchronous_standby_names", weak(|s| s.sync_standbys = 0)),
        ] {
            let fault = check(&settings).unwrap_err();
            assert!(matches!(fault, Fault::Unfit(_)) == is_unfit && fault.why().contains(says), "{fault:?}");
        }
    }
}
