//! From an outbox through a broker to everything that a payment sets off.

use std::time::Duration;

use expect_test::expect;
use product_bus::outbox::{self, Relay};
use product_bus::{Event, KafkaArgs, Topic};
use product_jobs::Server;
use product_testing::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, done, payment};

/// The longest wait for an effect.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_refuse_and_a_repeated_event_make_each_effect_once() {
    let stack = Stack::refusing(1, 1).await;
    let stop = CancellationToken::new();
    let (kafka, serving) = product_testing::kafka().await;
    tokio::spawn(serving);

    let mut server = Server::bind(stack.args(kafka.clone())).await.unwrap();
    server.consumer().retry_delays = vec![Duration::from_millis(50); 3];
    let database = server.handler().database().clone();
    let jobs = tokio::spawn(server.run(stop.clone()));

    let captured = payment(1, "payment.captured", "Two tickets");
    publish(&kafka, std::slice::from_ref(&captured)).await;
    until(async || done(&database).await.lines().count() == 3).await;

    // The same event once more, and after it in the same partition one that shows when it has been read.
    publish(&kafka, &[captured, payment(2, "payment.refunded", "Two tickets")]).await;
    until(async || done(&database).await.lines().count() == 6).await;
    expect![[r#"
        {"count":1,"effect":"mail","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"mail","event_type":"payment.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"receipt","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"receipt","event_type":"payment.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"webhook","event_type":"payment.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
    .assert_eq(&done(&database).await);
    assert_eq!((stack.merchant.keys().len(), stack.postman.mails().len()), (2, 2));
    assert_eq!(stack.files("receipts").len(), 2);

    stop.cancel();
    jobs.await.unwrap().unwrap();
}

/// Puts the events into an outbox of their own and waits until its relay has published them.
async fn publish(kafka: &KafkaArgs, events: &[Event]) {
    let place = TestDatabase::create().await;
    let database = place.open("outbox.db").await;
    outbox::migrate(&database).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    for event in events {
        outbox::enqueue(&mut transaction, "payments", event).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let stop = CancellationToken::new();
    let topics = ["users", "payments"].map(|name| Topic { name: name.to_owned(), partitions: 4 }).into();
    let relay = tokio::spawn(Relay::new(database.clone(), kafka.clone(), "core", topics).run(stop.clone()));
    until(async || outbox::pending(&database).await.unwrap() == 0).await;
    stop.cancel();
    relay.await.unwrap().unwrap();
}

/// Looks until the condition holds.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let look = async {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        while !condition().await {
            clock.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("waited in vain");
}
