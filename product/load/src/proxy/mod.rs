//! A wire between two processes that is as bad as it is told to be: delay, jitter, loss, little bandwidth.
//!
//! TCP in, TCP out, each direction of each connection a `wire` of its own. Connecting itself takes no time, as the kernel
//! answers it; the first byte does. `network` is what the wire is like, changed
//! while it carries by `PUT /internal/network` (see `control`).

mod control;
mod network;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

pub use self::network::Network;

/// `service.name` of this process.
pub const SERVICE: &str = "proxy";

/// Connections at once; the next waits in the kernel's queue. Each may hold two megabytes.
const CONNECTIONS_MAX: usize = 512;
/// To reach the target, which is on this machine or in this room.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// After a failed accept, until connections have been closed.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Settings of the fault proxy. What the network is like at first can be changed over HTTP later.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address it listens on; proxies have the ports from 7100 up.
    #[arg(long, env = "FAULTLINE_PROXY_LISTEN", default_value = "127.0.0.1:7100")]
    pub proxy_listen: SocketAddr,
    /// Address it forwards to.
    #[arg(long, env = "FAULTLINE_PROXY_TARGET", default_value = "127.0.0.1:7001")]
    pub proxy_target: SocketAddr,
    /// Address of its HTTP interface: `GET` and `PUT /internal/network`, `/health`.
    #[arg(long, env = "FAULTLINE_PROXY_CONTROL", default_value = "127.0.0.1:7101")]
    pub proxy_control: SocketAddr,
    /// Milliseconds that each byte takes, one way; a round trip takes twice as long. 0 adds none.
    #[arg(long, env = "FAULTLINE_PROXY_DELAY_MS", default_value_t = 0)]
    pub proxy_delay_ms: u64,
    /// Milliseconds of random delay on top, evenly spread from 0 to this. Order is kept, as TCP keeps it.
    #[arg(long, env = "FAULTLINE_PROXY_JITTER_MS", default_value_t = 0)]
    pub proxy_jitter_ms: u64,
    /// Share of segments lost on the way, from 0 to 0.9. TCP sends them again, so a loss is a stall of 200 ms, then 400 ms, …
    #[arg(long, env = "FAULTLINE_PROXY_LOSS", default_value_t = 0.0)]
    pub proxy_loss: f64,
    /// Bytes a second in each direction of each connection. 0 sets no limit.
    #[arg(long, env = "FAULTLINE_PROXY_BANDWIDTH_BYTES_S", default_value_t = 0)]
    pub proxy_bandwidth_bytes_s: u64,
    /// Seed of jitter and loss; the same seed and connection meet the same luck.
    #[arg(long, env = "FAULTLINE_PROXY_SEED", default_value_t = 1)]
    pub proxy_seed: u64,
}

/// The proxy with its listeners bound.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    control: TcpListener,
    control_address: SocketAddr,
    target: SocketAddr,
    seed: u64,
    network: Arc<watch::Sender<Network>>,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let network = Network {
            delay_ms: args.proxy_delay_ms,
            jitter_ms: args.proxy_jitter_ms,
            loss: args.proxy_loss,
            bandwidth_bytes_s: args.proxy_bandwidth_bytes_s,
        };
        network.check()?;
        let listener = observe::http::listen(args.proxy_listen, "--proxy-listen").await?;
        let control = observe::http::listen(args.proxy_control, "--proxy-control").await?;
        let (address, control_address) = (listener.local_addr()?, control.local_addr()?);
        let target = args.proxy_target;
        info!(server.address = %address.ip(), server.port = address.port(),
            "forwarding from {address} to {target}, told how on {control_address}");
        let network = Arc::new(watch::Sender::new(network));
        Ok(Server { listener, address, control, control_address, target, seed: args.proxy_seed, network })
    }

    /// The address that forwards, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the HTTP interface.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Forwards until `stop` is cancelled. Connections are then cut, as a wire is.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        let carried = Arc::new(AtomicU64::new(0));
        let router = control::router(self.network.clone(), carried.clone());
        let control = tokio::spawn(observe::http::serve(self.control, router, stop.clone()));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut luck = StdRng::seed_from_u64(self.seed);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.listener, &places) => accepted,
            };
            let (client, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(exception.message = %error, "could not accept a connection: {error}");
                    let _ = timeout(ACCEPT_WAIT, stop.cancelled()).await;
                    continue;
                }
            };
            let connection = Connection {
                network: self.network.subscribe(),
                luck: [StdRng::from_rng(&mut luck), StdRng::from_rng(&mut luck)],
                carried: carried.clone(),
            };
            let (target, stop) = (self.target, stop.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connection.join(client, target) => {}
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
        control.await?;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// A connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Two wires, there and back.
struct Connection {
    network: watch::Receiver<Network>,
    luck: [StdRng; 2],
    /// Bytes delivered by this process, both directions.
    carried: Arc<AtomicU64>,
}

impl Connection {
    async fn join(self, mut client: TcpStream, target: SocketAddr) {
        let connecting = timeout(CONNECT_MAX, TcpStream::connect(target)).await;
        let mut server = match connecting.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(server) => server,
            Err(error) => {
                warn!(exception.message = %error, "could not reach {target}: {error}");
                return; // and the client's connection is closed
            }
        };
        // Delays are the wire's business, not the kernel's.
        if let Err(error) = client.set_nodelay(true).and_then(|()| server.set_nodelay(true)) {
            debug!(exception.message = %error, "could not switch Nagle's algorithm off: {error}");
        }
        let carried = |bytes| {
            self.carried.fetch_add(bytes, Ordering::Relaxed);
        };
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let [there, back] = self.luck;
        let ended = tokio::try_join!(
            wire::carry(from_client, to_server, self.network.clone(), there, &carried),
            wire::carry(from_server, to_client, self.network.clone(), back, &carried),
        );
        if let Err(error) = ended {
            debug!(exception.message = %error, "a connection broke: {error}");
        }
    }
}
