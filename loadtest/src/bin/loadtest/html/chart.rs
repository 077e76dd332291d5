//! Line charts as SVG.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// One line of a chart. A gap is a point without a value.
pub struct Line {
    pub name: &'static str,
    /// Its style sheet's class.
    pub class: &'static str,
    pub points: Vec<(f64, Option<f64>)>,
}

/// A scale from data to pixels.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.is_log { value.max(1e-9).log10() } else { value };
        let (low, high) = (scaled(self.low), scaled(self.high));
        let part = (scaled(value) - low) / (high - low).max(1e-12);
        self.from + (self.to - self.from) * part.clamp(0.0, 1.0)
    }

    /// Where lines of the grid go.
    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let decade = |exponent: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10.0_f64.powi(exponent));
            let all = (-6..9).flat_map(decade).filter(|value| (self.low..=self.high).contains(value));
            let all: Vec<f64> = all.collect();
            let tens = |value: &f64| (value.log10() - value.log10().round()).abs() < 1e-9;
            return if all.len() > 9 { all.into_iter().filter(tens).collect() } else { all };
        }
        let rough = (self.high - self.low) / 5.0;
        let decade = 10.0_f64.powf(rough.max(1e-12).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        (0..=12).map(|count| self.low + step * f64::from(count)).take_while(|value| *value <= self.high).collect()
    }
}

pub fn number(value: f64) -> String {
    let text = if value >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The axes' names, and how they run.
pub struct Frame<'a> {
    pub x: &'a str,
    pub y: &'a str,
    pub is_log: bool,
    /// Places of the x axis with a text, in place of numbers.
    pub marks: Option<Vec<(f64, String)>>,
}

fn axes(frame: &Frame<'_>, lines: &[Line]) -> (Axis, Axis) {
    let points = || lines.iter().flat_map(|line| &line.points);
    let values = || points().filter_map(|point| point.1).filter(|value| !frame.is_log || *value > 0.0);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let (low, high) = if frame.is_log && low.is_finite() {
        (
            10.0_f64.powf((low.log10() * 3.0).floor() / 3.0),
            10.0_f64.powf((high.log10() * 3.0).ceil() / 3.0).max(low * 10.0),
        )
    } else {
        (if frame.is_log { 0.1 } else { 0.0 }, if high > 0.0 { high * 1.05 } else { 1.0 })
    };
    let marked = frame.marks.as_ref().and_then(|marks| marks.last()).map_or(0.0, |mark| mark.0);
    let last = points().map(|point| point.0).fold(marked, f64::max).max(1e-9);
    let x = Axis { low: 0.0, high: last, is_log: false, from: LEFT, to: WIDTH - RIGHT };
    let y = Axis { low, high, is_log: frame.is_log, from: HEIGHT - BOTTOM, to: TOP };
    (x, y)
}

/// Writing to a string can't fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).ok();
}

fn grid(out: &mut String, frame: &Frame<'_>, x: &Axis, y: &Axis) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for value in y.ticks() {
        let at = y.at(value);
        put(out, format_args!(r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/>"#));
        let text_at = at + 4.0;
        let left = LEFT - 6.0;
        put(out, format_args!(r#"<text x="{left}" y="{text_at:.1}" class="end">{}</text>"#, number(value)));
    }
    let plain = || x.ticks().into_iter().map(|value| (value, number(value))).collect();
    for (value, text) in frame.marks.clone().unwrap_or_else(plain) {
        let at = x.at(value);
        put(out, format_args!(r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/>"#));
        let text_at = bottom + 15.0;
        put(out, format_args!(r#"<text x="{at:.1}" y="{text_at}" class="mid">{text}</text>"#));
    }
    let middle = (LEFT + right) / 2.0;
    let low = HEIGHT - 3.0;
    put(out, format_args!(r#"<text x="{middle}" y="{low}" class="mid">{}</text>"#, frame.x));
    let half = (TOP + bottom) / 2.0;
    put(out, format_args!(r#"<text transform="translate(13 {half}) rotate(-90)" class="mid">{}</text>"#, frame.y));
}

pub fn chart(frame: &Frame<'_>, lines: &[Line]) -> String {
    let (x, y) = axes(frame, lines);
    let mut out = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    grid(&mut out, frame, &x, &y);
    for line in lines {
        let mut path = String::new();
        let mut pen = 'M';
        for (at, value) in &line.points {
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            put(&mut path, format_args!("{pen}{:.1} {:.1}", x.at(*at), y.at(*value)));
            pen = 'L';
        }
        put(&mut out, format_args!(r#"<path class="line {}" d="{path}"/>"#, line.class));
        for (at, value) in line.points.iter().filter_map(|(at, value)| Some((at, (*value)?))) {
            let cx = x.at(*at);
            let cy = y.at(value);
            let text = format_args!("{}: {} ({} {})", line.name, number(value), frame.x, number(*at)).to_string();
            put(
                &mut out,
                format_args!(
                    r#"<circle class="{}" cx="{cx:.1}" cy="{cy:.1}" r="2"><title>{text}</title></circle>"#,
                    line.class
                ),
            );
        }
    }
    out += "</svg><p class=\"legend\">";
    for line in lines {
        put(&mut out, format_args!(r#"<span class="{}">&#9644; {}</span> "#, line.class, line.name));
    }
    out += "</p>";
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lifts_the_pen_and_nothing_leaves_the_frame() {
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(1_000.0)), (3.0, Some(0.0))];
        let frame = Frame { x: "s", y: "ms", is_log: true, marks: None };
        let svg = chart(&frame, &[Line { name: "p99", class: "a", points }]);
        let path = svg.split(r#"class="line a" d=""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.ends_with("</p>"));
    }

    #[test]
    fn nothing_to_show_is_still_a_chart() {
        for is_log in [true, false] {
            let svg = chart(&Frame { x: "s", y: "ms", is_log, marks: None }, &[]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.05, 1.5, 1234.4].map(number), ["0", "0.05", "1.5", "1234"]);
    }
}
