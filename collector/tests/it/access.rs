//! Who may send, and how much of it.

use std::path::PathBuf;

use base64::Engine;
use model::Table;
use prost::Message;
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{TRACES, TestCollector, args, call, eventually, framed, gzip, post, request, span, traces};

const TOKEN: &str = "a-token-of-checkout";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A file of clients, and the setting that names it.
fn clients(text: &str) -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("clients.toml");
    std::fs::write(&path, text).expect("it can be written");
    let setting = format!("--otlp-clients={}", path.display());
    (folder, path, setting)
}

fn message() -> Vec<u8> {
    traces(vec![span(1)]).encode_to_vec()
}

#[tokio::test]
async fn without_credentials_nothing_is_taken_and_the_answer_says_what_to_send() {
    let collector = TestCollector::with(&[&format!("--otlp-token={TOKEN}")]).await;
    let wrong = format!("Bearer {TOKEN}s");
    for headers in
        [&[JSON][..], &[JSON, ("authorization", wrong.as_str())], &[JSON, ("authorization", "Negotiate abc")]]
    {
        let answer = post(collector.http, "/v1/traces", headers, b"{}").await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{answer:?}");
        assert_eq!(answer.json()["code"], Code::Unauthenticated as i32);
        let message = answer.json()["message"].to_string();
        assert!(message.contains("authorization: Bearer <token>") && !message.contains(TOKEN), "{message}");
    }
    let answer = post(collector.http, "/v1/traces", &[PROTOBUF], &message()).await;
    assert_eq!((answer.status, answer.status_message().code), (401, Code::Unauthenticated as i32));

    let status = call(collector.grpc, TRACES, &[], framed(0, &message())).await.status;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.get_details_retry_info().is_none(), "the same credentials will not do better");

    let bearer = format!("bearer {TOKEN}");
    let known = [PROTOBUF, ("authorization", bearer.as_str())];
    assert_eq!(post(collector.http, "/v1/traces", &known, &message()).await.status, 200);
    let status = call(collector.grpc, TRACES, &[("authorization", &bearer)], framed(0, &message())).await.status;
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(collector.count(Table::Spans).await, 2);
    assert_eq!(collector.health().await.0, 200, "probes have no credentials");
    collector.stopped().await;
}

#[tokio::test]
async fn a_file_names_clients_by_token_and_by_password() {
    let (_folder, _, setting) =
        clients("[checkout]\ntoken = \"a-token-of-checkout\"\n[legacy]\nuser = \"legacy\"\npassword = \"pass:word\"\n");
    let collector = TestCollector::with(&[&setting]).await;
    let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let (bearer, good, bad) = (format!("Bearer {TOKEN}"), basic("legacy:pass:word"), basic("legacy:pass"));
    for (credentials, status) in [(&bearer, 200), (&good, 200), (&bad, 401)] {
        let headers = [PROTOBUF, ("authorization", credentials.as_str())];
        assert_eq!(post(collector.http, "/v1/traces", &headers, &message()).await.status, status);
    }
    let text = String::from_utf8(request(collector.http, "GET", "/metrics", &[], b"").await.body).expect("text");
    assert!(
        text.contains("faultline_collector_client_requests_total{client=\"legacy\",outcome=\"accepted\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("faultline_collector_requests_total{otlp_signal=\"traces\",outcome=\"denied\"} 1\n"),
        "{text}"
    );
    collector.stopped().await;
}

#[tokio::test]
async fn a_client_over_its_requests_is_asked_to_come_back_and_others_are_not() {
    let (_folder, _, setting) = clients(
        "[slow]\ntoken = \"token-of-slow\"\nrequests_per_second_max = 1\n[quick]\ntoken = \"token-of-quick\"\n",
    );
    let collector = TestCollector::with(&[&setting]).await;
    let slow = [JSON, ("authorization", "Bearer token-of-slow")];
    let mut answer = post(collector.http, "/v1/traces", &slow, b"{}").await;
    assert_eq!(answer.status, 200);
    // On a busy machine a second may pass between two of them, not between each two.
    for _ in 0..50 {
        if answer.status == 200 {
            answer = post(collector.http, "/v1/traces", &slow, b"{}").await;
        }
    }
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{answer:?}");
    assert_eq!(answer.json()["details"][0]["@type"], "type.googleapis.com/google.rpc.RetryInfo");
    let message = answer.json()["message"].to_string();
    assert!(message.contains("client slow sends more than its 1 requests a second"), "{message}");

    let mut status = call(collector.grpc, TRACES, &[slow[1]], framed(0, b"")).await.status;
    for _ in 0..50 {
        if status.code() == Code::Ok {
            status = call(collector.grpc, TRACES, &[slow[1]], framed(0, b"")).await.status;
        }
    }
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some_and(|delay| !delay.is_zero()));

    for _ in 0..5 {
        let quick = [JSON, ("authorization", "Bearer token-of-quick")];
        assert_eq!(post(collector.http, "/v1/traces", &quick, b"{}").await.status, 200);
    }
    collector.stopped().await;
}

