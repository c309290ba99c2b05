//! A relay behind a gate: what nobody waits for stays in the outbox.

use std::time::Duration;

use product_bus::{KafkaArgs, outbox};
use product_testing::TestDatabase;
use serde_json::json;
use tokio::sync::watch;

use crate::bench::{Consumer, Product, TestBroker, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_gate_lets_pass_what_is_wanted_and_an_open_one_the_rest() {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let broker = TestBroker::start().await;
    let (gate, watched) = watch::channel(false);
    let product = Product::start_with(ours.open("ours.db").await, &broker, |relay| relay.gate(watched)).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, &broker).await;

    product.say_inline("key", json!({"n": 0})).await;
    product.say_inline("key", json!({"n": 1})).await;
    assert_eq!(outbox::wanted(&product.database).await.expect("a count"), 0);
    product.say("key", json!({"n": 2})).await;
    product.say_inline("key", json!({"n": 3})).await;
    let numbers = |effects: Vec<(String, i64)>| effects.into_iter().map(|(_, number)| number).collect::<Vec<_>>();
    // What came before it goes with it, so that the key keeps its order.
    assert_eq!(numbers(consumer.until_effects(3).await), [0, 1, 2]);
    until("nothing wanted", async || (outbox::wanted(&product.database).await.ok()? == 0).then_some(())).await;
    assert_eq!(outbox::pending(&product.database).await.expect("a count"), 1);

    gate.send_replace(true);
    assert_eq!(numbers(consumer.until_effects(4).await), [0, 1, 2, 3]);
    until("an empty outbox", async || (outbox::pending(&product.database).await.ok()? == 0).then_some(())).await;
    consumer.end().await;
    product.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_closed_gate_the_outbox_is_bounded_by_age() {
    let ours = TestDatabase::create().await;
    let nobody = KafkaArgs::at("127.0.0.1:1");
    let broker = TestBroker::known_as(nobody, "nobody".to_owned());
    let (gate, watched) = watch::channel(false);
    let at_once = |relay: outbox::Relay| relay.gate(watched).retained(Duration::ZERO);
    let product = Product::start_with(ours.open("ours.db").await, &broker, at_once).await;
    let wanted = product.say("key", json!({"n": 0})).await;
    product.say_inline("key", json!({"n": 1})).await;
    let kept = until("one row", async || {
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT event_id FROM outbox").fetch_all(product.database.readers()).await.ok()?;
        (rows.len() == 1).then_some(rows)
    })
    .await;
    assert_eq!(kept, [wanted.id.as_bytes().to_vec()], "what somebody waits for is not forgotten");
    product.end().await;
    drop(gate);
}
