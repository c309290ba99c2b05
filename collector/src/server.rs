//! Starts the parts in order and stops them in reverse: listeners and Kafka in, requests in flight, readers of the log and
//! compaction, store.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use store::Writer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::access::Access;
use crate::collector::Collector;
use crate::kafka_in::KafkaIn;
use crate::port::{Listening, PortCounts};
use crate::processors::Processors;
use crate::readers::Readers;
use crate::{Args, connections, routes, watch};

/// Binds, serves until `stop` is cancelled, drains, closes the store.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// A collector that holds its ports and its store and does not serve yet; who connects waits in the kernel's queue.
pub struct Server {
    grpc: Bound,
    http: Bound,
    probe: Option<Bound>,
    kafka_in: Option<KafkaIn>,
    collector: Arc<Collector>,
    readers: Readers,
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// What the settings name is read first, then come the ports: a second collector should hear about the port, not wait for a
    /// recovery.
    pub async fn bind(mut args: Args) -> anyhow::Result<Server> {
        let access = Access::read(&args.access)?;
        let kafka_in = KafkaIn::new(&args.kafka_in, &args.sinks)?;
        let processors = Processors::read(args.processors.as_deref())?;
        args.store.repeats = processors.repeats();
        let grpc = Bound::to(args.otlp_grpc, "--otlp-grpc").await?;
        let http = Bound::to(args.otlp_http, "--otlp-http").await?;
        let probe = match args.otlp_probe {
            Some(address) => Some(Bound::to(address, "--otlp-probe").await?),
            None => None,
        };
        let ours = [grpc.address, http.address];
        if let Some(url) = args.sinks.otlp.otlp_out_url.as_deref().filter(|url| is_one_of(url, ours)) {
            anyhow::bail!(
                "--otlp-out-url {url} is this collector, which would send itself what it receives, for ever; \
                 name another one"
            );
        }
        let folder = args.store.data_dir.display().to_string();
        let writer = Writer::open(args.store.clone()).await;
        let writer = writer.with_context(|| format!("could not open the store in {folder}"))?;
        let readers = Readers::open(&args, &writer).await?;
        let reading = kafka_in.as_ref().map(KafkaIn::account);
        let collector = Collector::new(writer, access, processors, readers.reports(), reading, args.limits);
        Ok(Server { grpc, http, probe, kafka_in, collector, readers })
    }

    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http.address
    }

    /// None without `--otlp-probe`.
    pub fn probe_address(&self) -> Option<SocketAddr> {
        self.probe.as_ref().map(|probe| probe.address)
    }

    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Server { grpc, http, probe, kafka_in, collector, readers } = self;
        watch::export(&collector, &opentelemetry::global::meter("faultline.collector"));
        grpc.announce("OTLP/gRPC");
        http.announce("OTLP/HTTP");

        let background = CancellationToken::new();
        let compaction = tokio::spawn(compact(collector.writer.clone(), background.clone()));
        let reading = tokio::spawn(readers.run(background.clone()));
        let summaries = tokio::spawn(watch::summarize(Arc::clone(&collector), background.clone()));
        let files = tokio::spawn(follow_files(Arc::clone(&collector), background.clone()));
        // Probes are answered until the end: they are who watches a stop.
        let probes = probe.map(|probe| {
            probe.announce("probes");
            let (router, limits) = (routes::probes(&collector), collector.limits.clone());
            let counts = Arc::new(PortCounts::probe(&limits));
            let port = Listening { listener: probe.listener, tls: None, counts };
            tokio::spawn(connections::serve(port, router, limits, background.clone()))
        });

        let router = routes::all(&collector);
        let [grpc_counts, http_counts] = collector.ports.clone();
        let port =
            |bound: Bound, counts| Listening { listener: bound.listener, tls: collector.access.tls.clone(), counts };
        tokio::join!(
            connections::serve(port(grpc, grpc_counts), router.clone(), collector.limits.clone(), stop.clone()),
            connections::serve(port(http, http_counts), router, collector.limits.clone(), stop.clone()),
            async {
                if let Some(kafka_in) = kafka_in {
                    kafka_in.run(Arc::clone(&collector), stop.clone()).await;
                }
            },
            async {
                stop.cancelled().await;
                collector.stopping.store(true, Ordering::Relaxed);
            },
        );

        background.cancel();
        if let Some(probes) = probes {
            probes.await.context("serving probes panicked")?;
        }
        files.await.context("looking for changed files panicked")?;
        summaries.await.context("the minute's summary panicked")?;
        reading.await.context("the readers of the log panicked")?;
        compaction.await.context("compaction panicked")?;
        collector.writer.close().await.context("could not close the store")?;
        info!("stopped, everything that was answered is on disk");
        Ok(())
    }
}

impl Bound {
    async fn to(address: SocketAddr, flag: &str) -> anyhow::Result<Bound> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "could not listen on {address}: address already in use; another process holds it, \
                 choose another with {flag} or move everything with --port-offset 10000"
            ),
            _ => {
                anyhow::Error::new(error).context(format!("could not listen on {address}; choose another with {flag}"))
            }
        })?;
        let address = listener.local_addr().context("could not read the address of a listener")?;
        Ok(Bound { listener, address })
    }

    fn announce(&self, what: &str) {
        let address = self.address;
        info!(server.address = %address.ip(), server.port = address.port(), "listening on {address} for {what}");
    }
}

/// Whether an address is one we listen on. Of a name other than localhost we cannot tell.
fn is_one_of(url: &str, ours: [SocketAddr; 2]) -> bool {
    let address = url.trim_start_matches("http://").trim_end_matches('/').replacen("localhost", "127.0.0.1", 1);
    address.parse::<SocketAddr>().is_ok_and(|address| {
        ours.iter().any(|ours| {
            let same = ours.ip() == address.ip() || ours.ip().is_unspecified() && address.ip().is_loopback();
            same && ours.port() == address.port()
        })
    })
}

/// A failure here loses nothing: the log keeps growing until its limit, and `/health` shows the reason.
async fn compact(writer: Writer, stop: CancellationToken) {
    if let Err(error) = writer.compact(stop).await {
        error!(error = &error as &dyn std::error::Error, "compaction stopped");
    }
}

async fn follow_files(collector: Arc<Collector>, stop: CancellationToken) {
    collector.access.follow_files(stop).await;
}
