//! A webhook is known by its key; repeats are counted apart.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use expect_test::expect;
use hmac::{Hmac, Mac};
use product_load::receiver::{Args, Server};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::http::{effects, send};

/// Runs `story` with the addresses for webhooks and for mail.
pub(crate) async fn with_receiver<F: Future<Output = ()>>(folder: &Path, story: impl FnOnce(String, SocketAddr) -> F) {
    let server = Server::bind(Args::on_free_ports(folder)).await.unwrap();
    let (base, mail) = (format!("http://{}", server.address()), server.mail_address());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    story(base, mail).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn signature(secret: &str, body: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut signer = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    signer.update(format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex::encode(signer.finalize().into_bytes()))
}

/// Sends a signed webhook.
async fn post(url: String, key: Option<&str>, body: &Value) -> (u16, Value) {
    let secret = Args::on_free_ports(".").webhook_secret;
    signed(url, key, body, &signature(secret.reveal(), &body.to_string())).await
}

async fn signed(url: String, key: Option<&str>, body: &Value, signature: &str) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(url).body(body.to_string());
    request = request.header("content-type", "application/json").header("webhook-signature", signature);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn webhook(kind: &str) -> Value {
    json!({"id": "e", "type": kind, "data": {"payment_id": "00000000-0000-7000-8000-000000000001"}})
}

#[tokio::test]
async fn a_repeat_is_a_delivery_and_no_second_webhook() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, _| {
        let url = format!("{base}/v1/webhooks");
        let first = post(url.clone(), Some("a"), &webhook("payment.captured")).await;
        assert_eq!(first, (200, json!({"received": true, "new": true})));
        let repeat = post(url.clone(), Some("a"), &webhook("payment.captured")).await;
        assert_eq!(repeat, (200, json!({"received": true, "new": false})));
    })
    .await;
    with_receiver(folder.path(), async |base, _| {
        let url = format!("{base}/v1/webhooks");
        post(url.clone(), Some("a"), &webhook("payment.captured")).await;
        post(url.clone(), Some("b"), &webhook("payment.refunded")).await;
        expect![[r#"
            {"count":1,"deliveries":1,"effect":"webhook","event_type":"payment.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}
            {"count":1,"deliveries":3,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
        .assert_eq(&effects(&base).await.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn two_keys_for_one_event_of_one_payment_show_as_two() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, _| {
        for key in ["a", "b"] {
            post(format!("{base}/v1/webhooks"), Some(key), &webhook("payment.captured")).await;
        }
        let lines = effects(&base).await;
        assert!(lines.len() == 1 && lines[0].contains(r#""count":2"#), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_recognised_again_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, _| {
        let url = format!("{base}/v1/webhooks");
        let long = "k".repeat(500);
        for key in [None, Some(""), Some(long.as_str())] {
            assert_eq!(post(url.clone(), key, &webhook("payment.captured")).await.0, 400);
        }
        assert_eq!(post(url.clone(), Some("a"), &json!({"type": 7})).await.0, 422);
        assert!(effects(&base).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, _| {
        let address = base.trim_start_matches("http://").parse().unwrap();
        let args = Args { receiver_listen: address, ..Args::on_free_ports(folder.path()) };
        let error = Server::bind(args).await.err();
        let sentence = format!("{:#}", error.expect("the port is taken"));
        assert!(sentence.contains("address already in use") && sentence.contains("--receiver-listen"), "{sentence}");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_signed_with_the_secret_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, _| {
        let (url, webhook) = (format!("{base}/v1/webhooks"), webhook("payment.captured"));
        let forged = signature("a guess", &webhook.to_string());
        for wrong in ["", "t=1,v1=00", &forged] {
            assert_eq!(signed(url.clone(), Some("a"), &webhook, wrong).await.0, 401, "{wrong}");
        }
        assert!(effects(&base).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_fault_of_webhooks_is_none_of_mail() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, mail| {
        let (url, faults) = (format!("{base}/v1/webhooks"), format!("{base}/internal/faults"));
        let fault = json!({"kind": "refusing", "target": "webhook", "for_s": 60});
        assert_eq!(send("POST", faults.clone(), &fault).await, 200);
        assert_eq!(post(url.clone(), Some("a"), &webhook("payment.captured")).await.0, 503);
        assert!(crate::mail::greeting(mail).await.starts_with("220 "));
        assert_eq!(send("DELETE", format!("{faults}?target=webhook"), &Value::Null).await, 204);
        assert_eq!(post(url, Some("a"), &webhook("payment.captured")).await.0, 200);
    })
    .await;
}
