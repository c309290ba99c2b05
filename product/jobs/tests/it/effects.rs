//! Each effect of an event happens once, whatever happens to the others.

use expect_test::expect;
use product_bus::consumer::HandlerError;
use serde_json::json;
use uuid::Uuid;

use crate::stack::{PAYMENT, Stack, USER, done, event, handle, payment, routed};

#[tokio::test]
async fn an_event_that_comes_again_changes_nothing() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    for _ in 0..3 {
        handle(&jobs, &payment(1, "payment.captured", "Two tickets")).await.unwrap();
    }
    handle(&jobs, &payment(2, "payment.refunded", "Two tickets")).await.unwrap();
    expect![[r#"
        00000000-0000-7000-8000-000000000001.captured.html
        00000000-0000-7000-8000-000000000001.refunded.html"#]]
    .assert_eq(&stack.files("receipts").join("\n"));
    expect![[r#"
        00000000-0000-0000-0000-000000000001
        00000000-0000-0000-0000-000000000002"#]]
    .assert_eq(&stack.merchant.keys().join("\n"));
    expect![[r#"
        <00000000-0000-0000-0000-000000000001.mail@faultline>
        <00000000-0000-0000-0000-000000000002.mail@faultline>"#]]
    .assert_eq(&stack.postman.ids().join("\n"));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_went_well_is_left_alone() {
    let stack = Stack::refusing(1, 1).await;
    let jobs = stack.jobs().await;
    let event = payment(1, "payment.captured", "Two tickets");
    let receipt = stack.path(format!("receipts/{PAYMENT}.captured.html"));

    let refused = async || matches!(handle(&jobs, &event).await, Err(HandlerError::Retry(_)));
    assert!(refused().await, "the mail server refuses first");
    assert!(stack.merchant.keys().is_empty(), "a webhook comes after the letter");
    // A mark by which a second rendering would be noticed.
    std::fs::write(&receipt, "already here").unwrap();
    assert!(refused().await, "then the merchant does");
    handle(&jobs, &event).await.unwrap();

    assert_eq!(std::fs::read_to_string(&receipt).unwrap(), "already here");
    assert_eq!((stack.postman.mails().len(), stack.merchant.keys().len()), (1, 1));
}

#[tokio::test]
async fn a_crash_between_an_effect_and_its_note_repeats_it_with_the_same_key() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let event = payment(1, "payment.captured", "Two tickets");
    handle(&jobs, &event).await.unwrap();
    let receipt = stack.path(format!("receipts/{PAYMENT}.captured.html"));
    let first = std::fs::read(&receipt).unwrap();

    for effect in ["receipt", "mail", "webhook"] {
        // What the database says after a crash just before the note.
        let query = sqlx::query("DELETE FROM effects WHERE effect = $1").bind(effect);
        assert_eq!(query.execute(jobs.database().writer()).await.unwrap().rows_affected(), 1);
        handle(&jobs, &event).await.unwrap();
    }

    assert_eq!(std::fs::read(&receipt).unwrap(), first);
    assert_eq!(stack.files("receipts").len(), 1);
    let (keys, ids) = (stack.merchant.keys(), stack.postman.ids());
    assert_eq!((keys.len(), ids.len()), (2, 2));
    assert!(keys[0] == keys[1] && ids[0] == ids[1], "{keys:?} {ids:?}");
    assert_eq!(stack.merchant.webhooks()[0].body, stack.merchant.webhooks()[1].body);
}

#[tokio::test]
async fn who_registers_is_sent_a_code_and_who_has_none_is_not() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let data = json!({"user_id": USER, "display_name": "Ada", "at": "2025-11-22T12:00:00Z"});
    handle(&jobs, &event(1, "user.registered", USER, data.clone())).await.unwrap();
    assert!(stack.postman.mails().is_empty());

    let mut with_code = data;
    with_code["verification_token"] = "open-sesame".into();
    handle(&jobs, &event(2, "user.registered", USER, with_code)).await.unwrap();
    let mail = stack.postman.mails().pop().unwrap();
    expect!["00000000-0000-0000-0000-000000000002@customers.faultline.test"].assert_eq(mail.header("to").unwrap());
    assert_eq!(mail.header("x-event-type"), Some("user.registered"));
    assert_eq!(mail.header("x-payment-id"), None);
    assert!(mail.0.contains("open-sesame"), "{}", mail.0);
    assert!(stack.merchant.keys().is_empty());
    expect![[r#"{"count":1,"effect":"mail","event_type":"user.registered","payment_id":null}"#]]
        .assert_eq(&done(jobs.database()).await);
}

#[tokio::test]
async fn an_account_is_exported_as_core_tells_it() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let export = Uuid::from_u128(9);
    let data = json!({"export_id": export, "user_id": USER, "account": {"email": "ada@example.org", "payments": []}});
    assert_eq!(jobs.export(export).await.unwrap(), None);
    handle(&jobs, &event(1, "account.export_requested", USER, data)).await.unwrap();
    let document = String::from_utf8(jobs.export(export).await.unwrap().unwrap()).unwrap();
    expect![[r#"
        {
          "export_id": "00000000-0000-0000-0000-000000000009",
          "user_id": "00000000-0000-0000-0000-000000000002",
          "requested_at": "2025-11-22T12:00:00Z",
          "account": {
            "email": "ada@example.org",
            "payments": []
          }
        }"#]]
    .assert_eq(&document);
}

#[tokio::test]
async fn what_makes_no_sense_is_poison_and_what_is_not_ours_is_left_alone() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let good = payment(1, "payment.captured", "");
    let mut nonsense = good.clone();
    nonsense.data = json!({"payment_id": "../../etc/passwd"});
    let mut newer = good.clone();
    newer.version = 9;
    for (why, poison) in [
        ("nonsense", &nonsense),
        ("a newer version", &newer),
        ("nonsense to be compared", &routed(nonsense.clone(), "dual")),
        ("a route that nobody knows", &routed(good.clone(), "teleport")),
    ] {
        assert!(matches!(handle(&jobs, poison).await, Err(HandlerError::Poison(_))), "{why}");
    }
    for other in [payment(3, "payment.declined", ""), payment(4, "payment.yawned", ""), routed(good, "inline")] {
        handle(&jobs, &other).await.unwrap();
    }
    assert!(stack.files("receipts").is_empty() && stack.postman.mails().is_empty() && stack.merchant.keys().is_empty());
    assert_eq!(done(jobs.database()).await, "");
}
