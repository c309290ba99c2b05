//! One window: an arm, a rate, some seconds of load, and everything that was measured around it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use super::arm::Arm;
use super::lab::{Lab, now_us};
use super::parts::Costs;
use super::report::{Indicators, WindowRow};
use super::samples::{Outcome, Samples};
use super::stats::mean;
use super::telemetry::{Calls, Period};
use crate::up::{Launch, keep_output};

/// The first seconds of a run of the load do not count: the first customers sign in, connections are made.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Beyond it an arrival is not sent. Far above what 10 s of patience can hold at any rate we try.
const IN_FLIGHT_MAX: u32 = 8_192;
/// Spans are sent once a second; where nothing else is waited for, this is, so that questions find the last of them.
const TELEMETRY_AGE_MAX: Duration = Duration::from_millis(1_500);
/// After its time the load waits for answers under way: four attempts at a payment of 10 s each, and the waits between.
const LOAD_PATIENCE: Duration = Duration::from_secs(90);

/// What is asked of the generator, so that its trouble is not taken for the product's.
#[derive(clap::Args, Clone, Copy, Debug)]
#[group(skip)]
pub(crate) struct Limits {
    /// Milliseconds that one request in a hundred may leave late; a window where more do does not count
    #[arg(long, default_value_t = 10.0, value_name = "MS")]
    pub(crate) late_max_ms: f64,

    /// Percent that the generator's core may be busy, with whatever; a window above does not count
    #[arg(long, default_value_t = 95.0, value_name = "PER CENT")]
    pub(crate) generator_busy_max_pct: f64,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) purpose: String,
    pub(crate) arm: Arm,
    pub(crate) rate: f64,
    /// Without the warm-up.
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    /// For what the events of this window may still take after it.
    pub(crate) drain_max: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) number: usize,
    pub(crate) order: Order,
    /// Without the warm-up.
    pub(crate) period: Period,
    /// Until everything that the requests caused was done.
    pub(crate) settled_us: i64,
    pub(crate) samples: Samples,
    /// Requests of the warm-up too: they cost as well.
    pub(crate) requests_with_warm_up: u64,
    /// Bytes of the ledger that belong to it.
    pub(crate) ledger: Range<u64>,
    pub(crate) cpu_seconds: BTreeMap<String, f64>,
    pub(crate) costs_after: Costs,
    pub(crate) core_busy_pct: Vec<f64>,
    pub(crate) backlog: f64,
    pub(crate) drained: Option<Duration>,
    pub(crate) indicators: Indicators,
    pub(crate) calls: Option<Calls>,
    pub(crate) unfit: Option<Unfit>,
}

/// Why a window does not count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unfit {
    /// The generator was late, or its core too busy: nothing is known about the product.
    Generator(String),
    /// The generator left requests out: too many were under way.
    Skipped(u64),
    /// Its events, or those from before it, had not all arrived when our patience ended.
    Undrained,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Generator(why) => formatter.write_str(why),
            Unfit::Skipped(count) => write!(formatter, "the generator left out {count} requests"),
            Unfit::Undrained => formatter.write_str("events from before or of it had not all arrived in time"),
        }
    }
}

impl Window {
    pub(crate) fn counts(&self) -> bool {
        self.unfit.is_none()
    }

    pub(crate) fn row(&self) -> WindowRow {
        WindowRow {
            number: self.number,
            purpose: self.order.purpose.clone(),
            arm: self.order.arm,
            rate: self.order.rate,
            seconds: self.order.time.as_secs_f64(),
            seed: self.order.seed,
            from: moment(self.period.from_us),
            requests: self.samples.len(),
            failed: self.samples.count(Outcome::Failed),
            skipped: self.samples.count(Outcome::Skipped),
            drained_s: self.drained.map(|time| time.as_secs_f64()),
            excluded: self.unfit.as_ref().map(Unfit::to_string),
            core_busy_pct: self.core_busy_pct.clone(),
            cpu_seconds: self.cpu_seconds.clone(),
            indicators: self.indicators.clone(),
        }
    }
}

fn moment(us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(us).unwrap_or_default();
    time.strftime("%H:%M:%S").to_string()
}

