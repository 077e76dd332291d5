//! The figures as one picture: throughput, memory and start over the number of customers. It needs no style sheet.

use std::fmt::Write;

use super::Size;
use loadtest::figures::whole;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;
/// Of the three panels, each with its labels.
const PANEL: f64 = WIDTH / 3.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 48.0;
const INK: &str = "#1b1f24";
const SOFT: &str = "#5a6270";
const RULE: &str = "#dde1e8";

/// What a panel shows.
struct Panel {
    title: &'static str,
    unit: &'static str,
    color: &'static str,
    value: fn(&Size) -> f64,
    /// Decimals of the labels.
    decimals: usize,
    /// A dashed line, and what it says.
    target: Option<(f64, &'static str)>,
    /// The smallest size is told in the table only, where the process itself weighs more than its customers.
    most: f64,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "Throughput",
        unit: "decisions/s, 64 connections",
        color: "#1565c0",
        value: Size::decisions_per_s,
        decimals: 0,
        target: None,
        most: f64::INFINITY,
    },
    Panel {
        title: "Memory",
        unit: "resident bytes a customer, all included",
        color: "#c77800",
        value: Size::bytes_each,
        decimals: 0,
        target: Some((160.0, "wanted: 160")),
        most: 400.0,
    },
    Panel {
        title: "Start",
        unit: "s until ready, orders retained",
        color: "#7a4fa3",
        value: |size| size.after_stop.seconds,
        decimals: 1,
        target: Some((10.0, "wanted: 10")),
        most: f64::INFINITY,
    },
];

/// Writing to a string can't fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).ok();
}

fn label(value: f64, decimals: usize) -> String {
    if decimals == 0 { whole(value) } else { format!("{value:.decimals$}") }
}

/// The first round number at or above a fifth of `high`.
fn step(high: f64) -> f64 {
    let rough = (high / 5.0).max(1e-9);
    let decade = 10.0_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough)
}

fn power(exponent: f64) -> String {
    match exponent {
        3.0 => "1 k".to_owned(),
        4.0 => "10 k".to_owned(),
        5.0 => "100 k".to_owned(),
        6.0 => "1 M".to_owned(),
        7.0 => "10 M".to_owned(),
        8.0 => "100 M".to_owned(),
        _ => format!("1e{exponent:.0}"),
    }
}

