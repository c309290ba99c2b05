//! OTLP/HTTP: protobuf and JSON by content type, both at the same paths.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, Version};
use model::{Rejected, Signal};

use crate::answer;
use crate::collector::{Collector, Received};
use crate::compression::Compression;
use crate::gate::Lease;
use crate::incoming::Incoming;
use crate::media::Encoding;
use crate::refusal::Refusal;

/// How many times the largest request is read and thrown away before the connection is cut instead.
const DISCARDED_REQUESTS: usize = 2;
/// Bytes of a stranger's body that are read and thrown away: an exporter's usual batch, so that it sees the answer.
const DISCARDED_STRANGER_BYTES: usize = 1 << 20;

pub(crate) async fn export(collector: &Arc<Collector>, signal: Signal, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let answered_in = Encoding::of(&head.headers).unwrap_or(Encoding::Json);
    let kept = match receive(collector, signal, &head, body).await {
        Ok(received) => collector.keep(received).await,
        Err(refusal) => Err(refusal),
    };
    match kept {
        Ok(rejected) => success(signal, answered_in, rejected),
        Err(refusal) => {
            collector.refused(signal, &refusal);
            refusal.response(answered_in)
        }
    }
}

async fn receive(collector: &Collector, signal: Signal, head: &Parts, body: Body) -> Result<Received, Refusal> {
    let incoming = Incoming::new(body, collector.limits.body_time_max());
    let (encoding, compression, mut lease) = match admit(collector, head) {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(turn_away(collector, head, refusal, incoming).await),
    };
    match incoming.read_all(collector.limits.otlp_request_bytes_max, &mut lease).await {
        Ok(body) => Ok(Received { signal, encoding, compression, body: body.into(), lease }),
        Err((refusal, incoming)) => {
            drop(lease);
            Err(turn_away(collector, head, refusal, incoming).await)
        }
    }
}

/// What the head alone decides.
fn admit(collector: &Collector, head: &Parts) -> Result<(Encoding, Compression, Lease), Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::UnknownMethod(head.method.to_string()));
    }
    let client = collector.access.admit(&head.headers)?;
    let encoding = Encoding::of(&head.headers)?;
    let compression = match head.headers.get(CONTENT_ENCODING) {
        Some(name) => Compression::from_name(&String::from_utf8_lossy(name.as_bytes()))?,
        None => Compression::Identity,
    };
    Ok((encoding, compression, collector.gate.enter(client)?))
}

/// HTTP/2 can answer in the middle of a body; HTTP/1.1 clients read the answer after they have sent everything.
async fn turn_away(collector: &Collector, head: &Parts, refusal: Refusal, incoming: Incoming) -> Refusal {
    let still_sending = !matches!(refusal, Refusal::Broken | Refusal::Slow { .. });
    if still_sending && head.version < Version::HTTP_2 {
        let bytes_max = match refusal {
            Refusal::Stranger { .. } => DISCARDED_STRANGER_BYTES,
            _ => DISCARDED_REQUESTS * collector.limits.otlp_request_bytes_max,
        };
        incoming.discard(bytes_max).await;
    }
    refusal
}

fn success(signal: Signal, encoding: Encoding, rejected: Rejected) -> Response<Body> {
    let body = match encoding {
        Encoding::Protobuf => Body::from(answer::protobuf(signal, rejected)),
        Encoding::Json => Body::from(answer::json(signal, rejected).to_string()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    response
}
