//! The frame around the message, as bytes.

use model::Table;
use prost::Message;
use tonic::Code;

use crate::harness::{TRACES, TestCollector, call, framed, gzip, post, span, traces, zlib};

#[tokio::test]
async fn a_good_frame_is_answered_with_an_empty_message() {
    let collector = TestCollector::start().await;
    let message = traces(vec![span(1)]).encode_to_vec();
    let kept = call(collector.grpc, TRACES, &[], framed(0, &message)).await;
    assert_eq!((kept.status.code(), &kept.message[..]), (Code::Ok, &[0; 5][..]));
    let kept = call(collector.grpc, TRACES, &[("grpc-encoding", "gzip")], framed(1, &gzip(&message))).await;
    assert_eq!(kept.status.code(), Code::Ok);
    let kept = call(collector.grpc, TRACES, &[("grpc-encoding", "gzip")], framed(0, &message)).await;
    assert_eq!(kept.status.code(), Code::Ok, "a message may be plain although compression was announced");
    assert_eq!(collector.count(Table::Spans).await, 3);
    collector.stopped().await;
}

#[tokio::test]
async fn frames_that_lie_are_invalid() {
    let collector = TestCollector::start().await;
    let message = traces(vec![span(1)]).encode_to_vec();
    let mut short = framed(0, &message);
    short.pop();
    let mut long = framed(0, &message);
    long.push(0);
    let cases = [
        ("no message", vec![]),
        ("half a prefix", vec![0, 0, 0]),
        ("a byte missing", short),
        ("a byte too many", long),
        ("an unknown flag", framed(9, &message)),
        ("compressed by nothing", framed(1, &message)),
        ("two messages", [framed(0, &message), framed(0, &message)].concat()),
    ];
    for (case, body) in cases {
        let status = call(collector.grpc, TRACES, &[], body).await.status;
        let code = if case == "compressed by nothing" { Code::Internal } else { Code::InvalidArgument };
        assert_eq!(status.code(), code, "{case}: {status}");
    }
    assert_eq!(collector.count(Table::Spans).await, 0);
    collector.stopped().await;
}

#[tokio::test]
async fn unknown_methods_and_encodings_are_unimplemented() {
    let collector = TestCollector::start().await;
    let status =
        call(collector.grpc, "/opentelemetry.proto.collector.trace.v1.TraceService/Import", &[], framed(0, b""))
            .await
            .status;
    assert_eq!(status.code(), Code::Unimplemented);
    let status = call(collector.grpc, TRACES, &[("grpc-encoding", "br")], framed(1, b"x")).await.status;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        status.metadata().get("grpc-accept-encoding").map(|value| value.as_bytes()),
        Some(&b"gzip, deflate, zstd, identity"[..])
    );
    collector.stopped().await;
}

#[tokio::test]
async fn a_frame_that_announces_more_than_is_taken_is_refused_at_its_first_bytes() {
    let collector = TestCollector::start().await;
    let body = [&[0, 0xff, 0xff, 0xff, 0xff][..], b"three"].concat();
    let call = call(collector.grpc, TRACES, &[], body).await;
    assert_eq!(call.status.code(), Code::ResourceExhausted, "{}", call.status);
    collector.stopped().await;
}

#[tokio::test]
async fn every_compression_is_understood() {
    let collector = TestCollector::start().await;
    let message = traces(vec![span(1)]).encode_to_vec();
    let bodies = [
        ("gzip", gzip(&message)),
        ("deflate", zlib(&message)),
        ("zstd", zstd::encode_all(&message[..], 1).expect("writes to memory")),
    ];
    for (encoding, body) in &bodies {
        let call = call(collector.grpc, TRACES, &[("grpc-encoding", *encoding)], framed(1, body)).await;
        assert_eq!(call.status.code(), Code::Ok, "{encoding}: {}", call.status);
    }
    assert_eq!(collector.count(Table::Spans).await, bodies.len());
    collector.stopped().await;
}

#[tokio::test]
async fn the_content_type_is_grpc_however_it_is_spelt() {
    let collector = TestCollector::start().await;
    for media_type in ["application/grpc+proto", "Application/gRPC", "application/grpc; charset=utf-8"] {
        let call = call(collector.grpc, TRACES, &[("content-type", media_type)], framed(0, b"")).await;
        assert_eq!(call.status.code(), Code::Ok, "{media_type}");
    }
    let answer = post(collector.grpc, TRACES, &[("content-type", "application/json")], b"{}").await;
    assert_eq!(answer.status, 415, "what gRPC asks for when it is something else");
    collector.stopped().await;
}
