//! Where exports go, and what each of them carries: a collector may ask who sends.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::ClientConfig;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use crate::{Args, channel, tls::Files};

pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) headers: MetadataMap,
    /// None: in the clear.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub(crate) fn new(endpoint: &str, args: &Args) -> anyhow::Result<Target> {
        let headers = parse(args.otlp_headers.as_deref().unwrap_or_default())?;
        let files = Files {
            settings: "--otlp",
            roots: args.otlp_certificate.as_deref(),
            certificate: args.otlp_client_certificate.as_deref(),
            key: args.otlp_client_key.as_deref(),
        };
        Ok(Target { endpoint: endpoint.to_owned(), headers, tls: channel::tls(endpoint, files)? })
    }
}

/// As in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value` with commas between, values percent-encoded. What is wrong is said without
/// the value, which may be a secret.
fn parse(text: &str) -> anyhow::Result<MetadataMap> {
    let mut headers = MetadataMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').context("--otlp-headers wants name=value, with commas between")?;
        let name = name.trim().to_ascii_lowercase();
        let key = AsciiMetadataKey::from_bytes(name.as_bytes())
            .ok()
            .with_context(|| format!("--otlp-headers has {name:?}, which is no name of a header"))?;
        let value = decoded(value.trim()).and_then(|value| value.parse::<AsciiMetadataValue>().ok());
        let mut value =
            value.with_context(|| format!("the value of {name} in --otlp-headers is no percent-encoded text"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Without percent-encoding; None when it is broken.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => digit(rest.next()?)? * 16 + digit(rest.next()?)?,
            other => other,
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_standard_variable_has_them() {
        let headers = parse("Authorization=Bearer%20a%3Db, x-tenant=shop=eu,").expect("two headers");
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        assert_eq!(value("authorization").as_deref(), Some("Bearer a=b"));
        assert_eq!(value("x-tenant").as_deref(), Some("shop=eu"));
        assert!(parse("").expect("none").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for wrong in [
            "authorization",
            "authorization=sesame%2",
            "authorization=sesame%zz",
            "a b=sesame",
            "authorization=sesame%0A",
        ] {
            let said = format!("{:#}", parse(wrong).expect_err("it is no header"));
            assert!(said.contains("--otlp-headers") && !said.contains("sesame"), "{said}");
        }
    }
}
