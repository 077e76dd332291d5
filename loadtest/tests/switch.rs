//! The simulated network against the real server: every story comes, every answer is as it must be, the books agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod common;

use std::process::Command;

use common::run;

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

#[test]
fn two_seconds_of_everything_are_answered_as_they_must_be_and_the_books_agree() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["switch", "--stand-in", "--seconds", "2", "--rate", "400"];
    let (code, said, report) = run(PROGRAM, &[], &arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(0), "{said}");
    let kinds = report["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 22);
    for kind in kinds {
        assert!(kind["played"].as_u64() > Some(0), "{kind}: {said}");
        assert_eq!(kind["wrong"], 0, "{kind}: {said}");
    }
    assert_eq!(report["differences"], 0);
    assert!(report["audit"]["in_ledger"].as_u64() > Some(500), "{said}");
    assert!(report["sent_again"].as_u64() > Some(0), "connections were cut with messages in flight: {said}");
    assert!(report["sign_offs_answered"].as_u64() > Some(0), "the service signed off when it stopped: {said}");
    assert!(report["messages"].as_u64() > Some(1_500), "{said}");
}

#[test]
fn wrong_usage_and_a_service_that_is_not_there_have_exit_codes_of_their_own() {
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("switch").args(arguments).output().unwrap();
        output.status.code()
    };
    assert_eq!(run(&["--url", "http://127.0.0.1:1"]), Some(64), "without --iso8583");
    assert_eq!(run(&["--serve", "/nowhere"]), Some(2));
    assert_eq!(run(&["--seconds", "0"]), Some(2));
}
