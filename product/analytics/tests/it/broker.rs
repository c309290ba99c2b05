//! From an outbox through a broker to facts.

use std::time::Duration;

use product_analytics::Server;
use product_analytics::reports::Query;
use product_bus::outbox::{self, Relay};
use product_bus::{Event, KafkaArgs, Topic};
use product_testing::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, handle, payment, told, user};

/// The longest wait for an effect.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_published_twice_counts_once() {
    let stop = CancellationToken::new();
    let (kafka, serving) = product_testing::kafka().await;
    tokio::spawn(serving);
    let stack = Stack::new().await;
    let server = Server::bind(stack.args(kafka.clone())).await.unwrap();
    let database = server.database().clone();
    let analytics = tokio::spawn(server.run(stop.clone()));

    let registered = user("user.registered", 100);
    let captured = payment("payment.captured", 1, 100, 1250, "EUR");
    let refunded = payment("payment.refunded", 1, 100, 1250, "EUR");
    let logged_in = user("user.logged_in", 100);
    publish(&kafka, &[("users", &registered), ("payments", &captured)]).await;
    // The same events once more, each followed in its partition by one that shows when it has been read.
    let again = [("users", &registered), ("users", &logged_in), ("payments", &captured), ("payments", &refunded)];
    publish(&kafka, &again).await;

    let once = Stack::new().await;
    let direct = once.without_broker().await;
    for event in [&registered, &captured, &logged_in, &refunded] {
        handle(direct.database(), &direct.handler(), event).await.unwrap();
    }
    let expected = told(direct.database(), &Query::default(), None).await;
    until(async || told(&database, &Query::default(), None).await == expected).await;

    stop.cancel();
    analytics.await.unwrap().unwrap();
}

/// Puts the events into an outbox of their own and waits until its relay has published them.
async fn publish(kafka: &KafkaArgs, events: &[(&str, &Event)]) {
    let place = TestDatabase::create().await;
    let database = place.open("outbox.db").await;
    outbox::migrate(&database).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    for (topic, event) in events {
        outbox::enqueue(&mut transaction, topic, event).await.unwrap();
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
