//! House rules that a machine can check: sizes, the direction of imports, documents in step with the code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
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
    sources_in("src")
}

/// Names from the root of the repository, and texts.
fn sources_in(root: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&Path::new(ROOT).join(root), &mut files);
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
    ("database", &[]),
    ("files", &[]),
    ("hex", &[]),
    ("migrations", &["hex"]),
    ("clock", &["domain", "files"]),
    ("metrics", &["domain"]),
    ("code", &["domain", "hex"]),
    ("iso8583", &["domain"]),
    ("journal", &["domain", "database", "files", "hex", "migrations"]),
    // Stories and receipts are kept in the journal's bytes (docs/decisions/0011).
    ("ledger", &["domain", "journal", "database", "migrations"]),
    ("engine", &["domain", "journal", "ledger", "clock", "metrics", "code"]),
    ("net", &["files", "metrics"]),
    ("http", &["domain", "journal", "ledger", "clock", "metrics", "code", "engine", "hex", "net"]),
    ("link", &["domain", "iso8583", "metrics", "code", "engine", "net"]),
    ("config", &["domain", "database", "files", "hex", "code", "iso8583", "journal", "engine", "http", "link"]),
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

/// A module as the names of its path: `src/http/trust/nonces.rs` is http, trust, nonces.
type Module = Vec<String>;

fn module(root: &str, name: &str) -> Module {
    let path = name.trim_start_matches(root).trim_start_matches('/').trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// Reads on in a tree of imports: names between `::`, then perhaps a list of such paths in braces.
fn read_paths(text: &mut &str, before: &[String], found: &mut Vec<Module>) {
    let mut path = before.to_vec();
    loop {
        *text = text.trim_start();
        if let Some(list) = text.strip_prefix('{') {
            *text = list.trim_start();
            while !text.is_empty() && !text.starts_with('}') {
                read_paths(text, &path, found);
                *text = text.trim_start_matches(|c: char| c != ',' && c != '}');
                *text = text.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            }
            *text = text.strip_prefix('}').unwrap_or(text);
            return;
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        path.push(text[..end].to_owned());
        *text = &text[end..];
        let Some(next) = text.strip_prefix("::") else { break };
        *text = next;
    }
    found.push(path);
}

/// What a file names by `crate::` or `super::`, as paths from the root.
fn paths_in(from: &Module, product: &str) -> Vec<Module> {
    let lines: Vec<&str> = product.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = lines.join("\n");
    let mut rest = code.as_str();
    let mut found = Vec::new();
    while let Some(at) = ["crate::", "super::"].iter().filter_map(|word| rest.find(word)).min() {
        let mut base = if rest[at..].starts_with("crate::") { &[] } else { &from[..from.len() - 1] };
        rest = &rest[at + "crate::".len()..];
        while let Some(further) = rest.strip_prefix("super::") {
            base = &base[..base.len() - 1];
            rest = further;
        }
        read_paths(&mut rest, base, &mut found);
    }
    found
}

/// Who imports whom below `root`, the folder of a `lib.rs` or `main.rs`: each file's module with each module that its
/// product part names.
fn imports(root: &str) -> BTreeSet<(Module, Module)> {
    let sources = sources_in(root);
    let modules: BTreeSet<Module> = sources.iter().map(|(name, _)| module(root, name)).collect();
    let mut all = BTreeSet::new();
    for (name, text) in &sources {
        let from = module(root, name);
        for path in paths_in(&from, product(name, text)) {
            let to = (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|part| modules.contains(part));
            all.extend(to.filter(|to| *to != from).map(|to| (from.clone(), to)));
        }
    }
    all
}

#[test]
fn imports_point_one_way() {
    for (name, _) in sources() {
        let top = &module("src", &name)[0];
        assert!(LAYERS.iter().any(|(layer, _)| layer == top), "{name} belongs to no listed module");
    }
    for (from, to) in imports("src") {
        let allowed = LAYERS.iter().find(|(layer, _)| *layer == from[0]).map(|(_, allowed)| *allowed);
        let is_allowed = from[0] == to[0] || allowed.unwrap_or_default().contains(&to[0].as_str());
        assert!(is_allowed, "{} may not use {}", from.join("::"), to.join("::"));
        if let ["domain", floor, ..] = from.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            let height = |name: &str| FLOORS.iter().position(|floor| *floor == name);
            let is_above = to.get(1).is_some_and(|other| height(other) > height(floor));
            assert!(!is_above, "{} may not use {}, which is above it", from.join("::"), to.join("::"));
        }
    }
}

/// The imports that lie on circles, or between two; `node` is what a module counts as, if it counts.
fn circles(
    imports: &BTreeSet<(Module, Module)>,
    node: impl Fn(&Module) -> Option<Module>,
) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut left: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (from, to) in imports {
        let (Some(from), Some(to)) = (node(from), node(to)) else { continue };
        // A parent and its child may name each other.
        if !from.starts_with(&to) && !to.starts_with(&from) {
            left.entry(from).or_default().insert(to);
        }
    }
    loop {
        let names: BTreeSet<Module> = left.keys().cloned().collect();
        left.values_mut().for_each(|all| all.retain(|to| names.contains(to)));
        let imported: BTreeSet<Module> = left.values().flatten().cloned().collect();
        left.retain(|from, all| !all.is_empty() && imported.contains(from));
        if left.len() == names.len() {
            return left;
        }
    }
}

