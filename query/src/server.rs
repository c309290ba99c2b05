//! The engine over HTTP: `POST /v1/sql`, `GET /v1/traces/{id}`, `GET /v1/services`, `GET /health`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engine::SQL_BYTES_MAX;
use crate::{Args, Engine, http_sql, http_traces};

/// Longest request body in bytes: the longest SQL text, spelled as JSON.
const BODY_BYTES_MAX: usize = 2 * SQL_BYTES_MAX;
/// How long running answers may go on after the stop signal.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A bound listener with its engine, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = observe::http::listen(args.query_listen, "--query-listen").await?;
        let address = listener.local_addr().context("could not read the address of the listener")?;
        let engine = Engine::open(&args).await?;
        Ok(Server { listener, address, engine })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes what is running.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let drained = stop.clone();
        let serving = axum::serve(self.listener, router(self.engine))
            .with_graceful_shutdown(async move { drained.cancelled().await })
            .into_future();
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            served = serving => served.context("could not serve queries"),
            () = too_late => {
                tracing::warn!("some answers did not end within {} s of the stop and were cut", DRAIN_MAX.as_secs());
                Ok(())
            }
        }
    }
}

/// Binds, logs the address and serves until `stop`.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let server = Server::bind(args).await?;
    let address = server.address();
    tracing::info!(server.address = %address.ip(), server.port = address.port(),
        "listening on {address} (query HTTP)");
    server.run(stop).await
}

fn router(engine: Engine) -> Router {
    let routes = Router::new()
        .route("/v1/sql", post(http_sql::answer))
        .route("/v1/traces/{id}", get(http_traces::trace))
        .route("/v1/services", get(http_traces::services))
        .route("/health", get(|| async { axum::Json(serde_json::json!({ "status": "ok" })).into_response() }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(engine);
    observe::http::observed(routes)
}
