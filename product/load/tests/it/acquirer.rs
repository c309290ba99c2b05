//! It decides once on each payment and remembers.

use std::future::Future;
use std::path::Path;

use product_load::acquirer::{Args, Server};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::http::{effects, post, send};

const PAYMENT: &str = "00000000-0000-7000-8000-000000000001";

/// Runs `story` against an acquirer on the data in `folder`.
async fn with_acquirer<F: Future<Output = ()>>(folder: &Path, story: impl FnOnce(String) -> F) {
    let args = Args {
        acquirer_listen: "127.0.0.1:0".parse().unwrap(),
        acquirer_latency_median_ms: 0.0,
        acquirer_latency_sigma: 0.0,
        acquirer_seed: 1,
        data_dir: folder.to_owned(),
    };
    let server = Server::bind(args).await.unwrap();
    let base = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    story(base).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn order(amount_minor: i64, card: &str) -> Value {
    json!({"payment_id": PAYMENT, "amount_minor": amount_minor, "currency": "EUR", "card_token": card})
}

async fn charge(base: &str, order: &Value) -> (u16, Value) {
    post(format!("{base}/v1/charges"), Some(PAYMENT), order).await
}

#[tokio::test]
async fn a_charge_is_made_once_even_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Value::Null;
    with_acquirer(folder.path(), async |base| {
        let (status, answer) = charge(&base, &order(1250, "tok_approved")).await;
        assert_eq!((status, &answer["status"]), (200, &json!("approved")));
        first = answer;
    })
    .await;
    with_acquirer(folder.path(), async |base| {
        assert_eq!(charge(&base, &order(1250, "tok_approved")).await, (200, first.clone()));
        let (status, _) = charge(&base, &order(9900, "tok_approved")).await;
        assert_eq!(status, 422, "the same payment with another amount");
        assert_eq!(effects(&base).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refund_is_made_once_and_only_of_money_taken() {
    let folder = tempfile::tempdir().unwrap();
    with_acquirer(folder.path(), async |base| {
        let refund = format!("{base}/v1/charges/{PAYMENT}/refund");
        assert_eq!(post(refund.clone(), None, &Value::Null).await.0, 404);
        charge(&base, &order(1250, "tok_approved")).await;
        for _ in 0..2 {
            let (status, answer) = post(refund.clone(), None, &Value::Null).await;
            assert_eq!((status, &answer["status"]), (200, &json!("refunded")));
        }
        // What was decided on the charge stays the answer to the charge.
        assert_eq!(charge(&base, &order(1250, "tok_approved")).await.1["status"], json!("approved"));
        expect_test::expect![[r#"
            {"count":1,"deliveries":2,"effect":"charge","event_type":"charge.approved","payment_id":"00000000-0000-7000-8000-000000000001"}
            {"count":1,"deliveries":2,"effect":"charge","event_type":"charge.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
        .assert_eq(&effects(&base).await.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn a_bad_card_and_bad_requests_are_turned_down() {
    let folder = tempfile::tempdir().unwrap();
    with_acquirer(folder.path(), async |base| {
        assert_eq!(charge(&base, &json!({"payment_id": "7"})).await.0, 422);
        assert_eq!(charge(&base, &order(0, "tok_approved")).await.0, 422);
        let other_key = post(format!("{base}/v1/charges"), Some("other"), &order(1250, "tok_approved")).await;
        assert_eq!(other_key.0, 422);
        let (status, answer) = charge(&base, &order(1250, "tok_declined")).await;
        assert_eq!((status, &answer["status"]), (200, &json!("declined")));
        assert_eq!(post(format!("{base}/v1/charges/{PAYMENT}/refund"), None, &Value::Null).await.0, 409);
    })
    .await;
}

#[tokio::test]
async fn held_money_is_taken_once_and_only_then_refunded() {
    let folder = tempfile::tempdir().unwrap();
    with_acquirer(folder.path(), async |base| {
        let ask = async |what| post(format!("{base}/v1/charges/{PAYMENT}/{what}"), None, &Value::Null).await;
        assert_eq!(ask("capture").await.0, 404);
        let mut held = order(1250, "tok_approved");
        held["capture"] = json!(false);
        for _ in 0..2 {
            assert_eq!(charge(&base, &held).await.1["status"], json!("approved"));
        }
        assert_eq!(ask("refund").await.0, 409, "nothing was taken");
        assert!(effects(&base).await[0].contains("charge.authorized"));
        for (what, status) in [("capture", "captured"), ("capture", "captured"), ("refund", "refunded")] {
            assert_eq!(ask(what).await.1["status"], json!(status));
        }
        assert_eq!(ask("capture").await.1["status"], json!("captured"), "that it was taken stays true");
        expect_test::expect![[r#"
            {"count":1,"deliveries":1,"effect":"charge","event_type":"charge.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}
            {"count":1,"deliveries":2,"effect":"charge","event_type":"charge.authorized","payment_id":"00000000-0000-7000-8000-000000000001"}
            {"count":1,"deliveries":3,"effect":"charge","event_type":"charge.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
        .assert_eq(&effects(&base).await.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_at_once_or_declined_cannot_be_captured() {
    for card in ["tok_approved", "tok_declined"] {
        let folder = tempfile::tempdir().unwrap();
        with_acquirer(folder.path(), async |base| {
            charge(&base, &order(1250, card)).await;
            assert_eq!(post(format!("{base}/v1/charges/{PAYMENT}/capture"), None, &Value::Null).await.0, 409, "{card}");
        })
        .await;
    }
}

#[tokio::test]
async fn it_fails_on_demand_and_is_well_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    with_acquirer(folder.path(), async |base| {
        let faults = format!("{base}/internal/faults");
        let (status, told) = post(faults.clone(), None, &json!({"kind": "failing", "for_s": 60})).await;
        assert_eq!((status, &told[0]["kind"], &told[0]["share"]), (200, &json!("failing"), &json!(1.0)));
        assert_eq!(charge(&base, &order(1250, "tok_approved")).await.0, 500);
        post(faults.clone(), None, &json!({"kind": "refusing", "for_s": 60})).await;
        assert_eq!(charge(&base, &order(1250, "tok_approved")).await.0, 503);
        assert!(effects(&base).await.is_empty(), "nothing was decided, and the evidence can be read");
        for senseless in [
            json!({"kind": "failing", "share": 2, "for_s": 60}),
            json!({"kind": "slow", "for_s": 60}),
            json!({"kind": "slow", "ms": 0, "for_s": 60}),
            json!({"kind": "refusing", "for_s": 0}),
            json!({"kind": "refusing", "for_s": 60, "target": "mail"}),
            json!({"kind": "sulking", "for_s": 60}),
        ] {
            assert_eq!(post(faults.clone(), None, &senseless).await.0, 422, "{senseless}");
        }
        assert_eq!(send("DELETE", faults, &Value::Null).await, 204);
        assert_eq!(charge(&base, &order(1250, "tok_approved")).await.0, 200);
    })
    .await;
}
