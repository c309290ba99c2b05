//! Which answers of a receiver mean "again", and when; the specification leaves no choice. What must not be sent again is
//! counted as refused.

use std::time::{Duration, SystemTime};

use model::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::sinks::{Failure, Sent};

/// A receiver that asks for more than this is asked again anyway: a clock that is wrong by years must not stop a sink.
const AFTER_MAX: Duration = Duration::from_secs(300);

/// A success may say that some rows were left out.
pub(super) fn of_success(signal: Signal, body: &[u8]) -> Sent {
    // The three responses have the same fields by number; only the name of the count differs.
    match ExportTraceServiceResponse::decode(body) {
        Ok(response) => response.partial_success.map_or_else(Sent::default, |partial| Sent {
            rows_refused: u64::try_from(partial.rejected_spans).unwrap_or(0),
            warning: partial.error_message,
        }),
        // It was a success, whatever else it says.
        Err(error) => {
            Sent { rows_refused: 0, warning: format!("the answer for {} cannot be read: {error}", signal.name()) }
        }
    }
}

pub(super) fn of_http(status: u16, retry_after: Option<&str>, body: &[u8]) -> Failure {
    let said = tonic_types::Status::decode(body).map(|status| status.message).unwrap_or_default();
    let reason = match said.is_empty() {
        true => format!("HTTP {status}"),
        false => format!("HTTP {status}: {said}"),
    };
    match status {
        429 | 502 | 503 | 504 => {
            let after = retry_after.and_then(|text| parse_retry_after(text, SystemTime::now()));
            Failure::Later { reason, after: after.map(|after| after.min(AFTER_MAX)) }
        }
        _ => Failure::Never { reason },
    }
}

pub(super) fn of_grpc(status: &Status) -> Failure {
    let reason = format!("gRPC {:?}: {}", status.code(), status.message());
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let again = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        // The connection broke: these words are our own client's, the receiver said nothing.
        _ => std::error::Error::source(status).is_some(),
    };
    match again {
        true => Failure::Later { reason, after: after.map(|after| after.min(AFTER_MAX)) },
        false => Failure::Never { reason },
    }
}

/// Seconds, or a date.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    use tonic_types::ErrorDetails;

    use super::*;

    fn is_later(failure: &Failure) -> bool {
        matches!(failure, Failure::Later { .. })
    }

    #[test]
    fn only_four_http_codes_are_sent_again() {
        let again: Vec<u16> = (300..600).filter(|code| is_later(&of_http(*code, None, b""))).collect();
        assert_eq!(again, [429, 502, 503, 504]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let after = |text: &str| match of_http(503, Some(text), b"") {
            Failure::Later { after, .. } => after,
            Failure::Never { .. } => panic!("503 is sent again"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Some(AFTER_MAX));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(after("soon"), None);
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
    }

    #[test]
    fn grpc_codes_are_sent_again_as_the_specification_says() {
        let again: Vec<i32> =
            (1..17).filter(|code| is_later(&of_grpc(&Status::new(Code::from(*code), "no")))).collect();
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        assert_eq!(again, [1, 4, 10, 11, 14, 15]);
    }

    #[test]
    fn an_exhausted_receiver_is_asked_again_only_when_it_says_when() {
        let delay = Duration::from_millis(250);
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let Failure::Later { after, .. } = of_grpc(&status) else { panic!("it said when") };
        assert_eq!(after, Some(delay), "below a second too");
        assert!(!is_later(&of_grpc(&Status::new(Code::ResourceExhausted, "too large"))));
    }

    #[test]
    fn a_partial_success_is_a_success_that_left_some_out() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "no body".into() };
        let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(of_success(Signal::Logs, &body), Sent { rows_refused: 3, warning: "no body".into() });
        assert_eq!(of_success(Signal::Metrics, b""), Sent::default());
        assert!(of_success(Signal::Logs, b"<html>").warning.contains("cannot be read"));
    }
}
