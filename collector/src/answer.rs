//! The success of each signal: an empty message, or a partial success that says what was left out.

use model::{Rejected, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::{Value, json};

use crate::refusal::cut;

/// Bytes of `error_message`; the specification bounds the whole response to 4 MiB, people read less.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

pub(crate) fn protobuf(signal: Signal, rejected: Rejected) -> Vec<u8> {
    let Some((count, error_message)) = partial(rejected) else { return Vec::new() };
    match signal {
        Signal::Traces => ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: count, error_message }),
        }
        .encode_to_vec(),
        Signal::Logs => ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: count, error_message }),
        }
        .encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess { rejected_data_points: count, error_message }),
        }
        .encode_to_vec(),
    }
}

pub(crate) fn json(signal: Signal, rejected: Rejected) -> Value {
    let Some((count, error_message)) = partial(rejected) else { return json!({}) };
    let field = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
    };
    // The JSON mapping of protobuf writes 64-bit integers as strings.
    json!({ "partialSuccess": { field: count.to_string(), "errorMessage": error_message } })
}

/// None when everything was kept: then `partial_success` must be unset.
fn partial(rejected: Rejected) -> Option<(i64, String)> {
    let Rejected { count, message } = rejected;
    let nothing = count == 0 && message.is_empty();
    (!nothing).then(|| (i64::try_from(count).unwrap_or(i64::MAX), cut(message, MESSAGE_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_success_is_an_empty_message() {
        for signal in Signal::ALL {
            assert!(protobuf(signal, Rejected::default()).is_empty());
            assert_eq!(json(signal, Rejected::default()), json!({}));
        }
    }

    #[test]
    fn partial_success_counts_and_explains() {
        let rejected = Rejected { count: 3, message: "span 2 has no id".to_owned() };
        let response =
            ExportTraceServiceResponse::decode(&protobuf(Signal::Traces, rejected.clone())[..]).expect("own bytes");
        let partial = response.partial_success.expect("something was rejected");
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, "span 2 has no id"));
        assert_eq!(
            json(Signal::Logs, rejected),
            json!({ "partialSuccess": { "rejectedLogRecords": "3", "errorMessage": "span 2 has no id" } })
        );
    }
}
