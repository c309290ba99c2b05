//! Serves a router until it is told to stop, and leaves so that no request is lost.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::parent;

/// Each costs a descriptor, of which a process has 1,024 by default; databases and brokers need some too. More wait in the
/// kernel's queue.
const CONNECTIONS_MAX: usize = 768;
/// A header that takes longer is a stalled client, or one that keeps a connection for later.
const HEADER_TIME_MAX: Duration = Duration::from_secs(90);
/// After the kernel refuses a connection (descriptors ran out), wait for others to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long, after `stop`, connections stay open that clients keep for reuse. A request on its way to a connection that is
/// just being closed gets no answer, and who pays must not repeat it blindly. In this time every client that is at work
/// gets an answer with `connection: close` and goes on elsewhere; what is silent for longer is a spare.
const SPARES_TIME_MAX: Duration = Duration::from_secs(1);
/// How long accepted requests may then take: longer than the slowest call that one of them waits for, shorter than the
/// patience of whoever stops us.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Serves HTTP/1.1 until `stop`, each request with its `ConnectInfo<SocketAddr>`: first tells whoever started us that we are ready; at the end stops accepting, lets clients
/// move on, and finishes what was accepted.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (leaving, close) = (stop.clone(), CancellationToken::new());
    let router = router.layer(from_fn(move |request, next| answer(request, next, leaving.clone())));
    let mut open = JoinSet::new();
    parent::ready();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((stream, peer)) => drop(open.spawn(connection(stream, peer, router.clone(), close.clone()))),
            Err(error) => {
                warn!("could not accept a connection: {error}");
                let _ = timeout(ACCEPT_PAUSE, stop.cancelled()).await;
            }
        }
    }
    drop(listener);
    let mut ended = pin!(async { while open.join_next().await.is_some() {} });
    if timeout(SPARES_TIME_MAX, &mut ended).await.is_ok() {
        return;
    }
    close.cancel();
    if timeout(DRAIN_MAX, &mut ended).await.is_err() {
        warn!("some requests did not end within {} s and are dropped", DRAIN_MAX.as_secs());
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, close: CancellationToken) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!("could not set TCP_NODELAY: {error}");
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    let service = service_fn(move |mut request| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!("a connection ended early: {error}");
    }
}

async fn answer(request: Request, next: Next, leaving: CancellationToken) -> axum::response::Response {
    let mut response = next.run(request).await;
    if leaving.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const QUESTION: &[u8] = b"GET /slow HTTP/1.1\r\nhost: till\r\n\r\n";

    #[tokio::test]
    async fn what_was_accepted_is_answered_and_a_kept_connection_is_told_to_move() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (begun, go_on) = (CancellationToken::new(), CancellationToken::new());
        let gates = (begun.clone(), go_on.clone());
        let slow = async move || {
            gates.0.cancel();
            gates.1.cancelled().await;
            "done"
        };
        let router = Router::new().route("/slow", get(slow));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, stop.clone()));

        let mut spare = TcpStream::connect(address).await.expect("connected");
        let mut busy = TcpStream::connect(address).await.expect("connected");
        busy.write_all(QUESTION).await.expect("sent");
        begun.cancelled().await;
        stop.cancel();
        // A request that comes after the stop on a connection from before it.
        spare.write_all(QUESTION).await.expect("sent");
        go_on.cancel();
        for connection in [&mut busy, &mut spare] {
            let mut text = String::new();
            connection.read_to_string(&mut text).await.expect("an answer, then the end");
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("connection: close"), "{text}");
        }
        serving.await.expect("it ended");
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}
