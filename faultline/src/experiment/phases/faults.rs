//! The same fault in both arms, under one uninterrupted load: before, during, and until nothing waits any more.

use std::time::Duration;

use crate::experiment::arm::Arm;
use crate::experiment::counting::Account;
use crate::experiment::lab::{Lab, now_us};
use crate::experiment::parts::{Costs, Parts};
use crate::experiment::plan::FaultTimes;
use crate::experiment::report::{Fault, Indicators};
use crate::experiment::runner::{Experiment, period};
use crate::experiment::samples::{Outcome, Samples};
use crate::experiment::stats::{Block, Impact, Span, impact, quantile};
use crate::experiment::switches::FaultSwitch;
use crate::experiment::telemetry::Period;
use crate::experiment::window::{Order, Unfit, Window, product_busy_pct, product_seconds};
use crate::experiment::{LOGIN, PAY};

/// Blocks of time that an endpoint's course is made of.
const BLOCK_S: f64 = 5.0;
/// Retry topics hold an event for 30 s at most, and a service that comes back joins its group first.
const DRAIN_MAX: Duration = Duration::from_secs(180);
/// Processes that a fault starts or lets up begin where their parent runs; so often they are moved to where they belong.
const PIN_EVERY: Duration = Duration::from_secs(1);
/// An endpoint with fewer requests before or during says nothing about its p95.
const REQUESTS_MIN: u64 = 20;

/// A fault of `faultline product fault`, or several at once.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Words of the command line, one line for each.
    switches: &'static [&'static [&'static str]],
    what: &'static str,
}

/// The first is that of the claim.
pub(crate) const FAULTS: [Kind; 8] = [
    Kind {
        name: HELD_DOWN,
        switches: &[&["service-down", "jobs"], &["service-down", "analytics"]],
        what: "Both extracted services are stopped and held down. In inline nothing of the product uses them.",
    },
    Kind {
        name: "slow-analytics-query",
        switches: &[&["slow-analytics-query"]],
        what: "Reports without an index run one after the other on the database that analytics uses.",
    },
    Kind {
        name: "lock-contention",
        switches: &[&["lock-contention"]],
        what: "A settlement holds its transaction open most of the time, on the database that jobs uses.",
    },
    Kind { name: "mail-refusing", switches: &[&["mail-refusing"]], what: "The mail receiver refuses every message." },
    Kind {
        name: "webhook-refusing",
        switches: &[&["webhook-refusing"]],
        what: "The merchant's receiver answers every webhook with 503.",
    },
    Kind {
        name: "acquirer-slow",
        switches: &[&["acquirer-slow"]],
        what: "The acquirer takes two seconds longer: a coupling that decoupling jobs and analytics leaves.",
    },
    Kind {
        name: "broker-down",
        switches: &[&["broker-down"]],
        what: "The broker is stopped with all it had in memory, and started again.",
    },
    Kind { name: "cpu-hog", switches: &[&["cpu-hog"]], what: "A process computes on the product's core." },
];

pub(crate) const HELD_DOWN: &str = "jobs-and-analytics-down";

pub(crate) async fn run(experiment: &mut Experiment) -> anyhow::Result<()> {
    for kind in &FAULTS[..if experiment.plan.all_faults { FAULTS.len() } else { 1 }] {
        if kind.name == "broker-down" && experiment.args.bootstrap_servers.is_some() {
            experiment.report.run.notes.push("broker-down was left out: the broker is not ours to stop".to_owned());
            continue;
        }
        for arm in experiment.plan.fault_arms {
            let fault = one(experiment, kind, *arm).await?;
            experiment.say(&format!("    {} in {arm} hurt {:?}; {}", kind.name, fault.hurt, fault.mechanism));
            experiment.report.faults.push(fault);
            experiment.write()?;
        }
    }
    Ok(())
}

async fn one(experiment: &mut Experiment, kind: &Kind, arm: Arm) -> anyhow::Result<Fault> {
    let times = if kind.name == HELD_DOWN { experiment.plan.held_down } else { experiment.plan.fault };
    let order = Order {
        purpose: format!("fault {}", kind.name),
        arm,
        rate: experiment.rate(),
        time: times.whole(),
        seed: experiment.args.seed,
        drain_max: DRAIN_MAX,
    };
    let (switch, parts) = (experiment.lab()?.faults(), experiment.lab()?.parts.clone());
    let (window, struck) = experiment
        .measure_while(order, |from_us| async move {
            tokio::select! {
                struck = strike(&switch, &parts, kind, times, from_us) => struck,
                error = keep_pinned(&parts, arm) => Err(error),
            }
        })
        .await?;
    let struck = struck?;
    let number = window.number;
    describe(experiment, number, kind, times, struck).await
}

/// When it began, and what everything had cost at the window's begin, at the fault's begin and at its end.
struct Struck {
    began_us: i64,
    costs: [Costs; 3],
    /// Seconds between them.
    apart_s: [f64; 2],
}

