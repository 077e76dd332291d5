//! A small size, through all of it: sales, a stop, growth, a kill in mid-sale, and books that agree.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::run;

const PROGRAM: &str = env!("CARGO_BIN_EXE_compare");

#[test]
fn every_figure_is_found_and_the_books_agree() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (markdown, svg, data) = (file("scale.md"), file("scale.svg"), file("data"));
    let brief = ["scale", "--customers", "2000", "--orders", "3000", "--sales", "6000", "--growth-seconds", "1"];
    let rates = ["--growth-rate", "300", "--growth-customers", "500"];
    let files = ["--markdown", &markdown, "--svg", &svg, "--data", &data];
    let (code, said, report) =
        run(PROGRAM, &[], &[&brief[..], &rates, &files].concat(), &folder.path().join("scale.json"));
    assert_eq!(code, Some(0), "{said}");
    let size = &report[0];
    assert_eq!(size["filled"]["customers"], 2_000);
    // Those made beforehand and those measured; afterwards those of growth and of the kill too.
    assert_eq!((&size["orders"], &size["filled"]["orders"]), (&9_000.into(), &12_200.into()), "{size}");
    assert!(size["filled"]["idle_bytes"].as_u64() > size["filled"]["empty_bytes"].as_u64(), "{size}");
    let rounds = size["rounds"].as_array().unwrap();
    assert!(rounds.len() == 5 && rounds.iter().all(|round| round.as_f64() > Some(100.0)), "{size}");
    assert!(size["after_stop"]["seconds"].as_f64() > Some(0.0), "{size}");
    // The kill was in mid-sale: half was answered, the rest was not.
    let interruption = &size["interruption"];
    assert!(interruption["answered"].as_u64() >= Some(1_000), "{size}");
    assert!(interruption["answered"].as_u64() < Some(2_000) && interruption["missing"] == 0, "{size}");
    assert!(interruption["unanswered"].as_u64() > Some(0), "{size}");
    let growth = &size["growth"];
    // A second of warm-up and one that is measured.
    assert_eq!((&growth["growing"]["latency"]["count"], &growth["created"]), (&300.into(), &1_000.into()), "{size}");
    assert_eq!((&size["sampled"], &size["wrong"]), (&2_000.into(), &0.into()), "{size}");
    assert_eq!(std::fs::read_to_string(markdown).unwrap(), said);
    assert!(said.contains("| customers | 2,000 |"), "{said}");
    let picture = std::fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("Throughput"), "{picture}");
    // A later call measures the same customers, and makes neither them nor their orders again.
    let again = ["scale", "--customers", "2000", "--orders", "3000", "--data", &data, "--fill"];
    let (code, said, _) = run(PROGRAM, &[], &again, &folder.path().join("none.json"));
    assert_eq!(code, Some(0), "{said}");
    let kept = std::fs::read_to_string(folder.path().join("data/2000/filled.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, size["filled"]);
}
