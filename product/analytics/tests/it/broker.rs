//! From an outbox through a broker to facts.

use std::time::Duration;

use product_analytics::Server;
use product_analytics::reports::Query;
use product_bus::broker::{self, Broker};
use product_bus::outbox::{self, Relay};
use product_bus::testing::TestDatabase;
use product_bus::{Event, KafkaArgs, Topic};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stack::{Stack, handle, payment, told, user};

/// The longest wait for an effect; a first group join takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_published_twice_counts_once() {
    let stop = CancellationToken::new();
    let (kafka, name) = broker().await;
    let stack = Stack::new().await;
    let mut server = Server::bind(stack.args(kafka.clone())).await.unwrap();
    server.consumer().topics = topics(&name);
    server.consumer().group = format!("analytics.{name}");
    let database = server.database().clone();
    let analytics = tokio::spawn(server.run(stop.clone()));

    let registered = user("user.registered", 100);
    let captured = payment("payment.captured", 1, 100, 1250, "EUR");
    let refunded = payment("payment.refunded", 1, 100, 1250, "EUR");
    let logged_in = user("user.logged_in", 100);
    publish(&kafka, &name, &[("users", &registered), ("payments", &captured)]).await;
    // The same events once more, each followed in its partition by one that shows when it has been read.
    let again = [("users", &registered), ("users", &logged_in), ("payments", &captured), ("payments", &refunded)];
    publish(&kafka, &name, &again).await;

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

/// The embedded broker or that of `FAULTLINE_TEST_BOOTSTRAP_SERVERS`, and a name for topics that no other test uses.
async fn broker() -> (KafkaArgs, String) {
    let name = Uuid::new_v4().simple().to_string();
    if let Ok(bootstrap_servers) = std::env::var("FAULTLINE_TEST_BOOTSTRAP_SERVERS") {
        return (KafkaArgs { bootstrap_servers }, name);
    }
    let broker = Broker::bind(broker::Args { broker_listen: "127.0.0.1:0".parse().unwrap() }).await.unwrap();
    let kafka = KafkaArgs { bootstrap_servers: broker.address().to_string() };
    tokio::spawn(broker.run(CancellationToken::new()));
    (kafka, name)
}

/// The topics of the test.
fn topics(name: &str) -> Vec<Topic> {
    ["users", "payments"].map(|topic| Topic { name: format!("{topic}.{name}"), partitions: 4 }).into()
}

/// Puts the events into an outbox of their own and waits until its relay has published them.
async fn publish(kafka: &KafkaArgs, name: &str, events: &[(&str, &Event)]) {
    let place = TestDatabase::create().await;
    let database = place.open("outbox.db").await;
    outbox::migrate(&database).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    for (topic, event) in events {
        outbox::enqueue(&mut transaction, &format!("{topic}.{name}"), event).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let stop = CancellationToken::new();
    let relay = tokio::spawn(Relay::new(database.clone(), kafka.clone(), "core", topics(name)).run(stop.clone()));
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
