//! Jobs and analytics with 1, 2 and 4 instances: a backlog made while the service is held down, then worked off.
//!
//! The instance of the stack is one of them; the others are started by us as it was, on ports of their own, and share its
//! database and its group. What the others will bring is written down before they run.

use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, ChildStdin};

use crate::experiment::arm::Arm;
use crate::experiment::lab::{Lab, now_us};
use crate::experiment::report::Scaling;
use crate::experiment::runner::Experiment;
use crate::experiment::stats::mean;
use crate::experiment::telemetry::{Period, Taken};
use crate::experiment::window::Order;
use crate::up::{Launch, keep_output};

const SERVICES: [&str; 2] = ["jobs", "analytics"];
const INSTANCES: [usize; 3] = [1, 2, 4];
/// One instance has no more than this to do after the load.
const DRAIN_MAX: Duration = Duration::from_secs(240);
/// Of the period in which all instances work, the end is left out: partitions are not emptied at the same moment.
const MEASURED_SHARE: f64 = 0.9;
/// With fewer, a throughput would be chance.
const EVENTS_MIN: usize = 100;
/// For the restarted instance and the others to be found and pinned: this often, a second apart.
const PINS: usize = 4;
const STOP_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn run(experiment: &mut Experiment) -> anyhow::Result<()> {
    let cores = experiment.lab()?.parts.cores.count();
    for service in SERVICES {
        let mut alone: Option<Rates> = None;
        for instances in INSTANCES {
            let predicted = alone.as_ref().and_then(|alone| alone.predict(instances, cores));
            if let Some((per_s, bound)) = &predicted {
                // In the report before the run: a prediction that is written afterwards is none.
                let row = row(service, instances, &Rates::default(), Some((*per_s, bound.clone())));
                experiment.report.scaling.push(row);
                experiment.write()?;
                experiment.report.scaling.pop();
            }
            let rates = one(experiment, service, instances).await?;
            experiment.report.scaling.push(row(service, instances, &rates, predicted));
            experiment.write()?;
            alone.get_or_insert(rates);
        }
    }
    Ok(())
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
struct Rates {
    events: u64,
    per_s: Option<f64>,
    service_ms: f64,
    cpu_ms_per_event: f64,
    partitions: u64,
    pause_s: Option<f64>,
}

impl Rates {
    /// Of more instances: as many times this one, unless partitions or cores set a bound.
    fn predict(&self, instances: usize, cores: usize) -> Option<(f64, String)> {
        let alone = self.per_s?;
        let bounds = [
            (alone * instances as f64, "instances"),
            (alone * self.partitions as f64, "partitions"),
            (1e3 * cores as f64 / self.cpu_ms_per_event.max(0.001), "the machine's cores"),
        ];
        let (per_s, bound) = bounds.into_iter().min_by(|left, right| left.0.total_cmp(&right.0))?;
        Some((per_s, bound.to_owned()))
    }
}

fn row(service: &str, instances: usize, rates: &Rates, predicted: Option<(f64, String)>) -> Scaling {
    let predicted_per_s = predicted.as_ref().map(|(per_s, _)| *per_s);
    Scaling {
        service: service.to_owned(),
        instances,
        events: rates.events,
        measured_per_s: rates.per_s,
        predicted_per_s,
        error_pct: predicted_per_s.zip(rates.per_s).map(|(predicted, measured)| 100.0 * (predicted / measured - 1.0)),
        rebalance_pause_s: rates.pause_s,
        service_ms: rates.service_ms,
        cpu_ms_per_event: rates.cpu_ms_per_event,
        partitions: rates.partitions,
        bound: predicted.map_or("–".to_owned(), |(_, bound)| bound),
    }
}

async fn one(experiment: &mut Experiment, service: &'static str, instances: usize) -> anyhow::Result<Rates> {
    let load = experiment.plan.scaling_load;
    let order = Order {
        purpose: format!("{service} with {instances} instances"),
        arm: Arm::Events,
        rate: experiment.rate() * 1.5,
        time: load,
        seed: experiment.args.seed,
        drain_max: DRAIN_MAX,
    };
    let lab = experiment.lab()?;
    let (switch, parts) = (lab.faults(), lab.parts.clone());
    let like_it = launch(lab, service)?;
    let (window, started) = experiment
        .measure_while(order, |from_us| async move {
            // Down from before the first request until the last was sent; the load itself waits a moment for stragglers.
            let time = Duration::from_micros((from_us - now_us()).max(0) as u64) + load + Duration::from_secs(1);
            let let_up_us = now_us() + time.as_micros() as i64;
            switch.on(&["service-down", service], time).await?;
            tokio::time::sleep(Duration::from_micros((let_up_us - now_us()).max(0) as u64)).await;
            let before = parts.costs()?;
            let more =
                (1..instances).map(|number| Instance::start(&like_it, number)).collect::<anyhow::Result<Vec<_>>>()?;
            for _ in 0..PINS {
                parts.pin(Arm::Events)?;
                for (number, instance) in (1..).zip(&more) {
                    instance.pin(&parts.cores.of_instance(number))?;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            anyhow::Ok((let_up_us, more, before))
        })
        .await?;
    let (let_up_us, more, before) = started?;
    let (settled_us, after) = (window.settled_us, window.costs_after.clone());
    let lab = experiment.lab()?;
    let taken = lab.telemetry.taken(service, Period { from_us: let_up_us, to_us: settled_us }).await?;
    let cpu = after.used_since(&before).values().sum::<f64>() + more.iter().map(Instance::cpu_seconds).sum::<f64>();
    for instance in more {
        instance.stop().await;
    }
    Ok(rates(&taken, instances, cpu))
}

/// Throughput while all instances were at work.
fn rates(taken: &[Taken], instances: usize, cpu_seconds: f64) -> Rates {
    let mut firsts: std::collections::BTreeMap<&str, i64> = std::collections::BTreeMap::new();
    for event in taken {
        let first = firsts.entry(&event.instance).or_insert(event.began_us);
        *first = (*first).min(event.began_us);
    }
    let all_from_us = firsts.values().max().copied().unwrap_or(0);
    let mut all: Vec<i64> = taken.iter().map(|event| event.began_us).collect();
    all.sort_unstable();
    let began = &all[all.partition_point(|at| *at < all_from_us)..];
    let measured = &began[..(began.len() as f64 * MEASURED_SHARE) as usize];
    let seconds = measured.first().zip(measured.last()).map_or(0.0, |(first, last)| (last - first) as f64 / 1e6);
    let counts = firsts.len() == instances && measured.len() >= EVENTS_MIN && seconds > 0.0;
    let pause_us = all.windows(2).map(|two| two[1] - two[0]).max();
    let partitions: std::collections::BTreeSet<&str> = taken.iter().map(|event| event.partition.as_str()).collect();
    Rates {
        events: taken.len() as u64,
        per_s: counts.then(|| (measured.len() as f64 - 1.0) / seconds),
        service_ms: mean(taken.iter().map(|event| event.service_ms)).unwrap_or(0.0),
        cpu_ms_per_event: 1e3 * cpu_seconds / (taken.len() as f64).max(1.0),
        partitions: partitions.len() as u64,
        pause_s: (instances > 1).then_some(()).and(pause_us).map(|pause| pause as f64 / 1e6),
    }
}

/// How the stack's own instance was started, but for its port.
fn launch(lab: &Lab, service: &str) -> anyhow::Result<Launch> {
    let process = lab.parts.processes().into_iter().find(|process| process.name == service);
    let process = process.with_context(|| format!("the stack runs no {service}"))?;
    let words = super::super::processes::command_line(process.pid);
    let (program, arguments) = words.split_first().with_context(|| format!("{service} has ended"))?;
    let port = format!("--{service}-listen=");
    let moved = arguments.iter().map(|word| match word.starts_with(&port) {
        true => format!("{port}127.0.0.1:0"),
        false => word.clone(),
    });
    Ok(Launch {
        program: program.into(),
        // Its counts would be missing in the account of `up`, which does not know of it.
        arguments: moved.filter(|word| !word.starts_with("--counts-dir=")).map(Into::into).collect(),
        environment: lab.settings.databases.environment(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_file: lab.settings.folder.join(format!("{service}-more.log")),
        patience: STOP_MAX,
        cpus: None,
    })
}

struct Instance {
    child: Child,
    /// Waiting for it closes its stdin, which would tell it that we are gone.
    _lifeline: Option<ChildStdin>,
    pid: u32,
}

impl Instance {
    fn start(like: &Launch, number: usize) -> anyhow::Result<Instance> {
        let launch = Launch { log_file: like.log_file.with_extension(format!("{number}.log")), ..like.clone() };
        let mut child = launch.spawn(None, None)?;
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep_output(stdout, stderr, launch.log_file));
        }
        let pid = child.id().context("an instance ended at once")?;
        Ok(Instance { _lifeline: child.stdin.take(), child, pid })
    }

    fn pin(&self, cores: &[usize]) -> anyhow::Result<()> {
        super::super::processes::pin(self.pid, cores)
    }

    fn cpu_seconds(&self) -> f64 {
        crate::commands::bench::process::Usage::of(self.pid).map_or(0.0, |usage| usage.cpu_seconds)
    }

    /// Leaves its group in order.
    async fn stop(mut self) {
        crate::up::signal(self.pid, libc::SIGTERM);
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(instance: &str, partition: &str, began_ms: i64) -> Taken {
        Taken {
            id: String::new(),
            began_us: began_ms * 1_000,
            service_ms: 100.0,
            instance: instance.to_owned(),
            partition: partition.to_owned(),
        }
    }

    #[test]
    fn throughput_counts_from_when_all_are_at_work() {
        // One instance alone for ten seconds, ten events a second; then two.
        let mut events: Vec<Taken> = (0..100).map(|number| taken("a", "p/0", number * 100)).collect();
        events.extend((100..300).map(|number| taken("a", "p/0", number * 100)));
        events.extend((100..300).map(|number| taken("b", "p/1", number * 100 + 50)));
        let both = rates(&events, 2, 5.0);
        assert!((19.5..20.5).contains(&both.per_s.expect("measured")), "{both:?}");
        assert_eq!((both.events, both.partitions, both.pause_s), (500, 2, Some(0.1)));
        assert_eq!(both.cpu_ms_per_event, 10.0);
        assert_eq!(rates(&events, 4, 5.0).per_s, None, "two of four did nothing");
        assert_eq!(rates(&events[..150], 1, 5.0).per_s.map(f64::round), Some(10.0));
        assert_eq!(rates(&events[..50], 1, 5.0).per_s, None, "too few");
    }

    #[test]
    fn the_prediction_names_its_bound() {
        let alone = Rates { per_s: Some(10.0), cpu_ms_per_event: 20.0, partitions: 4, ..Rates::default() };
        let predict = |rates: &Rates, instances| rates.predict(instances, 2).expect("measured");
        assert_eq!(predict(&alone, 2), (20.0, "instances".to_owned()));
        assert_eq!(predict(&alone, 8), (40.0, "partitions".to_owned()));
        let heavy = Rates { cpu_ms_per_event: 80.0, ..alone };
        assert_eq!(predict(&heavy, 4), (25.0, "the machine's cores".to_owned()));
        assert_eq!(Rates::default().predict(2, 2), None);
    }
}
