//! A record that makes no sense is left out and counted; its neighbours are kept. A request that makes none is refused whole.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use model::Table;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{TRACES, TestCollector, call, framed, post, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn spans_without_ids_are_rejected_and_their_neighbours_kept() {
    let collector = TestCollector::start().await;
    let (mut no_trace, mut no_id) = (span(2), span(3));
    no_trace.trace_id = vec![0; 16];
    no_id.span_id = vec![0; 8];
    let request = traces(vec![span(1), no_trace, no_id, span(4)]);

    let mut client = TraceServiceClient::connect(format!("http://{}", collector.grpc)).await.expect("it listens");
    let partial =
        client.export(request.clone()).await.expect("a partial success is a success").into_inner().partial_success;
    let partial = partial.expect("two spans were rejected");
    assert_eq!(partial.rejected_spans, 2);
    assert!(!partial.error_message.is_empty());

    let answer = post(collector.http, "/v1/traces", &PROTOBUF, &request.encode_to_vec()).await;
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a response").partial_success;
    assert_eq!(partial.expect("two spans were rejected").rejected_spans, 2);

    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"00000000000000000000000000000000","spanId":"00f067aa0ba902b7","name":"none"},
        {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"kept"}]}]}]}"#;
    let answer = post(collector.http, "/v1/traces", &JSON, json.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "1");

    assert_eq!(collector.count(Table::Spans).await, 2 + 2 + 1);
    collector.stopped().await;
}

#[tokio::test]
async fn absurd_times_are_kept() {
    const YEAR_2200: u64 = 7_258_118_400_000_000_000;
    let collector = TestCollector::start().await;
    let (mut reversed, mut old, mut future) = (span(1), span(2), span(3));
    reversed.end_time_unix_nano = reversed.start_time_unix_nano - 5;
    (old.start_time_unix_nano, old.end_time_unix_nano) = (1, 2);
    (future.start_time_unix_nano, future.end_time_unix_nano) = (YEAR_2200, YEAR_2200 + 1);
    let request = traces(vec![reversed, old, future]).encode_to_vec();
    let answer = post(collector.http, "/v1/traces", &PROTOBUF, &request).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");

    let rows = collector.rows(Table::Spans).await;
    let times = rows[0].column_by_name("time").expect("a column").as_primitive::<TimestampNanosecondType>().clone();
    assert_eq!(&times.values()[1..], &[1, YEAR_2200 as i64]);
    let durations = rows[0].column_by_name("duration_ns").expect("a column").as_primitive::<Int64Type>().clone();
    assert_eq!(durations.values()[..], [0, 1, 1], "an end before its start lasts no time");
    collector.stopped().await;
}

#[tokio::test]
async fn text_that_is_not_utf8_neither_fails_the_request_nor_its_neighbours() {
    let collector = TestCollector::start().await;
    let mut marked = span(1);
    marked.name = "marked".into();
    let mut request = traces(vec![marked, span(2)]).encode_to_vec();
    let place = request.windows(6).position(|window| window == b"marked").expect("the name is in the bytes");
    request[place] = 0xff;
    let answer = post(collector.http, "/v1/traces", &PROTOBUF, &request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(collector.count(Table::Spans).await, 2);
    collector.stopped().await;
}

#[tokio::test]
async fn ids_keep_their_leading_zeros() {
    let collector = TestCollector::start().await;
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &traces(vec![span(7)]).encode_to_vec()).await.status, 200);
    let rows = collector.rows(Table::Spans).await;
    let ids = rows[0].column_by_name("trace_id").expect("a column").as_fixed_size_binary().clone();
    assert_eq!((ids.len(), ids.value(0)), (1, &7_u128.to_be_bytes()[..]));
    collector.stopped().await;
}

#[tokio::test]
async fn garbage_and_cut_messages_are_invalid_in_every_protocol() {
    let collector = TestCollector::start().await;
    let mut cut = traces(vec![span(1), span(2)]).encode_to_vec();
    cut.truncate(cut.len() - 3);
    for body in [&b"\xff\xff\xff\xff garbage"[..], &cut] {
        let answer = post(collector.http, "/v1/traces", &PROTOBUF, body).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
        let status = answer.status_message();
        assert_eq!(status.code, Code::InvalidArgument as i32);
        assert!(!status.message.is_empty());
        assert!(status.details.iter().any(|detail| detail.type_url.ends_with("google.rpc.BadRequest")));

        let status = call(collector.grpc, TRACES, &[], framed(0, body)).await.status;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.get_details_bad_request().is_some());
    }
    for body in ["{", "[]", r#"{"resourceSpans":7}"#, "\u{fffd}"] {
        let answer = post(collector.http, "/v1/traces", &JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["code"], Code::InvalidArgument as i32);
        assert_eq!(answer.json()["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    }
    assert_eq!(collector.count(Table::Spans).await, 0);
    assert_eq!(collector.health().await.0, 200, "nothing went down");
    collector.stopped().await;
}

#[tokio::test]
async fn nothing_at_all_is_a_success() {
    let collector = TestCollector::start().await;
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        assert_eq!(post(collector.http, path, &PROTOBUF, b"").await.status, 200);
        assert_eq!(post(collector.http, path, &JSON, b"{}").await.status, 200);
    }
    assert_eq!(
        post(collector.http, "/v1/traces", &JSON, br#"{"resourceSpans":[{"scopeSpans":[{}]}]}"#).await.status,
        200
    );
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &traces(vec![]).encode_to_vec()).await.status, 200);
    assert_eq!(call(collector.grpc, TRACES, &[], framed(0, b"")).await.status.code(), Code::Ok);
    collector.stopped().await;
}
