//! The highest rate an arm sustains, and in which order rates are tried to find it.

use serde::Serialize;

/// What is still called sustained.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ladder {
    /// Requests a second that the search begins with.
    pub(crate) first_rate: f64,
    /// Each further rate is this many times the last, until one is not sustained.
    pub(crate) factor: f64,
    /// Rates that every arm is measured at, at least.
    pub(crate) points_min: usize,
    /// The search ends here even if the knee is not yet known closely.
    pub(crate) points_max: usize,
    /// The search ends when the first rate too many is at most this many times the last good one.
    pub(crate) closeness: f64,
    /// Answers with success, of all requests planned.
    pub(crate) achieved_share_min: f64,
    /// How many times its value at the lowest rate a p95 may be.
    pub(crate) slowdown_max: f64,
    /// Seconds of arrivals that may be waiting between the services at the end.
    pub(crate) backlog_seconds_max: f64,
}

/// One arm at one rate.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Point {
    pub(crate) rate: f64,
    /// Of the planned requests, how many were answered with success within the customers' patience.
    pub(crate) achieved_share: f64,
    /// p95 of the endpoints that are watched, milliseconds, in one order for all points.
    pub(crate) p95_ms: Vec<Option<f64>>,
    /// Events that waited between the services when the window ended.
    pub(crate) backlog: f64,
    /// Events made a second.
    pub(crate) events_per_s: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Knee {
    /// The highest rate sustained below the first that was not. None: not even the lowest.
    pub(crate) sustained: Option<f64>,
    /// The lowest rate that was not sustained. None: the search ended before one was found.
    pub(crate) broken: Option<f64>,
    /// What gave way there.
    pub(crate) why: String,
}

impl Ladder {
    /// None when the point is sustained; `base` is the point of the lowest rate.
    pub(crate) fn broken(&self, point: &Point, base: &Point, names: &[&str]) -> Option<String> {
        if point.achieved_share < self.achieved_share_min {
            return Some(format!("only {:.1} % of the requests succeeded", 100.0 * point.achieved_share));
        }
        let watched = names.iter().zip(point.p95_ms.iter().zip(&base.p95_ms));
        for (name, (now, base)) in watched {
            if let (Some(now), Some(base)) = (now, base)
                && *now > self.slowdown_max * base
            {
                return Some(format!("p95 of {name} is {now:.0} ms, {:.1} times that of the lowest rate", now / base));
            }
        }
        if point.backlog > self.backlog_seconds_max * point.events_per_s.max(1.0) {
            return Some(format!("{:.0} events waited between the services at the end", point.backlog));
        }
        None
    }
}

pub(crate) fn knee(ladder: &Ladder, points: &[Point], names: &[&str]) -> Knee {
    let points = by_rate(points);
    let Some(base) = points.first() else { return Knee::default() };
    let mut found = Knee::default();
    for point in &points {
        match ladder.broken(point, base, names) {
            None => found.sustained = Some(point.rate),
            Some(why) => {
                found.broken = Some(point.rate);
                found.why = why;
                break;
            }
        }
    }
    found
}

/// Where to measure next: up until something breaks, then between, then to fill up to the least number of rates.
pub(crate) fn next_rate(ladder: &Ladder, points: &[Point], names: &[&str]) -> Option<f64> {
    if points.len() >= ladder.points_max {
        return None;
    }
    if points.is_empty() {
        return Some(ladder.first_rate);
    }
    let found = knee(ladder, points, names);
    match (found.sustained, found.broken) {
        (None, Some(broken)) => Some(broken / ladder.factor),
        (Some(sustained), None) => Some(sustained * ladder.factor),
        (Some(sustained), Some(broken)) if broken > sustained * ladder.closeness => Some((sustained * broken).sqrt()),
        _ if points.len() < ladder.points_min => widest_gap(points),
        _ => None,
    }
}

/// The middle of the two neighbours that are furthest apart by ratio.
fn widest_gap(points: &[Point]) -> Option<f64> {
    let points = by_rate(points);
    let gaps = points.windows(2).map(|two| (two[1].rate / two[0].rate, (two[0].rate * two[1].rate).sqrt()));
    gaps.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, middle)| middle)
}

fn by_rate(points: &[Point]) -> Vec<&Point> {
    let mut points: Vec<&Point> = points.iter().collect();
    points.sort_by(|left, right| left.rate.total_cmp(&right.rate));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Ladder = Ladder {
        first_rate: 20.0,
        factor: 2.0,
        points_min: 5,
        points_max: 12,
        closeness: 1.1,
        achieved_share_min: 0.99,
        slowdown_max: 3.0,
        backlog_seconds_max: 5.0,
    };

    /// A single server: the time in it grows as 1 / (1 - load).
    fn queue(rate: f64, capacity: f64) -> Point {
        let load = rate / capacity;
        let p95 = if load < 1.0 { 10.0 / (1.0 - load) } else { 10_000.0 };
        Point {
            rate,
            achieved_share: (1.0 / load).min(1.0),
            p95_ms: vec![Some(p95), None],
            backlog: 0.0,
            events_per_s: rate,
        }
    }

    fn search(server: impl Fn(f64) -> Point) -> (Vec<Point>, Knee) {
        let mut points = Vec::new();
        while let Some(rate) = next_rate(&LADDER, &points, &["pay", "login"]) {
            points.push(server(rate));
        }
        let found = knee(&LADDER, &points, &["pay", "login"]);
        (points, found)
    }

    #[test]
    fn the_search_closes_in_on_the_knee_of_a_queue() {
        let (points, found) = search(|rate| queue(rate, 200.0));
        // Against the lowest rate (20, load 0.1) three times the p95 is reached at load 0.7.
        let (sustained, broken) = (found.sustained.expect("a knee"), found.broken.expect("a knee"));
        assert!(sustained <= 140.0 && 140.0 < broken && broken / sustained <= 1.1, "{found:?}");
        assert!((5..=12).contains(&points.len()), "{} points", points.len());
        assert!(found.why.contains("p95 of pay"), "{found:?}");
    }

    #[test]
    fn a_first_rate_that_is_too_high_is_searched_below() {
        let (_, found) = search(|rate| queue(rate, 15.0));
        // The base moves down with the search: three times the p95 of the lowest rate.
        assert!(found.sustained.is_some_and(|rate| rate < 15.0), "{found:?}");
        assert!(found.broken.is_some(), "{found:?}");
    }

    #[test]
    fn failing_and_falling_behind_are_told_apart() {
        let base = queue(20.0, 1e9);
        let failing = Point { achieved_share: 0.9, ..base.clone() };
        let behind = Point { backlog: 101.0, ..base.clone() };
        let names = ["pay", "login"];
        assert!(LADDER.broken(&failing, &base, &names).is_some_and(|why| why.contains("90.0 %")));
        assert!(LADDER.broken(&behind, &base, &names).is_some_and(|why| why.contains("101 events")));
        assert_eq!(LADDER.broken(&base, &base, &names), None);
    }

    #[test]
    fn a_server_without_a_limit_ends_the_search_all_the_same() {
        let (points, found) = search(|rate| queue(rate, f64::INFINITY));
        assert_eq!(points.len(), 12);
        assert_eq!((found.broken, found.why.as_str()), (None, ""));
    }
}
