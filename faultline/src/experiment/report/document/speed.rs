//! How fast: the headline, the knee, all arms at each load.

use std::collections::BTreeSet;

use super::super::plot::{self, Lines, Scale, Series};
use super::super::{Comparison, Report};
use super::{Block, figure, heading, interval, short, table, text};
use crate::experiment::arm::Arm;
use crate::experiment::stats::Estimate;

/// Of the p95 of creating a payment, percent.
const GOAL_PCT: f64 = 60.0;

pub(super) fn headline(report: &Report, blocks: &mut Vec<Block>) {
    let Some(first) = report.comparisons.first() else { return };
    heading(blocks, 2, "Latency at the rate of the claim");
    text(
        blocks,
        format!(
            "{}: {:.1} requests a second in every arm, {} interleaved rounds. Latency runs from the moment a request was meant \
             to be sent. The reduction is of the p95, with a 95 % bootstrap interval over rounds and samples.",
            first.what, first.rate, first.rounds
        ),
    );
    let rows = report.endpoints.iter().map(|endpoint| {
        let reduction = match (endpoint.p95_reduction_pct, endpoint.p95_reduction_pct_interval) {
            (Some(value), Some([low, high])) => format!("{value:.1} % [{low:.1}, {high:.1}]"),
            _ => "–".to_owned(),
        };
        let few = if endpoint.enough_samples { "" } else { " (few)" };
        vec![
            format!("{}{few}", endpoint.name),
            endpoint.inline.samples.to_string(),
            endpoint.events.samples.to_string(),
            short(endpoint.inline.p50_ms),
            short(endpoint.events.p50_ms),
            short(endpoint.inline.p95_ms),
            short(endpoint.events.p95_ms),
            reduction,
            format!("{} / {}", endpoint.inline.failed, endpoint.events.failed),
        ]
    });
    table(
        blocks,
        &[
            "endpoint",
            "samples inline",
            "samples events",
            "p50 inline, ms",
            "p50 events, ms",
            "p95 inline, ms",
            "p95 events, ms",
            "p95 reduction",
            "failed inline / events",
        ],
        rows,
    );
    if report.endpoints.iter().any(|endpoint| !endpoint.enough_samples) {
        text(blocks, "(few): less than 1,000 samples in an arm or less than five rounds; read its interval with care.");
    }
    let rows: Vec<(String, Estimate)> = report
        .endpoints
        .iter()
        .filter_map(|endpoint| {
            let [low, high] = endpoint.p95_reduction_pct_interval?;
            Some((endpoint.name.clone(), Estimate { value: endpoint.p95_reduction_pct?, low, high }))
        })
        .collect();
    let goal = Some((GOAL_PCT, "goal for creating a payment"));
    figure(
        blocks,
        "Reduction of the p95 by `events` against `inline`, with 95 % intervals. Below zero: slower.",
        plot::intervals("reduction of p95, %", &rows, goal),
    );
}

