//! Customers and analysts: an open-loop generator of believable traffic against core.
//!
//! `plan` says when and what, from the seed alone; `population` knows who can do it now; `errand` does it over
//! HTTP; `ledger` keeps what was acknowledged; `statistics` counts and `samples` writes every request down. A slow answer
//! delays nobody else's request: each is sent at its intended time, and its latency is measured from there.

mod answer;
mod descriptors;
mod errand;
mod intent;
mod latencies;
mod ledger;
mod names;
mod picture;
mod plan;
mod population;
mod rates;
mod samples;
mod statistics;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use self::errand::Errands;
use self::ledger::Ledger;
use self::plan::Plan;
use self::population::Population;
pub use self::rates::Rates;
use self::rates::duration;
use self::samples::Samples;
use self::statistics::Statistics;
pub use self::statistics::{EndpointSummary, Summary};
use crate::Secret;

/// `service.name` of this process.
pub const SERVICE: &str = "load";

/// The longest a customer waits for one answer before giving it up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at a core that is not up yet: quick at first, then no burden.
const HEALTH_WAIT_MIN: Duration = Duration::from_millis(100);
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(2);

/// How soon the sender, asleep until its next request, notices that it should stop.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Founders for each request a second, where nobody said how many: a customer then makes three requests a second, and has
/// none under way most of the time as long as answers take a tenth of one.
const FOUNDERS_PER_RATE: f64 = 0.5;
/// Few enough to be in within seconds, and so many that two steps rarely want the same person.
const FOUNDERS_MIN: usize = 12;
const FOUNDERS_MAX: usize = 240;
/// Of so many founders one stays out, so that the first logins of the plan find somebody.
const FOUNDERS_PER_ONE_OUT: usize = 3;
/// Passwords are dear: as many as two cores work on, and two waiting.
const FOUNDERS_AT_ONCE: usize = 4;

/// Settings of the generator.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Requests a second on average; arrivals are a Poisson process, whatever the answers take. `50@20s,200@1m` changes
    /// the rate as it goes and ends after the last time; a last rate without a time has no end.
    #[arg(long, env = "FAULTLINE_RATE", default_value = "50")]
    pub rate: Rates,
    /// Stop sending after this time, e.g. 20s, 10m, counted from the first request of the plan. No end by default.
    #[arg(long = "for", env = "FAULTLINE_FOR", value_parser = duration, value_name = "TIME")]
    pub run_for: Option<Duration>,
    /// Seed of the plan: the same seed gives the same arrivals, requests and amounts.
    #[arg(long, env = "FAULTLINE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Requests that come at the same moment, herd after herd, at the same average rate. 1 is a stream.
    #[arg(long, env = "FAULTLINE_HERD", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub herd: u32,
    /// Customers who are there before the plan begins, two of three signed in; they are not counted. One for two requests a
    /// second by default, from 12 to 240: without them the first requests would find nobody who can make them.
    #[arg(long, env = "FAULTLINE_FOUNDERS")]
    pub founders: Option<usize>,
    /// Base URL of core.
    #[arg(long, env = "FAULTLINE_TARGET", default_value = "http://127.0.0.1:7001")]
    pub target: String,
    /// What analysts show core to see its reports. None by default: core on this machine asks for none.
    #[arg(long, env = "FAULTLINE_OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: Option<Secret>,
    /// Requests under way at once. A request that finds no place is counted as skipped, not delayed. As many as core takes.
    #[arg(long, env = "FAULTLINE_IN_FLIGHT_MAX", default_value_t = 512)]
    pub in_flight_max: usize,
    /// File for one JSON line of each request of the plan: endpoint, intended_us since 1970, late_us, latency_us,
    /// outcome (acknowledged, failed, skipped), status (0: no answer). Begun anew. None by default.
    #[arg(long, env = "FAULTLINE_SAMPLES", value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Seconds between two summaries on the log.
    #[arg(long, env = "FAULTLINE_SUMMARY_EVERY_S", default_value_t = 10)]
    pub summary_every_s: u64,
    /// Folder of all data; the ledger is `product/ledger.jsonl` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// Sends until the plan ends or `stop` is cancelled, then waits for the answers under way and logs the sums.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let summary = drive(args, stop).await?;
    for line in summary.table() {
        info!("{line}");
    }
    Ok(())
}

/// The same, and returns the sums.
pub async fn drive(args: Args, stop: CancellationToken) -> anyhow::Result<Summary> {
    anyhow::ensure!(args.in_flight_max > 0, "--in-flight-max must be at least 1");
    descriptors::reserve(args.in_flight_max)?;
    let mut population = Population::new(args.seed);
    let folder = args.data_dir.join("product");
    let ledger = Ledger::open(&folder.join("ledger.jsonl"), |entry| population.recall(entry))
        .context("could not open the ledger")?;
    let samples = args.samples.as_deref().map(Samples::create).transpose()?;
    let statistics = Arc::new(Statistics::new(samples));
    let token = args.operator_token.clone();
    let errands = Errands::new(&args.target, token, population, ledger, statistics.clone(), stop.clone())
        .context("could not draw an avatar")?;
    let errands = Arc::new(errands);
    if healthy(&args.target, &stop).await {
        gather(&args, &errands, &stop).await;
        let done = CancellationToken::new();
        let reporter = tokio::spawn(report(statistics.clone(), args.summary_every_s, done.clone()));
        send(&args, errands, statistics.clone(), stop).await?;
        done.cancel();
        reporter.await.context("the reporter failed")?;
    }
    statistics.finish()?;
    Ok(statistics.summary())
}

