//! Round steps of time: a column of a heatmap or a sparkline is always a time people can name.

use std::time::Duration;

const STEPS_MS: [u64; 26] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    1_209_600_000,
    2_592_000_000,
    7_776_000_000,
];

/// The smallest round step with which `columns` columns cover the window.
pub(crate) fn step(window: Duration, columns: usize) -> Duration {
    let columns = columns.max(1) as u128;
    let ms = STEPS_MS
        .into_iter()
        .find(|ms| u128::from(*ms) * columns >= window.as_millis())
        .unwrap_or(STEPS_MS[STEPS_MS.len() - 1]);
    Duration::from_millis(ms)
}

/// The starts of the last `columns` steps, the newest one still being filled at `now_ns`.
pub(crate) fn starts_ns(now_ns: i64, step: Duration, columns: usize) -> Vec<i64> {
    let step_ns = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let newest = now_ns.div_euclid(step_ns);
    (0..columns).map(|column| (newest - (columns - 1 - column) as i64) * step_ns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_cover_the_window() {
        assert_eq!(step(Duration::from_secs(300), 68), Duration::from_secs(5));
        assert_eq!(step(Duration::from_secs(300), 180), Duration::from_secs(2));
        assert_eq!(step(Duration::from_secs(604_800), 68), Duration::from_secs(10_800));
        assert_eq!(step(Duration::from_secs(10), 200), Duration::from_millis(100));
    }

    #[test]
    fn the_newest_step_holds_now() {
        assert_eq!(starts_ns(12_500, Duration::from_nanos(1_000), 3), [10_000, 11_000, 12_000]);
    }
}
