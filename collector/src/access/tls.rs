//! TLS: our certificate, and with `--otlp-tls-client-ca` theirs too.
//!
//! Cryptography is ring's, named here: the embedded broker links a second provider, and rustls picks none when there are two.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use observe::tls::{certificates, private_key, roots};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::access::reload::Reload;
use crate::args;

/// What may follow the handshake: gRPC clients insist on being offered `h2`.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

#[derive(Clone)]
pub(crate) struct Tls(Arc<Reload<ServerConfig>>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// None when no certificate is set.
pub(crate) fn read(args: &args::Access) -> anyhow::Result<Option<Tls>> {
    let (certificate, key) = match (&args.otlp_tls_cert, &args.otlp_tls_key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        (None, None) if args.otlp_tls_client_ca.is_some() => {
            bail!(
                "--otlp-tls-client-ca asks clients for a certificate and needs one of ours: --otlp-tls-cert and --otlp-tls-key"
            )
        }
        (None, None) => return Ok(None),
        _ => bail!(
            "--otlp-tls-cert and --otlp-tls-key go together: the certificate is public, the key proves that it is ours"
        ),
    };
    let files = Files { certificate, key, client_ca: args.otlp_tls_client_ca.clone() };
    let paths = [Some(files.certificate.clone()), Some(files.key.clone()), files.client_ca.clone()];
    let reload =
        Reload::new("the TLS certificates", paths.into_iter().flatten().collect(), Box::new(move || files.config()))?;
    Ok(Some(Tls(reload)))
}

impl Tls {
    /// For one connection; the next may get a newer certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }

    pub(crate) fn files(&self) -> &Arc<Reload<ServerConfig>> {
        &self.0
    }
}

impl Files {
    fn config(&self) -> anyhow::Result<ServerConfig> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate)?;
        let key = private_key(&self.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("ring speaks no version of TLS")?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
                let verifier = verifier.build().with_context(|| format!("could not trust {}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .with_context(|| format!("{} and {} do not fit", self.certificate.display(), self.key.display()))?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}
