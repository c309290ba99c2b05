//! Starts the parts in order and stops them in reverse: listeners, requests in flight, compaction, store.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use store::Writer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::collector::Collector;
use crate::{Args, connections, counts, routes};

/// Binds, serves until `stop` is cancelled, drains, closes the store.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// A collector that holds its ports and its store and does not serve yet; who connects waits in the kernel's queue.
pub struct Server {
    grpc: TcpListener,
    grpc_address: SocketAddr,
    http: TcpListener,
    http_address: SocketAddr,
    collector: Arc<Collector>,
}

impl Server {
    /// The ports first: a second collector should hear about the port, not wait for a recovery.
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let (grpc, grpc_address) = listen(args.otlp_grpc, "--otlp-grpc").await?;
        let (http, http_address) = listen(args.otlp_http, "--otlp-http").await?;
        let folder = args.store.data_dir.display().to_string();
        let writer = Writer::open(args.store).await.with_context(|| format!("could not open the store in {folder}"))?;
        let collector = Collector::new(writer, args.limits);
        Ok(Server { grpc, grpc_address, http, http_address, collector })
    }

    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Server { grpc, grpc_address, http, http_address, collector } = self;
        counts::observe(&collector, &opentelemetry::global::meter("faultline.collector"));
        info!(server.address = %grpc_address.ip(), server.port = grpc_address.port(),
            "listening on {grpc_address} for OTLP/gRPC");
        info!(server.address = %http_address.ip(), server.port = http_address.port(),
            "listening on {http_address} for OTLP/HTTP");

        let background = CancellationToken::new();
        let compaction = tokio::spawn(compact(collector.writer.clone(), background.clone()));
        let summaries = tokio::spawn(counts::summarize(Arc::clone(&collector), background.clone()));

        let router = routes::router(Arc::clone(&collector));
        tokio::join!(
            connections::serve(grpc, router.clone(), collector.limits.clone(), stop.clone()),
            connections::serve(http, router, collector.limits.clone(), stop),
        );

        background.cancel();
        summaries.await.context("the minute's summary panicked")?;
        compaction.await.context("compaction panicked")?;
        collector.writer.close().await.context("could not close the store")?;
        info!("stopped, everything that was answered is on disk");
        Ok(())
    }
}

/// A failure here loses nothing: the log keeps growing until its limit, and `/health` shows the reason.
async fn compact(writer: Writer, stop: CancellationToken) {
    if let Err(error) = writer.compact(stop).await {
        error!(error = &error as &dyn std::error::Error, "compaction stopped");
    }
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "could not listen on {address}: address already in use; another process holds it, \
             choose another with {flag} or move everything with --port-offset 10000"
        ),
        _ => anyhow::Error::new(error).context(format!("could not listen on {address}; choose another with {flag}")),
    })?;
    let address = listener.local_addr().context("could not read the address of a listener")?;
    Ok((listener, address))
}
