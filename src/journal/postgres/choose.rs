//! Which of the servers is the one to write to. All were asked at once; an old primary that was frozen and runs again still
//! takes writes, but it has no synchronous standby, or a lower timeline.

/// What a server said of itself within its second, or why it did not.
pub(crate) type Said = Result<Standing, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub in_recovery: bool,
    pub has_sync_standby: bool,
    /// No standby is named that a commit would wait for.
    pub is_asynchronous: bool,
    /// It rises with each promotion.
    pub timeline: u32,
}

/// The one to read what is there, though it may confirm nothing now; else as [`choose`].
pub(crate) fn choose_to_read(said: &[(String, Said)]) -> Result<usize, String> {
    let confirms = |said: &Said| said.clone().map(|it| Standing { has_sync_standby: true, ..it });
    choose(&said.iter().map(|(name, said)| (name.clone(), confirms(said))).collect::<Vec<_>>(), 0)
}

/// The one to take, by its place among `said`; or why there is none, of each by its name.
pub(crate) fn choose(said: &[(String, Said)], least_timeline: u32) -> Result<usize, String> {
    let mut best: Option<(u32, usize)> = None;
    let mut reasons = Vec::new();
    for (at, (name, said)) in said.iter().enumerate() {
        match said {
            Err(why) => reasons.push(format!("{name}: {why}")),
            Ok(it) if it.in_recovery => reasons.push(format!("{name}: is a standby")),
            Ok(it) if it.timeline < least_timeline => {
                reasons.push(format!("{name}: is of timeline {}, and {least_timeline} was seen", it.timeline));
            }
            Ok(it) if !it.has_sync_standby && it.is_asynchronous => reasons.push(format!(
                "{name}: a commit waits for no standby: set `synchronous_standby_names`, such as 'ANY 1 (s1, s2)', and reload"
            )),
            Ok(it) if !it.has_sync_standby => reasons.push(format!("{name}: no synchronous standby is streaming")),
            Ok(it) if best.is_none_or(|(timeline, _)| it.timeline > timeline) => best = Some((it.timeline, at)),
            Ok(_) => {}
        }
    }
    best.map(|(_, at)| at).ok_or_else(|| format!("no server may be written to ({})", reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(in_recovery: bool, has_sync_standby: bool, timeline: u32) -> Said {
        Ok(Standing { in_recovery, has_sync_standby, is_asynchronous: false, timeline })
    }

    fn chosen(said: Vec<Said>, least: u32) -> Result<usize, String> {
        let named: Vec<_> = ["a", "b", "c"].map(str::to_owned).into_iter().zip(said).collect();
        choose(&named, least)
    }

    #[test]
    fn the_primary_with_a_synchronous_standby_and_the_highest_timeline_is_taken() {
        let standby = || server(true, false, 1);
        assert_eq!(chosen(vec![standby(), server(false, true, 1), standby()], 0), Ok(1));
        assert_eq!(
            chosen(vec![server(false, false, 1), server(false, true, 2), standby()], 1),
            Ok(1),
            "an old primary"
        );
        assert_eq!(chosen(vec![server(false, true, 1), server(false, true, 2)], 0), Ok(1), "two primaries");
        assert_eq!(chosen(vec![server(false, true, 2), server(false, true, 1)], 0), Ok(0), "two primaries");
        assert_eq!(chosen(vec![Err("did not answer".into()), server(false, true, 3)], 3), Ok(1));
    }

    #[test]
    fn where_none_may_be_taken_each_says_why() {
        let said = vec![server(false, true, 1), server(true, false, 2), Err("did not answer within 1 s".into())];
        let why = chosen(said, 2).unwrap_err();
        for part in ["a: is of timeline 1, and 2 was seen", "b: is a standby", "c: did not answer within 1 s"] {
            assert!(why.contains(part), "{why}");
        }
        assert!(chosen(vec![server(false, false, 2)], 2).unwrap_err().contains("no synchronous standby"));
        let alone = [server(true, false, 1), server(false, false, 2)].map(|said| (String::new(), said));
        assert_eq!(choose_to_read(&alone), Ok(1));
        assert!(choose_to_read(&alone[..1]).unwrap_err().contains("is a standby"));
        let asynchronous = Standing { in_recovery: false, has_sync_standby: false, is_asynchronous: true, timeline: 2 };
        assert!(chosen(vec![Ok(asynchronous)], 2).unwrap_err().contains("set `synchronous_standby_names`"));
        assert!(chosen(Vec::new(), 0).is_err());
    }
}
