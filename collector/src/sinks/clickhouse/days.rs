//! An insert is of one day: it makes one part, and it can be told from one that was made before. Times that cannot be true go
//! where no day has a partition of its own.

use std::collections::{BTreeMap, HashSet};

use arrow::array::UInt32Array;

/// Days one range of the log makes inserts for. Live rows are in two; a client that spreads its times over a year must not make
/// hundreds of parts: what is beyond goes where absurd times go.
const DAYS_MAX: usize = 32;

const DAY_MS: i64 = 24 * 3600 * 1000;
const DAY_NS: i64 = DAY_MS * 1_000_000;
/// As the store has it: late data is hours or days late, more is a broken clock.
const AGE_MAX_DAYS: i64 = 365;
const AHEAD_MAX_DAYS: i64 = 1;

/// Which insert of a range a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Day {
    /// Since the epoch.
    Of(i64),
    Quarantine,
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Day::Of(day) => write!(f, "{day}"),
            Day::Quarantine => f.write_str("quarantine"),
        }
    }
}

/// The rows of each day, by time in nanoseconds. The same for the same rows and the same `now_ms`.
pub(super) fn days(times: &[i64], now_ms: u64) -> Vec<(Day, UInt32Array)> {
    let today = i64::try_from(now_ms).unwrap_or(i64::MAX) / DAY_MS;
    let believable = today - AGE_MAX_DAYS..=today + AHEAD_MAX_DAYS;
    let mut days: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
    for (row, time) in (0_u32..).zip(times) {
        let day = time.div_euclid(DAY_NS);
        let day = if believable.contains(&day) { Day::Of(day) } else { Day::Quarantine };
        days.entry(day).or_default().push(row);
    }
    if days.len() > DAYS_MAX {
        days = fullest(days);
    }
    days.into_iter().map(|(day, rows)| (day, UInt32Array::from(rows))).collect()
}

fn fullest(days: BTreeMap<Day, Vec<u32>>) -> BTreeMap<Day, Vec<u32>> {
    let mut sizes: Vec<(usize, Day)> = days.iter().map(|(day, rows)| (rows.len(), *day)).collect();
    sizes.retain(|(_, day)| *day != Day::Quarantine);
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let kept: HashSet<Day> = sizes.into_iter().take(DAYS_MAX).map(|(_, day)| day).collect();
    let mut few: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
    for (day, rows) in days {
        let day = if kept.contains(&day) { day } else { Day::Quarantine };
        few.entry(day).or_default().extend(rows);
    }
    few
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_796_025_600_000; // 2026-11-30T08:00:00Z
    const NOW_NS: i64 = NOW_MS as i64 * 1_000_000;

    fn check(times: &[i64], expected: &[(&str, &[u32])]) {
        let found = days(times, NOW_MS);
        let found: Vec<(String, Vec<u32>)> =
            found.iter().map(|(day, rows)| (day.to_string(), rows.values().to_vec())).collect();
        let expected: Vec<_> = expected.iter().map(|(day, rows)| ((*day).to_owned(), rows.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn midnight_parts_an_insert() {
        check(&[NOW_NS, NOW_NS - 9 * 3_600_000_000_000, NOW_NS + 1], &[("20786", &[1]), ("20787", &[0, 2])]);
    }

    #[test]
    fn absurd_times_share_one_insert() {
        let day = DAY_NS;
        check(
            &[0, NOW_NS, i64::MIN, i64::MAX, -1, NOW_NS + 3 * day, NOW_NS - 400 * day],
            &[("20787", &[1]), ("quarantine", &[0, 2, 3, 4, 5, 6])],
        );
    }

    #[test]
    fn scattered_times_do_not_make_hundreds_of_parts() {
        let mut times: Vec<i64> = (0..300).map(|day| NOW_NS - day * DAY_NS).collect();
        times.extend([NOW_NS; 5]);
        let found = days(&times, NOW_MS);
        assert_eq!(found.len(), DAYS_MAX + 1);
        assert_eq!(found.iter().map(|(_, rows)| rows.len()).sum::<usize>(), times.len());
        assert!(found.iter().any(|(day, rows)| *day == Day::Of(20_787) && rows.len() == 6), "the fullest is kept");
    }
}
