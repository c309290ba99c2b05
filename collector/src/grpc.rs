//! OTLP/gRPC: one unary call a signal, its framing read by hand.
//!
//! Not tonic's server, though its `Status` and its clients are used: tonic inflates and buffers a message on the async thread
//! before any handler is asked, reserves what a header announces, and answers a message over the limit with OUT_OF_RANGE, which
//! OTLP clients retry. A unary frame is five bytes and a message, and the message goes to the columns as it is.

use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use model::Signal;

use crate::answer;
use crate::collector::{Collector, Received};
use crate::compression::{self, Compression};
use crate::incoming::Incoming;
use crate::media::Encoding;
use crate::refusal::Refusal;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// One byte says whether the message is compressed, four how long it is.
const PREFIX_BYTES: usize = 5;

pub(crate) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// `application/grpc`, alone or with `+proto` or parameters.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    media_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

pub(crate) async fn export(collector: &Arc<Collector>, signal: Signal, request: Request) -> Response<Body> {
    if !is_grpc(request.headers()) {
        return Response::builder().status(StatusCode::UNSUPPORTED_MEDIA_TYPE).body(Body::empty()).unwrap_or_default();
    }
    let kept = match receive(collector, signal, request).await {
        Ok(received) => collector.keep(received).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = match kept {
        Ok(rejected) => success(answer::protobuf(signal, rejected)),
        Err(refusal) => {
            collector.refused(signal, &refusal);
            refuse(&refusal)
        }
    };
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(compression::ACCEPTED));
    response
}

/// A status without a message: gRPC calls it trailers-only.
pub(crate) fn refuse(refusal: &Refusal) -> Response<Body> {
    refusal.status().into_http()
}

async fn receive(collector: &Collector, signal: Signal, request: Request) -> Result<Received, Refusal> {
    let (head, body) = request.into_parts();
    let client = collector.access.admit(&head.headers)?;
    let named = match head.headers.get(GRPC_ENCODING) {
        Some(name) => Compression::from_name(&String::from_utf8_lossy(name.as_bytes()))?,
        None => Compression::Identity,
    };
    let mut lease = collector.gate.enter(client)?;
    let mut incoming = Incoming::new(body, collector.limits.body_time_max());
    let message_bytes_max = collector.limits.otlp_request_bytes_max;
    let bytes_max = PREFIX_BYTES + message_bytes_max;
    while incoming.arrived().len() < PREFIX_BYTES && incoming.read(bytes_max, &mut lease).await? {}

    let Some(&[flag, a, b, c, d]) = incoming.arrived().first_chunk() else {
        return Err(Refusal::Malformed("the call ended without a message".to_owned()));
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > message_bytes_max {
        return Err(Refusal::TooLarge { bytes_max: message_bytes_max });
    }
    let compression = match flag {
        0 => Compression::Identity,
        1 if named == Compression::Identity => return Err(Refusal::UnnamedCompression),
        1 => named,
        _ => return Err(Refusal::Malformed(format!("the compressed flag of the message is {flag}, not 0 or 1"))),
    };

    let mut body = incoming.read_all(bytes_max, &mut lease).await.map_err(|(refusal, _)| refusal)?;
    if body.len() != PREFIX_BYTES + length {
        let found = body.len() - PREFIX_BYTES;
        return Err(Refusal::Malformed(format!("the message announces {length} bytes and {found} arrived")));
    }
    body.drain(..PREFIX_BYTES);
    Ok(Received { signal, encoding: Encoding::Protobuf, compression, body: body.into(), lease })
}

fn success(message: Vec<u8>) -> Response<Body> {
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(framed)).with_trailers(ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response
}
