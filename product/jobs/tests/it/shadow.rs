//! The side that performs and the side that only composes note the same digests.

use product_jobs::Jobs;
use product_jobs::shadow::{self, Noted};
use serde_json::json;
use uuid::Uuid;

use crate::stack::{Stack, USER, done, event, handle, payment, routed};

async fn noted(jobs: &Jobs) -> Vec<Noted> {
    shadow::after(jobs.database(), 0, 100).await.unwrap()
}

#[tokio::test]
async fn both_sides_of_a_comparison_say_the_same_and_one_of_them_does_nothing() {
    let (control, candidate) = (Stack::new().await, Stack::new().await);
    let (core, service) = (control.jobs().await, candidate.jobs().await);
    let registered = json!({"user_id": USER, "display_name": "Ada", "verification_token": "open-sesame"});
    let requested = json!({"export_id": Uuid::from_u128(9), "user_id": USER, "account": {"b": 1, "a": [2.5, null]}});
    let events = [
        payment(1, "payment.captured", "Größe 27 – ✓"),
        payment(2, "payment.refunded", "Größe 27 – ✓"),
        event(3, "user.registered", USER, registered),
        event(4, "account.export_requested", USER, requested),
    ]
    .map(|event| routed(event, "dual"));
    for event in &events {
        core.perform(event).await.unwrap();
        handle(&service, event).await.unwrap();
        handle(&service, event).await.unwrap(); // delivered twice
    }

    let said =
        |noted: Vec<Noted>| noted.into_iter().map(|Noted { event_id, effect, digest, .. }| (event_id, effect, digest));
    let (here, there): (Vec<_>, Vec<_>) = (said(noted(&core).await).collect(), said(noted(&service).await).collect());
    assert_eq!(here, there);
    let effects: Vec<_> = here.iter().map(|(_, effect, _)| effect.as_str()).collect();
    assert_eq!(effects, ["receipt", "mail", "webhook", "receipt", "mail", "webhook", "mail", "export"]);
    let distinct: std::collections::HashSet<_> = here.iter().map(|(_, _, digest)| digest).collect();
    assert_eq!(distinct.len(), effects.len(), "a digest that says the same of everything says nothing");

    assert_eq!(done(service.database()).await, "");
    assert!(candidate.files("receipts").is_empty() && candidate.files("exports").is_empty());
    assert_eq!((candidate.postman.mails().len(), candidate.merchant.keys().len()), (0, 0));
    assert_eq!((control.postman.mails().len(), control.merchant.keys().len()), (3, 2));
}

#[tokio::test]
async fn a_side_that_composes_something_else_is_found_out() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    let right = routed(payment(1, "payment.captured", "Two tickets"), "dual");
    let mut wrong = right.clone();
    wrong.data["amount_minor"] = 1251.into();
    handle(&jobs, &right).await.unwrap();
    let expected = noted(&jobs).await;
    let other = Stack::new().await;
    let other_jobs = other.jobs().await;
    handle(&other_jobs, &wrong).await.unwrap();
    for (one, another) in expected.iter().zip(noted(&other_jobs).await) {
        assert_eq!(one.effect, another.effect);
        assert_ne!(one.digest, another.digest, "{}", one.effect);
    }
}

#[tokio::test]
async fn the_list_is_read_on_by_its_numbers() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    for id in 1..=3 {
        handle(&jobs, &routed(payment(id, "payment.captured", ""), "dual")).await.unwrap();
    }
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(0, |last: &Noted| last.seq);
        let page = shadow::after(jobs.database(), after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2 && page.iter().all(|noted| noted.seq > after));
        read.extend(page);
    }
    assert_eq!(read, noted(&jobs).await);
    assert_eq!(read.len(), 9);
}
