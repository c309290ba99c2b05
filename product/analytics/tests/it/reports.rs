//! The answers are right, in any order of events, as of any of them, and over core's tables as well.

use expect_test::expect;
use product_analytics::reports::Query;
use product_bus::Event;
use product_bus::consumer::HandlerError;
use product_bus::database::Database;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::stack::{Stack, handle, payment, story, told, user};

#[tokio::test]
async fn the_business_is_told_by_day_currency_step_and_customer() {
    let stack = Stack::new().await;
    let server = stack.without_broker().await;
    for event in story() {
        handle(server.database(), &server.handler(), &event).await.unwrap();
    }
    expect![[r#"
        revenue
          captured_minor 300, currency EUR, day 2026-11-23, payments 1, refunded_minor 1250
          captured_minor 2000, currency EUR, day 2026-11-22, payments 2, refunded_minor 750
          captured_minor 9900, currency JPY, day 2026-11-22, payments 1, refunded_minor 0
        activity
          active_users 2, day 2026-11-23, declines 0, logins 0, profile_updates 0, registrations 1
          active_users 4, day 2026-11-22, declines 1, logins 3, profile_updates 1, registrations 2
        funnel
          step registered, users 3
          step logged_in, users 2
          step first_payment, users 2
          step second_payment, users 1
        top-customers
          currency EUR, net_minor 300, payments 2, user_id 00000000-0000-0000-0000-000000000064
          currency EUR, net_minor 0, payments 1, user_id 00000000-0000-0000-0000-000000000065
          currency JPY, net_minor 9900, payments 1, user_id 00000000-0000-0000-0000-000000000066
    "#]]
    .assert_eq(&told(server.database(), &Query::default(), None).await);
    let second = Query { from: "2026-11-23".parse().ok(), to: "2026-11-23".parse().ok(), limit: Some(1) };
    expect![[r#"
        revenue
          captured_minor 300, currency EUR, day 2026-11-23, payments 1, refunded_minor 1250
        activity
          active_users 2, day 2026-11-23, declines 0, logins 0, profile_updates 0, registrations 1
        funnel
          step registered, users 1
          step logged_in, users 0
          step first_payment, users 0
          step second_payment, users 0
        top-customers
          currency EUR, net_minor 300, payments 1, user_id 00000000-0000-0000-0000-000000000064
    "#]]
    .assert_eq(&told(server.database(), &second, None).await);
}

#[test]
fn neither_the_order_of_events_nor_their_repetition_matters() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stack, server) = runtime.block_on(async {
        let stack = Stack::new().await;
        let server = stack.without_broker().await;
        (stack, server)
    });
    let (database, handler) = (server.database(), server.handler());
    let answer = |events: &[Event]| {
        runtime.block_on(async {
            for table in ["DELETE FROM payment_facts", "DELETE FROM user_facts"] {
                sqlx::query(table).execute(database.writer()).await.unwrap();
            }
            for event in events {
                handle(database, &handler, event).await.unwrap();
            }
            told(database, &Query::default(), None).await
        })
    };
    let story = story();
    let expected = answer(&story);
    let twice = [story.clone(), story].concat();
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&Just(twice).prop_shuffle(), |shuffled| {
            prop_assert_eq!(&answer(&shuffled), &expected);
            Ok(())
        })
        .unwrap();
    drop(stack);
}

#[tokio::test]
async fn an_answer_as_of_an_event_is_what_was_known_then() {
    let stack = Stack::new().await;
    let server = stack.without_broker().await;
    let mut backwards = story();
    backwards.reverse();
    for event in &backwards {
        handle(server.database(), &server.handler(), event).await.unwrap();
    }
    let base = format!("http://{}", server.address());
    let database = server.database().clone();
    let running = tokio::spawn(server.run(tokio_util::sync::CancellationToken::new()));

    let then = Stack::new().await;
    let past = then.without_broker().await;
    for event in story() {
        handle(past.database(), &past.handler(), &event).await.unwrap();
        let through = event.sequence.unwrap();
        let expected = told(past.database(), &Query::default(), None).await;
        assert_eq!(told(&database, &Query::default(), Some(through)).await, expected, "through {through}");
        for after in 0..through {
            let url = format!("{base}/internal/reports/funnel?after={after}&through={through}");
            let answer: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
            assert_eq!(answer["applied"], through - after, "every event of the story is counted");
        }
    }
    running.abort();
}

/// The part of core's tables that its reports read, and its views.
const CORE: [&str; 4] = [
    "CREATE TABLE payments (id TEXT PRIMARY KEY, user_id TEXT, amount_minor BIGINT, currency TEXT, status TEXT,
        created_at BIGINT, captured_at BIGINT, declined_at BIGINT, refunded_at BIGINT)",
    "CREATE TABLE audit_log (id TEXT PRIMARY KEY, user_id TEXT, kind TEXT, at BIGINT)",
    "CREATE VIEW payment_facts AS SELECT id AS payment_id, user_id, amount_minor, currency, created_at, captured_at,
        declined_at, refunded_at FROM payments",
    "CREATE VIEW user_facts AS SELECT id AS event_id, user_id, kind, at FROM audit_log
     WHERE kind IN ('registered', 'logged_in', 'profile_updated')",
];

