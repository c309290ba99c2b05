//! Plots as SVG text: lines over an axis, intervals, stacked bars. Colours come from the page, so they follow light and dark.

use std::fmt::Write as _;

use crate::experiment::stats::Estimate;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
const LINES_HEIGHT: f64 = 300.0;
/// Of a row of bars.
const ROW: f64 = 30.0;
/// Room for the names of rows.
const NAMES: f64 = 250.0;
/// The page defines as many colours.
const COLOURS: usize = 6;
const TICKS: f64 = 6.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) struct Lines<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) y_scale: Scale,
    pub(super) series: Vec<Series>,
    /// A piece of the x axis with a name, such as the time of a fault.
    pub(super) band: Option<(f64, f64, &'a str)>,
}

/// One axis: values to pixels.
struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    start: f64,
    length: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, start: f64, length: f64) -> Option<Axis> {
        let values = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        let (from, to) = match scale {
            Scale::Linear => (low.min(0.0), if high > low.min(0.0) { high } else { low.min(0.0) + 1.0 }),
            Scale::Logarithmic => (low / 1.3, high * 1.3),
        };
        Some(Axis { scale, from, to, start, length })
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        self.start + share * self.length
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice((self.to - self.from) / TICKS);
                let first = (self.from / step).ceil() as i64;
                (first..).map(|number| number as f64 * step).take_while(|tick| *tick <= self.to).collect()
            }
            Scale::Logarithmic => {
                let powers = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
                let ticks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|lead| lead * 10_f64.powi(power)));
                ticks.filter(|tick| (self.from..=self.to).contains(tick)).collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|lead| lead * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power)
}

pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Empty when there is nothing to draw.
pub(super) fn lines(plot: &Lines<'_>) -> String {
    let points = || plot.series.iter().flat_map(|series| series.points.iter().copied());
    let band = plot.band.iter().flat_map(|(from, to, _)| [*from, *to]);
    let x = Axis::new(Scale::Linear, points().map(|(x, _)| x).chain(band), LEFT, WIDTH - LEFT - RIGHT);
    let y = Axis::new(plot.y_scale, points().map(|(_, y)| y), LINES_HEIGHT - BOTTOM, -(LINES_HEIGHT - BOTTOM - TOP));
    let (Some(x), Some(y)) = (x, y) else { return String::new() };
    let mut svg = open(LINES_HEIGHT + legend_height(plot.series.len()));
    let (top, bottom) = (TOP, LINES_HEIGHT - BOTTOM);
    if let Some((from, to, name)) = plot.band {
        let (left, right) = (x.place(from), x.place(to));
        let _ = write!(
            svg,
            "<rect class='band' x='{left:.1}' y='{top}' width='{:.1}' height='{:.1}'/>",
            right - left,
            bottom - top
        );
        text(&mut svg, left + 4.0, top + 12.0, "start", "note", name);
    }
    for tick in y.ticks() {
        let place = y.place(tick);
        let _ =
            write!(svg, "<line class='grid' x1='{LEFT}' x2='{:.1}' y1='{place:.1}' y2='{place:.1}'/>", WIDTH - RIGHT);
        text(&mut svg, LEFT - 6.0, place + 4.0, "end", "tick", &number(tick));
    }
    for tick in x.ticks() {
        text(&mut svg, x.place(tick), bottom + 16.0, "middle", "tick", &number(tick));
    }
    text(&mut svg, (LEFT + WIDTH - RIGHT) / 2.0, bottom + 34.0, "middle", "axis", plot.x);
    let _ = write!(
        svg,
        "<text class='axis' text-anchor='middle' transform='translate(14 {:.1}) rotate(-90)'>{}</text>",
        (top + bottom) / 2.0,
        escape(plot.y)
    );
    for (number, series) in plot.series.iter().enumerate() {
        let visible = series.points.iter().filter(|(_, y)| plot.y_scale == Scale::Linear || *y > 0.0);
        let placed: Vec<(f64, f64)> = visible.map(|(at, value)| (x.place(*at), y.place(*value))).collect();
        let path: Vec<String> = placed.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = number % COLOURS;
        let _ = write!(svg, "<polyline class='line c{colour}' points='{}'/>", path.join(" "));
        for (x, y) in placed {
            let _ = write!(svg, "<circle class='dot c{colour}' cx='{x:.1}' cy='{y:.1}' r='3'/>");
        }
    }
    legend(&mut svg, plot.series.iter().map(|series| series.name.as_str()), LINES_HEIGHT);
    svg + "</svg>"
}

/// Rows of a value with its interval; `goal` is drawn as a line.
pub(super) fn intervals(x: &str, rows: &[(String, Estimate)], goal: Option<(f64, &str)>) -> String {
    let values = rows.iter().flat_map(|(_, estimate)| [estimate.low, estimate.high, estimate.value]);
    let height = TOP + rows.len() as f64 * ROW + BOTTOM;
    let goals = goal.iter().map(|(value, _)| *value);
    let Some(axis) = Axis::new(Scale::Linear, values.chain(goals), NAMES, WIDTH - NAMES - RIGHT) else {
        return String::new();
    };
    let mut svg = open(height);
    let bottom = height - BOTTOM;
    horizontal(&mut svg, &axis, bottom, x);
    if let Some((value, name)) = goal {
        let place = axis.place(value);
        let _ = write!(svg, "<line class='goal' x1='{place:.1}' x2='{place:.1}' y1='{TOP}' y2='{bottom:.1}'/>");
        // Away from the nearer edge.
        let anchor = if place > (NAMES + WIDTH) / 2.0 { "end" } else { "start" };
        text(&mut svg, place, TOP - 3.0, anchor, "note", name);
    }
    for (number, (name, estimate)) in rows.iter().enumerate() {
        let y = TOP + (number as f64 + 0.5) * ROW;
        text(&mut svg, NAMES - 8.0, y + 4.0, "end", "name", name);
        let (low, high, value) = (axis.place(estimate.low), axis.place(estimate.high), axis.place(estimate.value));
        let _ = write!(svg, "<line class='whisker c0' x1='{low:.1}' x2='{high:.1}' y1='{y:.1}' y2='{y:.1}'/>");
        for end in [low, high] {
            let _ = write!(
                svg,
                "<line class='whisker c0' x1='{end:.1}' x2='{end:.1}' y1='{:.1}' y2='{:.1}'/>",
                y - 5.0,
                y + 5.0
            );
        }
        let _ = write!(svg, "<circle class='dot c0' cx='{value:.1}' cy='{y:.1}' r='4.5'/>");
    }
    svg + "</svg>"
}

