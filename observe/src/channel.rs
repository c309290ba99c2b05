//! gRPC to a collector: in the clear, or by TLS when its address begins with `https`.
//!
//! TLS is laid under tonic's channel here: a feature of tonic's would change what every crate that links tonic compiles.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use anyhow::Context as _;
use axum::http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use crate::tls::{Files, is_https};

/// Where HTTPS is when an address names no port.
const HTTPS_PORT: u16 = 443;

/// Connects later, in the context of the runtime that carries the connection, and again after each end of it. A call takes
/// `call_max` at most, and so does connecting.
pub fn channel(endpoint: &str, tls: Option<Arc<ClientConfig>>, call_max: Duration) -> anyhow::Result<Channel> {
    let uri: Uri = endpoint.parse()?;
    let endpoint = |uri: Uri| Endpoint::from(uri).timeout(call_max).connect_timeout(call_max);
    let Some(config) = tls else { return Ok(endpoint(uri).connect_lazy()) };
    let mut parts = uri.clone().into_parts();
    // In the clear as far as tonic can tell; requests still name what they are sent to.
    parts.scheme = Some(Scheme::HTTP);
    let endpoint = endpoint(Uri::from_parts(parts)?).origin(uri.clone());
    Ok(endpoint.connect_with_connector_lazy(Connector { uri, tls: TlsConnector::from(config) }))
}

/// What `https` needs to know; None for an address in the clear, whatever else is set, and nothing is read then.
pub fn tls(endpoint: &str, files: Files<'_>) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    if !is_https(endpoint) {
        return Ok(None);
    }
    let mut config = files.config()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Makes connections to one address, each with its handshake.
#[derive(Clone)]
struct Connector {
    uri: Uri,
    tls: TlsConnector,
}

type Connecting = Pin<Box<dyn Future<Output = anyhow::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = anyhow::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<anyhow::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let Connector { uri, tls } = self.clone();
        Box::pin(async move {
            let host = uri.host().context("the address of the collector has no host")?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS_PORT))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_address_in_the_clear_asks_for_no_file() {
        let nowhere = Some(Path::new("/nowhere.pem"));
        let files = Files { settings: "--otlp", roots: nowhere, certificate: nowhere, key: None };
        assert!(tls("http://c:4317", files).expect("nothing is read").is_none());
        assert!(tls("https://c:4317", files).is_err());
    }
}
