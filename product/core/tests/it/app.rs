//! A core of one's own: port 0, a temporary folder, an acquirer that obeys the test.

use std::net::SocketAddr;
use std::time::Duration;

use product_bus::database::Database;
use product_core::{Args, Server};
use product_testing::TestDatabase;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::acquirer::Acquirer;

pub(crate) const PASSWORD: &str = "correct horse battery";
/// Nobody listens there: core must not care.
const NO_BROKER: &str = "127.0.0.1:1";

pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    process: Process,
    pub(crate) acquirer: Acquirer,
    data: TestDatabase,
}

/// What a process is to its tasks: they end with it.
pub(crate) struct Process(Option<Runtime>);

impl Process {
    pub(crate) fn start() -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Process(Some(runtime.unwrap()))
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.as_ref().unwrap().spawn(task)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is left of a core that was killed.
pub(crate) struct Remains {
    acquirer: Acquirer,
    data: TestDatabase,
}

/// Somebody with a session.
pub(crate) struct Customer<'a> {
    app: &'a TestApp,
    pub(crate) user_id: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl TestApp {
    pub(crate) async fn start() -> TestApp {
        Self::start_with(|_args| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Args)) -> TestApp {
        let remains = Remains { acquirer: Acquirer::start().await, data: TestDatabase::create().await };
        Self::again(remains, change).await
    }

    /// Starts on what another one has left.
    pub(crate) async fn again(remains: Remains, change: impl FnOnce(&mut Args)) -> TestApp {
        let Remains { acquirer, data } = remains;
        let mut args = args(&data, &acquirer);
        change(&mut args);
        let process = Process::start();
        let server = process.spawn(Server::bind(args)).await.unwrap().unwrap();
        let stop = CancellationToken::new();
        TestApp {
            address: server.address(),
            client: reqwest::Client::new(),
            running: process.spawn(server.run(stop.clone())),
            process,
            stop,
            acquirer,
            data,
        }
    }

    /// Ends core as `kill -9` would: nothing is finished, nobody is told.
    pub(crate) async fn kill(self) -> Remains {
        let TestApp { mut process, acquirer, data, .. } = self;
        let runtime = process.0.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
        Remains { acquirer, data }
    }

    /// Stops core as a signal would and expects it to end well.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if !status.is_success() {
            assert_eq!(headers["content-type"], "application/problem+json", "{status} {body}");
            assert_eq!(body["status"], status.as_u16());
        }
        Answer { status, headers, body }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn register(&self, name: &str) -> Answer {
        let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD, "display_name": name });
        self.post("/v1/register", &body).await
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "email": format!("{name}@example.org"), "password": password });
        self.post("/v1/login", &body).await
    }

    pub(crate) async fn refresh(&self, token: &Value) -> Answer {
        self.post("/v1/refresh", &json!({ "refresh_token": token })).await
    }

    /// Whether an access token is good for anything.
    pub(crate) async fn session(&self, token: &Value) -> StatusCode {
        let token = token.as_str().unwrap();
        self.send(self.request(Method::GET, "/v1/session").bearer_auth(token)).await.status
    }

    pub(crate) async fn customer(&self, name: &str) -> Customer<'_> {
        let registered = self.register(name).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
        let login = self.login(name, PASSWORD).await;
        assert_eq!(login.status, StatusCode::OK, "{login:?}");
        Customer {
            app: self,
            user_id: registered.body["user_id"].as_str().unwrap().to_owned(),
            token: login.body["token"].as_str().unwrap().to_owned(),
            refresh_token: login.body["refresh_token"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn pending(&self) -> i64 {
        self.get("/internal/outbox").await.body["pending"].as_i64().unwrap()
    }

    /// The settings of another core on the same folder.
    pub(crate) fn args(&self) -> Args {
        args(&self.data, &self.acquirer)
    }

    /// A look into the database from beside.
    pub(crate) async fn database(&self) -> Database {
        self.data.open("product/core.db").await
    }
}

impl Customer<'_> {
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.app.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.app.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn pay(&self, key: &str, body: &Value) -> Answer {
        self.app.send(self.payment(key, body)).await
    }

    /// A request that goes its own way; it can be joined, or aborted as when a client hangs up.
    pub(crate) fn pay_in_background(&self, key: &str, body: &Value) -> AbortOnDropHandle<StatusCode> {
        let request = self.payment(key, body);
        AbortOnDropHandle::new(tokio::spawn(async move { request.send().await.unwrap().status() }))
    }

    fn payment(&self, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.request(Method::POST, "/v1/payments").header("idempotency-key", key).json(body)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.app.request(method, path).bearer_auth(&self.token)
    }
}

/// An order of so many euro cents.
pub(crate) fn order(amount_minor: i64) -> Value {
    json!({ "amount_minor": amount_minor, "currency": "EUR", "description": "tea", "card_token": "tok_4242" })
}

/// As on a command line without any settings, but for what would meet other tests.
fn args(data: &TestDatabase, acquirer: &Acquirer) -> Args {
    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        core: Args,
    }
    let mut args = <Settings as clap::Parser>::parse_from(["core"]).core;
    args.core_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    args.core_database_url = data.url();
    args.data_dir = data.folder().to_owned();
    args.acquirer_url = acquirer.url();
    args.acquirer_timeout_ms = 10_000;
    args.kafka.bootstrap_servers = NO_BROKER.to_owned();
    args
}
