//! Who may send, and how much: TLS before the first byte, credentials before the body, a rate for each client.
//!
//! Nothing is asked for unless it was set up: without these settings whoever reaches the port may send, and the port is on
//! this machine.

mod clients;
mod cors;
mod credentials;
pub(crate) mod rate;
mod reload;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;

use crate::args;
use crate::refusal::Refusal;
use clients::Clients;
pub(crate) use clients::{Client, ClientCounts};
use credentials::Credentials;
use reload::Reload;
pub(crate) use tls::Tls;

pub(crate) struct Access {
    /// None: nobody has to say who they are.
    clients: Option<Arc<Reload<Clients>>>,
    /// None: connections are in the clear.
    pub(crate) tls: Option<Tls>,
    /// None: no web page may send.
    pub(crate) cors: Option<CorsLayer>,
    reload_interval: Duration,
}

impl Access {
    /// Reads what the settings name. Whatever is wrong with it is said before a port is open.
    pub(crate) fn read(args: &args::Access) -> anyhow::Result<Access> {
        Ok(Access {
            clients: clients::read(args)?,
            tls: tls::read(args)?,
            cors: cors::layer(&args.otlp_cors_origins)?,
            reload_interval: args.reload_interval(),
        })
    }

    /// The client whose credentials these are, with one request of its rate taken; None when nobody has to say who they are.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Option<Arc<Client>>, Refusal> {
        let Some(clients) = &self.clients else { return Ok(None) };
        let presented = Credentials::presented(headers)?;
        let client =
            clients.current().find(&presented).ok_or(Refusal::Stranger { why: "these credentials are not known" })?;
        client.take_request()?;
        Ok(Some(client))
    }

    /// What each client has sent since its entry was read.
    pub(crate) fn client_counts(&self) -> Vec<ClientCounts> {
        self.clients.as_ref().map_or_else(Vec::new, |clients| clients.current().counts())
    }

    /// Looks for changed files until told to stop.
    pub(crate) async fn follow_files(&self, stop: CancellationToken) {
        let clients = follow(self.clients.as_ref(), self.reload_interval, &stop);
        let tls = follow(self.tls.as_ref().map(Tls::files), self.reload_interval, &stop);
        tokio::join!(clients, tls);
    }
}

async fn follow<T: Send + Sync + 'static>(files: Option<&Arc<Reload<T>>>, every: Duration, stop: &CancellationToken) {
    if let Some(files) = files {
        files.follow(every, stop).await;
    }
}
