//! A process killed at any step of outbox, relay and inbox loses and doubles nothing.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
};

use futures::future::join_all;
use product_bus::{
    KafkaArgs,
    database::Database,
    outbox,
    steps::{DIE_AT, Step},
};
use product_testing::TestDatabase;
use serde_json::{Value, json};
use tokio::{process::Command, sync::Semaphore};

use crate::bench::{Consumer, Product, TestBroker, until};

/// Where the process to be killed finds databases and broker, JSON.
const CHILD: &str = "FAULTLINE_TEST_CHILD";
/// Each is a process; more at once only wait for a core.
const AT_ONCE: usize = 4;
/// What the child says, one of it failing once.
const SAID: i64 = 10;
const ABORTED: i32 = 6;

fn event(number: i64) -> Value {
    if number == 3 { json!({ "n": number, "fail": 1 }) } else { json!({ "n": number }) }
}

async fn say(product: &Product, numbers: std::ops::Range<i64>) {
    for number in numbers {
        product.say(&format!("key{}", number % 5), event(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_step_loses_and_doubles_nothing() {
    let broker = TestBroker::start().await;
    let places = Semaphore::new(AT_ONCE);
    let killed = Step::ALL.map(|step| {
        let broker = TestBroker::known_as(broker.kafka(), format!("{}.{step:?}", broker.name));
        let places = &places;
        async move {
            let _place = places.acquire().await.expect("it is never closed");
            killed_at(step, &broker).await;
        }
    });
    join_all(killed).await;
    broker.end().await;
}

async fn killed_at(step: Step, broker: &TestBroker) {
    let (ours, theirs) = (TestDatabase::create().await, TestDatabase::create().await);
    let place = |database: &TestDatabase, file: &str| json!([database.url(), database.folder().join(file)]);
    let told = json!({
        "bootstrap_servers": broker.kafka().bootstrap_servers, "name": broker.name,
        "ours": place(&ours, "ours.db"), "theirs": place(&theirs, "theirs.db"),
    });
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["injection::the_process_that_is_killed", "--exact", "--ignored"])
        .env(CHILD, told.to_string())
        .env(DIE_AT, format!("{step:?}"))
        .arg("--nocapture")
        .kill_on_drop(true)
        .output();
    let child = child.await.expect("a process");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(ABORTED), "{step:?} was not reached: {}\n{said}", child.status);

    // Another process takes over and the customer goes on where the answers ended.
    let product = Product::start(ours.open("ours.db").await, broker).await;
    let consumer = Consumer::start(theirs.open("theirs.db").await, broker).await;
    let said: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM outbox").fetch_one(product.database.readers()).await.expect("a count");
    // Five more than the child would have said, one a key: when their effects are there, what came before them was read.
    say(&product, said..SAID + 5).await;
    let all = usize::try_from(SAID).expect("a count") + 5;
    consumer.until_effects(all).await;
    until("an empty outbox", async || (outbox::pending(&product.database).await.ok()? == 0).then_some(())).await;
    consumer.end().await;
    product.end().await;

    let database = theirs.open("theirs.db").await;
    let effects: Vec<(String, i64)> =
        sqlx::query_as("SELECT key, n FROM effect ORDER BY n").fetch_all(database.readers()).await.expect("effects");
    let expected: Vec<_> = (0..SAID + 5).map(|number| (format!("key{}", number % 5), number)).collect();
    assert_eq!(effects, expected, "killed at {step:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that is killed, started by the test above"]
async fn the_process_that_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kafka = KafkaArgs::at(text(&told["bootstrap_servers"]).expect("an address"));
    let broker = TestBroker::known_as(kafka, text(&told["name"]).expect("a name"));
    let open = async |place: &Value| {
        let file: PathBuf = Path::new(&text(&place[1]).expect("a file")).to_owned();
        Database::open(text(&place[0]).as_deref(), &file).await.expect("a database")
    };
    let product = Product::start(open(&told["ours"]).await, &broker).await;
    let consumer = Consumer::start(open(&told["theirs"]).await, &broker).await;
    say(&product, 0..SAID).await;
    consumer.until_effects(usize::try_from(SAID).expect("a count")).await;
}
