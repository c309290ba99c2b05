//! Every reason not to keep a request, and how each protocol says it.
//!
//! The decision is made once, as a [`Refusal`]; gRPC gets it as a status with `google.rpc` details, HTTP as a status code
//! with the same `google.rpc.Status` as its body, in the encoding of the request.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::compression;
use crate::media::Encoding;

/// Bytes of a message to the client; a gRPC message travels in a header, and headers are commonly limited to 8 KiB.
const MESSAGE_BYTES_MAX: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request makes no sense as a whole; the sentence says what and where.
    Malformed(String),
    /// Larger than one request may be, before or after decompression.
    TooLarge {
        bytes_max: usize,
    },
    /// No room now; later there will be.
    Busy {
        reason: String,
        retry: Duration,
    },
    /// This client sends more than it may; later it may again.
    Limited {
        reason: String,
        retry: Duration,
    },
    /// Nobody we know. What was presented is not repeated: it may be a secret with a typing error.
    Stranger {
        why: &'static str,
    },
    /// The body did not arrive in time.
    Slow {
        time_max: Duration,
    },
    /// The client stopped sending in the middle of its body.
    Broken,
    UnknownMediaType(String),
    UnknownCompression(String),
    /// gRPC only: the message is marked compressed and nothing says how.
    UnnamedCompression,
    UnknownPath(String),
    UnknownMethod(String),
    /// A defect of ours; sending the same again would meet it again.
    Internal,
}

impl Refusal {
    /// The protocol-independent form: code, sentence and details.
    pub(crate) fn status(&self) -> Status {
        let message = cut(self.sentence(), MESSAGE_BYTES_MAX);
        let details = match self {
            Refusal::Busy { retry, .. } | Refusal::Limited { retry, .. } => ErrorDetails::with_retry_info(Some(*retry)),
            Refusal::Malformed(_) => ErrorDetails::with_bad_request_violation("body", message.clone()),
            _ => ErrorDetails::new(),
        };
        Status::with_error_details(self.code(), message, details)
    }

