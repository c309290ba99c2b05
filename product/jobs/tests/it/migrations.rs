//! The tables come and go.

use product_testing::TestDatabase;

#[tokio::test]
async fn migrations_go_forward_and_back_beside_those_of_others() {
    let place = TestDatabase::create().await;
    let database = place.open("jobs.db").await;
    product_bus::inbox::migrate(&database).await.unwrap();
    let migrations = product_jobs::migrations(database.dialect());
    database.migrate(&migrations).await.unwrap();
    migrations.undo(database.writer(), 0).await.unwrap();
    assert!(sqlx::query("SELECT 1 FROM effects").execute(database.writer()).await.is_err());
    assert!(sqlx::query("SELECT 1 FROM inbox").execute(database.writer()).await.is_ok());
    database.migrate(&migrations).await.unwrap();
    assert!(sqlx::query("SELECT 1 FROM effects").execute(database.writer()).await.is_ok());
}
