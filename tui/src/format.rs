//! Numbers as people read them: at most seven cells wide, units always said.

use std::time::Duration;

/// `412µs`, `12.3ms`, `1.24s`, `2m04s`; `-` when there is nothing to measure.
pub(crate) fn nanos(ns: f64) -> String {
    if !ns.is_finite() {
        return "-".to_owned();
    }
    match ns {
        ns if ns < 999.5 => format!("{ns:.0}ns"),
        ns if ns < 999_500.0 => format!("{}µs", three_digits(ns / 1e3)),
        ns if ns < 999_500_000.0 => format!("{}ms", three_digits(ns / 1e6)),
        ns if ns < 99.95e9 => format!("{}s", three_digits(ns / 1e9)),
        ns => {
            let seconds = (ns / 1e9).round() as u64;
            match seconds {
                0..6_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
                6_000..360_000 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
                _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
            }
        }
    }
}

/// A rate per second: `0.033`, `4.25`, `187`, `1.23k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if !rate.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        rate if rate < 0.001 => "<0.001".to_owned(),
        rate if rate < 0.1 => format!("{rate:.3}"),
        rate if rate < 999.5 => three_digits(rate),
        rate => count(rate),
    }
}

/// A count or amount: `7`, `187`, `1.2k`, `3.4M`.
pub(crate) fn count(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value < 999.5 && value.fract() == 0.0 => format!("{value:.0}"),
        value if value < 999.5 => three_digits(value),
        value if value < 999_500.0 => format!("{}k", three_digits(value / 1e3)),
        value if value < 999.5e6 => format!("{}M", three_digits(value / 1e6)),
        value => format!("{}G", three_digits(value / 1e9)),
    }
}

/// A share of one as per cent: `0%`, `0.04%`, `2.3%`, `100%`.
pub(crate) fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 || !whole.is_finite() || !part.is_finite() {
        return "-".to_owned();
    }
    match 100.0 * part / whole {
        0.0 => "0%".to_owned(),
        percent if percent < 0.01 => "<0.01%".to_owned(),
        percent if percent < 1.0 => format!("{percent:.2}%"),
        percent if percent < 99.95 => format!("{percent:.1}%"),
        _ => "100%".to_owned(),
    }
}

/// `30s`, `5m`, `6h`, `7d`: the largest unit that leaves a whole number.
pub(crate) fn window(window: Duration) -> String {
    let ms = window.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit_ms, _)| ms.is_multiple_of(*unit_ms)) {
        Some((unit_ms, unit)) => format!("{}{unit}", ms / unit_ms),
        None => format!("{ms}ms"),
    }
}

/// The same in words, for sentences: `5 minutes`, `1 hour`.
pub(crate) fn window_words(window: Duration) -> String {
    let short = self::window(window);
    let unit_at = short.find(|c: char| !c.is_ascii_digit()).unwrap_or(short.len());
    let (number, unit) = short.split_at(unit_at);
    let word = match unit {
        "ms" => "millisecond",
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        _ => "day",
    };
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// UTC time of day, with the month and day when the eye needs them.
pub(crate) fn clock(time_ns: i64, with_date: bool) -> String {
    formatted(time_ns, if with_date { "%m-%d %H:%M" } else { "%H:%M:%S" })
}

/// UTC date and time to the millisecond.
pub(crate) fn instant(time_ns: i64) -> String {
    formatted(time_ns, "%Y-%m-%d %H:%M:%S%.3f")
}

/// `▁▂▃▄▅▆▇█` scaled from zero to the largest value; gaps stay blank, a small value is never invisible.
pub(crate) fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    values
        .iter()
        .map(|value| match value {
            value if !value.is_finite() => ' ',
            _ if largest <= 0.0 => BARS[0],
            value => BARS[((value / largest * 7.0).round() as usize).min(7)],
        })
        .collect()
}

/// At most `width` cells; what is cut ends in `…`.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn formatted(time_ns: i64, format: &str) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time_ns))
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_else(|_| "-".to_owned())
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(actual: Vec<String>, expect: Expect) {
        expect.assert_eq(&actual.join(" "));
    }

    #[test]
    fn durations_keep_three_digits_and_a_unit() {
        let ns = [0.0, 999.0, 1_000.0, 12_345.0, 999_999.0, 12_345_678.0, 1.24e9, 99.96e9, 3_725e9, 2e14, 9e14];
        check(
            ns.into_iter().map(nanos).collect(),
            expect!["0ns 999ns 1.00µs 12.3µs 1.00ms 12.3ms 1.24s 1m40s 62m05s 55h33m 10d10h"],
        );
        assert_eq!(nanos(f64::NAN), "-");
    }

    #[test]
    fn rates_and_shares_stay_short() {
        check(
            [0.0, 0.0004, 0.033, 0.2, 4.25, 42.0, 1_234.0, 5.6e6].into_iter().map(rate).collect(),
            expect!["0 <0.001 0.033 0.20 4.25 42.0 1.23k 5.60M"],
        );
        check(
            [0.0, 0.00001, 0.0004, 0.023, 1.0].into_iter().map(|part| share(part, 1.0)).collect(),
            expect!["0% <0.01% 0.04% 2.3% 100%"],
        );
        assert_eq!(share(1.0, 0.0), "-");
    }

    #[test]
    fn windows_read_as_typed_and_as_words() {
        let windows = [500, 30_000, 90_000, 300_000, 3_600_000, 604_800_000].map(Duration::from_millis);
        check(
            windows.into_iter().map(|w| format!("{}={}", window(w), window_words(w))).collect(),
            expect!["500ms=500 milliseconds 30s=30 seconds 90s=90 seconds 5m=5 minutes 1h=1 hour 7d=7 days"],
        );
    }

    #[test]
    fn a_sparkline_is_scaled_from_zero_and_shows_gaps() {
        assert_eq!(sparkline(&[0.0, 1.0, f64::NAN, 8.0]), "▁▂ █");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    }

    #[test]
    fn text_is_cut_with_a_mark() {
        assert_eq!(fit("payments", 8), "payments");
        assert_eq!(fit("payments", 5), "paym…");
        assert_eq!(fit("x", 0), "");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(clock(1_730_291_040_218_138_154, false), "12:24:00");
        assert_eq!(clock(1_730_291_040_218_138_154, true), "10-30 12:24");
        assert_eq!(instant(1_730_291_040_218_138_154), "2024-10-30 12:24:00.218");
    }
}
