//! What customers say was acknowledged is what core says it did.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use product_load::Secret;
use product_load::customers::{Args, EndpointSummary, Summary, drive};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

fn args(base: &str, folder: &Path) -> Args {
    Args {
        rate: "400".parse().unwrap(),
        run_for: None,
        seed: 1,
        herd: 1,
        founders: Some(24),
        target: base.to_owned(),
        operator_token: None,
        in_flight_max: 4_096,
        samples: None,
        summary_every_s: 60,
        data_dir: folder.to_owned(),
    }
}

/// Sends until core has captured so many payments in all.
async fn drive_until(core: &Core, args: Args, captured: u64) -> Summary {
    let stop = CancellationToken::new();
    let running = tokio::spawn(drive(args, stop.clone()));
    core.captured(captured).await;
    stop.cancel();
    running.await.unwrap().unwrap()
}

fn row<'a>(summary: &'a Summary, name: &str) -> &'a EndpointSummary {
    let row = summary.endpoints.iter().find(|endpoint| endpoint.name == name);
    row.unwrap_or_else(|| panic!("{name} was never asked: {summary:?}"))
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

/// What was noted is what core did: a payment that was refunded has been captured before, and so on.
fn check_ledger(core: &Core, folder: &Path) {
    let books = core.books();
    let ledger = ledger(folder);
    let noted = |intent: &str| ledger.get(intent).cloned().unwrap_or_default();
    let done = |statuses: &[&str]| {
        let ids = books.payments.iter().filter(|(_, status)| statuses.contains(status)).map(|(id, _)| id.clone());
        ids.collect::<HashSet<String>>()
    };
    for (intent, statuses) in [
        ("payment.captured", &["captured", "refunded"][..]),
        ("payment.refunded", &["refunded"]),
        ("payment.declined", &["declined"]),
    ] {
        let (noted, done) = (noted(intent), done(statuses));
        assert_eq!(noted.len(), done.len(), "{intent}, and none twice");
        assert_eq!(noted.into_iter().collect::<HashSet<_>>(), done, "{intent}");
    }
    let authorized = done(&["authorized"]).len() as u64 + books.captured_later;
    assert_eq!(noted("payment.authorized").len() as u64, authorized);
    assert_eq!(noted("user.registered").len(), books.users.len());
}

#[tokio::test]
async fn everything_acknowledged_is_in_the_ledger_once() {
    let (core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    let summary = drive_until(&core, args(&base, folder.path()), 250).await;
    check_ledger(&core, folder.path());
    assert_eq!(
        summary.all.sent,
        summary.all.acknowledged + summary.all.failed,
        "nothing is under way after the return"
    );
    // Core lacks one endpoint. It is asked all the same, and counted as failed.
    let funnel = row(&summary, "GET /v1/analytics/funnel");
    assert_eq!((summary.all.failed, funnel.acknowledged), (funnel.sent, 0), "{summary:?}");
    for endpoint in [
        "POST /v1/register",
        "POST /v1/login",
        "POST /v1/refresh",
        "POST /v1/payments (authorize)",
        "POST /v1/payments/{id}/capture",
        "POST /v1/payments/{id}/refund",
    ] {
        assert!(row(&summary, endpoint).acknowledged > 0, "{endpoint}: {summary:?}");
    }
    let books = core.books();
    assert!(books.captured_later > 0 && books.refreshed > 0);
    assert_eq!(books.reused, 0, "nobody uses a refresh token twice");
    assert!(books.reports["nothing"] > 0);
}

#[tokio::test]
async fn the_mix_is_the_planned_one_from_the_first_second() {
    let (core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    let summary = drive_until(&core, args(&base, folder.path()), 250).await;
    let sent = summary.all.sent as f64;
    let share = |name| row(&summary, name).sent as f64 / sent;
    // Registrations and logins are the dear ones: 3 % and 6 % are planned, of about a thousand.
    assert!((0.01..0.05).contains(&share("POST /v1/register")), "{summary:?}");
    assert!((0.03..0.09).contains(&share("POST /v1/login")), "{summary:?}");
    assert_eq!(summary.all.skipped, 0, "{summary:?}");
    let newcomers = row(&summary, "POST /v1/register").sent;
    assert_eq!(core.books().users.len() as u64, 24 + newcomers, "the founders are there and not counted");
}

#[tokio::test]
async fn there_is_a_sample_of_every_request() {
    let (core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.jsonl");
    let token = Some(Secret::from("t0ken".to_owned()));
    // One at a time: some are skipped.
    let args =
        Args { samples: Some(path.clone()), in_flight_max: 1, operator_token: token, ..args(&base, folder.path()) };
    let summary = drive_until(&core, args, 60).await;
    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let sample: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| sample[key].as_str().unwrap().to_owned();
        *counted.entry((text("endpoint"), text("outcome"))).or_default() += 1;
        let (late, latency) = (sample["late_us"].as_u64().unwrap(), sample["latency_us"].as_u64().unwrap());
        assert!(late <= latency, "{line}");
        let status = sample["status"].as_u64().unwrap();
        match sample["outcome"].as_str().unwrap() {
            "acknowledged" => assert!((200..300).contains(&status), "{line}"),
            "failed" => assert_eq!(status, 404, "{line}"),
            _ => assert_eq!((status, latency), (0, 0), "{line}"),
        }
    }
    for endpoint in &summary.endpoints {
        for (outcome, count) in
            [("acknowledged", endpoint.acknowledged), ("failed", endpoint.failed), ("skipped", endpoint.skipped)]
        {
            let sampled = counted.remove(&(endpoint.name.to_owned(), outcome.to_owned())).unwrap_or(0);
            assert_eq!(sampled, count, "{} {outcome}", endpoint.name);
        }
    }
    assert!(counted.is_empty(), "{counted:?}");
    assert!(core.books().reports.keys().eq(["Bearer t0ken"]), "{:?}", core.books().reports);
}

#[tokio::test]
async fn a_run_ends_with_its_time_and_sends_what_was_planned_for_it() {
    let (_core, base) = Core::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut sent = Vec::new();
    for rates in ["400", "400@250ms"] {
        let run_for = (rates == "400").then_some(Duration::from_millis(250));
        let args = Args { rate: rates.parse().unwrap(), run_for, in_flight_max: 4_096, ..args(&base, folder.path()) };
        sent.push(drive(args, CancellationToken::new()).await.unwrap().all.sent);
    }
    assert!(sent[0] > 50 && sent[0] == sent[1], "{sent:?}: the same seed and time make the same plan");
}

#[tokio::test]
async fn a_payment_whose_answer_was_lost_is_asked_for_again_with_its_key() {
    let (core, base) = Core::start().await;
    core.books().loses_first_answers = true;
    let folder = tempfile::tempdir().unwrap();
    let summary = drive_until(&core, args(&base, folder.path()), 10).await;
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
    drive_until(&core, args(&base, folder.path()), 40).await;
    let registered = core.books().users.len();
    let second = drive_until(&core, args(&base, folder.path()), 80).await;
    assert_eq!(core.books().conflicts, 0, "nobody registers twice");
    let newcomers = second.endpoints.iter().find(|row| row.name == "POST /v1/register").map_or(0, |row| row.sent);
    assert_eq!(core.books().users.len() - registered, newcomers as usize, "the founders are those of the first run");
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
    assert_eq!(drive(args(&base, folder.path()), stop).await.unwrap().all.sent, 0);
}