/// Brings the founders in, old ones before new ones. Without them the first requests of the plan would find nobody who
/// can make them. What it takes is no part of the plan and not counted.
async fn gather(args: &Args, errands: &Errands, stop: &CancellationToken) {
    let founders = args
        .founders
        .unwrap_or_else(|| ((args.rate.peak() * FOUNDERS_PER_RATE).ceil() as usize).clamp(FOUNDERS_MIN, FOUNDERS_MAX));
    let began = Instant::now();
    let (inside, outside) = errands.present();
    let newcomers = founders.saturating_sub(inside + outside);
    let found = async |_| errands.found().await;
    futures::stream::iter(0..newcomers).take_until(stop.cancelled()).for_each_concurrent(FOUNDERS_AT_ONCE, found).await;
    let logins = founders - founders / FOUNDERS_PER_ONE_OUT;
    let sign_in = async |_| errands.open_the_door().await;
    futures::stream::iter(0..logins).take_until(stop.cancelled()).for_each_concurrent(FOUNDERS_AT_ONCE, sign_in).await;
    let (inside, outside) = errands.present();
    info!(
        customers.known = inside + outside,
        load.seed = args.seed,
        "{} customers are known, {inside} of them signed in after {:.1} s; sending to {}",
        inside + outside,
        began.elapsed().as_secs_f64(),
        args.target
    );
}

/// Sends each step at its time until the plan ends or `stop`, then waits for the answers under way.
async fn send(
    args: &Args,
    errands: Arc<Errands>,
    statistics: Arc<Statistics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let plan = Plan::new(args.seed, args.rate.clone(), args.herd);
    let run_for = args.run_for.unwrap_or(Duration::MAX);
    let places = Arc::new(Semaphore::new(args.in_flight_max));
    let under_way = TaskTracker::new();
    let sent = under_way.clone();
    // On a thread of its own: a timer of the runtime would be up to a millisecond late, and later on a busy one.
    let sender = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        for step in plan.take_while(|step| step.at < run_for) {
            let intended = start + step.at;
            if !wait(intended, &stop) {
                break;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                statistics.skipped(step.endpoint, intended);
                continue;
            };
            let errands = errands.clone();
            sent.spawn(async move {
                errands.run(step, intended).await;
                drop(place);
            });
        }
    });
    sender.await.context("the sender failed")?;
    under_way.close();
    under_way.wait().await;
    Ok(())
}

/// Keeps this thread until `moment`; false when `stop` comes first.
fn wait(moment: Instant, stop: &CancellationToken) -> bool {
    loop {
        if stop.is_cancelled() {
            return false;
        }
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(STOP_LOOK_EVERY));
    }
}

/// Waits until core says it is well; false when `stop` comes first.
async fn healthy(target: &str, stop: &CancellationToken) -> bool {
    // Not the observed client: looking whether somebody is in is no part of any customer's story.
    let client = reqwest::Client::new();
    let url = format!("{}/health", target.trim_end_matches('/'));
    let mut wait = HEALTH_WAIT_MIN;
    let mut told = false;
    loop {
        let well =
            client.get(&url).timeout(HEALTH_WAIT_MAX).send().await.is_ok_and(|answer| answer.status().is_success());
        if well {
            return true;
        }
        if !told {
            info!(url.full = url, "waiting for {url}");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(HEALTH_WAIT_MAX),
        }
    }
}

async fn report(statistics: Arc<Statistics>, every_s: u64, stop: CancellationToken) {
    let mut clock = tokio::time::interval(Duration::from_secs(every_s.max(1)));
    clock.tick().await; // the first tick is at once, when there is nothing to say
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => info!("{}", statistics.summary().line()),
        }
    }
}

/// A mutex whose holder never panics half-way through a change that matters; if one did, its data is still counted.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_no_place_is_counted_and_delays_nobody() {
        // The kernel accepts connections to it, and nobody ever answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let folder = tempfile::tempdir().expect("a folder");
        let args = Args {
            rate: "2000".parse().expect("a rate"),
            run_for: None,
            seed: 1,
            herd: 1,
            founders: None,
            target: format!("http://{}", silent.local_addr().expect("an address")),
            operator_token: None,
            in_flight_max: 3,
            samples: None,
            summary_every_s: 60,
            data_dir: folder.path().to_owned(),
        };
        let statistics = Arc::new(Statistics::new(None));
        let ledger = Ledger::open(&folder.path().join("ledger.jsonl"), |_| {}).expect("a ledger");
        let stop = CancellationToken::new();
        let mut population = Population::new(1);
        for customer in 0..3 {
            let newcomer = population.begin_registering().expect("a newcomer");
            population.end(&newcomer);
            population.registered(customer, None);
        }
        let errands = Errands::new(&args.target, None, population, ledger, statistics.clone(), stop.clone());
        let errands = Arc::new(errands.expect("errands"));
        let sending = tokio::spawn({
            let (statistics, stop) = (statistics.clone(), stop.clone());
            async move { send(&args, errands, statistics, stop).await }
        });
        while statistics.summary().all.skipped < 20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(statistics.summary().all.sent, 3);
        stop.cancel();
        drop(silent); // closes the connections, so that the three end
        sending.await.expect("no panic").expect("sent");
    }
}
