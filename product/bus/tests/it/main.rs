//! Events from an outbox through the embedded broker to effects.

mod bench;
mod bytes;
mod gate;
mod hostile;
mod injection;
mod migrations;
mod replay;

use std::{collections::BTreeMap, time::Duration};

use bench::{Consumer, Product, TestBroker, messages, until};
use product_bus::outbox;
use product_testing::TestDatabase;
use serde_json::json;

/// The numbers of each key, in the order of effects.
fn by_key(effects: &[(String, i64)]) -> BTreeMap<&str, Vec<i64>> {
    let mut keys: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (key, number) in effects {
        keys.entry(key).or_default().push(*number);
    }
    keys
}

/// Each of `0..count` once, and in order within its key.
fn assert_once_and_in_order(effects: &[(String, i64)], count: i64) {
    let mut numbers: Vec<_> = effects.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    for (key, numbers) in by_key(effects) {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_its_effect_once_and_in_the_order_of_its_key() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;

    product.say_all(0..300).await;
    assert_once_and_in_order(&consumer.until_effects(300).await, 300);
    until("an empty outbox", async || (outbox::pending(&product.database).await.ok()? == 0).then_some(())).await;

    let (cluster, places): (i64, i64) =
        sqlx::query_as("SELECT count(DISTINCT cluster), count(DISTINCT partition * 1000000 + log_offset) FROM outbox")
            .fetch_one(product.database.readers())
            .await
            .expect("rows");
    assert_eq!((cluster, places), (1, 300), "each row knows where it went");
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_arrives_again_is_ignored() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say_all(0..20).await;
    consumer.until_effects(20).await;

    // A relay that has forgotten how far it was publishes everything a second time.
    product.end().await;
    let database = ours.open("ours.db").await;
    sqlx::query("UPDATE outbox SET cluster = NULL").execute(database.writer()).await.expect("an update");
    let product = Product::start(database, &broker).await;
    product.say("key0", json!({"n": 20})).await;

    let effects = consumer.until_effects(21).await;
    assert_eq!(effects.len(), 21);
    assert_eq!(effects.last(), Some(&("key0".to_owned(), 20)), "the repetitions came first and did nothing");
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

/// Beyond what anything beside a retry takes, on a machine that is busy with other tests as well.
const LONG: [Duration; 2] = [Duration::from_secs(2); 2];

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_retried_beside_the_partition_and_given_up_in_the_end() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start_patient(theirs.open("theirs.db").await, &broker, LONG).await;

    product.say("a", json!({"n": 0, "fail": 2})).await;
    let hopeless = product.say("a", json!({"n": 1, "fail": 99})).await;
    let poison = product.say("a", json!({"n": 2, "poison": true})).await;
    product.say("a", json!({"n": 3})).await;

    let effects = consumer.until_effects(2).await;
    assert_eq!(by_key(&effects)["a"], [3, 0], "the failure did not hold up its partition");

    let dead = messages(&broker.kafka(), &format!("{}.{}.dlq", broker.topic().name, broker.group()), 2).await;
    let topic = broker.topic().name;
    let topic = topic.as_str();
    let of = |id: uuid::Uuid| dead.iter().find(|headers| headers["ce_id"] == id.to_string()).expect("a dead letter");
    let reason = |id| (of(id)["failure_reason"].as_str(), of(id)["attempts"].as_str(), of(id)["origin_topic"].as_str());
    assert_eq!(reason(poison.id), ("it is poison", "1", topic));
    assert_eq!(reason(hopeless.id), ("not yet (3)", "3", topic));
    assert_eq!(consumer.effects().await.len(), 2, "what failed left nothing behind");
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_empty_loses_and_doubles_nothing() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start_mortal().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say_all(0..100).await;
    consumer.until_effects(30).await;

    // In the middle of consumption; the next events are committed while nobody is there.
    let again = broker.kill().await;
    product.say_all(100..200).await;
    let broker = again.await;
    product.say_all(200..250).await;
    assert_once_and_in_order(&consumer.until_effects(250).await, 250);

    // And with everybody at rest: the new log is soon longer than the positions in the old one.
    let broker = broker.kill().await.await;
    product.say_all(250..400).await;
    assert_once_and_in_order(&consumer.until_effects(400).await, 400);
    until("an empty outbox", async || (outbox::pending(&product.database).await.ok()? == 0).then_some(())).await;
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_comes_back_goes_on_where_it_was() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say_all(0..50).await;
    consumer.until_effects(20).await;
    consumer.end().await;
    product.say_all(50..100).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    assert_once_and_in_order(&consumer.until_effects(100).await, 100);
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shares_its_work_while_members_come_and_go() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let product = Product::start(ours.open("ours.db").await, &broker).await;
    let first = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    product.say_all(0..50).await;
    first.until_effects(20).await;

    let second = Consumer::start(theirs.open("theirs.db").await, &broker).await;
    let mut said = 50;
    while second.done() == 0 {
        product.say_all(said..said + 10).await;
        said += 10;
        first.until_effects(usize::try_from(said).expect("a count")).await;
    }
    let (before, all) = (first.done(), usize::try_from(said).expect("a count") + 100);
    product.say_all(said..said + 100).await;
    first.until_effects(all).await;
    assert!(first.done() > before, "the first kept some of its partitions");

    first.end().await;
    product.say_all(said + 100..said + 200).await;
    assert_once_and_in_order(&second.until_effects(all + 100).await, said + 200);
    second.end().await;
    product.end().await;
    broker.end().await;
}