    /// The answer over HTTP.
    pub(crate) fn response(&self, encoding: Encoding) -> Response<Body> {
        let status = self.status();
        let body = match encoding {
            Encoding::Protobuf => Body::from(status.details().to_vec()),
            Encoding::Json => Body::from(self.json(&status).to_string()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.http_code();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
        match self {
            Refusal::Busy { retry, .. } | Refusal::Limited { retry, .. } => {
                let seconds = retry.as_millis().div_ceil(1000).max(1) as u64;
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Refusal::UnknownCompression(_) => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(compression::ACCEPTED));
            }
            Refusal::Stranger { .. } => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"otlp\""));
            }
            Refusal::UnknownMethod(_) => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        response
    }

    fn code(&self) -> Code {
        match self {
            Refusal::Malformed(_) | Refusal::UnknownMediaType(_) => Code::InvalidArgument,
            // Without RetryInfo, which in OTLP makes it final: the same request will be as large the next time.
            Refusal::TooLarge { .. } => Code::ResourceExhausted,
            // RESOURCE_EXHAUSTED would name the second better, but not every client looks for the delay that makes it retryable.
            Refusal::Busy { .. } | Refusal::Limited { .. } => Code::Unavailable,
            Refusal::Stranger { .. } => Code::Unauthenticated,
            Refusal::Slow { .. } => Code::DeadlineExceeded,
            Refusal::Broken => Code::Cancelled,
            Refusal::UnknownCompression(_) | Refusal::UnknownPath(_) | Refusal::UnknownMethod(_) => Code::Unimplemented,
            // INTERNAL is what gRPC's compression document demands here.
            Refusal::UnnamedCompression | Refusal::Internal => Code::Internal,
        }
    }

    fn http_code(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) | Refusal::Broken | Refusal::UnnamedCompression => StatusCode::BAD_REQUEST,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Stranger { .. } => StatusCode::UNAUTHORIZED,
            // Not 408, which names the case best: of all codes OTLP retries only 429, 502, 503 and 504.
            Refusal::Slow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Refusal::UnknownMediaType(_) | Refusal::UnknownCompression(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::UnknownPath(_) => StatusCode::NOT_FOUND,
            Refusal::UnknownMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Refusal::Malformed(sentence) => sentence.clone(),
            Refusal::TooLarge { bytes_max } => {
                format!("the request is larger than {bytes_max} bytes after decompression; send smaller batches")
            }
            Refusal::Busy { reason, .. } => format!("{reason}; retry later"),
            Refusal::Limited { reason, .. } => format!("{reason}; retry later, or ask for a higher limit"),
            Refusal::Stranger { why } => format!(
                "{why}; send the header `authorization: Bearer <token>`, with an SDK by \
                 OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20<token>"
            ),
            Refusal::Slow { time_max } => format!(
                "the body did not arrive within {} s; send it again, in smaller batches if the network is slow",
                time_max.as_secs()
            ),
            Refusal::Broken => "the body broke off; send it again, whole".to_owned(),
            Refusal::UnknownMediaType(name) if name.is_empty() => {
                "the content type is missing; send application/x-protobuf or application/json".to_owned()
            }
            Refusal::UnknownMediaType(name) => {
                format!("content type {name} is not supported; send application/x-protobuf or application/json")
            }
            Refusal::UnknownCompression(name) => {
                format!("content encoding {name} is not supported; send one of {}", compression::ACCEPTED)
            }
            Refusal::UnnamedCompression => {
                "the message is marked as compressed and grpc-encoding is missing; name the compression there"
                    .to_owned()
            }
            Refusal::UnknownPath(path) => {
                format!("nothing is served at {path}; OTLP is at /v1/traces, /v1/logs and /v1/metrics")
            }
            Refusal::UnknownMethod(method) => format!("{method} is not supported here; use POST"),
            Refusal::Internal => {
                "the request could not be decoded because of a defect in the collector; its log has the cause"
                    .to_owned()
            }
        }
    }

    /// `google.rpc.Status` by the JSON mapping of protobuf.
    fn json(&self, status: &Status) -> Value {
        let details = match self {
            Refusal::Busy { retry, .. } | Refusal::Limited { retry, .. } => json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}.{:09}s", retry.as_secs(), retry.subsec_nanos()),
            }]),
            Refusal::Malformed(_) => json!([{
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{ "field": "body", "description": status.message() }],
            }]),
            _ => json!([]),
        };
        json!({ "code": i32::from(status.code()), "message": status.message(), "details": details })
    }
}

/// Shortens at a character boundary.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_retried_carries_a_delay() {
        let busy = Refusal::Busy { reason: "full".into(), retry: Duration::from_millis(1500) };
        let delay = busy.status().get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_millis(1500)));
        assert_eq!(busy.response(Encoding::Json).headers()[RETRY_AFTER], "2", "seconds, rounded up");

        let limited = Refusal::Limited { reason: "client a sends more".into(), retry: Duration::from_millis(20) };
        assert_eq!((limited.http_code().as_u16(), limited.status().code()), (429, Code::Unavailable));
        assert_eq!(limited.response(Encoding::Json).headers()[RETRY_AFTER], "1", "never at once");

        let stranger = Refusal::Stranger { why: "no credentials were sent" };
        assert_eq!((stranger.http_code().as_u16(), stranger.status().code()), (401, Code::Unauthenticated));
        assert!(stranger.status().get_details_retry_info().is_none());

        let large = Refusal::TooLarge { bytes_max: 1 };
        assert_eq!(large.status().code(), Code::ResourceExhausted);
        assert!(large.status().get_details_retry_info().is_none());
    }

    #[test]
    fn long_sentences_are_cut_at_a_character() {
        let sentence = "é".repeat(MESSAGE_BYTES_MAX);
        let status = Refusal::Malformed(sentence).status();
        assert!(status.message().len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(status.message().ends_with("é…"));
    }
}
