//! Accepts connections and serves them within their limits until told to stop, then drains them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::access::Tls;
use crate::args::Limits;
use crate::notice::Notice;
use crate::port::{Listening, PortCounts};
use crate::silence::Silence;

/// Bytes a stream, and a connection, may send ahead of being read: enough to keep a loopback or a 10 ms link busy.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Larger frames than the 16 KiB of HTTP/2's default mean fewer copies of a batch of spans.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// After the kernel refuses a connection (file descriptors ran out), wait for others to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of a port has in common.
struct Service {
    router: Router,
    builder: Builder<TokioExecutor>,
    tls: Option<Tls>,
    counts: Arc<PortCounts>,
    handshake_time_max: Duration,
    idle_time_max: Duration,
    handshake_notice: Notice,
    stop: CancellationToken,
}

pub(crate) async fn serve(port: Listening, router: Router, limits: Limits, stop: CancellationToken) {
    let Listening { listener, tls, counts } = port;
    let service = Arc::new(Service {
        router,
        builder: builder(&limits),
        tls,
        counts,
        handshake_time_max: limits.handshake_time_max(),
        idle_time_max: limits.idle_time_max(),
        handshake_notice: Notice::default(),
        stop: stop.clone(),
    });
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < limits.otlp_connections_max => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                open.spawn(Arc::clone(&service).serve_one(stream, peer));
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "could not accept a connection");
                tokio::select! {
                    _ = stop.cancelled() => break,
                    _ = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let drained =
        tokio::time::timeout(limits.drain_time_max(), async { while open.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(connections.cut = open.len(), "cut {} connections that did not finish in time", open.len());
        open.shutdown().await;
    }
}

impl Service {
    async fn serve_one(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _open = self.counts.open();
        // An answer is one small packet; waiting to fill it would only delay the client.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(error = &error as &dyn std::error::Error, "could not set TCP_NODELAY");
        }
        let stream = Silence::new(stream, self.idle_time_max);
        let Some(tls) = &self.tls else { return self.speak_http(stream).await };
        let handshake = tokio::time::timeout(self.handshake_time_max, tls.acceptor().accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            // No request has begun.
            _ = self.stop.cancelled() => return,
        };
        match shaken {
            Ok(stream) => self.speak_http(stream).await,
            Err(error) => self.note_handshake(peer, &error),
        }
    }

    async fn speak_http(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let router = TowerToHyperService::new(self.router.clone());
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), router));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error, "a connection ended early");
        }
    }

    /// Whoever set up TLS wants to know why a client does not get through; a port scan must not fill the log.
    fn note_handshake(&self, peer: SocketAddr, error: &io::Error) {
        self.counts.handshake_failed();
        if let Some(unsaid) = self.handshake_notice.due() {
            warn!(
                refused.unsaid = unsaid,
                client.address = %peer.ip(),
                error = error as &dyn std::error::Error,
                "{peer} did not get through the TLS handshake: {error}; it has to speak TLS, to trust --otlp-tls-cert, and, with \
                 --otlp-tls-client-ca, to have a certificate from there"
            );
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's clock runs while it waits for the next request as well, so this is no shorter than a silence may be.
        .header_read_timeout(limits.idle_time_max())
        .max_buf_size(limits.otlp_header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.otlp_streams_max)
        .max_header_list_size(u32::try_from(limits.otlp_header_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        // A live peer answers pings, so silence means a dead one.
        .keep_alive_interval(limits.idle_time_max() / 3)
        .keep_alive_timeout(limits.idle_time_max() / 3);
    builder
}