/// Waits for its time, switches it on, waits for its end, which comes by itself.
async fn strike(
    switch: &FaultSwitch,
    parts: &Parts,
    kind: &Kind,
    times: FaultTimes,
    from_us: i64,
) -> anyhow::Result<Struck> {
    tokio::time::sleep(Duration::from_micros((from_us - now_us()).max(0) as u64)).await;
    let (first, first_us) = (parts.costs()?, now_us());
    tokio::time::sleep(times.before).await;
    let (second, began_us) = (parts.costs()?, now_us());
    for words in kind.switches {
        switch.on(words, times.fault).await?;
    }
    tokio::time::sleep(Duration::from_micros((began_us - now_us()).max(0) as u64) + times.fault).await;
    let (third, ended_us) = (parts.costs()?, now_us());
    // Until the parts are back their cores are looked after.
    tokio::time::sleep(times.after).await;
    let apart_s = [began_us - first_us, ended_us - began_us].map(|us| us as f64 / 1e6);
    Ok(Struck { began_us, costs: [first, second, third], apart_s })
}

async fn keep_pinned(parts: &Parts, arm: Arm) -> anyhow::Error {
    loop {
        if let Err(error) = parts.pin(arm) {
            return error;
        }
        tokio::time::sleep(PIN_EVERY).await;
    }
}

async fn describe(
    experiment: &mut Experiment,
    number: usize,
    kind: &Kind,
    times: FaultTimes,
    struck: Struck,
) -> anyhow::Result<Fault> {
    let began_us = struck.began_us;
    let mut account = Account::default();
    let window = &experiment.windows[number];
    account.add(window.order.arm, experiment.acknowledged(window)?);
    let counted = experiment.count(&account).await?;
    let sum = |of: fn(&crate::experiment::report::EffectCount) -> u64| counted.effects.iter().map(of).sum::<u64>();

    let window = &experiment.windows[number];
    let lab: &Lab = experiment.lab()?;
    let (before_s, fault_s) = (times.before.as_secs_f64(), times.fault.as_secs_f64());
    let mut before = lab.telemetry.indicators(period(window.period.from_us, before_s)).await?;
    let mut during = lab.telemetry.indicators(period(began_us, fault_s)).await?;
    for (place, indicators) in [&mut before, &mut during].into_iter().enumerate() {
        let (from, to) = (&struck.costs[place], &struck.costs[place + 1]);
        let arm = window.order.arm;
        indicators.product_cpu_pct = Some(100.0 * product_seconds(arm, to, from) / struck.apart_s[place].max(1.0));
        indicators.product_core_busy_pct = product_busy_pct(lab.parts.cores.product(arm), &to.busy_pct(from));
    }
    // While a consumer is held down nobody says how much waits for it: what it finds afterwards is the fault's doing as well.
    let afterwards = lab.telemetry.indicators(Period { from_us: began_us, to_us: window.settled_us }).await?;
    (during.outbox_pending_max, during.lag_max) = (afterwards.outbox_pending_max, afterwards.lag_max);
    let usual = before.outbox_pending_max.unwrap_or(0.0) + before.lag_max.unwrap_or(0.0);
    let after = Period { from_us: began_us + times.fault.as_micros() as i64, to_us: window.settled_us };
    let drained_s = match window.drained {
        Some(_) => Some(lab.telemetry.waited_s(after, 1.5 * usual + 5.0).await?),
        None => None,
    };
    let seed = experiment.args.seed;
    let span = Span { fault_s, block_s: BLOCK_S };
    let mut endpoints: Vec<Impact> = window
        .samples
        .endpoints()
        .iter()
        .map(|name| impact(name, &blocks(window, name, began_us), span, seed))
        .filter(|impact| impact.requests_before.min(impact.requests_during) >= REQUESTS_MIN || impact.failed_during > 0)
        .collect();
    endpoints.sort_by_key(|impact| !impact.hurt);
    Ok(Fault {
        name: kind.name.to_owned(),
        arm: window.order.arm,
        what: kind.what.to_owned(),
        rate: window.order.rate,
        before_s,
        fault_s,
        after_s: times.after.as_secs_f64(),
        hurt: endpoints.iter().filter(|impact| impact.hurt).map(|impact| impact.endpoint.clone()).collect(),
        mechanism: mechanism(&before, &during, &endpoints),
        endpoints,
        before,
        during,
        failed: window.samples.count(Outcome::Failed),
        failed_reports: reports(&window.samples, Outcome::Failed),
        reports: reports(&window.samples, Outcome::Acknowledged) + reports(&window.samples, Outcome::Failed),
        excluded: window.unfit.as_ref().map(Unfit::to_string),
        lost: Some(sum(|count| count.lost)),
        doubled: Some(sum(|count| count.doubled)),
        drained_s,
        course: [PAY, LOGIN].map(|name| (name.to_owned(), course(&blocks(window, name, began_us)))).into(),
    })
}

