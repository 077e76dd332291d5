//! A program against the real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The server: what `SOKKETSU_BIN` names, or the one that was built with this test. Where the test was built alone it is built here, and a
/// build that fails is a failed test.
fn server() -> PathBuf {
    let given = std::env::var_os("SOKKETSU_BIN");
    if let Some(path) = given {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "SOKKETSU_BIN: {} is no file", path.display());
        return path;
    }
    // This test runs from target/PROFILE/deps.
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let path = profile.join("sokketsu");
    if !path.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--locked", "--workspace", "--bin", "sokketsu", "--target-dir"])
            .arg(profile.parent().unwrap());
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "the server could not be built; build it, or name one by SOKKETSU_BIN");
    }
    path
}

/// Runs a program with a server that is configured so: exit code, what it said, and its JSON.
pub fn run(program: &str, settings: &[(&str, &str)], arguments: &[&str], json: &Path) -> (Option<i32>, String, Value) {
    let mut command = Command::new(program);
    command.envs(settings.iter().copied());
    command.args(arguments).arg("--serve").arg(server()).arg("--json").arg(json).arg("--quiet");
    // The server takes every SOKKETSU_ variable for configuration.
    let output = command.env_remove("SOKKETSU_BIN").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(json).ok().and_then(|text| serde_json::from_str(&text).ok());
    (output.status.code(), said, report.unwrap_or_default())
}