/// Rows of parts one after the other; parts of one name have one colour.
pub(super) fn stacks(x: &str, rows: &[(String, Vec<(String, f64)>)]) -> String {
    let totals = rows.iter().map(|(_, parts)| parts.iter().map(|(_, value)| value).sum::<f64>());
    let Some(axis) = Axis::new(Scale::Linear, totals, NAMES, WIDTH - NAMES - RIGHT) else { return String::new() };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|(_, parts)| parts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let height = TOP + rows.len() as f64 * ROW + BOTTOM;
    let mut svg = open(height + legend_height(names.len()));
    horizontal(&mut svg, &axis, height - BOTTOM, x);
    for (number, (name, parts)) in rows.iter().enumerate() {
        let y = TOP + number as f64 * ROW;
        text(&mut svg, NAMES - 8.0, y + ROW / 2.0 + 4.0, "end", "name", name);
        let mut sum = 0.0;
        for (part, value) in parts {
            let colour = names.iter().position(|name| name == part).unwrap_or(0) % COLOURS;
            let (from, to) = (axis.place(sum), axis.place(sum + value));
            let _ = write!(
                svg,
                "<rect class='bar c{colour}' x='{from:.1}' y='{:.1}' width='{:.1}' height='{}'><title>{}: {}</title></rect>",
                y + 5.0,
                (to - from).max(0.0),
                ROW - 10.0,
                escape(part),
                self::number(*value)
            );
            sum += value;
        }
    }
    legend(&mut svg, names.into_iter(), height);
    svg + "</svg>"
}

fn horizontal(svg: &mut String, axis: &Axis, bottom: f64, name: &str) {
    for tick in axis.ticks() {
        let place = axis.place(tick);
        let _ = write!(svg, "<line class='grid' x1='{place:.1}' x2='{place:.1}' y1='{TOP}' y2='{bottom:.1}'/>");
        text(svg, place, bottom + 16.0, "middle", "tick", &number(tick));
    }
    text(svg, (NAMES + WIDTH - RIGHT) / 2.0, bottom + 34.0, "middle", "axis", name);
}

const LEGEND_COLUMNS: usize = 3;
const LEGEND_ROW: f64 = 20.0;

fn legend_height(entries: usize) -> f64 {
    entries.div_ceil(LEGEND_COLUMNS) as f64 * LEGEND_ROW
}

fn legend<'a>(svg: &mut String, names: impl Iterator<Item = &'a str>, top: f64) {
    for (number, name) in names.enumerate() {
        let x = LEFT + (number % LEGEND_COLUMNS) as f64 * (WIDTH - LEFT - RIGHT) / LEGEND_COLUMNS as f64;
        let y = top + (number / LEGEND_COLUMNS) as f64 * LEGEND_ROW + 10.0;
        let _ = write!(
            svg,
            "<rect class='bar c{}' x='{x:.1}' y='{:.1}' width='12' height='12'/>",
            number % COLOURS,
            y - 10.0
        );
        text(svg, x + 18.0, y, "start", "name", name);
    }
}

fn open(height: f64) -> String {
    format!("<svg viewBox='0 0 {WIDTH} {height:.0}' role='img'>")
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let _ = write!(svg, "<text class='{class}' x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{}</text>", escape(words));
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks() {
        let linear = Axis::new(Scale::Linear, [3.0, 97.0].into_iter(), 0.0, 100.0).expect("values");
        assert_eq!(linear.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let logarithmic = Axis::new(Scale::Logarithmic, [9.0, 450.0].into_iter(), 0.0, 100.0).expect("values");
        assert_eq!(logarithmic.ticks(), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        assert!(logarithmic.place(9.0) > 0.0 && logarithmic.place(450.0) < 100.0);
    }

    #[test]
    fn the_largest_value_lies_at_the_end_and_below_zero_has_its_place() {
        let axis = Axis::new(Scale::Linear, [-10.0, 30.0].into_iter(), 100.0, 40.0).expect("values");
        assert_eq!((axis.place(-10.0), axis.place(0.0), axis.place(30.0)), (100.0, 110.0, 140.0));
    }

    #[test]
    fn nothing_to_draw_draws_nothing_and_names_cannot_break_the_page() {
        let plot = |points| Lines {
            x: "x",
            y: "y",
            y_scale: Scale::Logarithmic,
            series: vec![Series { name: "<script>'\"&".to_owned(), points }],
            band: None,
        };
        assert_eq!(lines(&plot(Vec::new())), "");
        let drawn = lines(&plot(vec![(1.0, 10.0), (2.0, 0.0), (3.0, 20.0)]));
        assert!(drawn.contains("&lt;script&gt;&#39;&quot;&amp;") && !drawn.contains("<script"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1234.56, 99.95, 12.3, 0.5, 0.0, -3.0].map(number), ["1235", "100", "12.3", "0.5", "0", "-3"]);
    }
}
