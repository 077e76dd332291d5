//! The program itself against the real server: a few seconds of everything, and the books agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The server: what `SOKKETSU_BIN` names, or a release build. It is built here if it is not there, and a build that
/// fails is a failed test.
fn server() -> PathBuf {
    let given = std::env::var_os("SOKKETSU_BIN");
    if let Some(path) = given {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "SOKKETSU_BIN: {} is no file", path.display());
        return path;
    }
    // This test runs from target/PROFILE/deps.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let path = target.join("release/sokketsu");
    if !path.is_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--release", "--locked", "-p", "sokketsu", "--bin", "sokketsu", "--target-dir"])
            .arg(&target);
        let status = build.current_dir(root).status().expect("cargo runs");
        assert!(status.success(), "the server could not be built; build it, or name one by SOKKETSU_BIN");
    }
    path
}

fn loadtest(arguments: &[&str], json: &Path) -> (Option<i32>, String, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).arg("--serve").arg(server()).arg("--json").arg(json).arg("--quiet");
    // The server takes every SOKKETSU_ variable for configuration.
    let output = command.env_remove("SOKKETSU_BIN").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(json).ok().and_then(|text| serde_json::from_str(&text).ok());
    (output.status.code(), said, report.unwrap_or_default())
}

#[test]
fn a_smoke_run_is_answered_as_meant_and_the_books_agree() {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("report.html");
    let (code, said, report) =
        loadtest(&["smoke", "--html", html.to_str().unwrap()], &folder.path().join("report.json"));
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
    let (code, said, report) = loadtest(&arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(0), "{said}");
    let counts = &report["total"]["counts"];
    assert!(counts["approved"].as_u64() > Some(100), "{counts}");
    assert_eq!((&counts["approved"], &counts["refused"]), (&counts["intended"], &Value::from(0)), "{said}");
    assert_eq!(report["audit"]["differences"], 0);
}

#[test]
fn a_missed_target_and_wrong_usage_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let slo = folder.path().join("slo.toml");
    std::fs::write(&slo, "p50_ms = 0.000_1\nmin_approval_ratio = 0.5\n").unwrap();
    let arguments = ["smoke", "--seconds", "1", "--slo", slo.to_str().unwrap()];
    let (code, said, report) = loadtest(&arguments, &folder.path().join("report.json"));
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(report["targets"][0]["is_met"], false);
    assert_eq!(report["verdict"], "target_missed");
    let wrong = Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["run", "--rates", "3"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(64));
}