pub(super) fn knee(report: &Report, blocks: &mut Vec<Block>) {
    if report.knee.is_empty() {
        return;
    }
    heading(blocks, 2, "Where the knee is");
    if let Some(ladder) = &report.ladder {
        text(
            blocks,
            format!(
                "A rate is sustained when at least {:.1} % of the planned requests succeed, no watched p95 (login, creating a \
                 payment) exceeds {:.0} times its value at the lowest rate, and no more than {:.0} s of events wait between the \
                 services at the end. The knee is the highest rate sustained below the first that is not.",
                100.0 * ladder.achieved_share_min,
                ladder.slowdown_max,
                ladder.backlog_seconds_max
            ),
        );
    }
    let rows = report.knee.iter().map(|found| {
        vec![
            found.arm.to_string(),
            short(found.knee.sustained),
            short(found.knee.broken),
            found.points.len().to_string(),
            if found.knee.why.is_empty() { "–".to_owned() } else { found.knee.why.clone() },
        ]
    });
    table(blocks, &["arm", "sustained, requests/s", "not sustained, requests/s", "rates", "what gave way"], rows);
    let names: BTreeSet<&String> =
        report.knee.iter().flat_map(|found| &found.points).flat_map(|point| point.endpoints_p95_ms.keys()).collect();
    for name in names {
        let series = report.knee.iter().map(|found| Series {
            name: found.arm.to_string(),
            points: ordered(
                found.points.iter().filter_map(|point| Some((point.point.rate, *point.endpoints_p95_ms.get(name)?))),
            ),
        });
        let plot = Lines {
            x: "requests a second",
            y: "p95, ms",
            y_scale: Scale::Logarithmic,
            series: series.collect(),
            band: None,
        };
        figure(blocks, &format!("p95 of `{name}` by rate"), plot::lines(&plot));
    }
    let rows = report.knee.iter().flat_map(|found| {
        let mut points: Vec<_> = found.points.iter().collect();
        points.sort_by(|left, right| left.point.rate.total_cmp(&right.point.rate));
        points.into_iter().map(move |point| {
            let p95s: Vec<String> = point.point.p95_ms.iter().map(|p95| short(*p95)).collect();
            vec![
                found.arm.to_string(),
                short(Some(point.point.rate)),
                format!("{:.1} %", 100.0 * point.point.achieved_share),
                p95s.join(" / "),
                short(point.indicators.product_cpu_pct),
                short(point.indicators.pool_wait_p95_ms),
                short(point.indicators.statement_p95_ms),
                short(point.indicators.outbox_pending_max),
                short(point.indicators.lag_max),
            ]
        })
    });
    table(
        blocks,
        &[
            "arm",
            "requests/s",
            "succeeded",
            "p95 payment / login, ms",
            "product CPU, %",
            "pool and lock wait p95, ms",
            "statement p95, ms",
            "outbox, most",
            "lag, most",
        ],
        rows,
    );
}

fn ordered(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = points.collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    points
}

pub(super) fn comparisons(report: &Report, blocks: &mut Vec<Block>) {
    if !report.comparisons.is_empty() {
        heading(blocks, 2, "All arms, by load");
    }
    report.comparisons.iter().for_each(|comparison| compared(comparison, blocks));
    if let Some(sensitivity) = &report.sensitivity {
        heading(blocks, 2, "Without the assumed latencies");
        text(
            blocks,
            "The stubs for acquirer, mail and webhooks answer as fast as they can. What is left of the difference does not \
             depend on how slow we assume other people's machines to be.",
        );
        compared(sensitivity, blocks);
    }
}

fn compared(comparison: &Comparison, blocks: &mut Vec<Block>) {
    heading(blocks, 3, &format!("{}: {:.1} requests a second", comparison.what, comparison.rate));
    let arms: Vec<Arm> = Arm::ALL
        .into_iter()
        .filter(|arm| comparison.endpoints.iter().any(|endpoint| endpoint.arms.contains_key(arm)))
        .collect();
    let mut head = vec!["endpoint".to_owned()];
    head.extend(arms.iter().map(|arm| format!("{arm}: p50 / p95 / p99, ms (failed)")));
    let others: Vec<Arm> = arms.iter().copied().filter(|arm| *arm != Arm::Inline).collect();
    head.extend(others.iter().map(|arm| format!("p95 reduction by {arm}")));
    let two_cores = arms.contains(&Arm::InlineTwoCores) && arms.contains(&Arm::Events);
    if two_cores {
        head.push("by events against two cores".to_owned());
    }
    let rows = comparison.endpoints.iter().map(|endpoint| {
        let mut row = vec![endpoint.name.clone()];
        row.extend(arms.iter().map(|arm| {
            endpoint.arms.get(arm).map_or("–".to_owned(), |latency| {
                let (p50, p95, p99) = (short(latency.p50_ms), short(latency.p95_ms), short(latency.p99_ms));
                format!("{p50} / {p95} / {p99} ({})", latency.failed)
            })
        }));
        row.extend(others.iter().map(|arm| interval(endpoint.p95_reduction_pct.get(arm))));
        if two_cores {
            row.push(interval(endpoint.p95_reduction_against_two_cores_pct.as_ref()));
        }
        row
    });
    blocks.push(Block::Table(head, rows.collect()));
}
