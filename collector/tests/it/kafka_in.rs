//! What waits in Kafka is kept, and nothing is said of it before it is.
//!
//! Also against Apache Kafka: `deploy/testbed/kafka cargo test -p collector kafka_in`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use model::Table;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::far_end::{FarEnd, answer};
use crate::harness::{TestCollector, args, eventually, head, recent_span, request, span, traces};
use crate::kafka::{Kafka, header};
use crate::process::Process;

fn words(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

async fn collector(kafka: &Kafka, more: &[&str]) -> TestCollector {
    TestCollector::with(&words(&kafka.settings(more))).await
}

/// One span a message.
fn message(number: u64) -> Vec<u8> {
    traces(vec![recent_span(number)]).encode_to_vec()
}

/// Of the messages that a collector has kept.
async fn numbers(collector: &TestCollector) -> BTreeSet<u64> {
    let rows = collector.rows(Table::Spans).await;
    let ids = rows.iter().flat_map(|rows| {
        let ids = rows.column_by_name("span_id").expect("spans have ids").as_fixed_size_binary();
        ids.iter().flatten().map(|id| u64::from_be_bytes(id.try_into().expect("eight bytes")) - 1).collect::<Vec<_>>()
    });
    ids.collect()
}

/// What /health says of a topic.
async fn state(collector: &TestCollector, signal: &str) -> serde_json::Value {
    let (code, health) = collector.health().await;
    assert_eq!(code, 200, "what is read from never makes the collector unwell");
    let topics = health["kafka_in"]["topics"].as_array().expect("a list").clone();
    topics.into_iter().find(|topic| topic["signal"] == signal).expect("the topic is read")
}

#[tokio::test]
async fn nothing_is_read_or_said_unless_it_is_set() {
    let collector = TestCollector::start().await;
    assert_eq!(collector.health().await.1["kafka_in"], serde_json::Value::Null);
    let metrics = request(collector.http, "GET", "/metrics", &[], b"").await;
    assert!(!String::from_utf8_lossy(&metrics.body).contains("kafka_in"));
    collector.stopped().await;
}

#[tokio::test]
async fn every_signal_in_either_encoding_is_kept_and_then_committed() {
    let kafka = Kafka::start(2).await;
    kafka.send("spans", 0, &message(1)).await;
    kafka.send("spans", 1, &message(2)).await;
    kafka.send("spans", 1, b"").await;
    let log = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    kafka.send("logs", 0, log).await;
    let point = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"asInt":"3"}]}}]}]}]}"#;
    kafka.send("metrics", 1, point).await;
    let collector = collector(&kafka, &["--kafka-in-encoding=otlp_json,traces=otlp_proto"]).await;
    for (topic, offsets) in [("spans", [1, 2]), ("logs", [1, 0]), ("metrics", [0, 1])] {
        eventually(&format!("{topic} are committed"), async || kafka.committed(topic).await == offsets).await;
    }
    for (table, rows) in [(Table::Spans, 2), (Table::Logs, 1), (Table::Metrics, 1)] {
        assert_eq!(collector.count(table).await, rows, "{}", table.name());
    }
    eventually("no lag is told", async || {
        let state = state(&collector, "traces").await;
        (&state["state"], &state["lag"], &state["partitions"], &state["kept"])
            == (&"works".into(), &0.into(), &2.into(), &3.into())
    })
    .await;
    let metrics = request(collector.http, "GET", "/metrics", &[], b"").await;
    let metrics = String::from_utf8(metrics.body).expect("it is text");
    let labels = format!(r#"{{messaging_destination_name="{}",otlp_signal="traces""#, kafka.name("spans"));
    for sample in [
        format!("faultline_collector_kafka_in_messages_total{labels},outcome=\"kept\"}} 3"),
        format!("faultline_collector_kafka_in_lag{labels}}} 0"),
        format!("faultline_collector_kafka_in_state{labels},state=\"works\"}} 1"),
        "faultline_collector_queue_capacity{queue=\"kafka_in_messages\"} 64".to_owned(),
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in {metrics}");
    }
    collector.stopped().await;
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_the_partition_moves_on() {
    let kafka = Kafka::start(1).await;
    let large = traces((0..100).map(recent_span).collect()).encode_to_vec();
    let mut nobody = span(3);
    nobody.trace_id = vec![0; 16];
    let partly = traces(vec![recent_span(4), nobody]).encode_to_vec();
    for value in [&message(1), &b"\xffno request".to_vec(), &message(2), &large, &partly, &message(3)] {
        kafka.send("spans", 0, value).await;
    }
    let collector = collector(&kafka, &["--otlp-request-bytes-max=1000"]).await;
    eventually("all of it is committed", async || kafka.committed("spans").await == [6]).await;
    assert_eq!(collector.count(Table::Spans).await, 4, "what is good, also beside what is not");
    let letters = kafka.dead_letters(2).await;
    let of = |offset: &str| {
        let found = |letter: &&OwnedMessage| header(letter, "origin_offset").as_deref() == Some(offset);
        letters.iter().find(found).unwrap_or_else(|| panic!("no letter of {offset}: {letters:?}"))
    };
    for (offset, value, reason) in [("1", &b"\xffno request"[..], ""), ("3", &large, "larger than 1000 bytes")] {
        let letter = of(offset);
        assert_eq!((letter.payload(), letter.key()), (Some(value), Some(&b"a key"[..])));
        assert_eq!(header(letter, "origin_topic"), Some(kafka.name("spans")));
        assert_eq!(header(letter, "origin_partition").as_deref(), Some("0"));
        let said = header(letter, "failure_reason").expect("the reason is told");
        assert!(!said.is_empty() && said.contains(reason), "{said}");
    }
    let state = state(&collector, "traces").await;
    assert_eq!((&state["kept"], &state["dead_lettered"]), (&4.into(), &2.into()), "{state}");
    collector.stopped().await;
}

#[tokio::test]
async fn a_dead_letter_is_taken_by_the_broker_before_its_offset_is_committed() {
    let kafka = Kafka::start(1).await;
    // Errors can be had from the broker of tests alone.
    let Some(mock) = &kafka.mock else { return };
    for value in [&message(1), &b"\xff".to_vec(), &message(2)] {
        kafka.send("spans", 0, value).await;
    }
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.request_errors(RDKafkaApiKey::Produce, &[refused; 100]);
    let collector = collector(&kafka, &[]).await;
    eventually("it is tried again", async || state(&collector, "traces").await["failures"].as_u64() >= Some(3)).await;
    let waiting = state(&collector, "traces").await;
    assert_eq!((&waiting["state"], &waiting["kept"]), (&"waits".into(), &2.into()), "{waiting}");
    assert!(waiting["reason"].as_str().is_some_and(|why| why.contains("dead letter")), "{waiting}");
    eventually("what is before it is committed", async || kafka.committed("spans").await == [1]).await;

    mock.clear_request_errors(RDKafkaApiKey::Produce);
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let letters = kafka.dead_letters(1).await;
    assert_eq!(letters[0].payload(), None, "a value that its topic does not take stays where it was");
    assert_eq!(header(&letters[0], "value_left_out").as_deref(), Some("1 bytes"));
    eventually("all of it is committed", async || kafka.committed("spans").await == [3]).await;
    assert_eq!(state(&collector, "traces").await["state"], "works");
    collector.stopped().await;
}

#[tokio::test]
async fn no_offset_is_committed_while_the_store_refuses() {
    let kafka = Kafka::start(1).await;
    for number in 0..10 {
        kafka.send("spans", 0, &message(number)).await;
    }
    let full = collector(&kafka, &["--log-bytes-max=1", "--kafka-in-messages-max=4"]).await;
    // Each of those in hand has been refused several times, and committing had its time.
    eventually("it is told", async || {
        let state = state(&full, "traces").await;
        assert_eq!(state["kept"], 0);
        state["state"] == "waits" && state["lag"] == 10 && state["failures"].as_u64() > Some(8)
    })
    .await;
    assert_eq!(full.health().await.1["kafka_in"]["in_hand"], 4);
    assert_eq!(kafka.committed("spans").await, [0]);
    let data = full.stopped().await;
    assert_eq!(kafka.committed("spans").await, [0], "nor by an orderly end");
    let roomy = TestCollector::within(data, &words(&kafka.settings(&[]))).await;
    eventually("all of it is committed", async || kafka.committed("spans").await == [10]).await;
    assert_eq!(roomy.count(Table::Spans).await, 10);
    roomy.stopped().await;
}

#[tokio::test]
#[ignore = "a rebalance takes seconds and cores: deploy/testbed/collector-tests runs it on Apache Kafka"]
async fn a_store_that_is_full_again_and_again_is_waited_for() {
    let kafka = Kafka::start(1).await;
    // Segments of a few messages, and a log of a few segments: it is full until compaction has made room.
    let small = ["--segment-bytes-max=50000", "--log-bytes-max=150000", "--kafka-in-messages-max=8"];
    let collector = collector(&kafka, &small).await;
    let (messages, spans) = (100, 20);
    for number in 0..messages {
        let body = traces((number * spans..(number + 1) * spans).map(recent_span).collect()).encode_to_vec();
        kafka.send("spans", 0, &body).await;
    }
    eventually("all of it is committed", async || {
        let committed = kafka.committed("spans").await[0];
        let kept = state(&collector, "traces").await["kept"].as_u64().expect("a number");
        assert!(committed as u64 <= kept, "{committed} is committed and {kept} are kept");
        committed == messages as i64
    })
    .await;
    let state = state(&collector, "traces").await;
    assert!(state["failures"].as_u64() > Some(0), "it never was full: {state}");
    assert_eq!((&state["kept"], &state["state"]), (&messages.into(), &"works".into()));
    let metrics = request(collector.http, "GET", "/metrics", &[], b"").await;
    let kept =
        format!(r#"faultline_collector_items_total{{otlp_signal="traces",outcome="accepted"}} {}"#, messages * spans);
    assert!(String::from_utf8_lossy(&metrics.body).lines().any(|line| line == kept), "every span once");
    collector.stopped().await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for() {
    let kafka = Kafka::start(1).await;
    let Some(mock) = &kafka.mock else { return };
    kafka.send("spans", 0, &message(1)).await;
    mock.broker_down(1).expect("there is one");
    let collector = collector(&kafka, &[]).await;
    eventually("it is told at the start", async || {
        let state = state(&collector, "traces").await;
        state["state"] == "fails" && state["reason"].as_str().is_some_and(|why| why.contains("127.0.0.1"))
    })
    .await;
    mock.broker_up(1).expect("there is one");
    eventually("it is read", async || collector.count(Table::Spans).await == 1).await;
    eventually("it is committed", async || kafka.committed("spans").await == [1]).await;
    eventually("it is told", async || state(&collector, "traces").await["state"] == "works").await;
    mock.broker_down(1).expect("there is one");
    eventually("it is told later", async || state(&collector, "traces").await["state"] == "fails").await;
    mock.broker_up(1).expect("there is one");
    kafka.send("spans", 0, &message(2)).await;
    eventually("it is read", async || collector.count(Table::Spans).await == 2).await;
    eventually("all of it is committed", async || kafka.committed("spans").await == [2]).await;
    collector.stopped().await;
}

#[tokio::test]
#[ignore = "a rebalance takes seconds and cores: deploy/testbed/collector-tests runs it on Apache Kafka"]
async fn collectors_of_a_group_share_the_partitions_and_keep_everything() {
    let kafka = Kafka::start(4).await;
    // One topic: what is shared evenly is the partitions of all topics together.
    let topics = format!("--kafka-in-topics=traces={},logs=,metrics=", kafka.name("spans"));
    let one = collector(&kafka, &[&topics]).await;
    let mut sent = 0;
    let mut send = async |count: u64| {
        for _ in 0..count {
            kafka.send("spans", (sent % 4) as i32, &message(sent)).await;
            sent += 1;
        }
    };
    send(40).await;
    eventually("the first reads alone", async || one.count(Table::Spans).await == 40).await;
    let other = collector(&kafka, &[&topics]).await;
    eventually("each has two partitions", async || {
        let partitions =
            (state(&one, "traces").await["partitions"].clone(), state(&other, "traces").await["partitions"].clone());
        partitions == (2.into(), 2.into())
    })
    .await;
    send(40).await;
    // What a collector had not committed when its partition left is kept by the other as well.
    eventually("both read", async || &numbers(&one).await | &numbers(&other).await == (0..80).collect()).await;
    assert!(numbers(&other).await.len() >= 20);
    one.stopped().await;
    send(40).await;
    eventually("the other goes on alone", async || numbers(&other).await.is_superset(&(80..120).collect())).await;
    eventually("all of it is committed", async || kafka.committed("spans").await == [30; 4]).await;
    other.stopped().await;
}

#[tokio::test]
#[ignore = "a rebalance takes seconds and cores: deploy/testbed/collector-tests runs it on Apache Kafka"]
async fn a_partition_that_left_while_there_was_no_room_is_read_when_it_comes_back() {
    let kafka = Kafka::start(2).await;
    let topics = format!("--kafka-in-topics=traces={},logs=,metrics=", kafka.name("spans"));
    let one = collector(&kafka, &[&topics, "--otlp-in-flight-bytes-max=1000"]).await;
    // Somebody takes all the room, and does not go on.
    let mut slow = TcpStream::connect(one.http).await.expect("it listens");
    let headers = [("content-type", "application/x-protobuf")];
    slow.write_all(head("POST", "/v1/traces", &headers, 1000).as_bytes()).await.expect("it reads");
    slow.write_all(&[0; 990]).await.expect("it reads");
    for partition in 0..2 {
        kafka.send("spans", partition, &message(partition as u64)).await;
    }
    eventually("it pauses", async || one.health().await.1["kafka_in"]["paused"] == true).await;
    assert_eq!(state(&one, "traces").await["state"], "waits");

    let other = collector(&kafka, &[&topics]).await;
    eventually("the other has a partition", async || state(&other, "traces").await["kept"] == 1).await;
    drop(slow);
    eventually("what waited is kept", async || one.count(Table::Spans).await == 1).await;
    other.stopped().await;
    for partition in 0..2 {
        kafka.send("spans", partition, &message(2 + partition as u64)).await;
    }
    eventually("both are read again", async || one.count(Table::Spans).await == 3).await;
    eventually("all of it is committed", async || kafka.committed("spans").await == [2, 2]).await;
    one.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a rebalance takes seconds and cores: deploy/testbed/collector-tests runs it on Apache Kafka"]
async fn a_collector_that_is_killed_under_load_loses_nothing() {
    let kafka = Kafka::start(2).await;
    // Whatever is durable gets there, a second time after a crash maybe.
    let durable = Arc::<Mutex<BTreeSet<u64>>>::default();
    let seen = Arc::clone(&durable);
    let far = FarEnd::start(move |asked, _| {
        let request = ExportTraceServiceRequest::decode(&asked.body[..]).expect("it is OTLP");
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let ids = scopes.flat_map(|scope| scope.spans).map(|span| span.span_id);
        let numbers = ids.map(|id| u64::from_be_bytes(id.try_into().expect("eight bytes")) - 1);
        seen.lock().expect("no panic").extend(numbers);
        answer(200, "")
    })
    .await;
    let out = [
        format!("--otlp-out-url={}", far.url()),
        "--otlp-out-protocol=http".to_owned(),
        "--otlp-out-compression=none".to_owned(),
        "--otlp-out-wait-max-ms=1".to_owned(),
    ];
    let settings = [kafka.settings(&[]), out.to_vec()].concat();
    let data = tempfile::tempdir().expect("a temporary folder");

    let (stop, sent) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let (sender, topic, count, stopped) = (kafka.sender(), kafka.name("spans"), Arc::clone(&sent), stop.clone());
    let load = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            let number = count.fetch_add(1, Relaxed);
            sender.send(&topic, (number % 2) as i32, &message(number)).await;
        }
    });
    for _ in 0..2 {
        let killed = Process::start(data.path(), &settings, &[]);
        let before = durable.lock().expect("no panic").len();
        eventually("some of it is kept", async || durable.lock().expect("no panic").len() > before + 100).await;
        drop(killed);
    }
    stop.cancel();
    load.await.expect("the broker takes everything");
    let sent = sent.load(Relaxed);
    let last = TestCollector::within(data, &words(&settings)).await;
    eventually("all of it is committed", async || kafka.committed("spans").await.iter().sum::<i64>() == sent as i64)
        .await;
    eventually("all of it is kept", async || durable.lock().expect("no panic").len() as u64 == sent).await;
    last.stopped().await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_told_at_the_start() {
    for settings in [
        &["--kafka-in-topics=spans=x"][..],
        &["--kafka-in-encoding=jaeger"],
        &["--kafka-in-dead-letter-topic=otlp_logs"],
        &["--kafka-out-servers=y:1,x:1"],
    ] {
        let data = tempfile::tempdir().expect("a temporary folder");
        let settings = [&["--kafka-in-servers=x:1"], settings].concat();
        let error = collector::Server::bind(args(data.path(), &settings)).await.err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("{settings:?} was accepted")));
        assert!(error.contains("Kafka in make no sense"), "{error}");
    }
}
