//! The connection to a collector: in the clear, or by TLS when its address begins with `https`.
//!
//! TLS is laid under tonic's channel here: a feature of tonic's would change what every crate that links tonic compiles.
//! Cryptography is ring's, named: some processes link a second provider, and rustls picks none when there are two.

use std::{path::Path, pin::Pin, sync::Arc, task::Poll, time::Duration};

use anyhow::{Context as _, bail, ensure};
use axum::http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use crate::Args;

/// Where HTTPS is when an address names no port.
const HTTPS_PORT: u16 = 443;

/// Connects later, in the context of the runtime that carries the connection, and again after each end of it.
pub(crate) fn channel(endpoint: &str, tls: Option<Arc<ClientConfig>>, call_max: Duration) -> anyhow::Result<Channel> {
    let uri: Uri = endpoint.parse()?;
    let endpoint = |uri: Uri| Endpoint::from(uri).timeout(call_max).connect_timeout(call_max);
    let Some(config) = tls else { return Ok(endpoint(uri).connect_lazy()) };
    let mut parts = uri.clone().into_parts();
    // In the clear as far as tonic can tell; requests still name what they are sent to.
    parts.scheme = Some(Scheme::HTTP);
    let endpoint = endpoint(Uri::from_parts(parts)?).origin(uri.clone());
    Ok(endpoint.connect_with_connector_lazy(Connector { uri, tls: TlsConnector::from(config) }))
}

/// What `https` needs to know; None for an address in the clear, whatever else is set.
pub(crate) fn tls(endpoint: &str, args: &Args) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    if !endpoint.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) {
        return Ok(None);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("ring speaks no version of TLS")?
        .with_root_certificates(roots(args.otlp_certificate.as_deref())?);
    let mut config = match (&args.otlp_client_certificate, &args.otlp_client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("could not read a PEM private key from {}", key.display()))?;
            let fit = builder.with_client_auth_cert(certificates(certificate)?, private);
            fit.with_context(|| format!("{} and {} do not fit", certificate.display(), key.display()))?
        }
        _ => bail!(
            "--otlp-client-certificate and --otlp-client-key go together: the key proves that the certificate is ours"
        ),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Of this file, or else those that this machine trusts.
fn roots(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                let trusted = roots.add(certificate);
                trusted.with_context(|| format!("{} has a certificate nobody can trust", path.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ensure!(
                !roots.is_empty(),
                "this machine trusts nobody: no certificates were found; name the collector's with --otlp-certificate"
            );
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("could not read PEM certificates from {}", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(wrong)?;
    let found = found.collect::<Result<Vec<_>, _>>().with_context(wrong)?;
    ensure!(!found.is_empty(), "{} has no CERTIFICATE section; it has to be PEM", path.display());
    Ok(found)
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        observe: Args,
    }

    fn refused(endpoint: &str, words: &[&str]) -> String {
        let args = Command::parse_from([&["test"], words].concat()).observe;
        format!("{:#}", tls(endpoint, &args).expect_err("it makes no sense"))
    }

    #[test]
    fn what_makes_no_sense_is_told_at_the_start() {
        let said = refused("https://c:4317", &["--otlp-certificate=/nowhere.pem"]);
        assert!(said.contains("/nowhere.pem"), "{said}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").expect("it can be written");
        let said = refused("https://c:4317", &["--otlp-certificate", empty.to_str().expect("a plain name")]);
        assert!(said.contains("no CERTIFICATE section"), "{said}");
    }

    #[test]
    fn an_address_in_the_clear_asks_for_no_file() {
        let args = Command::parse_from(["test", "--otlp-certificate=/nowhere.pem"]).observe;
        assert!(tls("http://c:4317", &args).expect("nothing is read").is_none());
    }
}
