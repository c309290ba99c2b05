//! Messages as nobody should send them, clocks as nobody should set them, a database that goes away.

use product_bus::database::Dialect;
use product_testing::TestDatabase;
use serde_json::json;
use uuid::Uuid;

use crate::{
    assert_once_and_in_order,
    bench::{Consumer, Product, TestBroker, messages, put, until},
};

/// The headers of an event on the wire, written out: whatever is here today has to be read tomorrow.
fn headers<'a>(id: &'a str, time: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_type", "thing.happened"),
        ("ce_source", "elsewhere"),
        ("ce_time", time),
        ("ce_dataversion", "1"),
        ("content-type", "application/json"),
    ]
}

/// Headers, body, and what is wrong with them.
type Bad<'a> = (Vec<(&'a str, &'a str)>, &'a [u8], &'a str);

const NOON: &str = "2026-11-22T12:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_goes_to_the_dead_letters_and_holds_up_nobody() {
    let theirs = TestDatabase::create().await;
    let broker = TestBroker::start().await;
    let (kafka, topic) = (broker.kafka(), broker.topic().name);
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product_bus::create_topics(&kafka, &[broker.topic()]).await.expect("a topic");

    let id = Uuid::now_v7().to_string();
    let without = |name: &str| headers(&id, NOON).into_iter().filter(|(found, _)| *found != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
    let body = br#"{"n":1}"#.as_slice();
    let bad: Vec<Bad<'_>> = vec![
        (vec![], b"", "header ce_time is missing"),
        (without("ce_id"), body, "header ce_id is missing"),
        (with("ce_id", "7"), body, "header ce_id does not parse"),
        (without("ce_type"), body, "header ce_type is missing"),
        (with("ce_time", "yesterday"), body, "header ce_time does not parse"),
        (with("ce_time", "9999-01-01T00:00:00Z"), body, "header ce_time does not parse"),
        (with("ce_dataversion", "-1"), body, "header ce_dataversion does not parse"),
        (with("ce_sequence", "first"), body, "header ce_sequence does not parse"),
        (headers(&id, NOON), b"{", "the body is not JSON"),
        (headers(&id, NOON), b"\xff\xfe\0", "the body is not JSON"),
    ];
    for (headers, body, _) in &bad {
        put(&kafka, &topic, b"\xffkey", headers, body).await;
    }
    put(&kafka, &topic, b"\xffkey", &headers(&id, NOON), body).await;
    let effects = consumer.until_effects(1).await;
    assert_eq!(effects, [("\u{fffd}key".to_owned(), 1)]);

    let dead = messages(&kafka, &format!("{topic}.{}.dlq", broker.group()), bad.len()).await;
    let reasons: Vec<_> = dead.iter().map(|headers| headers["failure_reason"].as_str()).collect();
    assert_eq!(reasons, bad.iter().map(|(_, _, reason)| *reason).collect::<Vec<_>>());
    consumer.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_any_order_and_number_have_their_effect_once() {
    let theirs = TestDatabase::create().await;
    let broker = TestBroker::start().await;
    let (kafka, topic) = (broker.kafka(), broker.topic().name);
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product_bus::create_topics(&kafka, &[broker.topic()]).await.expect("a topic");
    let ids: Vec<_> = (0..12).map(|_| Uuid::now_v7().to_string()).collect();
    // Backwards, each again after the next, and under another key: identity is the id alone.
    for (number, id) in ids.iter().enumerate().rev() {
        let body = json!({ "n": number }).to_string();
        put(&kafka, &topic, b"key", &headers(id, NOON), body.as_bytes()).await;
        if let Some(before) = ids.get(number + 1) {
            put(&kafka, &topic, b"another", &headers(before, NOON), body.as_bytes()).await;
        }
    }
    consumer.until_effects(ids.len()).await;
    put(&kafka, &topic, b"key", &headers(&Uuid::now_v7().to_string(), NOON), br#"{"n":12}"#).await;
    put(&kafka, &topic, b"another", &headers(&Uuid::now_v7().to_string(), NOON), br#"{"n":13}"#).await;
    let effects = consumer.until_effects(ids.len() + 2).await;
    assert_eq!(effects.len(), ids.len() + 2);
    consumer.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_hold_up_nobody() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let (kafka, topic) = (broker.kafka(), broker.topic().name);
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product_bus::create_topics(&kafka, &[broker.topic()]).await.expect("a topic");
    for (time, body) in [("1969-12-31T23:59:59Z", r#"{"n":0}"#), ("2261-01-01T00:00:00Z", r#"{"n":1}"#)] {
        put(&kafka, &topic, b"key", &headers(&Uuid::now_v7().to_string(), time), body.as_bytes()).await;
    }
    consumer.until_effects(2).await;

    // Whoever put it off had a clock a century ahead: it waits no longer than the delay of its topic.
    let id = Uuid::now_v7().to_string();
    let late = [headers(&id, NOON), vec![("retry_due_ms", "4953000000000"), ("origin_topic", &topic)]].concat();
    put(&kafka, &format!("{topic}.{}.retry.1", broker.group()), b"key", &late, br#"{"n":2}"#).await;
    consumer.until_effects(3).await;

    // Rows that were written when the clock was ahead are published, and their age is not negative.
    let database = ours.open("ours.db").await;
    product_bus::outbox::migrate(&database).await.expect("tables");
    let mut event = product_bus::Event::new("thing.happened", "key", json!({ "n": 3 }));
    event.time_ns = i64::MAX;
    let mut transaction = database.begin().await.expect("a transaction");
    product_bus::outbox::enqueue(&mut transaction, &topic, &event).await.expect("a row");
    sqlx::query("UPDATE outbox SET created_ns = 9000000000000000000").execute(&mut *transaction).await.expect("a row");
    database.commit(transaction).await.expect("a commit");
    let product = Product::start(database, &broker).await;
    let effects = consumer.until_effects(4).await;
    assert_once_and_in_order(&effects, 4);
    product.end().await;
    consumer.end().await;
    broker.end().await;
}

/// A SQLite file does not go away; a server does.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_disappears_in_the_middle_loses_and_doubles_nothing() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let database = ours.open("ours.db").await;
    if database.dialect() == Dialect::Sqlite {
        return;
    }
    let broker = TestBroker::start().await;
    let product = Product::start(database, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    let beside = theirs.open("theirs.db").await;
    for hundred in 0..5 {
        product.say_all(hundred * 100..(hundred + 1) * 100).await;
        let some = usize::try_from(hundred * 100 + 20).expect("a count");
        until("some effects", async || {
            // A connection of this one's pool may be among those that were cut.
            let effects: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM effect").fetch_one(beside.readers()).await.ok()?;
            (usize::try_from(effects).ok()? >= some).then_some(())
        })
        .await;
        sqlx::raw_sql(
            "SELECT CAST(COUNT(pg_terminate_backend(pid)) AS BIGINT) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(beside.writer())
        .await
        .expect("a superuser");
    }
    until("all effects", async || {
        let effects: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM effect").fetch_one(beside.readers()).await.ok()?;
        (effects >= 500).then_some(())
    })
    .await;
    // In any order: what a handler could not do for want of its database was put aside and tried again.
    let mut numbers: Vec<_> = consumer.effects().await.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    consumer.end().await;
    product.end().await;
    broker.end().await;
}
