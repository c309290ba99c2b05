//! All arms at one rate, side by side: each round has one window of every arm with the same seed, in an order that is drawn.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::experiment::arm::Arm;
use crate::experiment::report::{ComparedEndpoint, Comparison, Endpoint, Latency};
use crate::experiment::runner::Experiment;
use crate::experiment::samples::{Outcome, latency};
use crate::experiment::stats::{Dice, Estimate, Pair, reduction};
use crate::experiment::window::{Order, Window};

const DRAIN_MAX: Duration = Duration::from_secs(120);
const P95: f64 = 0.95;
/// What the claim asks for, of each endpoint and arm.
const SAMPLES_MIN: u64 = 1_000;
const ROUNDS_MIN: usize = 5;

/// One comparison to be made.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) what: String,
    pub(crate) load_pct: Option<f64>,
    pub(crate) rate: f64,
    pub(crate) arms: Vec<Arm>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// Returns the comparison and the numbers of the windows that count, by arm.
pub(crate) async fn run(
    experiment: &mut Experiment,
    side: &Side,
) -> anyhow::Result<(Comparison, BTreeMap<Arm, Vec<usize>>)> {
    let mut dice = Dice::new(experiment.args.seed ^ side.rate.to_bits());
    let mut rounds: Vec<BTreeMap<Arm, usize>> = Vec::new();
    for round in 0..side.rounds {
        let mut arms = side.arms.clone();
        dice.shuffle(&mut arms);
        let mut windows = BTreeMap::new();
        for arm in arms {
            for _ in 0..experiment.plan.attempts {
                let order = Order {
                    purpose: format!("{}, round {}", side.what, round + 1),
                    arm,
                    rate: side.rate,
                    time: side.time,
                    seed: experiment.args.seed + 1 + round as u64,
                    drain_max: DRAIN_MAX,
                };
                let window = experiment.measure(order).await?;
                if window.counts() {
                    windows.insert(arm, window.number);
                    break;
                }
            }
        }
        rounds.push(windows);
    }
    let comparison = compare(&experiment.windows, side, &rounds, experiment.args.seed);
    let mut counted: BTreeMap<Arm, Vec<usize>> = BTreeMap::new();
    for (arm, number) in rounds.into_iter().flatten() {
        counted.entry(arm).or_default().push(number);
    }
    Ok((comparison, counted))
}

fn compare(windows: &[Window], side: &Side, rounds: &[BTreeMap<Arm, usize>], seed: u64) -> Comparison {
    let names = rounds.iter().flat_map(BTreeMap::values).flat_map(|number| windows[*number].samples.endpoints());
    let names: std::collections::BTreeSet<String> = names.collect();
    let endpoint = |name: String| {
        let of =
            |arm: Arm| rounds.iter().filter_map(move |round| round.get(&arm)).map(|number| &windows[*number].samples);
        let arms = side.arms.iter().map(|arm| {
            let mut latencies: Vec<f64> = of(*arm).flat_map(|samples| samples.latencies_ms(&name)).collect();
            let failed = of(*arm).map(|samples| samples.count_at(&name, Outcome::Failed)).sum();
            (*arm, latency(&mut latencies, failed))
        });
        let against = |control: Arm, candidate: Arm| -> Option<Estimate> {
            let pairs: Vec<Pair> = rounds
                .iter()
                .filter_map(|round| {
                    let latencies = |arm| Some(windows[*round.get(&arm)?].samples.latencies_ms(&name));
                    Some(Pair { control: latencies(control)?, candidate: latencies(candidate)? })
                })
                .collect();
            reduction(P95, &pairs, seed)
        };
        let others = side.arms.iter().filter(|arm| **arm != Arm::Inline);
        ComparedEndpoint {
            arms: arms.collect(),
            p95_reduction_pct: others.filter_map(|arm| Some((*arm, against(Arm::Inline, *arm)?))).collect(),
            p95_reduction_against_two_cores_pct: against(Arm::InlineTwoCores, Arm::Events),
            name,
        }
    };
    let complete = rounds.iter().filter(|round| side.arms.iter().all(|arm| round.contains_key(arm))).count();
    Comparison {
        what: side.what.clone(),
        load_pct: side.load_pct,
        rate: side.rate,
        rounds: complete,
        endpoints: names.into_iter().map(endpoint).collect(),
    }
}

/// `events` against `inline` of a comparison, as the top of the report has it.
pub(crate) fn headline(comparison: &Comparison) -> Vec<Endpoint> {
    let endpoint = |compared: &ComparedEndpoint| {
        let of = |arm: Arm| compared.arms.get(&arm).cloned().unwrap_or_default();
        let (inline, events): (Latency, Latency) = (of(Arm::Inline), of(Arm::Events));
        let reduction = compared.p95_reduction_pct.get(&Arm::Events);
        Endpoint {
            name: compared.name.clone(),
            enough_samples: inline.samples >= SAMPLES_MIN
                && events.samples >= SAMPLES_MIN
                && comparison.rounds >= ROUNDS_MIN,
            p95_reduction_pct: reduction.map(|estimate| estimate.value),
            p95_reduction_pct_interval: reduction.map(|estimate| [estimate.low, estimate.high]),
            inline,
            events,
        }
    };
    comparison.endpoints.iter().map(endpoint).collect()
}
