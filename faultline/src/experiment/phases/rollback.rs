//! Going back from events to inline under load: how long until nothing is left to events any more.

use std::time::{Duration, Instant};

use crate::experiment::arm::Arm;
use crate::experiment::lab::now_us;
use crate::experiment::report::Rollback;
use crate::experiment::runner::Experiment;
use crate::experiment::samples::Outcome;
use crate::experiment::telemetry::Period;
use crate::experiment::window::Order;

/// From one switch to the next.
const APART: Duration = Duration::from_secs(6);
const TIMES: u32 = 3;
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// One order to go back.
struct Switch {
    sent_us: i64,
    answered: Duration,
    /// When the next switch, forward again, was ordered.
    until_us: i64,
}

pub(crate) async fn run(experiment: &mut Experiment) -> anyhow::Result<()> {
    let order = Order {
        purpose: "going back".to_owned(),
        arm: Arm::Events,
        rate: experiment.rate(),
        time: APART * (2 * TIMES + 1),
        seed: experiment.args.seed,
        drain_max: DRAIN_MAX,
    };
    let orders = experiment.lab()?.orders()?;
    let (window, switches) = experiment
        .measure_while(order, |from_us| async move {
            tokio::time::sleep(Duration::from_micros((from_us - now_us()).max(0) as u64) + APART).await;
            let mut switches = Vec::new();
            for _ in 0..TIMES {
                let (sent_us, sent) = (now_us(), Instant::now());
                orders.all("inline").await?;
                let answered = sent.elapsed();
                tokio::time::sleep(APART).await;
                let until_us = now_us();
                orders.all("events").await?;
                switches.push(Switch { sent_us, answered, until_us });
                tokio::time::sleep(APART).await;
            }
            anyhow::Ok(switches)
        })
        .await?;
    let switches = switches?;
    let failed = window.samples.count(Outcome::Failed);
    let period = Period { from_us: switches.first().map_or(0, |first| first.sent_us), to_us: window.settled_us };
    let lab = experiment.lab()?;
    lab.settle(DRAIN_MAX).await?;
    let mut left = Vec::new();
    for service in ["jobs", "analytics"] {
        let taken = lab.telemetry.taken(service, period).await?;
        left.extend(taken.iter().filter_map(|event| Some((created_us(&event.id)?, event.began_us))));
    }
    // What core has in hand at the next switch, forward, becomes an event then: that is no matter of this one.
    let last_event_ms = |switch: &Switch| {
        let within = left.iter().filter(|(made, began)| *made > switch.sent_us && *began < switch.until_us);
        within.map(|(made, _)| *made).max().map_or(0.0, |last| (last - switch.sent_us) as f64 / 1e3)
    };
    experiment.report.rollback = Some(Rollback {
        answered_ms: switches.iter().map(|switch| switch.answered.as_secs_f64() * 1e3).collect(),
        last_event_ms: switches.iter().map(last_event_ms).collect(),
        failed,
    });
    Ok(())
}

/// An id of version 7 begins with its milliseconds since the Unix epoch.
fn created_us(id: &str) -> Option<i64> {
    let hex: String = id.chars().filter(|digit| *digit != '-').take(12).collect();
    (hex.len() == 12 && id.as_bytes().get(14) == Some(&b'7'))
        .then(|| i64::from_str_radix(&hex, 16).ok())??
        .checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_made() {
        // The example of RFC 9562, A.6: 2022-02-22 19:22:22 UTC.
        assert_eq!(created_us("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), Some(1_645_557_742_000_000));
        assert_eq!(created_us("919108f7-52d1-4320-9bac-f847db4148a8"), None);
        assert_eq!(created_us("short"), None);
    }
}
