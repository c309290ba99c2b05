//! Looks for the highest rate that each arm sustains.

use std::time::Duration;

use crate::experiment::arm::Arm;
use crate::experiment::plan::LADDER;
use crate::experiment::report::{ArmKnee, KneePoint};
use crate::experiment::runner::Experiment;
use crate::experiment::samples::Outcome;
use crate::experiment::stats::{Point, knee, next_rate};
use crate::experiment::window::{Order, Unfit, Window};
use crate::experiment::{LOGIN, PAY};

/// A rate too high leaves a backlog; what it takes to work it off is not part of the search.
const DRAIN_MAX: Duration = Duration::from_secs(300);

const WATCHED: [&str; 2] = [PAY, LOGIN];

pub(crate) async fn run(experiment: &mut Experiment) -> anyhow::Result<()> {
    experiment.report.ladder = Some(LADDER);
    for arm in Arm::ALL {
        let mut points: Vec<Point> = Vec::new();
        let mut found: Vec<KneePoint> = Vec::new();
        let mut end = None;
        while let Some(rate) = next_rate(&LADDER, &points, &WATCHED) {
            match one(experiment, arm, rate).await? {
                Ok(point) => {
                    points.push(point.point.clone());
                    found.push(point);
                }
                Err(why) => {
                    // What the generator cannot send nobody has failed to answer.
                    end = Some(format!("the search ended below {rate:.0}/s: {why}"));
                    break;
                }
            }
        }
        let mut knee = knee(&LADDER, &points, &WATCHED);
        if let Some(end) = end {
            knee.why = [knee.why, end].into_iter().filter(|why| !why.is_empty()).collect::<Vec<_>>().join("; ");
        }
        experiment.say(&format!(
            "{arm}: sustains {}, not {} ({})",
            knee.sustained.map_or("nothing".to_owned(), |rate| format!("{rate:.0}/s")),
            knee.broken.map_or("known".to_owned(), |rate| format!("{rate:.0}/s")),
            knee.why
        ));
        experiment.report.knee.push(ArmKnee { arm, knee, points: found });
        experiment.write()?;
    }
    Ok(())
}

/// A rate at which the generator kept its schedule, or why it did not.
async fn one(experiment: &mut Experiment, arm: Arm, rate: f64) -> anyhow::Result<Result<KneePoint, String>> {
    let mut why = String::new();
    for _ in 0..experiment.plan.attempts {
        let order = Order {
            purpose: "knee".to_owned(),
            arm,
            rate,
            time: experiment.plan.knee_time,
            // Rates are compared with each other: the same customers and amounts.
            seed: experiment.args.seed,
            drain_max: DRAIN_MAX,
        };
        let window = experiment.measure(order).await?;
        match &window.unfit {
            Some(Unfit::Generator(reason)) => why.clone_from(reason),
            _ => {
                let p95s =
                    WATCHED.iter().filter_map(|name| Some(((*name).to_owned(), window.samples.latency(name).p95_ms?)));
                return Ok(Ok(KneePoint {
                    endpoints_p95_ms: p95s.collect(),
                    indicators: window.indicators.clone(),
                    window: window.number,
                    point: point(window),
                }));
            }
        }
    }
    Ok(Err(why))
}

fn point(window: &Window) -> Point {
    let samples = &window.samples;
    let acknowledged = samples.count(Outcome::Acknowledged);
    Point {
        rate: window.order.rate,
        achieved_share: acknowledged as f64 / (samples.len() as f64).max(1.0),
        p95_ms: WATCHED.iter().map(|name| samples.latency(name).p95_ms).collect(),
        backlog: window.backlog,
        // About four requests in ten make an event.
        events_per_s: 0.4 * window.order.rate,
    }
}
