//! Today's analytics reads yesterday's events.

use product_testing::published_events;

use crate::stack::{Stack, handle};

#[tokio::test]
async fn every_event_that_was_ever_published_is_read() {
    let stack = Stack::new().await;
    let server = stack.without_broker().await;
    let (database, handler) = (server.database(), server.handler());
    for event in published_events() {
        let (kind, version) = (event.kind.clone(), event.version);
        if let Err(error) = handle(database, &handler, &event).await {
            panic!("{kind} version {version}: {error:#}: {}", event.data);
        }
    }
    let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM user_facts").fetch_one(database.readers()).await.unwrap();
    let payments: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM payment_facts").fetch_one(database.readers()).await.unwrap();
    assert!(users > 0 && payments > 0, "and they count");
}
