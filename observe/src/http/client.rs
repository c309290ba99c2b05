//! A reqwest client whose every call is a CLIENT span and carries the W3C context.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use tracing::{Instrument, Span, field::Empty, info_span};

use super::method_name;
use crate::{Durations, REQUEST_BOUNDARIES_S, context};

static DURATION: LazyLock<Durations> = LazyLock::new(|| {
    Durations::new(
        "http",
        "http.client.request.duration",
        "Time from sending a request to its response's head",
        &REQUEST_BOUNDARIES_S,
    )
});

/// Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
}

#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    client: reqwest::Client,
    inner: reqwest::RequestBuilder,
}

impl Client {
    /// `timeout`: of one whole request, unless the request says otherwise.
    pub fn new(timeout: Duration) -> Self {
        let inner = reqwest::Client::builder()
            .timeout(timeout)
            .user_agent(concat!("faultline/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("a client without TLS has nothing to fail on");
        Self { inner }
    }

    pub fn get(&self, url: impl AsRef<str>) -> Request {
        self.request(reqwest::Method::GET, url)
    }

    pub fn post(&self, url: impl AsRef<str>) -> Request {
        self.request(reqwest::Method::POST, url)
    }

    pub fn put(&self, url: impl AsRef<str>) -> Request {
        self.request(reqwest::Method::PUT, url)
    }

    pub fn request(&self, method: reqwest::Method, url: impl AsRef<str>) -> Request {
        Request { client: self.inner.clone(), inner: self.inner.request(method, url.as_ref()) }
    }
}

impl Request {
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|inner| inner.header(name, value))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with(|inner| inner.bearer_auth(token))
    }

    pub fn json(self, body: &(impl serde::Serialize + ?Sized)) -> Self {
        self.with(|inner| inner.json(body))
    }

    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|inner| inner.body(body))
    }

    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|inner| inner.timeout(timeout))
    }

    /// Any status is an answer; only a failed exchange is an error.
    pub async fn send(self) -> Result<reqwest::Response, reqwest::Error> {
        let mut request = self.inner.build()?;
        let started = Instant::now();
        let span = client_span(&request);
        for (name, value) in context::headers_of(&span) {
            if let (Ok(name), Ok(value)) = (name.parse::<reqwest::header::HeaderName>(), value.parse()) {
                request.headers_mut().insert(name, value);
            }
        }
        let mut attributes = vec![
            KeyValue::new("http.request.method", method_name(request.method())),
            KeyValue::new("server.address", request.url().host_str().unwrap_or_default().to_owned()),
            KeyValue::new("server.port", port(request.url())),
        ];

        let outcome = self.client.execute(request).instrument(span.clone()).await;

        let failure = match &outcome {
            Ok(response) => {
                let status = response.status();
                span.record("http.response.status_code", i64::from(status.as_u16()));
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                (status.is_client_error() || status.is_server_error()).then(|| status.as_str().to_owned())
            }
            Err(error) => Some(kind(error).to_owned()),
        };
        if let Some(failure) = failure {
            span.record("error.type", &failure).record("otel.status_code", "ERROR");
            attributes.push(KeyValue::new("error.type", failure));
        }
        DURATION.record(started.elapsed(), &attributes, &span);
        outcome
    }

    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { client: self.client, inner: change(self.inner) }
    }
}

/// Named by the method alone: a client does not know the template of the path.
fn client_span(request: &reqwest::Request) -> Span {
    let method = method_name(request.method());
    let url = request.url();
    info_span!(
        "http.client",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        url.full = %url,
        server.address = url.host_str(),
        server.port = port(url),
        network.protocol.version = "1.1",
        error.type = Empty,
    )
}

fn port(url: &reqwest::Url) -> i64 {
    url.port_or_known_default().map_or(80, i64::from)
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "exchange"
    }
}
