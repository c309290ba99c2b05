//! TLS of a client: whom it trusts, and how it proves who it is.
//!
//! Cryptography is ring's, named: some processes link a second provider, and rustls picks none when there are two.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The PEM files of three settings that belong together, such as `--otlp-certificate`, `--otlp-client-certificate` and
/// `--otlp-client-key`.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// What the names of the settings begin with, such as `--otlp`.
    pub settings: &'static str,
    /// Of those to trust; those that this machine trusts when not set.
    pub roots: Option<&'a Path>,
    /// For servers that ask for one.
    pub certificate: Option<&'a Path>,
    pub key: Option<&'a Path>,
}

impl Files<'_> {
    /// Protocols that follow the handshake are for the caller to name. An error names the setting or the file to mend.
    pub fn config(&self) -> anyhow::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("ring speaks no version of TLS")?
            .with_root_certificates(self.roots()?);
        match (self.certificate, self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .with_context(|| format!("{} and {} do not fit", certificate.display(), key.display())),
            _ => bail!(
                "{0}-client-certificate and {0}-client-key go together: the key proves that the certificate is ours",
                self.settings
            ),
        }
    }

    fn roots(&self) -> anyhow::Result<RootCertStore> {
        if let Some(path) = self.roots {
            return roots(path);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let settings = self.settings;
        ensure!(
            !roots.is_empty(),
            "this machine trusts nobody: no certificates were found; name those to trust with {settings}-certificate"
        );
        Ok(roots)
    }
}

/// Whether an address begins with `https://`.
pub fn is_https(address: &str) -> bool {
    address.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// Of those to trust.
pub fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("{} has a certificate nobody can trust", path.display()))?;
    }
    Ok(roots)
}

/// All of a PEM file; it has one at least.
pub fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("could not read PEM certificates from {}", path.display());
    let found = CertificateDer::pem_file_iter(path).with_context(wrong)?;
    let found = found.collect::<Result<Vec<_>, _>>().with_context(wrong)?;
    ensure!(!found.is_empty(), "{} has no CERTIFICATE section; it has to be PEM", path.display());
    Ok(found)
}

/// The first of a PEM file.
pub fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("could not read a PEM private key from {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Files<'static> = Files { settings: "--otlp", roots: None, certificate: None, key: None };

    #[test]
    fn what_makes_no_sense_is_told_with_the_file_or_the_setting() {
        let refused = |files: Files<'_>| format!("{:#}", files.config().expect_err("it makes no sense"));
        let said = refused(Files { roots: Some(Path::new("/nowhere.pem")), ..NONE });
        assert!(said.contains("/nowhere.pem"), "{said}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").expect("it can be written");
        let said = refused(Files { roots: Some(&empty), ..NONE });
        assert!(said.contains("no CERTIFICATE section"), "{said}");
    }

    #[test]
    fn https_is_https_in_any_case() {
        assert!(is_https("HTTPS://collector:4317") && !is_https("http://collector:4317") && !is_https("https"));
    }
}
