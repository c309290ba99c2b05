//! Core between real neighbours: a broker, both services, a receiver of webhooks and mails. Effects are counted where
//! they arrive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use product_core::{Args, Mode};
use product_load::receiver;
use product_testing::TestDatabase;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::{Answer, Process, TestApp};

/// Far beyond what anything takes; a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What jobs do for a captured payment.
pub(crate) const JOBS: &[&str] = &["mail", "receipt", "webhook"];
/// That, and that analytics has counted it.
pub(crate) const ALL: &[&str] = &["mail", "projection", "receipt", "webhook"];

/// Takes webhooks and mails, and can be told not to.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) mail: String,
    client: reqwest::Client,
    _data: TestDatabase,
    _stop: DropGuard,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let data = TestDatabase::create().await;
        let server = receiver::Server::bind(receiver::Args::on_free_ports(data.folder())).await.unwrap();
        let (url, mail) = (format!("http://{}", server.address()), server.mail_address().to_string());
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Receiver { url, mail, client: reqwest::Client::new(), _data: data, _stop: stop.drop_guard() }
    }

    pub(crate) async fn refuses(&self, target: &str) {
        let fault = json!({ "kind": "refusing", "target": target, "for_s": 600 });
        let told = self.client.post(format!("{}/internal/faults", self.url)).json(&fault).send().await.unwrap();
        assert!(told.status().is_success());
    }

    pub(crate) async fn takes_again(&self) {
        self.client.delete(format!("{}/internal/faults", self.url)).send().await.unwrap();
    }

    /// Lets core find it.
    pub(crate) fn introduce(&self, args: &mut Args) {
        args.receivers.webhook_url.clone_from(&self.url);
        args.receivers.smtp_address.clone_from(&self.mail);
    }
}

/// The product as a whole.
pub(crate) struct Stack {
    pub(crate) app: TestApp,
    pub(crate) receiver: Receiver,
    jobs: String,
    analytics: String,
    services: Vec<JoinHandle<anyhow::Result<()>>>,
    stop: CancellationToken,
    _around: Process,
    _data: [TestDatabase; 2],
}

/// Count and deliveries by effect, event and payment.
pub(crate) type Evidence = BTreeMap<(String, String, String), (i64, i64)>;

impl Stack {
    pub(crate) async fn start(jobs_mode: Mode, analytics_mode: Mode) -> Stack {
        let stop = CancellationToken::new();
        let (kafka, serving) = product_testing::kafka().await;
        // Beside the test's own runtime: where that ends in a panic it would wait for consumers whose broker is gone.
        let around = Process::start();
        around.spawn(serving);
        let receiver = Receiver::start().await;

        let data = [TestDatabase::create().await, TestDatabase::create().await];
        let mut settings: product_jobs::Args = settings_of(&[]);
        settings.jobs_listen = LOCAL;
        settings.jobs_database_url = data[0].url();
        settings.data_dir = data[0].folder().to_owned();
        settings.receivers.webhook_url.clone_from(&receiver.url);
        settings.receivers.smtp_address.clone_from(&receiver.mail);
        settings.kafka = kafka.clone();
        let jobs = product_jobs::Server::bind(settings).await.unwrap();
        let jobs_url = format!("http://{}", jobs.address());
        let jobs = around.spawn(jobs.run(stop.clone()));

        let mut settings: product_analytics::Args = settings_of(&[]);
        settings.analytics_listen = LOCAL;
        settings.analytics_database_url = data[1].url();
        settings.data_dir = data[1].folder().to_owned();
        settings.kafka = kafka.clone();
        let analytics = product_analytics::Server::bind(settings).await.unwrap();
        let analytics_url = format!("http://{}", analytics.address());
        let analytics = around.spawn(analytics.run(stop.clone()));

        let app = TestApp::start_with(|args| {
            receiver.introduce(args);
            args.jobs_mode = jobs_mode;
            args.analytics_mode = analytics_mode;
            args.jobs_url.clone_from(&jobs_url);
            args.analytics_url.clone_from(&analytics_url);
            args.kafka = kafka;
        })
        .await;
        Stack {
            app,
            receiver,
            jobs: jobs_url,
            analytics: analytics_url,
            services: vec![jobs, analytics],
            stop,
            _around: around,
            _data: data,
        }
    }

