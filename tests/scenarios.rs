//! Every rule of the service as a scenario, at every depth that exists.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

#[path = "service/iso.rs"]
mod iso;
mod memory;
mod scenario;
#[path = "service/server.rs"]
mod server;

use scenario::direct::{Direct, Driven, Pure};

/// Runs each file once per depth. Every file of the folder must stand here: `all_files_are_listed` checks.
macro_rules! scenarios {
    ($($name:ident)*) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];
        mod core {
            use super::*;
            $(#[test] fn $name() {
                let text = include_str!(concat!("scenarios/", stringify!($name), ".txt"));
                scenario::run(stringify!($name), text, &mut Direct::new(Pure::new()));
            })*
        }
        mod engine {
            use super::*;
            $(#[test] fn $name() {
                let text = include_str!(concat!("scenarios/", stringify!($name), ".txt"));
                scenario::run(stringify!($name), text, &mut Direct::new(Driven::new()));
            })*
        }
        mod http {
            use super::*;
            $(#[test] fn $name() {
                let text = include_str!(concat!("scenarios/", stringify!($name), ".txt"));
                scenario::http::run(stringify!($name), text, false);
            })*
        }
        mod iso8583 {
            use super::*;
            $(#[test] fn $name() {
                let text = include_str!(concat!("scenarios/", stringify!($name), ".txt"));
                scenario::http::run(stringify!($name), text, true);
            })*
        }
    };
}

scenarios! {
    approval
    codes
    merchants
    standing
    freeze
    categories
    caps
    velocity
    same_basket
    limits
    retries
    cancels
    void_window
    holds
    capture_refusals
    refunds
    months
    overdue
    deadline
    old_orders
    advices
    suspense
    tok19
    network_reversals
    network_advices
    network_beside
    rotated_keys
}

#[test]
fn all_files_are_listed() {
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut listed: Vec<_> = LISTED.iter().map(|name| (*name).to_owned()).collect();
    files.sort();
    listed.sort();
    assert_eq!(files, listed);
}

#[test]
fn every_reason_has_a_scenario() {
    let mut all = String::new();
    for name in LISTED {
        let path = format!("{}/tests/scenarios/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        all += &std::fs::read_to_string(path).unwrap();
    }
    for reason in sokketsu::domain::model::denial::Reason::ALL {
        let name = reason.row().name;
        assert!(all.contains(&format!("denied {name}")), "no scenario is denied {name}");
    }
}
