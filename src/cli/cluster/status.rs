//! `sokketsu cluster status`: how the cluster stands, in aligned lines.

use std::fmt::Write;

use super::super::serve::backends::{Member, Standby, Status, Stream};

/// For people; the same as the JSON has.
pub fn text(status: &Status) -> String {
    let Status { cluster, sandbox, streams, members, database, settings, .. } = status;
    let mut out = format!("cluster   {cluster}{}\n", if *sandbox { ", a sandbox" } else { "" });
    streams.iter().for_each(|it| line(&mut out, &stream(it)));
    let head = ["node", "address", "state", "build", "records behind"].map(str::to_owned);
    out += &aligned(std::iter::once(head).chain(members.iter().map(|it| member(it, streams))).collect());
    let by = &database.synchronous_standby_names;
    line(
        &mut out,
        &format!(
            "database  {} on {}, PostgreSQL {}, timeline {}; {}",
            database.name,
            database.primary,
            database.version,
            database.timeline,
            if by.is_empty() { "no standby confirms a commit".to_owned() } else { format!("confirmed by {by}") },
        ),
    );
    let head = ["standby", "address", "state", "confirms", "behind"].map(str::to_owned);
    out += &aligned(std::iter::once(head).chain(database.standbys.iter().map(standby)).collect());
    database.others.iter().for_each(|it| line(&mut out, &format!("server    {}: {}", it.server, it.says)));
    for it in settings {
        let entries = if it.entries == 1 { String::new() } else { format!(", {} of them", it.entries) };
        line(&mut out, &format!("setting   {} version {}{entries}", it.kind, it.version));
    }
    out.trim_end().to_owned()
}

fn line(out: &mut String, text: &str) {
    // Writing to a text can't fail.
    writeln!(out, "{text}").ok();
}

fn stream(it: &Stream) -> String {
    let Stream { stream, owner, address, epoch, lease_left_ms, last } = it;
    let name = owner.as_deref().unwrap_or("nobody");
    let at = address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
    let whose = if *lease_left_ms > 0 {
        format!("owned by {name}{at}, {lease_left_ms} ms of its lease left")
    } else {
        format!("NOT OWNED, last by {name}{at}")
    };
    format!("stream {stream:<2} {whose}, epoch {epoch}, last record {last}")
}

fn member(it: &Member, streams: &[Stream]) -> [String; 5] {
    let owns = streams.iter().any(|stream| stream.lease_left_ms > 0 && stream.owner.as_ref() == Some(&it.node));
    let mut state = match (it.alive, &it.silent_since) {
        (true, _) if owns => "owner".to_owned(),
        (true, _) => "alive".to_owned(),
        (false, Some(since)) => format!("silent since {since}"),
        (false, None) => "stopped".to_owned(),
    };
    if it.draining {
        state += ", draining";
    }
    [it.node.clone(), shown(&it.address), state, shown(&it.build), it.lag.to_string()]
}

fn standby(it: &Standby) -> [String; 5] {
    let unseen = || "not seen by this role".to_owned();
    let behind = match (it.lag_bytes, it.lag_ms) {
        (Some(bytes), Some(ms)) => format!("{bytes} bytes, {ms} ms"),
        (Some(bytes), None) => format!("{bytes} bytes"),
        (None, _) => "-".to_owned(),
    };
    let state = it.state.clone().unwrap_or_else(unseen);
    [it.name.clone(), shown(&it.address), state, shown(&it.sync_state), behind]
}

fn shown(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "-".to_owned())
}

/// Columns as wide as their widest cell, behind a margin.
fn aligned<const N: usize>(rows: Vec<[String; N]>) -> String {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        line(&mut out, format!("  {cells}").trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::backends::{Other, Primary, Setting};

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_status_is_read_by_people() {
        let node = |node: &str, alive, silent_since, lag| Member {
            node: node.to_owned(),
            address: some("10.0.0.1:8080"),
            alive,
            silent_since,
            build: some("0.1.0"),
            draining: false,
            lag,
        };
        let standby = |name: &str, state: Option<String>| Standby {
            name: name.to_owned(),
            address: some("10.0.1.2"),
            sync_state: state.as_ref().and_then(|_| some("quorum")),
            lag_bytes: state.as_ref().map(|_| 640),
            lag_ms: state.as_ref().map(|_| 1),
            state,
        };
        let stream =
            |stream, owner, lease_left_ms| Stream { stream, owner, address: None, epoch: 7, lease_left_ms, last: 120 };
        let status = Status {
            cluster: "9b1d".to_owned(),
            sandbox: false,
            owned: false,
            streams: vec![stream(0, some("a"), 2_400), stream(1, None, 0)],
            members: vec![
                node("a", true, None, 0),
                Member { draining: true, ..node("bb", true, None, 12) },
                node("c", false, some("2026-11-30T10:00:00.000+09:00"), 3),
                node("d", false, None, 0),
            ],
            database: Primary {
                name: "sokketsu".to_owned(),
                primary: "db1:5432".to_owned(),
                timeline: 3,
                version: "15.14".to_owned(),
                synchronous_standby_names: "ANY 1 (s1, s2)".to_owned(),
                standbys: vec![standby("s1", some("streaming")), standby("s2", None)],
                others: vec![Other { server: "db2:5432".to_owned(), says: "is a standby".to_owned() }],
            },
            settings: vec![Setting { kind: "policy".to_owned(), entries: 1, version: 4 }],
        };
        let expected = "\
cluster   9b1d
stream 0  owned by a, 2400 ms of its lease left, epoch 7, last record 120
stream 1  NOT OWNED, last by nobody, epoch 7, last record 120
  node  address        state                                       build  records behind
  a     10.0.0.1:8080  owner                                       0.1.0  0
  bb    10.0.0.1:8080  alive, draining                             0.1.0  12
  c     10.0.0.1:8080  silent since 2026-11-30T10:00:00.000+09:00  0.1.0  3
  d     10.0.0.1:8080  stopped                                     0.1.0  0
database  sokketsu on db1:5432, PostgreSQL 15.14, timeline 3; confirmed by ANY 1 (s1, s2)
  standby  address   state                  confirms  behind
  s1       10.0.1.2  streaming              quorum    640 bytes, 1 ms
  s2       10.0.1.2  not seen by this role  -         -
server    db2:5432: is a standby
setting   policy version 4";
        assert_eq!(text(&status), expected);
    }
}
