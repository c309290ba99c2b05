//! What customers say was acknowledged is what core says it did.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use product_load::customers::{Args, Summary, drive};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

/// Sends until core has captured so many payments in all.
async fn drive_until(core: &Core, base: &str, folder: &Path, captured: u64) -> Summary {
    let args = Args {
        rate: 400.0,
        seed: 1,
        target: base.to_owned(),
        in_flight_max: 64,
        summary_every_s: 60,
        data_dir: folder.to_owned(),
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(drive(args, stop.clone()));
    core.captured(captured).await;
    stop.cancel();
    running.await.unwrap().unwrap()
}

/// Ids by intent.
fn ledger(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("product/ledger.jsonl")).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        ids.entry(text("intent")).or_default().push(text("id"));
    }
    ids
}

fn check_ledger(core: &Core, folder: &Path) {
    let books = core.books();
    let ledger = ledger(folder);
    for status in ["captured", "declined"] {
        let done: HashSet<&str> = books
            .payments
            .values()
            .filter(|payment| payment["status"] == status)
            .map(|payment| payment["id"].as_str().unwrap())
            .collect();
        let noted = ledger.get(&format!("payment.{status}")).cloned().unwrap_or_default();
        assert_eq!(noted.len(), done.len(), "{status}");
        assert!(noted.iter().all(|id| done.contains(id.as_str())), "{status}");
    }
    let refunded = ledger.get("payment.refunded").cloned().unwrap_or_default();
    assert_eq!(refunded.len(), books.refunded.len());
    assert_eq!(ledger["user.registered"].len(), books.users.len());
}

#[tokio::test]
async fn everything_acknowledged_is_in_the_ledger_once() {
    let (core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    let summary = drive_until(&core, &base, folder.path(), 100).await;
    assert_eq!(summary.all.failed, 0, "{summary:?}");
    assert_eq!(summary.all.sent, summary.all.acknowledged, "nothing is under way after the return");
    check_ledger(&core, folder.path());
    let registrations = core.books().users.len() as u64;
    assert!(registrations * 4 < summary.all.sent, "{registrations} of {} requests are registrations", summary.all.sent);
    let names: HashSet<&str> = summary.endpoints.iter().map(|endpoint| endpoint.name).collect();
    for endpoint in ["POST /v1/register", "POST /v1/login", "GET /v1/session", "POST /v1/payments/{id}/refund"] {
        assert!(names.contains(endpoint), "{endpoint} was never asked: {summary:?}");
    }
}

#[tokio::test]
async fn a_payment_whose_answer_was_lost_is_asked_for_again_with_its_key() {
    let (core, base) = Core::start().await;
    core.books().loses_first_answers = true;
    let folder = tempfile::tempdir().unwrap();
    let summary = drive_until(&core, &base, folder.path(), 10).await;
    assert!(summary.all.sent_again >= 10, "{summary:?}");
    let noted = ledger(folder.path());
    let distinct: HashSet<&String> = noted["payment.captured"].iter().collect();
    assert!(distinct.len() >= 10);
    assert_eq!(noted["payment.captured"].len(), distinct.len(), "none is noted twice");
}

#[tokio::test]
async fn a_second_run_knows_the_customers_of_the_first() {
    let (core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    drive_until(&core, &base, folder.path(), 40).await;
    let registered = core.books().users.len();
    let second = drive_until(&core, &base, folder.path(), 80).await;
    assert_eq!(second.all.failed, 0, "{second:?}");
    assert_eq!(core.books().conflicts, 0, "nobody registers twice");
    let newcomers = second.endpoints.iter().find(|row| row.name == "POST /v1/register").map_or(0, |row| row.sent);
    assert_eq!(core.books().users.len() - registered, newcomers as usize);
    check_ledger(&core, folder.path());
}

#[tokio::test]
async fn a_run_that_is_stopped_before_core_is_up_ends_in_peace() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let args = Args {
        rate: 1.0,
        seed: 1,
        target: base,
        in_flight_max: 1,
        summary_every_s: 60,
        data_dir: folder.path().to_owned(),
    };
    assert_eq!(drive(args, stop).await.unwrap().all.sent, 0);
}
