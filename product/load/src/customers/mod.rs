//! Customers: an open-loop generator of believable traffic against core.
//!
//! `plan` says when and what, from the seed alone; `population` knows who can do it now; `errand` does it over
//! HTTP; `ledger` keeps what was acknowledged; `statistics` counts. A slow answer delays nobody else's request:
//! each is sent at its intended time, and its latency is measured from there.

mod errand;
mod latencies;
mod ledger;
mod plan;
mod population;
mod statistics;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use self::errand::Errands;
use self::ledger::Ledger;
use self::plan::{Endpoint, Plan, Step};
use self::population::Population;
use self::statistics::Statistics;
pub use self::statistics::{EndpointSummary, Summary};

/// `service.name` of this process.
pub const SERVICE: &str = "load";

/// The longest a customer waits for one answer before giving it up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at a core that is not up yet: quick at first, then no burden.
const HEALTH_WAIT_MIN: Duration = Duration::from_millis(100);
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(2);

/// Customers who are signed in before the plan begins. Without them its first requests would all turn into
/// registrations, a stampede of password hashing that no real morning has.
const FOUNDERS: usize = 8;

/// Settings of the generator.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Requests a second on average; arrivals are a Poisson process, whatever the answers take.
    #[arg(long, env = "FAULTLINE_RATE", default_value_t = 50.0)]
    pub rate: f64,
    /// Seed of the plan: the same seed gives the same arrivals, customers and amounts.
    #[arg(long, env = "FAULTLINE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Base URL of core.
    #[arg(long, env = "FAULTLINE_TARGET", default_value = "http://127.0.0.1:7001")]
    pub target: String,
    /// Requests under way at once. A request that finds no place is counted as skipped, not delayed.
    #[arg(long, env = "FAULTLINE_IN_FLIGHT_MAX", default_value_t = 256)]
    pub in_flight_max: usize,
    /// Seconds between two summaries on the log.
    #[arg(long, env = "FAULTLINE_SUMMARY_EVERY_S", default_value_t = 10)]
    pub summary_every_s: u64,
    /// Folder of all data; the ledger is `product/ledger.jsonl` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// Sends until `stop` is cancelled, then waits for the answers under way and logs the sums.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let summary = drive(args, stop).await?;
    for line in summary.table() {
        info!("{line}");
    }
    Ok(())
}

/// The same, and returns the sums.
pub async fn drive(args: Args, stop: CancellationToken) -> anyhow::Result<Summary> {
    anyhow::ensure!(args.rate.is_finite() && args.rate > 0.0, "--rate must be a number above 0");
    anyhow::ensure!(args.in_flight_max > 0, "--in-flight-max must be at least 1");
    let mut population = Population::new(args.seed);
    let folder = args.data_dir.join("product");
    let ledger = Ledger::open(&folder.join("ledger.jsonl"), |entry| population.recall(entry))
        .context("could not open the ledger")?;
    let known = population.len();
    info!(
        customers.known = known,
        load.rate = args.rate,
        load.seed = args.seed,
        "{known} customers are known, sending {} requests a second to {}",
        args.rate,
        args.target
    );

    let statistics = Arc::new(Statistics::new());
    let errands = Arc::new(Errands::new(&args.target, population, ledger, statistics.clone(), stop.clone()));
    if healthy(&args.target, &stop).await {
        let reporter = tokio::spawn(report(statistics.clone(), args.summary_every_s, stop.clone()));
        open(args.seed, &errands, &stop).await;
        let under_way = send(&args, errands, &statistics, &stop).await;
        under_way.wait().await;
        reporter.await.context("the reporter failed")?;
    }
    Ok(statistics.summary())
}

/// Signs in the first customers one after the other: old ones when there are some, else newcomers.
async fn open(seed: u64, errands: &Errands, stop: &CancellationToken) {
    for founder in Plan::new(seed, 1.0).take(FOUNDERS) {
        // Whoever registers here is the one who signs in next.
        let endpoints: &[Endpoint] =
            if errands.knows_somebody() { &[Endpoint::LogIn] } else { &[Endpoint::Register, Endpoint::LogIn] };
        for &endpoint in endpoints {
            if stop.is_cancelled() {
                return;
            }
            errands.run(Step { endpoint, ..founder.clone() }, Instant::now()).await;
        }
    }
}

/// Sends each step at its time until `stop`; what is then under way is left to the caller.
async fn send(args: &Args, errands: Arc<Errands>, statistics: &Statistics, stop: &CancellationToken) -> TaskTracker {
    let places = Arc::new(Semaphore::new(args.in_flight_max));
    let under_way = TaskTracker::new();
    let start = Instant::now();
    for step in Plan::new(args.seed, args.rate) {
        let intended = start + step.at;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(intended) => {}
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            statistics.skipped(step.endpoint);
            continue;
        };
        let errands = errands.clone();
        under_way.spawn(async move {
            errands.run(step, intended).await;
            drop(place);
        });
    }
    under_way.close();
    under_way
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
            rate: 2_000.0,
            seed: 1,
            target: format!("http://{}", silent.local_addr().expect("an address")),
            in_flight_max: 3,
            summary_every_s: 60,
            data_dir: folder.path().to_owned(),
        };
        let statistics = Arc::new(Statistics::new());
        let ledger = Ledger::open(&folder.path().join("ledger.jsonl"), |_| {}).expect("a ledger");
        let stop = CancellationToken::new();
        let errands = Errands::new(&args.target, Population::new(1), ledger, statistics.clone(), stop.clone());
        let sending = send(&args, Arc::new(errands), &statistics, &stop);
        let watching = async {
            while statistics.summary().all.skipped < 20 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let _under_way = tokio::join!(sending, watching);
        assert_eq!(statistics.summary().all.sent, 3);
    }
}
