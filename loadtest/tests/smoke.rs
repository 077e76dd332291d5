//! The program itself against the real server: a few seconds of everything, and the books agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod common;

use std::process::Command;

use serde_json::Value;

use common::run;

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

#[test]
fn a_smoke_run_is_answered_as_meant_and_the_books_agree() {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("report.html");
    let (code, said, report) =
        run(PROGRAM, &[], &["smoke", "--html", html.to_str().unwrap()], &folder.path().join("report.json"));
    assert_eq!(code, Some(0), "{said}");
    let counts = &report["total"]["counts"];
    assert!(counts["approved"].as_u64() > Some(300), "{counts}");
    assert_eq!(counts["approved"], counts["intended"], "{said}");
    for none in ["denied_unexpectedly", "approved_unexpectedly", "refused", "broken"] {
        assert_eq!(counts[none], 0, "{none}: {said}");
    }
    for call in ["issue", "authorize", "retry", "cancel", "refund", "inquire"] {
        assert!(report["total"]["calls"][call]["count"].as_u64() > Some(10), "{call}: {said}");
    }
    for reason in ["over_in_store_limit", "code_used", "issuer_unknown"] {
        assert!(report["denials"][reason].as_u64() > Some(3), "{reason}: {said}");
    }
    let audit = &report["audit"];
    assert_eq!(audit["differences"], 0);
    assert_eq!(audit["orders"], audit["in_ledger"], "every order was sent and decided, and none twice");
    assert!(report["machine"]["disk"]["count"].as_u64() > Some(10), "the disk was probed");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.matches("<svg").count() == 4 && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn over_tls_and_signed_the_books_agree_too() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["smoke", "--seconds", "1", "--tls", "--sign", "pos"];
    let (code, said, report) = run(PROGRAM, &[], &arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(0), "{said}");
    let counts = &report["total"]["counts"];
    assert!(counts["approved"].as_u64() > Some(100), "{counts}");
    assert_eq!((&counts["approved"], &counts["refused"]), (&counts["intended"], &Value::from(0)), "{said}");
    assert_eq!(report["audit"]["differences"], 0);
}

#[test]
fn by_iso_8583_the_books_agree_too() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "run",
        "--transport",
        "iso8583",
        "--prepare-codes",
        "--mix",
        "everyday",
        "--rate",
        "500",
        "--seconds",
        "2",
        "--warmup",
        "0.5",
        "--connections",
        "4",
        "--pipeline",
        "64",
    ];
    let (code, said, report) = run(PROGRAM, &[], &arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(0), "{said}");
    let counts = &report["total"]["counts"];
    assert!(counts["approved"].as_u64() > Some(500), "{counts}");
    assert_eq!((&counts["approved"], &counts["refused"]), (&counts["intended"], &Value::from(0)), "{said}");
    for call in ["authorize", "retry", "cancel", "refund"] {
        assert!(report["total"]["calls"][call]["count"].as_u64() > Some(3), "{call}: {said}");
    }
    assert_eq!((&report["transport"], &report["audit"]["differences"]), (&"ISO 8583".into(), &Value::from(0)));
    assert_eq!(report["audit"]["orders"], report["audit"]["in_ledger"]);
}

#[test]
fn a_missed_target_and_wrong_usage_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let slo = folder.path().join("slo.toml");
    std::fs::write(&slo, "p50_ms = 0.000_1\nmin_approval_ratio = 0.5\n").unwrap();
    let arguments = ["smoke", "--seconds", "1", "--slo", slo.to_str().unwrap()];
    let (code, said, report) = run(PROGRAM, &[], &arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(report["targets"][0]["is_met"], false);
    assert_eq!(report["verdict"], "target_missed");
    let wrong = Command::new(PROGRAM).args(["run", "--rates", "3"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(64));
}
