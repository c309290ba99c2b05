//! Starts core and ends it in order: port, requests, work that outlives its request, relay, database.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::serve::ListenerExt;
use product_bus::outbox::Relay;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Args;
use crate::acquirer::Acquirer;
use crate::database;
use crate::domain::events;
use crate::flows::Core;
use crate::http;
use crate::metrics::Metrics;
use crate::passwords::Passwords;

/// How long accepted requests may take after `stop`: longer than the acquirer's time limit, shorter than the
/// patience of whoever stops us.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// What a request may need beside the acquirer: the queue for the writer, twice.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Core with its port taken and its database open, not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    core: Core,
    relay: Relay,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = listen(args.core_listen).await?;
        let address = listener.local_addr().context("could not read the address of the port")?;
        let database = database::open(&args).await?;
        let metrics = Arc::new(Metrics::new());
        metrics.publish_password_limits(args.core_password_workers, args.core_password_waiting_max);
        let passwords =
            Passwords::new(args.core_password_workers, args.core_password_waiting_max, metrics.clone()).await?;
        let relay = Relay::new(database.clone(), args.kafka, "core", events::topics());
        let acquirer_timeout = Duration::from_millis(args.acquirer_timeout_ms);
        let core = Core {
            database,
            passwords,
            acquirer: Acquirer::new(&args.acquirer_url, acquirer_timeout),
            metrics,
            relay: relay.waker(),
            tasks: TaskTracker::new(),
            session_lifetime: Duration::from_secs(u64::from(args.core_session_hours) * 3600),
            lease: acquirer_timeout.saturating_add(LEASE_MARGIN),
        };
        Ok(Server { listener, address, core, relay })
    }

    /// Where it listens; differs from the setting when that asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes what it has accepted.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Server { listener, address, core, relay } = self;
        let stop_relay = CancellationToken::new();
        let _relay_ends_with_us = stop_relay.clone().drop_guard();
        let mut relay = tokio::spawn(relay.run(stop_relay.clone()));

        info!(server.address = %address, "listening on {address}");
        let requests = axum::serve(
            listener.tap_io(|connection| {
                // Answers are small and whole: waiting to fill a packet only delays them.
                if let Err(error) = connection.set_nodelay(true) {
                    warn!(error = %error, "could not set TCP_NODELAY");
                }
            }),
            http::router(core.clone()),
        )
        .with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut requests = tokio::spawn(requests.into_future());

        let served = tokio::select! {
            // It waits for a broker that is away; it ends only when the database is unusable, and so are we then.
            ended = &mut relay => Err(anyhow!("the relay ended before core: {}", outcome(ended))),
            served = &mut requests => served.context("the server panicked")?.context("could not serve"),
            () = overdue(&stop) => {
                warn!("some requests did not end within {} s and are dropped", DRAIN_MAX.as_secs());
                Ok(())
            }
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

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "could not listen on {address}: address already in use; another process holds it, choose another with \
             --core-listen or move everything with --port-offset 10000"
        ),
        _ => anyhow!("could not listen on {address}: {error}"),
    })
}

/// Over when `stop` was said and the time to drain has passed.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
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
