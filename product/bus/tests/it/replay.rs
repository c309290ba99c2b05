//! What was lost is put back, and what was not is left alone.

use product_bus::replay::{self, Selection};
use product_testing::TestDatabase;
use serde_json::json;

use crate::bench::{Consumer, Product, TestBroker, messages};

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_mends_what_was_lost_and_nothing_else() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say_all(0..20).await;
    consumer.until_effects(20).await;

    // Somebody restored a backup: the effects of one key are gone, with what the inbox knew of them.
    let lost = |number: &i64| number % 5 == 3;
    sqlx::query("DELETE FROM effect WHERE key = 'key3'").execute(consumer.database.writer()).await.expect("rows");
    sqlx::query("DELETE FROM inbox").execute(consumer.database.writer()).await.expect("rows");
    let args = |selection| replay::Args { selection, dead_letters: None, kafka: broker.kafka() };
    let of_key = Selection { key: Some("key3".to_owned()), ..Selection::default() };
    assert_eq!(replay::run(&args(of_key), &product.database, "test").await.expect("a replay"), 4);
    let effects = consumer.until_effects(20).await;
    let again: Vec<_> = effects[16..].iter().map(|(_, number)| *number).collect();
    assert_eq!(again, (0..20).filter(lost).collect::<Vec<_>>());

    let other_kind = Selection { kind: Some("thing.else".to_owned()), ..Selection::default() };
    assert_eq!(replay::run(&args(other_kind), &product.database, "test").await.expect("a replay"), 0);
    let past = Selection { until: Some("2020-01-01T00:00:00Z".parse().expect("a time")), ..Selection::default() };
    assert_eq!(replay::run(&args(past), &product.database, "test").await.expect("a replay"), 0);
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_put_back_has_its_effect() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say("a", json!({"n": 0, "fail": 3})).await;
    product.say("b", json!({"n": 1})).await;
    consumer.until_effects(1).await;
    messages(&broker.kafka(), &format!("{}.{}.dlq", broker.topic().name, broker.group()), 1).await;

    let args = |key: &str| replay::Args {
        selection: Selection { key: Some(key.to_owned()), ..Selection::default() },
        dead_letters: Some(broker.group()),
        kafka: broker.kafka(),
    };
    assert_eq!(replay::run(&args("b"), &product.database, "test").await.expect("a replay"), 0);
    assert_eq!(replay::run(&args("a"), &product.database, "test").await.expect("a replay"), 1);
    assert_eq!(consumer.until_effects(2).await, [("b".to_owned(), 1), ("a".to_owned(), 0)]);
    consumer.end().await;
    product.end().await;
    broker.end().await;
}
