//! The figures as text that is Markdown too.

use std::fmt::Write;

use super::Size;
use super::growth::{Growth, Sold};
use loadtest::figures::{count, ms, whole};

/// One row: what it is, and its cell for each size.
fn row(page: &mut String, name: &str, sizes: &[Size], cell: impl Fn(&Size) -> String) {
    let cells: Vec<String> = sizes.iter().map(cell).collect();
    // Writing to a string can't fail.
    writeln!(page, "| {name} | {} |", cells.join(" | ")).ok();
}

pub fn render(sizes: &[Size]) -> String {
    let mut page = String::new();
    let Some(first) = sizes.first() else { return page };
    row(&mut page, "customers", sizes, |size| count(u64::from(size.filled.customers)));
    page += &format!("|---|{}\n", "--:|".repeat(sizes.len()));
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / (1024.0 * 1024.0));
    row(&mut page, "resident, all idle, MiB", sizes, |size| mib(size.filled.idle_bytes));
    row(&mut page, "bytes a customer, all included", sizes, |size| format!("{:.0}", size.bytes_each()));
    row(&mut page, "bytes each one adds to the size before", sizes, |size| {
        let before = sizes.iter().rfind(|other| other.filled.customers < size.filled.customers);
        before.map_or_else(|| "-".to_owned(), |before| format!("{:.0}", size.slope(before)))
    });
    row(&mut page, "decisions/s, closed loop", sizes, |size| whole(size.decisions_per_s()));
    row(&mut page, "over that of the first size, round by round", sizes, |size| format!("{:.2}", size.over(first)));
    row(&mut page, "of these turned away once (503)", sizes, |size| count(size.turned_away));
    row(&mut page, "orders retained", sizes, |size| count(size.orders));
    row(&mut page, "start after a stop, s", sizes, |size| format!("{:.1}", size.after_stop.seconds));
    row(&mut page, "start after kill -9 in mid-sale, s", sizes, |size| format!("{:.1}", size.after_kill.seconds));
    row(&mut page, "sales answered before the kill, missing after it", sizes, |size| {
        format!("{}, {}", count(size.interruption.answered), size.interruption.missing)
    });
    if let Some(growth) = first.growth {
        let cell = |size: &Size, of: fn(&Growth) -> Sold| {
            size.growth.as_ref().map(of).map_or_else(
                || "-".to_owned(),
                |Sold { latency, disk }| {
                    format!(
                        "{}, {}, {}; {}",
                        ms(latency.p50_ms),
                        ms(latency.p999_ms),
                        ms(latency.max_ms),
                        ms(disk.max_ms)
                    )
                },
            )
        };
        let name = format!("{:.0} sales/s: p50, p99.9, max, ms; the disk's own slowest sync", growth.rate);
        row(&mut page, &name, sizes, |size| cell(size, |growth| growth.alone));
        let name = format!("the same while {:.0} customers/s are made", growth.created_per_s);
        row(&mut page, &name, sizes, |size| cell(size, |growth| growth.growing));
    }
    row(&mut page, "customers audited, wrong", sizes, |size| format!("{}, {}", count(size.sampled), size.wrong));
    page
}

#[cfg(test)]
mod tests {
    use super::super::tests::size as example;
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_each_size() {
        let sizes = [example(1_000, 30 << 20, &[50_000.0], 0.25), example(1_000_000, 190 << 20, &[47_500.0], 1.0)];
        let page = render(&sizes);
        assert!(page.lines().all(|line| line.matches('|').count() == 4), "{page}");
        for line in [
            "| customers | 1,000 | 1,000,000 |",
            "|---|--:|--:|",
            "| resident, all idle, MiB | 30 | 190 |",
            "| bytes each one adds to the size before | - | 168 |",
            "| decisions/s, closed loop | 50,000 | 47,500 |",
            "| over that of the first size, round by round | 1.00 | 0.95 |",
            "| start after kill -9 in mid-sale, s | 0.5 | 2.0 |",
            "| sales answered before the kill, missing after it | 500, 0 | 500, 0 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert_eq!(render(&[]), "");
    }
}