fn panel(out: &mut String, at: f64, panel: &Panel, sizes: &[Size]) {
    let left = at + LEFT;
    let right = at + PANEL - RIGHT;
    let bottom = HEIGHT - BOTTOM;
    let exponents = || sizes.iter().map(|size| size.customers().log10());
    let low = exponents().fold(f64::INFINITY, f64::min).floor().min(8.0);
    let high = exponents().fold(0.0, f64::max).ceil().max(low + 1.0);
    let x = |exponent: f64| left + (right - left) * (exponent - low) / (high - low);
    let values = || sizes.iter().map(panel.value).filter(|value| *value <= panel.most);
    let most = values().chain(panel.target.map(|target| target.0)).fold(0.0, f64::max).max(1e-6) * 1.1;
    let y = |value: f64| bottom - (bottom - TOP) * value / most;
    let Panel { title, unit, .. } = panel;
    put(out, format_args!(r#"<text x="{left}" y="22" font-size="15" font-weight="600" fill="{INK}">{title}</text>"#));
    put(out, format_args!(r#"<text x="{left}" y="40">{unit}</text>"#));
    let step = step(most);
    for value in (0..=9).map(|n| f64::from(n) * step).take_while(|value| *value <= most) {
        let at = y(value);
        let text = label(value, if step < 1.0 { panel.decimals } else { 0 });
        put(out, format_args!(r#"<path d="M{left:.1} {at:.1}H{right:.1}" stroke="{RULE}"/>"#));
        put(out, format_args!(r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, left - 6.0, at + 4.0));
    }
    let mut exponent = low;
    while exponent <= high {
        let at = x(exponent);
        let text = power(exponent);
        put(out, format_args!(r#"<path d="M{at:.1} {bottom}v5" stroke="{SOFT}"/>"#));
        put(out, format_args!(r#"<text x="{at:.1}" y="{}" text-anchor="middle">{text}</text>"#, bottom + 19.0));
        exponent += 1.0;
    }
    let middle = f64::midpoint(left, right);
    put(out, format_args!(r#"<text x="{middle:.1}" y="{}" text-anchor="middle">customers</text>"#, HEIGHT - 8.0));
    if let Some((value, text)) = panel.target {
        let at = y(value);
        put(out, format_args!(r#"<path d="M{left:.1} {at:.1}H{right:.1}" stroke="{SOFT}" stroke-dasharray="5 4"/>"#));
        put(out, format_args!(r#"<text x="{:.1}" y="{:.1}">{text}</text>"#, left + 4.0, at - 5.0));
    }
    line(out, panel, sizes, (&x, &y), (left, right));
    put(out, format_args!(r#"<path d="M{left:.1} {bottom}H{right:.1}" stroke="{SOFT}"/>"#));
}

/// The line itself, each point with its value; a point above the panel is an arrow with its value.
fn line(
    out: &mut String,
    panel: &Panel,
    sizes: &[Size],
    (x, y): (&dyn Fn(f64) -> f64, &dyn Fn(f64) -> f64),
    (first, last): (f64, f64),
) {
    let mut sizes: Vec<&Size> = sizes.iter().collect();
    sizes.sort_by(|a, b| a.customers().total_cmp(&b.customers()));
    let color = panel.color;
    let mut path = String::new();
    for size in &sizes {
        let at = x(size.customers().log10());
        let value = (panel.value)(size);
        let text = label(value, panel.decimals);
        if value > panel.most {
            put(out, format_args!(r#"<text x="{at:.1}" y="{}" fill="{INK}">↑ {text}</text>"#, TOP + 10.0));
            continue;
        }
        let height = y(value);
        let pen = if path.is_empty() { 'M' } else { 'L' };
        put(&mut path, format_args!("{pen}{at:.1} {height:.1}"));
        put(out, format_args!(r#"<circle cx="{at:.1}" cy="{height:.1}" r="4" fill="{color}"/>"#));
        // Beside the axis and the edge a label leans inwards.
        let anchor = if at < first + 20.0 {
            "start"
        } else if at > last - 20.0 {
            "end"
        } else {
            "middle"
        };
        let above = height - 10.0;
        put(out, format_args!(r#"<text x="{at:.1}" y="{above:.1}" text-anchor="{anchor}" fill="{INK}">{text}</text>"#));
    }
    put(out, format_args!(r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#));
}

pub fn render(sizes: &[Size]) -> String {
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="Throughput, memory and start by number of customers" font-family="system-ui,sans-serif" font-size="12" fill="{SOFT}">"#
    );
    put(&mut out, format_args!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##));
    for (n, each) in PANELS.iter().enumerate() {
        panel(&mut out, PANEL * n as f64, each, sizes);
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::size as example;
    use super::*;

    fn numbers(svg: &str, name: &str) -> Vec<f64> {
        let begin = format!(" {name}=\"");
        svg.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
    }

    #[test]
    fn each_value_is_a_point_inside_its_panel_on_a_log_axis() {
        let sizes = [
            example(10_000, 27_000_000, &[60_000.0], 0.2),
            example(1_000_000, 176_000_000, &[58_000.0], 1.0),
            example(10_000_000, 1_550_000_000, &[57_000.0], 8.2),
        ];
        let svg = render(&sizes);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        // Memory at the smallest size is the process itself: an arrow.
        assert_eq!(svg.matches("<circle").count(), 8);
        for text in ["↑ 2,700", ">176<", ">155<", ">60,000<", ">8.2<", ">10 k<", ">100 k<", ">10 M<", "wanted: 160"] {
            assert!(svg.contains(text), "{text}");
        }
        let (across, down) = (numbers(&svg, "cx"), numbers(&svg, "cy"));
        assert!(across.iter().all(|x| (0.0..WIDTH).contains(x)) && down.iter().all(|y| (TOP..HEIGHT).contains(y)));
        let [first, second, third] = across[..3] else { panic!("{across:?}") };
        assert!(((second - first) / (third - second) - 2.0).abs() < 0.01, "two decades, then one: {across:?}");
        assert!(down[0] < down[1] && down[1] < down[2], "more is higher: {down:?}");
    }

    #[test]
    fn one_size_and_none_are_pictures_too() {
        for sizes in [&[example(2_000, 24_000_000, &[10.0], 0.1)][..], &[]] {
            let svg = render(sizes);
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn the_grid_has_round_steps() {
        assert_eq!([10.0, 66_000.0, 176.0, 0.3].map(step), [2.0, 20_000.0, 50.0, 0.1]);
    }
}
