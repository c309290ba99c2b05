//! The tables of outbox and inbox go forward and back, with what is in them.

use product_bus::{inbox, outbox};
use product_testing::TestDatabase;
use uuid::Uuid;

#[tokio::test]
async fn an_outbox_of_an_earlier_release_keeps_its_place() {
    let place = TestDatabase::create().await;
    let database = place.open("test.db").await;
    let migrations = outbox::migrations(database.dialect());
    migrations.run_to(1, database.writer()).await.expect("tables");
    // The first is in the log, the second is to be published again, the third never was.
    for cluster in [Some("one"), Some("one"), None] {
        sqlx::query(
            "INSERT INTO outbox (event_id, topic, key, kind, version, time_ns, data, created_ns, cluster)
             VALUES ($1, 'things', 'key', 'thing.happened', 1, 0, '{}', 0, $2)",
        )
        .bind(Uuid::now_v7().as_bytes().as_slice())
        .bind(cluster)
        .execute(database.writer())
        .await
        .expect("a row");
    }
    sqlx::query("INSERT INTO outbox_cursor (one, cluster, id) VALUES (1, 'one', 1)")
        .execute(database.writer())
        .await
        .expect("a cursor");

    outbox::migrate(&database).await.expect("forward");
    assert_eq!(outbox::pending(&database).await.expect("a count"), 2);
    migrations.undo(database.writer(), 1).await.expect("back");
    let cursor: i64 =
        sqlx::query_scalar("SELECT id FROM outbox_cursor").fetch_one(database.readers()).await.expect("a cursor");
    assert_eq!(cursor, 1);
    outbox::migrate(&database).await.expect("forward again");
    assert_eq!(outbox::pending(&database).await.expect("a count"), 2);

    migrations.undo(database.writer(), 0).await.expect("back to nothing");
    outbox::migrate(&database).await.expect("forward from nothing");
    assert_eq!(outbox::pending(&database).await.expect("a count"), 0);
}

#[tokio::test]
async fn an_inbox_goes_forward_and_back() {
    let place = TestDatabase::create().await;
    let database = place.open("test.db").await;
    inbox::migrate(&database).await.expect("forward");
    inbox::migrations(database.dialect()).undo(database.writer(), 0).await.expect("back");
    inbox::migrate(&database).await.expect("forward again");
}