/// What core writes into its own tables when it tells `event`.
async fn as_core_does(core: &Database, event: &Event) {
    let at = event.time_ns / 1_000_000;
    let text = |field: &str| event.data[field].as_str().map(str::to_owned);
    let user = text("user_id");
    let done = match event.kind.split_once('.').unwrap() {
        ("payment", moment) => {
            let opened = sqlx::query(
                "INSERT INTO payments (id, user_id, amount_minor, currency, status, created_at)
                 VALUES ($1, $2, $3, $4, 'pending', $5) ON CONFLICT (id) DO NOTHING",
            )
            .bind(text("payment_id"))
            .bind(user)
            .bind(event.data["amount_minor"].as_i64())
            .bind(text("currency"))
            .bind(at);
            opened.execute(core.writer()).await.unwrap();
            let sql = match moment {
                "captured" => "UPDATE payments SET status = 'captured', captured_at = $1 WHERE id = $2",
                "declined" => "UPDATE payments SET status = 'declined', declined_at = $1 WHERE id = $2",
                _ => "UPDATE payments SET status = 'refunded', refunded_at = $1 WHERE id = $2",
            };
            sqlx::query(sql).bind(at).bind(text("payment_id")).execute(core.writer()).await
        }
        (topic, moment) => {
            let kind = if topic == "profile" { "profile_updated" } else { moment };
            let sql = "INSERT INTO audit_log (id, user_id, kind, at) VALUES ($1, $2, $3, $4)";
            sqlx::query(sql).bind(event.id.to_string()).bind(user).bind(kind).bind(at).execute(core.writer()).await
        }
    };
    done.unwrap();
}

#[tokio::test]
async fn the_questions_have_the_same_answers_over_cores_views() {
    let (stack, beside) = (Stack::new().await, Stack::new().await);
    let server = stack.without_broker().await;
    let core = beside.database.open("core.db").await;
    for statement in CORE {
        sqlx::query(statement).execute(core.writer()).await.unwrap();
    }
    let unsettled = "INSERT INTO payments (id, user_id, amount_minor, currency, status, created_at)
                     VALUES ('p', 'u', 1, 'EUR', 'pending', 1795348800000)";
    sqlx::query(unsettled).execute(core.writer()).await.unwrap(); // of which nobody was told
    for event in story() {
        handle(server.database(), &server.handler(), &event).await.unwrap();
        as_core_does(&core, &event).await;
    }
    let day = |text: &str| text.parse().ok();
    for query in [
        Query::default(),
        Query { from: day("2026-11-23"), ..Query::default() },
        Query { to: day("2026-11-22"), limit: Some(1), ..Query::default() },
        Query { from: day("2030-01-01"), ..Query::default() },
    ] {
        assert_eq!(told(&core, &query, None).await, told(server.database(), &query, None).await, "{query:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_counted_is_poison_and_what_is_not_ours_is_left_alone() {
    let stack = Stack::new().await;
    let server = stack.without_broker().await;
    let nothing = told(server.database(), &Query::default(), None).await;
    let mut nonsense = payment("payment.captured", 1, 100, 1250, "EUR");
    nonsense.data["amount_minor"] = "much".into();
    let mut newer = user("user.registered", 100);
    newer.version = 9;
    for poison in [nonsense, newer] {
        let handled = handle(server.database(), &server.handler(), &poison).await;
        assert!(matches!(handled, Err(HandlerError::Poison(_))), "{poison:?}");
    }
    handle(server.database(), &server.handler(), &user("user.yawned", 100)).await.unwrap();
    assert_eq!(told(server.database(), &Query::default(), None).await, nothing);
}