    /// Who consumes leaves while the broker is still there.
    pub(crate) async fn stop(self) {
        self.app.stop().await;
        self.stop.cancel();
        for service in self.services {
            service.await.unwrap().unwrap();
        }
    }

    /// What arrived outside, what was written, what was counted.
    pub(crate) async fn evidence(&self) -> Evidence {
        let core = format!("http://{}", self.app.address);
        let sources = [
            (&self.receiver.url, &["mail", "webhook"][..]),
            (&core, &["receipt"]),
            (&self.jobs, &["receipt"]),
            (&self.analytics, &["projection"]),
        ];
        let mut evidence = Evidence::new();
        for (url, effects) in sources {
            add_evidence(&mut evidence, lines(url).await, effects);
        }
        evidence
    }

    /// Waits until each of these payments has had each of these effects of its capture, and then sees that none had it
    /// twice.
    pub(crate) async fn each_once(&self, payments: &[String], effects: &[&str]) {
        until("every effect of every payment", async || {
            let evidence = self.evidence().await;
            let happened = |payment: &String, effect: &&str| {
                let key = ((*effect).to_owned(), "payment.captured".to_owned(), payment.clone());
                evidence.contains_key(&key)
            };
            payments.iter().all(|payment| effects.iter().all(|effect| happened(payment, effect)))
        })
        .await;
        let mut evidence = self.evidence().await;
        evidence.retain(|(effect, _, _), _| effects.contains(&effect.as_str()));
        assert_eq!(evidence.len(), payments.len() * effects.len(), "no other payment, no other effect");
        for (effect, counted) in evidence {
            assert_eq!(counted, (1, 1), "{effect:?}");
        }
    }
}

/// A core without services, which then cannot be needed.
pub(crate) async fn alone(jobs_mode: Mode, receiver: &Receiver, change: impl FnOnce(&mut Args)) -> TestApp {
    TestApp::start_with(|args| {
        receiver.introduce(args);
        args.jobs_mode = jobs_mode;
        args.analytics_mode = Mode::Inline;
        change(args);
    })
    .await
}

/// Settings as on a command line.
pub(crate) fn settings_of<T: clap::Args>(arguments: &[String]) -> T {
    let command = T::augment_args(clap::Command::new("part").no_binary_name(true));
    T::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
}

/// Adds what one process says about these effects of payments.
pub(crate) fn add_evidence(evidence: &mut Evidence, lines: Vec<Value>, effects: &[&str]) {
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        if !effects.contains(&text("effect").as_str()) || line["payment_id"].is_null() {
            continue;
        }
        let count = line["count"].as_i64().unwrap();
        let seen = evidence.entry((text("effect"), text("event_type"), text("payment_id"))).or_default();
        seen.0 += count;
        seen.1 += line["deliveries"].as_i64().unwrap_or(count);
    }
}

/// The evidence of one process.
pub(crate) async fn lines(url: &str) -> Vec<Value> {
    parsed(&reqwest::get(format!("{url}/internal/effects")).await.unwrap().text().await.unwrap())
}

pub(crate) fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) async fn put_mode(app: &TestApp, concern: &str, body: &Value) -> Answer {
    app.send(app.request(Method::PUT, &format!("/internal/modes/{concern}")).json(body)).await
}

pub(crate) async fn go(app: &TestApp, concern: &str, mode: Mode) {
    let answer = put_mode(app, concern, &json!({ "mode": mode, "force": true })).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// What stands in `GET /internal/modes` about the comparison of a concern.
pub(crate) async fn comparison(app: &TestApp, concern: &str) -> Value {
    app.get("/internal/modes").await.body[concern]["comparison"].clone()
}

pub(crate) async fn report(app: &TestApp, name: &str) -> Value {
    let answer = app.get(&format!("/v1/analytics/{name}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

/// Looks until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let look = async {
        let mut clock = tokio::time::interval(LOOK_EVERY);
        while !condition().await {
            clock.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "waited in vain for {what}");
}