/// Measures one window. `during` runs beside the load and is told when the measured time began.
pub(crate) async fn measure<F>(
    lab: &Lab,
    number: usize,
    order: Order,
    settle: bool,
    limits: &Limits,
    during: impl FnOnce(i64) -> F,
) -> anyhow::Result<(Window, F::Output)>
where
    F: Future<Output: Send>,
{
    // What still waits from before would be work of this window: it is measured, and does not count.
    let settled = !settle || lab.settle(order.drain_max).await?;
    lab.enter(order.arm).await?;
    let ledger_file = lab.data_dir().join("product/ledger.jsonl");
    let ledger_before = bytes(&ledger_file);
    let before = lab.parts.costs()?;
    let begun_us = now_us();

    let samples_file = lab.settings.folder.join("samples.jsonl");
    let measured_from_us = begun_us + WARM_UP.as_micros() as i64;
    let (loaded, during) = tokio::join!(load(lab, &order, &samples_file), during(measured_from_us));
    loaded?;
    let ended_us = now_us();
    let at_end = lab.parts.costs()?;
    let samples = Samples::read(&samples_file)?;
    let ledger = ledger_before..bytes(&ledger_file);
    // Events of a monolith stay where they are until something is extracted: nobody waits for them.
    let drained = match order.arm.has_events() {
        true => Some(lab.drained(order.drain_max).await?),
        false => None,
    };
    let after = lab.parts.costs()?;
    let settled_us = now_us();
    if drained.is_none() {
        tokio::time::sleep(TELEMETRY_AGE_MAX).await;
    }

    let first_us = samples.first_us().unwrap_or(begun_us);
    let period = Period {
        from_us: first_us + WARM_UP.as_micros() as i64,
        to_us: first_us + (WARM_UP + order.time).as_micros() as i64,
    };
    let core_busy_pct = at_end.busy_pct(&before);
    let mut indicators = lab.telemetry.indicators(period).await?;
    let loaded_s = (ended_us - begun_us) as f64 / 1e6;
    indicators.product_core_busy_pct = product_busy_pct(lab.parts.cores.product(order.arm), &core_busy_pct);
    indicators.product_cpu_pct = Some(100.0 * product_seconds(order.arm, &at_end, &before) / loaded_s.max(1.0));
    let calls = lab.telemetry.calls(Period { from_us: begun_us, to_us: settled_us }).await.ok();
    let measured = samples.between(period.from_us, period.to_us);
    let undrained = !settled || drained.is_some_and(|drained| drained.after.is_none());
    let unfit = unfit(lab, &order, limits, &measured, &core_busy_pct, undrained);
    let window = Window {
        number,
        period,
        settled_us,
        requests_with_warm_up: samples.len(),
        samples: measured,
        ledger,
        cpu_seconds: after.used_since(&before),
        costs_after: after,
        core_busy_pct,
        backlog: drained.map_or(0.0, |drained| drained.backlog),
        drained: drained.and_then(|drained| drained.after),
        indicators,
        calls,
        unfit,
        order,
    };
    Ok((window, during))
}

/// The generator with its own process, on the cores of everybody who is not the product.
async fn load(lab: &Lab, order: &Order, samples: &Path) -> anyhow::Result<()> {
    let seconds = (WARM_UP + order.time).as_secs_f64();
    let launch = Launch {
        program: std::env::current_exe().context("could not find our own program")?,
        arguments: [
            "product".to_owned(),
            "load".to_owned(),
            format!("--for={seconds}s"),
            format!("--rate={}", order.rate),
            format!("--seed={}", order.seed),
            format!("--target={}", lab.url("core-listen")?),
            format!("--data-dir={}", lab.data_dir().display()),
            format!("--samples={}", samples.display()),
            format!("--in-flight-max={IN_FLIGHT_MAX}"),
        ]
        .into_iter()
        .map(Into::into)
        .collect(),
        environment: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_file: lab.settings.folder.join("load.log"),
        patience: LOAD_PATIENCE,
        cpus: super::machine::list(&lab.parts.cores.others()).replace(", ", "+").parse().ok(),
    };
    let _ = std::fs::remove_file(samples);
    let mut child = launch.spawn(None, None)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("the load has no output")
    };
    let output = tokio::spawn(keep_output(stdout, stderr, launch.log_file.clone()));
    // Waiting for a child closes its stdin, which is the pipe it watches: keep our end.
    let _lifeline = child.stdin.take();
    let status = tokio::time::timeout(WARM_UP + order.time + LOAD_PATIENCE, child.wait()).await;
    let Ok(status) = status else { bail!("the load did not end in time") };
    if !status.context("could not wait for the load")?.success() {
        bail!("the load failed:\n{}", output.await.unwrap_or_default().join("\n"));
    }
    Ok(())
}

/// Mean busy share of these cores.
pub(crate) fn product_busy_pct(cores: Vec<usize>, busy_pct: &[f64]) -> Option<f64> {
    mean(cores.into_iter().filter_map(|core| busy_pct.get(core).copied()))
}

pub(crate) fn product_seconds(arm: Arm, after: &Costs, before: &Costs) -> f64 {
    let used = after.used_since(before);
    arm.parts().iter().filter_map(|name| used.get(*name)).sum()
}

fn unfit(lab: &Lab, order: &Order, limits: &Limits, samples: &Samples, busy: &[f64], undrained: bool) -> Option<Unfit> {
    let late = samples.late_p99_ms();
    if late > limits.late_max_ms {
        return Some(Unfit::Generator(format!("one request in a hundred left more than {late:.0} ms late")));
    }
    // Where the product shares that core, being busy is its own doing.
    let others = lab.parts.cores.others();
    let shared = lab.parts.cores.product(order.arm).iter().any(|core| others.contains(core));
    let most = others.iter().filter_map(|core| busy.get(*core)).copied().fold(0.0, f64::max);
    if !shared && most > limits.generator_busy_max_pct {
        return Some(Unfit::Generator(format!("the generator's core was {most:.0} % busy")));
    }
    let skipped = samples.count(Outcome::Skipped);
    (skipped > 0).then_some(Unfit::Skipped(skipped)).or(undrained.then_some(Unfit::Undrained))
}

fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