/// Requests for what analytics answers.
fn reports(samples: &Samples, outcome: Outcome) -> u64 {
    let asked = samples.endpoints().into_iter().filter(|name| name.starts_with("GET /v1/analytics/"));
    asked.map(|name| samples.count_at(&name, outcome)).sum()
}

/// The window cut into blocks, counted from the fault's begin so that none lies on both sides of it.
fn blocks(window: &Window, endpoint: &str, began_us: i64) -> Vec<Block> {
    let at = |us: i64| (us - began_us) as f64 / 1e6;
    let first = (at(window.period.from_us) / BLOCK_S).ceil() as i64;
    let last = (at(window.period.to_us) / BLOCK_S).ceil() as i64;
    let block = |number: i64| {
        let at_s = number as f64 * BLOCK_S;
        let from_us = began_us + (at_s * 1e6) as i64;
        let samples: Samples = window.samples.between(from_us, from_us + (BLOCK_S * 1e6) as i64);
        Block {
            at_s,
            latencies_ms: samples.latencies_ms(endpoint),
            failed: samples.count_at(endpoint, Outcome::Failed),
        }
    };
    (first..last).map(block).collect()
}

fn course(blocks: &[Block]) -> Vec<(f64, f64)> {
    let point = |block: &Block| Some((block.at_s + BLOCK_S / 2.0, quantile(&mut block.latencies_ms.clone(), 0.95)?));
    blocks.iter().filter_map(point).collect()
}

/// Grown less than this, something is no mechanism.
const GROWTH_MIN: f64 = 1.5;

/// What grew most from before to during, by name; and whether requests were refused.
fn mechanism(before: &Indicators, during: &Indicators, endpoints: &[Impact]) -> String {
    // Below the floor a value is too small to have grown: half a millisecond is no wait, ten events no queue.
    let strains = [
        (
            "pool and lock: waiting for a connection or the right to write",
            before.pool_wait_p95_ms,
            during.pool_wait_p95_ms,
            2.0,
            "ms p95",
        ),
        (
            "lock: statements wait for rows or run longer",
            before.statement_p95_ms,
            during.statement_p95_ms,
            2.0,
            "ms p95",
        ),
        (
            "call: the request waits for another process",
            before.calls_ms_per_request,
            during.calls_ms_per_request,
            2.0,
            "ms a request",
        ),
        (
            "CPU: the product's core is taken",
            before.product_core_busy_pct,
            during.product_core_busy_pct,
            30.0,
            "% busy",
        ),
        (
            "queue: the outbox holds what nobody takes",
            before.outbox_pending_max,
            during.outbox_pending_max,
            20.0,
            "events",
        ),
        ("queue: the topics hold what nobody takes", before.lag_max, during.lag_max, 20.0, "events"),
    ];
    let grown = strains.iter().filter_map(|(name, before, during, floor, unit)| {
        let (before, during) = (before.unwrap_or(0.0), (*during)?);
        let growth = during / before.max(*floor);
        (growth >= GROWTH_MIN).then(|| (growth, format!("{name} ({before:.0} → {during:.0} {unit})")))
    });
    let most = grown.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, name)| name);
    let failed: u64 = endpoints.iter().map(|impact| impact.failed_during).sum();
    let refused = (failed > 0).then(|| format!("call: {failed} requests failed for want of an answer they need"));
    let named: Vec<String> = refused.into_iter().chain(most).collect();
    if named.is_empty() { "none seen".to_owned() } else { named.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanism_is_what_grew_most() {
        let calm =
            Indicators { pool_wait_p95_ms: Some(1.0), calls_ms_per_request: Some(10.0), ..Indicators::default() };
        let stormy = Indicators { pool_wait_p95_ms: Some(80.0), calls_ms_per_request: Some(40.0), ..calm.clone() };
        assert!(mechanism(&calm, &stormy, &[]).starts_with("pool and lock"), "{}", mechanism(&calm, &stormy, &[]));
        let waiting = Indicators { lag_max: Some(900.0), ..calm.clone() };
        assert!(
            mechanism(&calm, &waiting, &[]).starts_with("queue: the topics"),
            "{}",
            mechanism(&calm, &waiting, &[])
        );
        assert_eq!(mechanism(&calm, &calm, &[]), "none seen");
    }

    #[test]
    fn a_small_number_that_doubled_is_no_mechanism() {
        let calm = Indicators { pool_wait_p95_ms: Some(0.2), lag_max: Some(3.0), ..Indicators::default() };
        let stormy = Indicators { pool_wait_p95_ms: Some(0.9), lag_max: Some(12.0), ..Indicators::default() };
        assert_eq!(mechanism(&calm, &stormy, &[]), "none seen");
    }
}
