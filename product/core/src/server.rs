//! Starts core and ends it in order: port, requests, work that outlives its request, relay, database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use product_bus::outbox::Relay;
use product_jobs::Jobs;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Args;
use crate::acquirer::Acquirer;
use crate::analytics::Reports;
use crate::database;
use crate::domain::events;
use crate::flows::Core;
use crate::http::{self, OperatorToken};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::modes::inline::InlineJobs;
use crate::modes::shadow::Comparer;
use crate::modes::{Concern, Modes};
use crate::passwords::Passwords;
use crate::turn::Turn;
use crate::workers::Workers;

/// How long work that outlives its request, and then the relay, may take after the last request: longer than the acquirer's
/// time limit, shorter than the patience of whoever stops us.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// What a request may need beside the acquirer: the queue for the writer, twice.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// A picture of the largest size is 50 MB while it is made small: one at a time.
const IMAGE_WORKERS: usize = 1;
/// Each holds up to a megabyte, and takes some 100 ms of the worker.
const IMAGES_WAITING_MAX: usize = 8;

/// Core with its port taken and its database open, not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    core: Core,
    relay: Relay,
    comparer: Comparer,
    turn: Turn,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = observe::http::listen(args.core_listen, "--core-listen").await?;
        let address = listener.local_addr().context("could not read the address of the port")?;
        let database = database::open(&args).await?;
        let turn = Turn::queue(&args.data_dir)?;
        if turn.is_mine() {
            database::end_leases(&database).await?;
        }
        let metrics = Arc::new(Metrics::new());
        let workers = Workers::new("passwords", args.core_password_workers, args.core_password_waiting_max);
        let passwords = Passwords::new(workers)?;
        let initial = [(Concern::Jobs, args.jobs_mode), (Concern::Analytics, args.analytics_mode)];
        let modes = Modes::open(database.clone(), initial).await?;
        let relay = Relay::new(database.clone(), args.kafka, "core", events::topics()).gate(modes.gate());
        let jobs = Jobs::open(args.receivers.settings(args.data_dir), database.clone()).await?;
        let inline = InlineJobs::new(database.clone(), jobs.clone(), metrics.clone());
        let token = args.operator_token.clone();
        let comparer = Comparer::new(database.clone(), modes.clone(), metrics.clone(), &args.jobs_url, token);
        let operator_token = args.operator_token.as_deref().map(OperatorToken::new);
        let reports =
            Reports::new(database.clone(), modes.clone(), metrics.clone(), &args.analytics_url, args.operator_token);
        let acquirer_timeout = Duration::from_millis(args.acquirer_timeout_ms);
        let core = Core {
            database,
            passwords,
            images: Workers::new("images", IMAGE_WORKERS, IMAGES_WAITING_MAX),
            limits: Arc::new(Limits::new(&args.limits)),
            acquirer: Acquirer::new(&args.acquirer_url, acquirer_timeout),
            metrics,
            modes,
            jobs,
            inline,
            reports,
            operator_token,
            relay: relay.waker(),
            tasks: TaskTracker::new(),
            session_lifetime: Duration::from_secs(u64::from(args.core_session_hours) * 3600),
            refresh_lifetime: Duration::from_secs(u64::from(args.core_refresh_days) * 24 * 3600),
            lease: acquirer_timeout.saturating_add(LEASE_MARGIN),
        };
        Ok(Server { listener, address, core, relay, comparer, turn })
    }

    /// Where it listens; differs from the setting when that asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes what it has accepted.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Server { listener, address, core, relay, comparer, turn } = self;
        let stop_relay = CancellationToken::new();
        let _relay_ends_with_us = stop_relay.clone().drop_guard();
        let mut relay = tokio::spawn(background(core.clone(), relay, comparer, turn, stop_relay.clone()));
        tokio::spawn(core.modes.clone().watch(stop_relay.clone()));

        info!(server.address = %address.ip(), server.port = address.port(), "listening on {address}");
        let mut requests = tokio::spawn(observe::http::serve(listener, http::router(core.clone())?, stop));

        let served = tokio::select! {
            // It waits for a broker that is away; it ends only when the database is unusable, and so are we then.
            ended = &mut relay => Err(anyhow!("the relay ended before core: {}", outcome(ended))),
            served = &mut requests => served.context("the server panicked"),
        };
        requests.abort();
        served?;

        core.tasks.close();
        if timeout(DRAIN_MAX, core.tasks.wait()).await.is_err() {
            warn!("some payments are left unfinished; their keys can be retried when the lease ends");
        }
        stop_relay.cancel();
        finish(relay).await;
        core.database.close().await;
        info!("core has stopped");
        Ok(())
    }
}

pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// What one core at a time does: events go out in order only from one of them, leftovers are finished by one.
async fn background(
    core: Core,
    relay: Relay,
    comparer: Comparer,
    mut turn: Turn,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if !turn.come(&stop).await? {
        return Ok(());
    }
    let chores = async {
        tokio::join!(
            core.inline.sweep(stop.clone()),
            comparer.run(stop.clone()),
            core.reports.compare_by_the_clock(stop.clone()),
            core.jobs.settle_by_the_clock("core", stop.clone()),
        );
        Ok(())
    };
    tokio::try_join!(relay.run(stop.clone()), chores).map(drop)
}

async fn finish(relay: JoinHandle<anyhow::Result<()>>) {
    match timeout(DRAIN_MAX, relay).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => warn!("the relay ended badly: {}", outcome(ended)),
        Err(_elapsed) => warn!("the relay did not end in time; what it had not published it will publish next time"),
    }
}

fn outcome(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "without an error".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panicked) => panicked.to_string(),
    }
}
