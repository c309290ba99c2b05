//! One door to the servers under test.

use serde_json::Value;

/// Sends JSON and returns status and JSON.
pub(crate) async fn post(url: String, key: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(url).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The lines of `/internal/effects`, sorted.
pub(crate) async fn effects(base: &str) -> Vec<String> {
    let text = reqwest::get(format!("{base}/internal/effects")).await.unwrap().text().await.unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Sends with a verb and returns the status.
pub(crate) async fn send(method: &str, url: String, body: &Value) -> u16 {
    let method = method.parse().unwrap();
    reqwest::Client::new().request(method, url).json(body).send().await.unwrap().status().as_u16()
}
