//! Side by side, for half a second each: everybody decides alike, and everybody's books agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::run;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_compare");

/// A short round with these, and its report. Few customers, so that setting up is short: a turn ends when each has bought
/// once.
fn play(peers: &str, customers: &str, more: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let brief = ["peers", "--peers", peers, "--rounds", "1", "--seconds", "0.5", "--warmup", "0.05"];
    let arguments = [&brief[..], &["--customers", customers, "--wait-idle", "0"], more].concat();
    let (code, said, report) = run(PROGRAM, &[], &arguments, &folder.path().join("peers.json"));
    assert_eq!(code, Some(0), "{said}");
    (said, report)
}

#[test]
fn sokketsu_and_the_ceiling_are_compared_with_nothing_installed() {
    let (said, report) = play("bare,sokketsu,pair", "20000", &["--rate", "400"]);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["bare", "sokketsu", "pair"]);
    for row in rows {
        assert!(row["closed"][0]["decisions_per_s"].as_f64() > Some(100.0), "{row}");
        assert!(row["open"][0]["latency"]["count"].as_u64() > Some(100), "{row}");
        assert_eq!(row["open"][0]["latency"]["infinite"], 0, "{row}");
    }
    assert!(rows[0]["audit"].is_null(), "the bare one keeps no books");
    for row in &rows[1..] {
        assert!(row["audit"]["found"]["records"].as_u64() > Some(300), "{row}");
        assert_eq!(row["audit"]["answered"], row["audit"]["found"], "{said}");
    }
    let ratio = rows[1]["summary"]["sokketsu_over_it"]["median"].as_f64().unwrap();
    assert!((ratio - 1.0).abs() < 1e-9, "Sokketsu is as fast as itself: {ratio}");
    assert!(said.contains("Sokketsu over it") && said.contains("At 400 decisions/s"), "{said}");
}

/// Plays against servers that may not be there; a machine without them is told so.
fn against(program: &str, is_there: bool, peers: &str) {
    if !is_there {
        eprintln!("left out: {program} is not installed; loadtest/compare/run installs it");
        return;
    }
    check_books(&play(peers, "20000", &[]));
}

fn check_books((said, report): &(String, Value)) {
    let rows = report["rows"].as_array().unwrap();
    for row in rows.iter().filter(|row| row["kind"] != "commit") {
        assert_eq!(row["audit"]["answered"], row["audit"]["found"], "{said}");
        assert!(row["audit"]["found"]["records"].as_u64() > Some(100), "{said}");
    }
}

/// Where Debian has it, with what starts it for somebody who is not root.
fn postgres_is_there() -> bool {
    let is_there = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|at| at.path().join("bin/initdb").is_file()))
    });
    is_there && Path::new("/usr/bin/setpriv").is_file()
}

#[test]
fn redis_decides_the_same_if_it_is_installed() {
    let is_there = Command::new("redis-server").arg("--version").output().is_ok();
    against("redis-server", is_there, "redis-always,redis-everysec,redis-replica");
}

#[test]
fn postgres_decides_the_same_if_it_is_installed() {
    against("PostgreSQL", postgres_is_there(), "postgres");
}

#[test]
fn in_a_cluster_all_books_agree_and_answers_are_compared_with_a_bare_commit_if_it_is_installed() {
    if !postgres_is_there() {
        eprintln!("left out: PostgreSQL is not installed; loadtest/compare/run installs it");
        return;
    }
    let peers = "sokketsu-at-rest,postgres-standbys,commit";
    let played = play(peers, "2000", &["--rate", "400", "--open-only"]);
    check_books(&played);
    let (said, report) = played;
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(row["closed"].as_array().unwrap().is_empty(), row["kind"] != "commit", "{row}");
        assert!(row["open"][0]["latency"]["count"].as_u64() > Some(80), "{row}");
        let ratio = row["summary"]["open_p99_over_a_commit"][0].as_f64().unwrap();
        assert!(ratio > 0.0 && (row["kind"] != "commit" || (ratio - 1.0).abs() < 1e-9), "{ratio}: {row}");
    }
    assert!(said.contains("one-row commit in the same round"), "{said}");
}
