//! From an outbox through the embedded broker to the projections.

use std::time::Duration;

use expect_test::expect;
use product_analytics::Server;
use product_bus::broker::{self, Broker};
use product_bus::outbox::{self, Relay};
use product_bus::testing::TestDatabase;
use product_bus::{Event, KafkaArgs, Topic};
use tokio_util::sync::CancellationToken;

use crate::stack::{activity, args, effects, payment, revenue, user};

/// The longest wait for an effect; a first group join takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_published_twice_counts_once() {
    let place = TestDatabase::create().await;
    let stop = CancellationToken::new();
    let broker = Broker::bind(broker::Args { broker_listen: "127.0.0.1:0".parse().unwrap() }).await.unwrap();
    let kafka = KafkaArgs { bootstrap_servers: broker.address().to_string() };
    let broker = tokio::spawn(broker.run(CancellationToken::new()));
    let server = Server::bind(args(&place, kafka.clone())).await.unwrap();
    let base = format!("http://{}", server.address());
    let analytics = tokio::spawn(server.run(stop.clone()));

    let registered = user("user.registered", 100);
    let captured = payment("payment.captured", 1, 100, 1250, "EUR");
    publish(&kafka, &[("users", &registered), ("payments", &captured)]).await;
    // The same events once more, each followed in its partition by one that shows when it has been read.
    let again = [
        ("users", &registered),
        ("users", &user("user.logged_in", 100)),
        ("payments", &captured),
        ("payments", &payment("payment.refunded", 1, 100, 250, "EUR")),
    ];
    publish(&kafka, &again).await;
    until(async || effects(&base).await.len() == 2 && activity(&base).await.contains("logins 1")).await;

    expect!["2026-11-22 EUR captured 1250 refunded 250 payments 1"].assert_eq(&revenue(&base).await);
    expect!["2026-11-22 registrations 1 logins 1 profiles 0 declines 0 active 1"].assert_eq(&activity(&base).await);
    expect![[r#"
        {"count":1,"effect":"projection","event_type":"payment.captured","payment_id":"00000000-0000-0000-0000-000000000001"}
        {"count":1,"effect":"projection","event_type":"payment.refunded","payment_id":"00000000-0000-0000-0000-000000000001"}"#]]
    .assert_eq(&effects(&base).await.join("\n"));

    stop.cancel();
    analytics.await.unwrap().unwrap();
    broker.abort();
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
    let topics = ["users", "payments"].map(|name| Topic { name: name.to_owned(), partitions: 4 });
    let stop = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(database.clone(), kafka.clone(), "core", topics.into()).run(stop.clone()));
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
