//! One connection to an OTLP endpoint that sends bytes as they are.

use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::{Args, Kind, Protocol};

/// How a request ended.
pub(crate) enum Answer {
    /// Kept, but for that many records.
    Accepted { rejected: u64 },
    /// The endpoint had no room for it, for the reason it gave.
    Refused(String),
    /// Anything else it said.
    Error(String),
    /// It said nothing, so what became of the request is not known.
    Silence(String),
}

#[derive(Clone)]
pub(crate) enum Sender {
    Grpc { client: Grpc<Channel>, path: PathAndQuery, time_max: Duration },
    Http { client: reqwest::Client, url: String },
}

impl Sender {
    pub(crate) async fn connect(args: &Args) -> anyhow::Result<Sender> {
        let endpoint = args.endpoint().to_owned();
        let time_max = Duration::from_secs(args.timeout);
        match args.protocol {
            Protocol::Grpc => {
                let channel = Endpoint::from_shared(endpoint.clone())
                    .with_context(|| format!("{endpoint} is not an address of the form http://host:port"))?
                    .connect_timeout(time_max)
                    .connect()
                    .await
                    .with_context(|| format!("could not connect to {endpoint}"))?;
                Ok(Sender::Grpc { client: Grpc::new(channel), path: grpc_path(args.signal), time_max })
            }
            Protocol::Http => {
                let client = reqwest::Client::builder()
                    .no_proxy()
                    .timeout(time_max)
                    .build()
                    .context("could not build an HTTP client")?;
                Ok(Sender::Http { client, url: format!("{endpoint}{}", http_path(args.signal)) })
            }
        }
    }

    pub(crate) async fn send(&mut self, message: Bytes) -> Answer {
        match self {
            Sender::Grpc { client, path, time_max } => {
                let call = async {
                    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
                    client.unary(Request::new(message), path.clone(), Raw).await
                };
                match tokio::time::timeout(*time_max, call).await {
                    Ok(Ok(response)) => accepted(response.get_ref()),
                    Ok(Err(status)) => failed(&status),
                    Err(_) => Answer::Silence("no answer in time".to_owned()),
                }
            }
            Sender::Http { client, url } => {
                let request = client.post(&*url).header("content-type", "application/x-protobuf").body(message);
                let response = match request.send().await {
                    Ok(response) => response,
                    Err(error) => return Answer::Silence(format!("{:#}", anyhow::Error::new(error))),
                };
                match response.status().as_u16() {
                    200..=299 => match response.bytes().await {
                        Ok(body) => accepted(&body),
                        Err(error) => Answer::Silence(error.to_string()),
                    },
                    code @ (429 | 503) => Answer::Refused(format!("HTTP status {code}")),
                    code => Answer::Error(format!("HTTP status {code}")),
                }
            }
        }
    }
}

/// The three responses have the same fields under the same numbers, so one type reads them all.
fn accepted(response: &[u8]) -> Answer {
    match ExportTraceServiceResponse::decode(response) {
        Ok(response) => {
            let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
            Answer::Accepted { rejected: u64::try_from(rejected).unwrap_or(0) }
        }
        Err(error) => Answer::Error(format!("the answer is no OTLP response: {error}")),
    }
}

fn failed(status: &Status) -> Answer {
    let sentence = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        // A status made by this side has the transport's error as its source.
        _ if std::error::Error::source(status).is_some() => Answer::Silence(sentence),
        Code::Unavailable | Code::ResourceExhausted => Answer::Refused(sentence),
        Code::Unknown | Code::Cancelled => Answer::Silence(sentence),
        _ => Answer::Error(sentence),
    }
}

fn http_path(kind: Kind) -> &'static str {
    match kind {
        Kind::Traces => "/v1/traces",
        Kind::Logs => "/v1/logs",
        Kind::Metrics => "/v1/metrics",
    }
}

fn grpc_path(kind: Kind) -> PathAndQuery {
    PathAndQuery::from_static(match kind {
        Kind::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Kind::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Kind::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    })
}

/// Messages that are encoded already.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
