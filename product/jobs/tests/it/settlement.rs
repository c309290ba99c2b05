//! Every item is in one settlement, and a settled day does not change.

use expect_test::expect;
use jiff::civil::{Date, date};
use product_bus::Event;
use product_jobs::{Jobs, Settlement};
use uuid::Uuid;

use crate::stack::{NOON_NS, Stack, handle, payment};

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
const DAY: Date = date(2025, 11, 22);

/// A payment or a refund, so many days after the first.
fn item(id: u128, kind: &str, amount_minor: i64, currency: &str, days: i64) -> Event {
    let mut event = payment(id, kind, "");
    event.data["payment_id"] = Uuid::from_u128(1_000 + id).to_string().into();
    event.data["amount_minor"] = amount_minor.into();
    event.data["currency"] = currency.into();
    event.time_ns = NOON_NS + days * DAY_NS;
    event
}

async fn settled(jobs: &Jobs, day: Date) -> String {
    let line = |row: &Settlement| {
        let Settlement { day, currency, captured_minor, refunded_minor, items } = row;
        format!("{day} {currency} captured {captured_minor} refunded {refunded_minor} items {items}")
    };
    jobs.settle(day, "jobs").await.unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_day_is_settled_once_and_what_comes_late_is_in_the_next() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    for event in [
        item(1, "payment.captured", 1_000, "EUR", 0),
        item(2, "payment.captured", 250, "EUR", 0),
        item(3, "payment.refunded", 250, "EUR", 0),
        item(4, "payment.captured", 9_900, "JPY", 0),
        item(5, "payment.captured", 70, "EUR", 1),
    ] {
        handle(&jobs, &event).await.unwrap();
    }
    let first = settled(&jobs, DAY).await;
    expect![[r#"
        2025-11-22 EUR captured 1250 refunded 250 items 3
        2025-11-22 JPY captured 9900 refunded 0 items 1"#]]
    .assert_eq(&first);
    let file = stack.path("settlements/2025-11-22.jobs.csv");
    expect![[r#"
        day,currency,captured_minor,refunded_minor,net_minor,items
        2025-11-22,EUR,1250,250,1000,3
        2025-11-22,JPY,9900,0,9900,1
    "#]]
    .assert_eq(&std::fs::read_to_string(&file).unwrap());

    handle(&jobs, &item(6, "payment.captured", 5, "EUR", 0)).await.unwrap(); // late, and in a currency of that day
    handle(&jobs, &item(7, "payment.captured", 6, "USD", 0)).await.unwrap(); // late, and in none of them
    std::fs::remove_file(&file).unwrap(); // a crash before the file was written
    assert_eq!(settled(&jobs, DAY).await, first);
    assert!(file.exists());

    let next = DAY.tomorrow().unwrap();
    expect![[r#"
        2025-11-23 EUR captured 75 refunded 0 items 2
        2025-11-23 USD captured 6 refunded 0 items 1"#]]
    .assert_eq(&settled(&jobs, next).await);
    assert_eq!(settled(&jobs, next.tomorrow().unwrap()).await, "");
    expect![[r#"
        2025-11-22.jobs.csv
        2025-11-23.jobs.csv"#]]
    .assert_eq(&stack.files("settlements").join("\n"));
}

#[tokio::test]
async fn settling_at_the_same_time_from_two_places_takes_every_item_once() {
    let stack = Stack::new().await;
    let jobs = stack.jobs().await;
    for id in 1..=20 {
        handle(&jobs, &item(id, "payment.captured", 10, "EUR", 0)).await.unwrap();
    }
    let other = jobs.clone();
    let (here, there) = tokio::join!(settled(&jobs, DAY), settled(&other, DAY));
    assert_eq!(here, there);
    assert_eq!(here, "2025-11-22 EUR captured 200 refunded 0 items 20");
}