/// The folder at `depth` in which a module lies.
fn folder(imports: &BTreeSet<(Module, Module)>, module: &Module, depth: usize) -> Option<Module> {
    let has_children =
        |path: &[String]| imports.iter().any(|(from, _)| from.len() > path.len() && from.starts_with(path));
    module.get(..depth).filter(|path| depth == 1 || has_children(path)).map(<[String]>::to_vec)
}

#[test]
fn imports_are_read_through_lists_and_parents() {
    let from = ["http", "trust", "nonces"].map(str::to_owned).to_vec();
    let text =
        "use crate::link::{a, sale::{Sale, b as c}};\nuse super::super::{\n    call,\n};\nlet x = crate::hex::of(1);";
    let found: Vec<String> = paths_in(&from, text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["link::a", "link::sale::Sale", "link::sale::b", "http::call", "hex::of"]);
}

#[test]
fn no_circle_between_folders_nor_inside_one() {
    for root in ["src", "loadtest/src", "loadtest/src/bin/loadtest", "loadtest/compare/src"] {
        let imports = imports(root);
        for depth in [1, 2] {
            let found = circles(&imports, |module| folder(&imports, module, depth));
            assert!(found.is_empty(), "{root} has a circle of imports: {found:?}");
        }
        let beside: BTreeSet<(Module, Module)> =
            imports.into_iter().filter(|(from, to)| from[..from.len() - 1] == to[..to.len() - 1]).collect();
        let found = circles(&beside, |module| Some(module.clone()));
        assert!(found.is_empty(), "{root} has a circle of imports inside a folder: {found:?}");
    }
}

/// Each holds a journal or a ledger of one kind.
const BACKENDS: [&str; 4] =
    ["src/journal/local/", "src/journal/postgres/", "src/ledger/sqlite/", "src/ledger/postgres/"];
/// The file that chooses among them.
const COMPOSITION: &str = "src/cli/serve/backends.rs";

#[test]
fn only_the_composition_names_a_backend() {
    let names = [
        "journal::local",
        "journal::postgres",
        "ledger::sqlite",
        "local::",
        "sqlite::",
        "LocalJournal",
        "LocalReader",
        "PostgresJournal",
        "Sqlite",
        "rusqlite",
        "ledger::postgres",
        "postgres::Postgres",
        "PostgresLedger",
        "PostgresBooks",
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

/// What `docs/ARCHITECTURE.md` says is absent: its words there, what it would look like in code, and where that may be.
const ABSENT: &[(&str, &[&str], &[&str])] = &[
    ("draws no random number", &["rand::"], &["src/engine/", "src/cli/", "src/database.rs"]),
    ("the only reader of the system clock", &["SystemTime"], &["src/clock.rs"]),
    ("the only reader of the environment", &["env::var"], &["src/config/mod.rs"]),
    (
        "The database is not read to authorize",
        &["dyn Books", "Checkpoint"],
        &["src/ledger/", "src/cli/", "src/http/", "src/engine/client.rs"],
    ),
    ("No float near money", &["f32", "f64"], &["src/config/check.rs", "src/http/", "src/metrics.rs"]),
    ("HTTP status codes are in `http` and the denial table only", &["StatusCode"], &["src/http/"]),
    ("calendar arithmetic in `src/domain/model/time.rs` only", &["jiff::", "civil::"], &["src/domain/model/time.rs"]),
    ("There is no `unsafe`", &["unsafe "], &[]),
];

#[test]
fn what_the_architecture_says_is_absent_is_absent() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/ARCHITECTURE.md")).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for (sentence, words, allowed) in ABSENT {
        assert!(page.contains(sentence), "docs/ARCHITECTURE.md does not say any more: {sentence}");
        for (name, text) in sources().iter().filter(|(name, _)| !allowed.iter().any(|place| name.starts_with(place))) {
            for (at, line) in product(name, text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = words.iter().find(|word| code.contains(**word));
                assert!(found.is_none(), "{name}:{} has {found:?}, but: {sentence}", at + 1);
            }
        }
    }
}

/// Whether a page's word names a file or folder of the repository, by its begin or its end.
fn is_path(word: &str) -> bool {
    let tops = ["src/", "docs/", "tests/", "benches/", "loadtest/", "config/", "deploy/"];
    tops.iter().any(|top| word.starts_with(top)) || word.ends_with(".rs")
}

/// A whole path, from the root or from the page's own folder; of a name alone, any file of this name.
fn is_there(page: &Path, word: &str, names: &BTreeSet<String>) -> bool {
    let places = [Path::new(ROOT), page.parent().unwrap()];
    places.iter().any(|place| place.join(word).exists()) || (!word.contains('/') && names.contains(word))
}

#[test]
fn pages_name_only_what_is_there() {
    let root = Path::new(ROOT);
    let mut files = Vec::new();
    ["src", "tests", "benches", "loadtest"].iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    let names = files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
    let mut pages: Vec<PathBuf> =
        ["README.md", "src/lib.rs", "benches/README.md", "loadtest/README.md"].map(|page| root.join(page)).to_vec();
    pages.push(root.join("loadtest/compare/README.md"));
    for folder in ["docs", "docs/decisions"] {
        let found = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(found.filter(|path| path.extension().is_some_and(|ext| ext == "md")));
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split(|c: char| c.is_whitespace() || "`()[],;\"'…".contains(c)) {
            let word = word.trim_end_matches(['.', ':']).split("::").next().unwrap_or_default();
            let is_shown = is_path(word) && !word.contains(['*', '{', '<']) && !word.contains("NAME");
            assert!(!is_shown || is_there(&page, word, &names), "{} names {word}, which is not there", page.display());
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
    in_step("docs/denials.md", &sokketsu::domain::model::wording::as_markdown());
}
