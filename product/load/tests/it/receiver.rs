//! A webhook is known by its key; repeats are counted apart.

use std::future::Future;
use std::path::Path;

use expect_test::expect;
use product_load::receiver::{Args, Server};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::http::{effects, post};

async fn with_receiver<F: Future<Output = ()>>(folder: &Path, story: impl FnOnce(String) -> F) {
    let args = Args { receiver_listen: "127.0.0.1:0".parse().unwrap(), data_dir: folder.to_owned() };
    let server = Server::bind(args).await.unwrap();
    let base = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    story(base).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn webhook(kind: &str) -> Value {
    json!({"id": "e", "type": kind, "data": {"payment_id": "00000000-0000-7000-8000-000000000001"}})
}

#[tokio::test]
async fn a_repeat_is_a_delivery_and_no_second_webhook() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base| {
        let url = format!("{base}/v1/webhooks");
        let first = post(url.clone(), Some("a"), &webhook("payment.captured")).await;
        assert_eq!(first, (200, json!({"received": true, "new": true})));
        let repeat = post(url.clone(), Some("a"), &webhook("payment.captured")).await;
        assert_eq!(repeat, (200, json!({"received": true, "new": false})));
    })
    .await;
    with_receiver(folder.path(), async |base| {
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
    with_receiver(folder.path(), async |base| {
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
    with_receiver(folder.path(), async |base| {
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
    with_receiver(folder.path(), async |base| {
        let address = base.trim_start_matches("http://").parse().unwrap();
        let error = Server::bind(Args { receiver_listen: address, data_dir: folder.path().to_owned() }).await.err();
        let sentence = format!("{:#}", error.expect("the port is taken"));
        assert!(sentence.contains("address already in use") && sentence.contains("--receiver-listen"), "{sentence}");
    })
    .await;
}
