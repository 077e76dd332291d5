//! House rules that a machine can check: sizes, the direction of imports, documents in step with the code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Lines of a file under `src/`, its tests left out: above the first the test says so, above the second it fails.
const LONG_FILE: usize = 400;
const LONGEST_FILE: usize = 700;

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&Path::new(ROOT).join("src"), &mut files);
    files.sort();
    let name = |path: &Path| path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The product part of a file: up to its unit tests; nothing of a file that is tests only.
fn product<'a>(name: &str, text: &'a str) -> &'a str {
    let tests_only = ["_tests.rs", "/sim.rs", "/history.rs"];
    if tests_only.iter().any(|end| name.ends_with(end)) {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
#[expect(clippy::print_stdout, reason = "a warning is to be read")]
fn no_file_only_grows() {
    for (name, text) in sources() {
        let lines = product(&name, &text).lines().count();
        if lines > LONG_FILE {
            println!("{name} has {lines} lines without its tests; above {LONG_FILE} look for the two things in it");
        }
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines without its tests; {LONGEST_FILE} is the budget");
        assert!(name.matches('/').count() <= 3, "{name} lies deeper than two folders under src/");
    }
}

/// What a top-level module may import; every module is listed.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("files", &[]),
    ("hex", &[]),
    ("clock", &["domain", "files"]),
    ("metrics", &["domain"]),
    ("code", &["domain", "hex"]),
    ("iso8583", &["domain"]),
    ("journal", &["domain"]),
    // Stories and receipts are kept in the journal's bytes (docs/decisions/0011).
    ("ledger", &["domain", "journal"]),
    ("engine", &["domain", "journal", "ledger", "clock", "metrics", "code"]),
    ("net", &["files", "metrics"]),
    ("http", &["domain", "journal", "ledger", "clock", "metrics", "code", "engine", "hex", "net"]),
    ("link", &["domain", "iso8583", "metrics", "code", "engine", "net"]),
    ("config", &["domain", "files", "hex", "code", "iso8583", "journal", "engine", "http", "link", "cli"]),
    (
        "cli",
        &[
            "domain", "hex", "files", "code", "clock", "metrics", "journal", "ledger", "engine", "net", "http", "link",
            "config",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// The floors of the domain, from the ground up: what stands on one may import its own and those below.
const FLOORS: [&str; 4] = ["model", "billing", "state", "commands"];

#[test]
fn no_floor_of_the_domain_imports_from_above() {
    for (name, text) in sources() {
        let Some(floor) = FLOORS.iter().position(|floor| name.starts_with(&format!("src/domain/{floor}/"))) else {
            continue;
        };
        for (at, line) in product(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for above in &FLOORS[floor + 1..] {
                let is_there =
                    ["crate::domain::", "super::super::"].iter().any(|from| code.contains(&format!("{from}{above}")));
                assert!(!is_there, "{name}:{}: {} may not use {above}", at + 1, FLOORS[floor]);
            }
        }
    }
}

#[test]
fn imports_point_one_way() {
    for (name, text) in sources() {
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        let found = LAYERS.iter().find(|(layer, _)| *layer == module);
        let (_, allowed) = found.unwrap_or_else(|| panic!("{name} belongs to no listed module"));
        for (at, line) in product(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for import in code.split("crate::").skip(1) {
                let to = import.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                assert!(to == module || allowed.contains(&to), "{name}:{}: {module} may not use {to}", at + 1);
            }
        }
    }
}

/// Each holds a journal or a ledger of one kind.
const BACKENDS: [&str; 2] = ["src/journal/local/", "src/ledger/sqlite/"];
/// The file that chooses among them.
const COMPOSITION: &str = "src/cli/serve/backends.rs";

#[test]
fn only_the_composition_names_a_backend() {
    let names = [
        "journal::local",
        "ledger::sqlite",
        "local::",
        "sqlite::",
        "LocalJournal",
        "LocalReader",
        "Sqlite",
        "rusqlite",
    ];
    for (name, text) in sources() {
        if name == COMPOSITION || BACKENDS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        for (at, line) in product(&name, &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in names {
                assert!(!code.contains(word), "{name}:{}: only {COMPOSITION} may name {word}", at + 1);
            }
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let forbidden =
        ["tokio", "hyper", "std::fs", "std::net", "std::thread", "Instant::now", "SystemTime", "rusqlite", "rand::"];
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("src/domain/")) {
        for word in forbidden {
            assert!(!product(name, text).contains(word), "{name} mentions {word}");
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    for (name, text) in sources() {
        for word in ["FIXME", "TODO", "XXX", "todo!", "unimplemented!"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

/// Writes the page anew when asked to, compares it otherwise.
fn in_step(page: &str, now: &str) {
    let path = Path::new(ROOT).join(page);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, now).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "{page} is not in step; BLESS=1 cargo test --test tidy writes it anew");
}

#[test]
fn the_denials_page_is_in_step() {
    in_step("docs/denials.md", &sokketsu::domain::model::denial::as_markdown());
}
