//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

mod chart;

use std::fmt::Write;

use crate::report::{Report, Verdict};
use crate::stair::Stair;
use chart::{Frame, Line, chart, number};
use loadtest::figures::{count, ms};
use loadtest::latency::Percentiles;
use loadtest::stats::Point;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--paper:#fff;--rule:#dde;--a:#1565c0;--b:#c77800;--c:#b3261e;--d:#7a4fa3}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6ea;--soft:#99a;--paper:#15171b;--rule:#333842;--a:#6cb0ff;--b:#ffb74d;--c:#ff8a80;--d:#c9a6f0}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:900px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}h1 small,h2 small{color:var(--soft);font-weight:normal}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:normal}.wide{overflow-x:auto}
.verdict{padding:.5rem .8rem;border-left:4px solid #2e7d32}.verdict.bad{border-color:var(--c)}
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.mid{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--rule);fill:none}.line{fill:none;stroke-width:1.6}
.line.a{stroke:var(--a)}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}.line.d{stroke:var(--d)}
circle.a{fill:var(--a)}circle.b{fill:var(--b)}circle.c{fill:var(--c)}circle.d{fill:var(--d)}
.legend{margin:0;font-size:.85rem}.legend .a{color:var(--a)}.legend .b{color:var(--b)}.legend .c{color:var(--c)}.legend .d{color:var(--d)}
code{font-size:.9em;overflow-wrap:anywhere}";

/// Writing to a string can't fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).ok();
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn row(out: &mut String, cells: &[String]) {
    *out += "<tr>";
    for cell in cells {
        put(out, format_args!("<td>{}</td>", escaped(cell)));
    }
    *out += "</tr>";
}

fn table(out: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    *out += "<div class=\"wide\"><table><tr>";
    for head in heads {
        put(out, format_args!("<th>{head}</th>"));
    }
    *out += "</tr>";
    for cells in rows {
        row(out, cells);
    }
    *out += "</table></div>";
}

fn heading(out: &mut String, ja: &str, en: &str) {
    put(out, format_args!("<h2>{ja} <small>{en}</small></h2>"));
}

fn times(name: &str, told: &Percentiles) -> Vec<String> {
    vec![
        name.to_owned(),
        count(told.count),
        ms(told.p50_ms),
        ms(told.p90_ms),
        ms(told.p99_ms),
        ms(told.p999_ms),
        ms(told.max_ms),
        count(told.infinite),
    ]
}

