//! One customer's year, against the real server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod common;

use common::run;

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

#[test]
fn the_sums_of_a_year_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said, tale) = run(PROGRAM, &[], &["year"], &folder.path().join("year.json"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&tale["days"], &tale["differences"]), (&365.into(), &serde_json::json!([])));
    assert!(tale["entries"].as_array().unwrap().len() > 50, "{said}");
    let sums = tale["sums"].as_array().unwrap();
    assert!(sums.len() == 6 && sums.iter().all(|sum| sum["left"] == sum["right"]), "{said}");
    assert!(said.contains("Everything adds up."), "{said}");
}