#[tokio::test]
async fn what_a_body_inflates_to_is_charged_to_who_sent_it() {
    let (_folder, _, setting) = clients("[bulk]\ntoken = \"token-of-bulk\"\nbytes_per_second_max = 100000\n");
    let collector = TestCollector::with(&[&setting]).await;
    let headers = [JSON, ("content-encoding", "gzip"), ("authorization", "Bearer token-of-bulk")];
    let blanks = gzip(&[&vec![b' '; 10 << 20][..], b"{}"].concat());
    assert!(blanks.len() < 100_000);
    assert_eq!(post(collector.http, "/v1/logs", &headers, &blanks).await.status, 200, "what is here is let through");
    let answer = post(collector.http, "/v1/logs", &headers, &gzip(b"{}")).await;
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((60..=105).contains(&seconds), "ten MiB at 100,000 a second are 105 seconds' worth: {seconds}");
    collector.stopped().await;
}

#[tokio::test]
async fn a_new_token_works_without_a_restart() {
    let (_folder, path, setting) = clients("[a]\ntoken = \"the old token\"\n");
    let collector = TestCollector::with(&[&setting, "--otlp-reload-seconds=1"]).await;
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        post(collector.http, "/v1/traces", &[JSON, ("authorization", &bearer)], b"{}").await.status
    };
    assert_eq!((status("the old token").await, status("a newer token").await), (200, 401));
    std::fs::write(&path, "[a]\ntoken = ").expect("it can be written");
    std::fs::write(&path, "[a]\ntoken = \"a newer token\"\n").expect("it can be written");
    eventually("the new token is known", async || status("a newer token").await == 200).await;
    assert_eq!(status("the old token").await, 401);
    collector.stopped().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_a_port_is_open() {
    let (folder, _, setting) = clients("[a]\ntoken = \"sesame\"\nbytes = 1\n");
    let data = tempfile::tempdir().expect("a temporary folder");
    let missing = format!("--otlp-tls-cert={}", folder.path().join("missing.pem").display());
    for (settings, expected) in [
        (vec![setting.as_str()], "does not say who may send: line 3 is not understood"),
        (vec!["--otlp-clients=/nowhere/clients.toml"], "could not read the clients of --otlp-clients"),
        (vec!["--otlp-token="], "--otlp-token is empty"),
        (vec!["--otlp-token=sesame-ö"], "--otlp-token has to be ASCII"),
        (vec![missing.as_str()], "--otlp-tls-cert and --otlp-tls-key go together"),
        (vec!["--otlp-cors-origins=shop.example"], "--otlp-cors-origins wants origins"),
    ] {
        let Err(error) = collector::Server::bind(args(data.path(), &settings)).await else { panic!("{expected}") };
        let said = format!("{error:#}");
        assert!(said.contains(expected) && !said.contains("sesame"), "{said}");
    }
}