fn latencies(out: &mut String, report: &Report) {
    heading(out, "応答時間", "latency by call, ms, from the intended time of sending; ∞: never answered");
    let mut rows: Vec<_> = report.total.calls.iter().map(|(call, told)| times(call, told)).collect();
    if report.total.turned_away.count > 0 {
        rows.push(times("turned away (503, 429)", &report.total.turned_away));
    }
    if let Some(disk) = &report.machine.disk {
        rows.push(times("the disk's own fdatasync, 4 KiB", disk));
    }
    if report.loop_kind == "open" {
        rows.push(times("the generator's own lateness", &report.lateness));
        rows.push(times("sent after (with the wait for a connection)", &report.waited));
    }
    table(out, &["", "requests", "p50", "p90", "p99", "p99.9", "max", "no answer"], &rows);

    heading(out, "分布", "percentiles of authorizations");
    let nines = |share: f64| -(1.0 - share).max(1e-9).log10();
    let shares = [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let longest = report.curve.last().map_or(0.0, |point| nines(point.0));
    let marks = shares.iter().map(|(share, text)| (nines(*share), (*text).to_owned()));
    let marks = Some(marks.filter(|mark| mark.0 <= longest.max(1.0)).collect());
    let points = report.curve.iter().map(|(share, ms)| (nines(*share), *ms)).collect();
    let frame = Frame { x: "share of requests that were not slower", y: "ms", is_log: true, marks };
    *out += &chart(&frame, &[Line { name: "authorize", class: "a", points }]);
}

fn over_time(out: &mut String, report: &Report) {
    let line = |name, class, value: fn(&Point) -> Option<f64>| Line {
        name,
        class,
        points: report.points.iter().map(|point| (point.at, value(point))).collect(),
    };
    let seconds = |y, is_log| Frame { x: "s", y, is_log, marks: None };
    heading(out, "応答時間の推移", "latency of authorizations over time, by the time of the answer");
    let lines = [
        line("p50", "a", |point| point.p50_ms),
        line("p99", "b", |point| point.p99_ms),
        line("p99.9", "c", |point| point.p999_ms),
        line("max", "d", |point| point.max_ms),
    ];
    *out += &chart(&seconds("ms", true), &lines);
    heading(out, "処理量とエラー", "throughput and errors");
    let lines = [
        line("authorizations/s", "a", |point| Some(point.authorizations_per_s)),
        line("all answers/s", "d", |point| Some(point.answers_per_s)),
        line("errors/s", "c", |point| Some(point.errors_per_s)),
    ];
    *out += &chart(&seconds("a second", false), &lines);
    heading(out, "機械", "the machine meanwhile: slowest fdatasync of the probe, steal");
    let moments = &report.machine.moments;
    let syncs = moments.iter().map(|moment| (moment.at, moment.sync_max_ms)).collect();
    let steal = moments.iter().map(|moment| (moment.at, Some(moment.steal * 100.0))).collect();
    let lines = [
        Line { name: "slowest sync, ms", class: "b", points: syncs },
        Line { name: "steal, %", class: "c", points: steal },
    ];
    *out += &chart(&seconds("ms, %", false), &lines);
}

fn stair(name: String, stair: &Stair) -> Vec<String> {
    let counts = &stair.counts;
    let told = stair.calls.get("authorize").copied().unwrap_or_default();
    vec![
        name,
        stair.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        format!("{:.1}", stair.seconds),
        format!("{:.0}", stair.decisions_per_s),
        format!("{:.0}", stair.approvals_per_s),
        ms(told.p50_ms),
        ms(told.p99_ms),
        ms(told.p999_ms),
        count(counts.denied_as_meant + counts.denied_unexpectedly),
        count(counts.shed + counts.throttled),
        count(counts.timeouts + counts.unsent + counts.broken + counts.refused),
    ]
}

fn stairs(out: &mut String, report: &Report) {
    heading(out, "負荷", "load");
    let mut rows: Vec<_> =
        report.stairs.iter().enumerate().map(|(at, each)| stair((at + 1).to_string(), each)).collect();
    rows.push(stair("all".to_owned(), &report.total));
    let heads = [
        "stair",
        "offered/s",
        "s",
        "decisions/s",
        "approvals/s",
        "p50 ms",
        "p99",
        "p99.9",
        "denied",
        "turned away",
        "lost",
    ];
    table(out, &heads, &rows);
}

fn facts(out: &mut String, report: &Report) {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let (costs, ledger, audit) = (&report.costs, &report.ledger, &report.audit);
    let listed = |list: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<_> = list.iter().map(|(what, times)| format!("{what} {times}")).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(", ") }
    };
    heading(out, "監査", "audit of the books: every answer against the API and the ledger");
    let mut rows = vec![
        vec!["orders, answered".to_owned(), format!("{}, {}", count(audit.orders), count(audit.answered))],
        vec!["decided without an answer".to_owned(), count(audit.decided_unanswered)],
        vec!["in the ledger".to_owned(), audit.in_ledger.map_or_else(|| "not looked at".to_owned(), count)],
        vec!["customers, owing yen".to_owned(), format!("{}, {}", count(audit.customers), count(audit.exposure_yen))],
        vec!["differences".to_owned(), count(audit.differences)],
    ];
    rows.extend(audit.first_differences.iter().map(|text| vec![text.clone(), String::new()]));
    table(out, &["", ""], &rows);
    heading(out, "そのほか", "what else");
    let lag = ledger.lag_at_end.map_or_else(|| "-".to_owned(), count);
    let rows = [
        ("approvals, of those intended", percent(report.approval_ratio)),
        ("errors, of all requests", percent(report.total.error_ratio())),
        ("denials", listed(&report.denials)),
        ("refusals", listed(&report.refusals)),
        ("ledger behind at the end, records; posted in, s", format!("{lag}; {}", some(ledger.drained_in_s))),
        (
            "cores used by the server, by the generator",
            format!("{}, {}", some(costs.server_cpus), some(costs.generator_cpus)),
        ),
        ("server's processor time a decision, µs", some(costs.server_us_per_decision)),
        ("server's memory, MiB", costs.server_resident_mib.map_or_else(|| "-".to_owned(), count)),
        (
            "processors, busy, steal",
            format!("{}, {}, {}", report.processors, percent(report.machine.busy), percent(report.machine.steal)),
        ),
        ("kernel", report.kernel.clone()),
        ("capacity given or measured, flows/s", some(report.capacity)),
        ("setting up, s", number(report.setup_s)),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(out, &["", ""], &rows);
    if !report.stages.is_empty() {
        heading(out, "内訳", "where the server says the time went (Server-Timing, sampled), ms");
        let figure = |ms: f64| format!("{ms:.3}");
        let row = |stage: &crate::report::Stage| {
            vec![stage.name.clone(), figure(stage.mean_ms), figure(stage.p50_ms), figure(stage.p99_ms)]
        };
        table(out, &["stage", "mean", "p50", "p99"], &report.stages.iter().map(row).collect::<Vec<_>>());
    }
}

pub fn render(report: &Report) -> String {
    let profile = &report.profile;
    let title = format!("負荷試験 {}", escaped(&profile.name));
    let mut out = format!(
        "<!doctype html><html lang=\"ja\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title} <small>load test of Sokketsu</small></h1>"
    );
    let class = if report.verdict == Verdict::Good { "verdict" } else { "verdict bad" };
    put(&mut out, format_args!("<p class=\"{class}\"><b>{}</b></p>", report.verdict.text()));
    put(
        &mut out,
        format_args!(
            "<p>{}, by {}, {} loop, {} connections × {}, {} customers, timeout {} ms, seed {}. <code>loadtest {}</code></p>",
            escaped(&report.started_at),
            report.transport,
            report.loop_kind,
            profile.connections,
            profile.pipeline,
            count(profile.customers as u64),
            profile.timeout_ms,
            report.seed,
            escaped(&report.command)
        ),
    );
    if !report.targets.is_empty() {
        heading(&mut out, "目標", "targets");
        let met = |is_met: bool| if is_met { "met" } else { "MISSED" };
        let rows = report.targets.iter();
        let rows = rows
            .map(|each| vec![each.name.to_owned(), number(each.target), ms(each.found), met(each.is_met).to_owned()]);
        table(&mut out, &["", "target", "found", ""], &rows.collect::<Vec<_>>());
    }
    stairs(&mut out, report);
    latencies(&mut out, report);
    over_time(&mut out, report);
    facts(&mut out, report);
    out += "</html>\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_escaped() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
