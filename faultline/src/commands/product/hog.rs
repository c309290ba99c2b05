//! A neighbour that takes what others need: processors, memory, a lock, everybody's session. Faults start it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use product_bus::database::{Database, Dialect};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::up::duration;

/// How long a settlement holds its lock, and how long others have it between two.
const HELD: Duration = Duration::from_millis(1_500);
const BETWEEN: Duration = Duration::from_millis(500);
/// Of the memory that is free: enough to be felt, too little to bring the machine down.
const MEMORY_SHARE: u64 = 4;
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// One write in each is enough to keep a page in memory and out of every cache.
const PAGE_BYTES: usize = 4_096;

/// What the neighbour takes.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub(crate) struct Args {
    /// What is taken.
    #[arg(value_enum)]
    what: What,
    /// How long.
    #[arg(long = "for", default_value = "60s", value_parser = duration, value_name = "TIME")]
    time: Duration,
    /// Whose database: core, jobs or analytics.
    #[arg(long, default_value = "core", value_parser = ["core", "jobs", "analytics"])]
    database: String,
    /// Folder with the databases that have no URL.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Database of core, when it has a URL.
    #[arg(long, env = "FAULTLINE_CORE_DATABASE_URL", hide_env_values = true)]
    core_database_url: Option<String>,
    /// Database of jobs, when it has a URL.
    #[arg(long, env = "FAULTLINE_JOBS_DATABASE_URL", hide_env_values = true)]
    jobs_database_url: Option<String>,
    /// Database of analytics, when it has a URL.
    #[arg(long, env = "FAULTLINE_ANALYTICS_DATABASE_URL", hide_env_values = true)]
    analytics_database_url: Option<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Every CPU it may use.
    Cpu,
    /// A quarter of the free memory, two GiB at most, rewritten without pause.
    Memory,
    /// The lock that a settlement needs: a long transaction, again and again.
    Lock,
    /// The reads and the processor that reports need: a query without an index, again and again.
    SlowQuery,
    /// All sessions: they are void at once.
    Sessions,
}

/// Takes it until the time is over or `stop`.
pub(crate) async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let over = stop.child_token();
    let timer = tokio::spawn({
        let (time, over) = (args.time, over.clone());
        async move {
            let _ = tokio::time::timeout(time, over.cancelled()).await;
            over.cancel();
        }
    });
    info!("taking {:?} for {} s", args.what, args.time.as_secs());
    match args.what {
        What::Cpu => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            work(&over, (0..threads).map(|_| || std::hint::spin_loop())).await?;
        }
        What::Memory => rewrite(&over).await?,
        What::Lock => hold(&args.open().await?, &over).await?,
        What::SlowQuery => {
            let database = args.open().await?;
            let runs = product_analytics::faults::slow_query(database.readers(), over.clone()).await?;
            info!("the slow query ran {runs} times");
        }
        What::Sessions => void(&args.open().await?).await?,
    }
    timer.abort();
    Ok(())
}

impl Args {
    async fn open(&self) -> anyhow::Result<Database> {
        let url = match self.database.as_str() {
            "core" => &self.core_database_url,
            "jobs" => &self.jobs_database_url,
            _ => &self.analytics_database_url,
        };
        Database::open(url.as_deref(), &self.data_dir.join(format!("product/{}.db", self.database))).await
    }
}

/// Each of `works` on a thread of its own, again and again until it is over.
async fn work(
    over: &CancellationToken,
    works: impl Iterator<Item = impl FnMut() + Send + 'static>,
) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for mut once in works {
        let stop = stop.clone();
        let again = move || {
            while !stop.load(Relaxed) {
                once();
            }
        };
        let worker = std::thread::Builder::new().name("hog".to_owned()).spawn(again);
        workers.push(worker.context("could not start a thread")?);
    }
    over.cancelled().await;
    stop.store(true, Relaxed);
    for worker in workers {
        let _ = tokio::task::spawn_blocking(move || worker.join()).await?;
    }
    Ok(())
}

async fn rewrite(over: &CancellationToken) -> anyhow::Result<()> {
    let bytes = (free_bytes().unwrap_or(0) / MEMORY_SHARE).min(MEMORY_BYTES_MAX);
    let mut memory = vec![0_u8; usize::try_from(bytes)?];
    let once = move || memory.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = byte.wrapping_add(1));
    work(over, std::iter::once(once)).await
}

/// What the kernel thinks could be had without swapping.
fn free_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

/// As a settlement does that reads, computes and writes in one transaction: on SQLite there is one writer, on PostgreSQL it
/// locks the table of effects.
async fn hold(database: &Database, over: &CancellationToken) -> anyhow::Result<()> {
    while !over.is_cancelled() {
        let mut transaction = database.begin().await.context("could not begin")?;
        if database.dialect() == Dialect::Postgres {
            sqlx::query("LOCK TABLE effects IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
        }
        over.run_until_cancelled(tokio::time::sleep(HELD)).await;
        transaction.rollback().await?;
        over.run_until_cancelled(tokio::time::sleep(BETWEEN)).await;
    }
    Ok(())
}

async fn void(database: &Database) -> anyhow::Result<()> {
    let mut transaction = database.begin().await.context("could not begin")?;
    let mut voided = 0;
    for statement in ["UPDATE sessions SET expires_at = 0", "UPDATE refresh_tokens SET expires_at = 0"] {
        voided += sqlx::query(statement).execute(&mut *transaction).await?.rows_affected();
    }
    database.commit(transaction).await?;
    info!("{voided} tokens are void");
    Ok(())
}
