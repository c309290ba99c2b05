//! What core publishes keeps the shape that others read.

use product_bus::Event;
use product_testing::{assert_compatible, published_events};
use serde_json::json;

use crate::app::{TestApp, order};

#[tokio::test]
async fn no_field_of_an_event_goes_or_changes_its_type() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    ada.put("/v1/profile", &json!({ "display_name": "Ada", "bio": "" })).await;
    let paid = ada.pay("k1", &order(500)).await;
    ada.post(&format!("/v1/payments/{}/refund", paid.body["id"].as_str().unwrap())).await;
    let mut declined = order(500);
    declined["card_token"] = json!("tok_declined");
    ada.pay("k2", &declined).await;
    ada.post("/v1/exports").await;

    let database = app.database().await;
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT kind, version, data FROM outbox").fetch_all(database.readers()).await.unwrap();
    let mut told = Vec::new();
    for (kind, version, data) in rows {
        let data = serde_json::from_str(&data).unwrap();
        let event = Event { version: u32::try_from(version).unwrap(), ..Event::new(&kind, "", data) };
        assert_compatible(&event);
        told.push(kind);
    }
    let forgotten: Vec<_> = published_events().into_iter().filter(|event| !told.contains(&event.kind)).collect();
    assert!(forgotten.is_empty(), "the story above tells of everything: {forgotten:?}");
    app.stop().await;
}
