//! What must never be in a log or a span.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::acquirer::Mood;
use crate::app::{PASSWORD, TestApp, order};

#[tokio::test]
async fn no_secret_and_no_address_is_told() {
    let told = Told::default();
    // For the whole process: core works on many threads. The other tests' words do no harm here.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("debug,librdkafka=off"))
        .with_span_events(FmtSpan::FULL)
        .with_writer(told.clone())
        .init();
    let app = TestApp::start().await;
    let ada = app.customer("secret-ada").await;
    app.register("secret-ada").await;
    app.login("secret-ada", "a wrong secret").await;
    app.login("secret-nobody", PASSWORD).await;
    ada.get("/v1/session").await;
    let mut secrets: Vec<String> = [PASSWORD, "a wrong secret", "@example.org", "tok_4242"].map(str::to_owned).into();
    let next = app.refresh(&json!(ada.refresh_token)).await.body;
    for pair in [&json!({ "token": ada.token, "refresh_token": ada.refresh_token }), &next] {
        secrets.extend(["token", "refresh_token"].map(|key| pair[key].as_str().unwrap().to_owned()));
    }
    app.refresh(&json!(ada.refresh_token)).await;
    let registered: String = sqlx::query_scalar("SELECT data FROM outbox WHERE kind = 'user.registered'")
        .fetch_one(app.database().await.readers())
        .await
        .unwrap();
    let registered: Value = serde_json::from_str(&registered).unwrap();
    let verification = &registered["verification_token"];
    secrets.push(verification.as_str().unwrap().to_owned());
    app.post("/v1/verify", &json!({ "token": verification })).await;
    let ada = app.customer("secret-eve").await;
    let paid = ada.pay("k1", &order(500)).await;
    app.acquirer.set(Mood::Fails);
    ada.pay("k2", &order(500)).await;
    ada.post("/v1/exports").await;
    ada.post("/v1/logout").await;
    app.stop().await;

    let told = told.text();
    assert!(told.contains(paid.body["id"].as_str().unwrap()), "the identifiers are there");
    assert!(told.contains("gave no usable answer"), "and the trouble");
    assert!(secrets.len() > 8, "{}", secrets.len());
    for secret in secrets {
        let line = told.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret:?} was told");
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Told;

    fn make_writer(&'a self) -> Told {
        self.clone()
    }
}
