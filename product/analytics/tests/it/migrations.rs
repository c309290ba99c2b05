//! The tables come and go.

use product_testing::TestDatabase;

#[tokio::test]
async fn migrations_go_forward_and_back() {
    let place = TestDatabase::create().await;
    let database = place.open("analytics.db").await;
    let migrations = product_analytics::migrations(database.dialect());
    database.migrate(&migrations).await.unwrap();
    migrations.undo(database.writer(), 0).await.unwrap();
    assert!(sqlx::query("SELECT 1 FROM payment_facts").execute(database.writer()).await.is_err());
    database.migrate(&migrations).await.unwrap();
    assert!(sqlx::query("SELECT 1 FROM payment_facts").execute(database.writer()).await.is_ok());
}
