//! Cumulative series: a bounded number of them, one for what is beyond, and none that nobody adds to any more.

use std::collections::HashMap;

use model::ids::{SpanId, TraceId};
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets, inclusive, as the connectors of OpenTelemetry have them.
pub(super) const BOUNDS_MS: [u64; 16] =
    [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000];
const BUCKETS: usize = BOUNDS_MS.len() + 1;
const NS_PER_MS: u64 = 1_000_000;

/// What separates the parts of a key.
const SEPARATOR: char = '\0';
/// Names longer than this, bytes, are told apart by their beginning: a series is kept for as long as it comes.
const TEXT_BYTES_MAX: usize = 256;

/// Series by the values of their attributes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Table<V> {
    series: HashMap<Box<str>, Series<V>>,
    /// What came when there were too many.
    overflow: Option<Series<V>>,
    pub(super) overflowed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Series<V> {
    /// Wall clock. Before it the series had no point, and nothing of it was counted.
    pub(super) since_ms: u64,
    touched_ms: u64,
    pub(super) value: V,
}

/// When it is, and since when what is new may have happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now_ms: u64,
    pub(super) told_ms: u64,
}

impl<V: Default> Table<V> {
    /// The series of these values, or the one of those that are too many.
    pub(super) fn entry(&mut self, key: &str, series_max: usize, clock: Clock) -> &mut V {
        let new = || Series { since_ms: clock.told_ms, touched_ms: clock.now_ms, value: V::default() };
        if !self.series.contains_key(key) && self.series.len() < series_max {
            self.series.insert(key.into(), new());
        }
        let series = match self.series.get_mut(key) {
            Some(series) => series,
            None => {
                self.overflowed += 1;
                self.overflow.get_or_insert_with(new)
            }
        };
        series.touched_ms = series.touched_ms.max(clock.now_ms);
        &mut series.value
    }

    /// Drops what nothing was added to since then.
    pub(super) fn forget(&mut self, before_ms: u64) {
        self.series.retain(|_, series| series.touched_ms >= before_ms);
        self.overflow.take_if(|series| series.touched_ms < before_ms);
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// In the order of their values; the one of those that are too many is the last and has no key.
    pub(super) fn sorted(&mut self) -> Vec<(Option<&str>, &mut Series<V>)> {
        let mut all: Vec<_> = self.series.iter_mut().map(|(key, series)| (Some(&**key), series)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.extend(self.overflow.as_mut().map(|series| (None, series)));
        all
    }
}

/// Writes the parts of a key one after the other.
pub(super) fn write_key<'a>(key: &mut String, parts: impl IntoIterator<Item = &'a str>) {
    key.clear();
    for part in parts.into_iter().map(shortened) {
        match part.contains(SEPARATOR) {
            // It would read as two parts.
            true => key.extend(part.split(SEPARATOR)),
            false => key.push_str(part),
        }
        key.push(SEPARATOR);
    }
}

pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

pub(super) fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split_terminator(SEPARATOR)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) sum_ns: f64,
    pub(super) buckets: [u64; BUCKETS],
    /// The last of each bucket since they were told.
    #[serde(skip)]
    pub(super) exemplars: [Option<Exemplar>; BUCKETS],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) time_ns: i64,
    pub(super) duration_ns: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration_ns: u64, exemplar: Option<Exemplar>) {
        let bucket = BOUNDS_MS.partition_point(|bound| bound * NS_PER_MS < duration_ns);
        self.count += 1;
        self.sum_ns += duration_ns as f64;
        self.buckets[bucket] += 1;
        if exemplar.is_some() {
            self.exemplars[bucket] = exemplar;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { now_ms: 2000, told_ms: 1000 };

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for duration_ns in [0, 2_000_000, 2_000_001, 15_000_000_000, 15_000_000_001] {
            histogram.add(duration_ns, None);
        }
        let mut expected = [0; BUCKETS];
        (expected[0], expected[1], expected[15], expected[16]) = (2, 1, 1, 1);
        assert_eq!((histogram.buckets, histogram.count), (expected, 5));
        assert_eq!(histogram.sum_ns, 30_004_000_002.0);
    }

    #[test]
    fn what_is_too_many_is_counted_in_one_series() {
        let mut table = Table::<u64>::default();
        for key in ["a", "b", "c", "a", "d", "b"] {
            *table.entry(key, 2, CLOCK) += 1;
        }
        let all: Vec<_> = table.sorted().into_iter().map(|(key, series)| (key, series.value)).collect();
        assert_eq!(all, [(Some("a"), 2), (Some("b"), 2), (None, 2)]);
        assert_eq!((table.overflowed, table.len()), (2, 2));
    }

    #[test]
    fn a_series_that_comes_again_begins_after_its_last_point() {
        let mut table = Table::<u64>::default();
        *table.entry("a", 9, CLOCK) += 1;
        *table.entry("b", 9, CLOCK) += 1;
        *table.entry("b", 9, Clock { now_ms: 8000, told_ms: 7000 }) += 1;
        table.forget(5000);
        *table.entry("a", 9, Clock { now_ms: 9000, told_ms: 8500 }) += 1;
        let all: Vec<_> = table.sorted().into_iter().map(|(_, series)| (series.since_ms, series.value)).collect();
        assert_eq!(all, [(8500, 1), (1000, 2)]);
    }

    #[test]
    fn a_key_keeps_its_parts_apart() {
        let mut key = String::from("old");
        write_key(&mut key, ["shop", "", "a\0b"]);
        assert_eq!(parts(&key).collect::<Vec<_>>(), ["shop", "", "ab"]);
        let long = "é".repeat(1000);
        write_key(&mut key, [&*long, "b"]);
        assert_eq!(parts(&key).collect::<Vec<_>>(), [&long[..TEXT_BYTES_MAX], "b"]);
    }

    #[test]
    fn a_table_rests_as_it_is_except_for_exemplars() {
        let mut table = Table::<Histogram>::default();
        let exemplar = Exemplar { trace_id: [1; 16], span_id: [1; 8], time_ns: 5, duration_ns: 7 };
        table.entry("a\0b", 1, CLOCK).add(7, Some(exemplar));
        table.entry("c", 1, CLOCK).add(9, None);
        let text = serde_json::to_string(&table).expect("it is JSON");
        let mut again: Table<Histogram> = serde_json::from_str(&text).expect("it was written here");
        assert_eq!(again.overflowed, 1);
        let counts: Vec<_> = again.sorted().into_iter().map(|(key, series)| (key, series.value.count)).collect();
        assert_eq!(counts, [(Some("a\0b"), 1), (None, 1)]);
    }
}
