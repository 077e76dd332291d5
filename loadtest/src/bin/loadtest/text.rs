//! The report as text.

use std::fmt::Write;

use crate::report::Report;
use crate::stair::Stair;
use loadtest::figures::{count, ms};
use loadtest::latency::Percentiles;

fn percentiles(out: &mut String, name: &str, told: &Percentiles) {
    line(
        out,
        format_args!(
            "  {name:<11}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            count(told.count),
            ms(told.p50_ms),
            ms(told.p90_ms),
            ms(told.p99_ms),
            ms(told.p999_ms),
            ms(told.max_ms),
            told.infinite
        ),
    );
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    writeln!(out, "{text}").ok();
}

fn stair(out: &mut String, name: &str, stair: &Stair) {
    let rate = stair.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate:.0}/s offered"));
    let counts = &stair.counts;
    line(
        out,
        format_args!(
            "{name}: {rate}, {:.1} s, {:.0} decisions/s, {:.0} approvals/s",
            stair.seconds, stair.decisions_per_s, stair.approvals_per_s
        ),
    );
    let head = ["requests", "p50 ms", "p90", "p99", "p99.9", "max", "no answer"];
    let head: String = head.iter().map(|word| format!("{word:>10}")).collect();
    line(out, format_args!("  {:<11}{head}", ""));
    for (call, told) in &stair.calls {
        percentiles(out, call, told);
    }
    if stair.turned_away.count > 0 {
        percentiles(out, "turned away", &stair.turned_away);
    }
    line(
        out,
        format_args!(
            "  flows {}, meant to be approved {}: approved {}, denied {}; meant to be denied: denied {}, approved {}",
            counts.arrivals,
            counts.intended,
            counts.approved,
            counts.denied_unexpectedly,
            counts.denied_as_meant,
            counts.approved_unexpectedly
        ),
    );
    line(
        out,
        format_args!(
            "  errors {:.4} %: shed {}, throttled {}, refused {}, timeouts {}, not sent {}, broken {}",
            stair.error_ratio() * 100.0,
            counts.shed,
            counts.throttled,
            counts.refused,
            counts.timeouts,
            counts.unsent,
            counts.broken
        ),
    );
}

fn machine(out: &mut String, report: &Report) {
    let (late, waited) = (&report.lateness, &report.waited);
    if report.loop_kind == "open" {
        line(
            out,
            format_args!(
                "generator   late by p50 {} p99 {} max {} ms; sent after p50 {} p99 {} max {} ms (with the wait for a \
                 connection); {} reconnects",
                ms(late.p50_ms),
                ms(late.p99_ms),
                ms(late.max_ms),
                ms(waited.p50_ms),
                ms(waited.p99_ms),
                ms(waited.max_ms),
                report.reconnects
            ),
        );
    }
    let machine = &report.machine;
    if let Some(disk) = &machine.disk {
        line(
            out,
            format_args!(
                "disk        fdatasync of 4 KiB, {} times: p50 {} p90 {} p99 {} max {} ms",
                disk.count,
                ms(disk.p50_ms),
                ms(disk.p90_ms),
                ms(disk.p99_ms),
                ms(disk.max_ms)
            ),
        );
    }
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let costs = &report.costs;
    line(
        out,
        format_args!(
            "machine     {} processors, busy {:.0} %, steal {:.2} %; generator {} cores, server {} cores, {} µs for each \
             decision, {} MiB",
            report.processors,
            machine.busy * 100.0,
            machine.steal * 100.0,
            figure(costs.generator_cpus),
            figure(costs.server_cpus),
            figure(costs.server_us_per_decision),
            costs.server_resident_mib.map_or_else(|| "-".to_owned(), count)
        ),
    );
    for stage in &report.stages {
        line(
            out,
            format_args!(
                "  {:<9} mean {:.3} p50 {:.3} p99 {:.3} ms, by the server's own account",
                stage.name, stage.mean_ms, stage.p50_ms, stage.p99_ms
            ),
        );
    }
}

fn books(out: &mut String, report: &Report) {
    let (ledger, audit) = (&report.ledger, &report.audit);
    if let (Some(lag), Some(drained)) = (ledger.lag_at_end, ledger.drained_in_s) {
        line(out, format_args!("ledger      {} records behind at the end, posted in {drained:.2} s", count(lag)));
    }
    for (name, list) in [("denials", &report.denials), ("refusals", &report.refusals)] {
        let list: Vec<_> = list.iter().map(|(what, times)| format!("{what} {times}")).collect();
        if !list.is_empty() {
            line(out, format_args!("{name:<12}{}", list.join(", ")));
        }
    }
    let in_ledger = audit
        .in_ledger
        .map_or_else(|| "ledger not looked at".to_owned(), |found| format!("{} decisions in the ledger", count(found)));
    line(
        out,
        format_args!(
            "audit       {} orders, {} answered, {} decided without an answer, {in_ledger}; {} customers owe {} yen; {} \
             differences",
            count(audit.orders),
            count(audit.answered),
            count(audit.decided_unanswered),
            count(audit.customers),
            count(audit.exposure_yen),
            count(audit.differences)
        ),
    );
    for difference in &audit.first_differences {
        line(out, format_args!("  {difference}"));
    }
    for target in &report.targets {
        let met = if target.is_met { "met" } else { "MISSED" };
        line(out, format_args!("target      {} {}: {} {met}", target.name, target.target, ms(target.found)));
    }
}

pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let profile = &report.profile;
    line(
        &mut out,
        format_args!(
            "\n{} on {} by {}, {} loop, {} connections × {}, {} customers, {}",
            profile.name,
            report.server,
            report.transport,
            report.loop_kind,
            profile.connections,
            profile.pipeline,
            profile.customers,
            report.started_at
        ),
    );
    if report.stairs.len() > 1 {
        for (at, each) in report.stairs.iter().enumerate() {
            stair(&mut out, &format!("stair {}", at + 1), each);
        }
    }
    stair(&mut out, "in all", &report.total);
    machine(&mut out, report);
    books(&mut out, report);
    line(&mut out, format_args!("approvals   {:.2} % of those intended", report.approval_ratio * 100.0));
    if let Some(overload) = &report.overload {
        line(&mut out, format_args!("overload\n{}", overload.render().trim_end()));
    }
    line(&mut out, format_args!("verdict     {}", report.verdict.text()));
    out
}
