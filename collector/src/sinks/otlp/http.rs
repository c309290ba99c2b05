//! OTLP/HTTP with protobuf.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use flate2::write::GzEncoder;
use model::Signal;
use observe::tls::{Files, is_https};
use reqwest::redirect::Policy;

use super::args::{Args, Compression};
use super::retry::{of_http, of_success};
use crate::sinks::{Failure, Sent};

pub(super) struct Http {
    client: reqwest::Client,
    /// Without a slash at the end.
    url: String,
    compression: Compression,
}

impl Http {
    pub(super) fn new(url: &str, args: &Args, tls: Files<'_>, timeout: Duration) -> anyhow::Result<Http> {
        let mut headers: HeaderMap = args.headers()?.into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let compression = args.otlp_out_compression;
        if compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut client = reqwest::Client::builder();
        if is_https(url) {
            client = client.use_preconfigured_tls(tls.config()?);
        }
        let client = client
            .default_headers(headers)
            .user_agent(concat!("faultline/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(timeout)
            .timeout(timeout)
            .build()
            .context("could not make an HTTP client")?;
        Ok(Http { client, url: url.trim_end_matches('/').to_owned(), compression })
    }

    pub(super) fn compressed(&self, body: Bytes) -> anyhow::Result<Bytes> {
        if self.compression == Compression::None {
            return Ok(body);
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
        encoder.write_all(&body).context("could not compress a request")?;
        Ok(encoder.finish().context("could not compress a request")?.into())
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<Sent, Failure> {
        let url = format!("{}/v1/{}", self.url, signal.name());
        let response = self.client.post(url).body(body).send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let answer = response.bytes().await;
        if status.is_success() {
            // What it says in the body is lost with the connection; that it has the rows is not.
            return Ok(answer.map_or_else(|_| Sent::default(), |answer| of_success(signal, &answer)));
        }
        Err(of_http(status.as_u16(), retry_after.as_deref(), &answer.unwrap_or_default()))
    }
}

/// With the causes, which say more than the error itself; without the address, which may hold a secret.
fn failed(error: reqwest::Error) -> Failure {
    Failure::later(format!("{:#}", anyhow::Error::new(error.without_url())))
}
