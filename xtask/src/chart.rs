//! Charts as SVG, written out: values with their intervals, and lines between axes. They are read on a light ground and on a dark
//! one, by colours and by shapes.

use std::fmt::Write as _;

/// The width of a chart, in the unit of its coordinates.
const WIDTH: f64 = 720.0;
/// Where the area of data begins and ends, across.
const RIGHT: f64 = WIDTH - 24.0;
/// The colours follow what the reader's system prefers; the ground is drawn too, since a page may be of another opinion. What has no
/// fill comes last, since the last rule wins.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1c1e21; }
.title { font-size: 15px; font-weight: 600; }
.ground { fill: #ffffff; } .grid { stroke: #d9dce1; } .soft { fill: #5a6068; }
.s0 { stroke: #1f6fb4; fill: #1f6fb4; } .s1 { stroke: #b65200; fill: #b65200; }
.s2 { stroke: #22805a; fill: #22805a; } .s3 { stroke: #8247a8; fill: #8247a8; }
@media (prefers-color-scheme: dark) {
text { fill: #e6e8eb; } .ground { fill: #16181c; } .grid { stroke: #3a3f47; } .soft { fill: #a7adb6; }
.s0 { stroke: #6db3f2; fill: #6db3f2; } .s1 { stroke: #f39b52; fill: #f39b52; }
.s2 { stroke: #5cc79a; fill: #5cc79a; } .s3 { stroke: #c595e6; fill: #c595e6; }
}
.line { fill: none; stroke-width: 2; }
";

/// A value with its interval.
pub(crate) struct Estimate {
    pub(crate) name: String,
    /// Which of the legend's kinds it is.
    pub(crate) kind: usize,
    /// Value, lower and upper end.
    pub(crate) value: [f64; 3],
}

/// Values with their intervals, a row each, on a common axis from 0 to 100 per cent.
pub(crate) fn estimates(title: &str, legend: &[&str], rows: &[Estimate]) -> String {
    const LEFT: f64 = 250.0;
    const ROW: f64 = 26.0;
    let top = if legend.is_empty() { 52.0 } else { 74.0 };
    let bottom = top + ROW * rows.len() as f64;
    let across = Axis { name: "", low: 0.0, high: 1.0, is_log: false, ticks: &[] };
    let x = |value: f64| across.place(value, LEFT, RIGHT);
    let mut svg = begun(title, legend, bottom + 34.0);
    for fifth in 0..=5 {
        let at = x(f64::from(fifth) / 5.0);
        line(&mut svg, "grid", [at, top - 8.0, at, bottom]);
        text(&mut svg, "soft", "middle", [at, bottom + 18.0], &format!("{} %", fifth * 20));
    }
    for (number, row) in rows.iter().enumerate() {
        let at = top + ROW * (number as f64 + 0.5);
        let [value, low, high] = row.value;
        text(&mut svg, "", "end", [LEFT - 12.0, at + 4.5], &row.name);
        line(&mut svg, &format!("line s{}", row.kind), [x(low), at, x(high), at]);
        mark(&mut svg, row.kind, [x(value), at]);
        let words = format!("{:.1} %", value * 100.0);
        let beside = if x(high) + 60.0 < RIGHT { ("start", x(high) + 8.0) } else { ("end", x(low) - 8.0) };
        text(&mut svg, "soft", beside.0, [beside.1, at + 4.5], &words);
    }
    svg + "</svg>\n"
}

/// An axis.
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether equal ratios are equal lengths.
    pub(crate) is_log: bool,
    pub(crate) ticks: &'static [(f64, &'static str)],
}

impl Axis {
    /// Where a value lies between `from` and `to`.
    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let scaled = |value: f64| if self.is_log { value.ln() } else { value };
        let share = (scaled(value) - scaled(self.low)) / (scaled(self.high) - scaled(self.low));
        from + share * (to - from)
    }
}

/// Points in order, under a name.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines between two axes.
pub(crate) fn lines(title: &str, across: &Axis, up: &Axis, series: &[Series]) -> String {
    const LEFT: f64 = 84.0;
    const TOP: f64 = 84.0;
    const BOTTOM: f64 = 340.0;
    let legend: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let mut svg = begun(title, &legend, BOTTOM + 52.0);
    let (x, y) = (|value| across.place(value, LEFT, RIGHT), |value| up.place(value, BOTTOM, TOP));
    for &(value, name) in across.ticks {
        line(&mut svg, "grid", [x(value), TOP, x(value), BOTTOM]);
        text(&mut svg, "soft", "middle", [x(value), BOTTOM + 18.0], name);
    }
    for &(value, name) in up.ticks {
        line(&mut svg, "grid", [LEFT, y(value), RIGHT, y(value)]);
        text(&mut svg, "soft", "end", [LEFT - 8.0, y(value) + 4.5], name);
    }
    text(&mut svg, "soft", "middle", [(LEFT + RIGHT) / 2.0, BOTTOM + 40.0], across.name);
    text(&mut svg, "soft", "start", [16.0, TOP - 12.0], up.name);
    for (kind, series) in series.iter().enumerate() {
        let points: Vec<String> =
            series.points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
        let _ = writeln!(svg, r#"<polyline class="line s{kind}" points="{}"/>"#, points.join(" "));
        for &(a, b) in &series.points {
            mark(&mut svg, kind, [x(a), y(b)]);
        }
    }
    svg + "</svg>\n"
}

/// The head of a chart: its ground, title and legend.
fn begun(title: &str, legend: &[&str], height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n",
        title = escaped(title),
    );
    text(&mut svg, "title", "start", [16.0, 26.0], title);
    let mut at = 22.0;
    for (kind, name) in legend.iter().enumerate() {
        mark(&mut svg, kind, [at, 46.0]);
        text(&mut svg, "", "start", [at + 10.0, 50.5], name);
        // About the width of the words; what matters is that none overlap.
        at += 36.0 + 7.5 * name.chars().count() as f64;
    }
    svg
}

fn line(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(svg, r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#);
}

fn text(svg: &mut String, class: &str, anchor: &str, [x, y]: [f64; 2], words: &str) {
    let words = escaped(words);
    let _ =
        writeln!(svg, r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{words}</text>"#);
}

/// A mark, of another shape for each kind.
fn mark(svg: &mut String, kind: usize, [x, y]: [f64; 2]) {
    let path = match kind % 4 {
        0 => format!("M{:.1} {y:.1}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", x - 5.0),
        1 => format!("M{:.1} {:.1}h9v9h-9z", x - 4.5, y - 4.5),
        2 => format!("M{x:.1} {:.1}l5.5 10h-11z", y - 6.0),
        _ => format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6z", y - 6.0),
    };
    let _ = writeln!(svg, r#"<path class="s{kind}" d="{path}"/>"#);
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_the_axis_has_them() {
        let plain = Axis { name: "", low: 0.0, high: 10.0, is_log: false, ticks: &[] };
        assert!((plain.place(2.5, 100.0, 200.0) - 125.0).abs() < 1e-9);
        let log = Axis { name: "", low: 0.1, high: 1000.0, is_log: true, ticks: &[] };
        assert!((log.place(10.0, 300.0, 100.0) - 200.0).abs() < 1e-9);
    }

    #[test]
    fn no_colour_fills_a_line() {
        assert!(STYLE.rfind(".line").unwrap() > STYLE.rfind(".s3").unwrap());
    }

    #[test]
    fn names_are_no_markup() {
        let row = Estimate { name: "a<b & c".into(), kind: 0, value: [0.5, 0.4, 0.6] };
        let svg = estimates("t", &[], &[row]);
        assert!(svg.contains(">a&lt;b &amp; c</text>") && svg.contains("50.0 %"), "{svg}");
    }
}
