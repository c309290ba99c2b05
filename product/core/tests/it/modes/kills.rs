//! Switched and killed while customers pay: core and both services are processes that die again and again, at the steps of
//! an event's way and at any other moment, and come back.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use product_bus::KafkaArgs;
use product_bus::steps::{DIE_AT, Step};
use product_core::Mode;
use product_testing::TestDatabase;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acquirer::Acquirer;
use crate::app::{PASSWORD, Process, order};
use crate::modes::stack::{ALL, Evidence, PATIENCE, Receiver, add_evidence, parsed, settings_of, until};

const SEED: u64 = 20_261_123;
const SWITCHES_MIN: usize = 100;
/// Of each part.
const DEATHS_MIN: usize = 5;
const CORE_LIFE_MAX: Duration = Duration::from_secs(2);
/// Its group misses a service that died without a word for six seconds; who comes after it has to get to work as well.
const SERVICE_LIFE_MAX: Duration = Duration::from_secs(8);
/// The last time that a step is reached for which somebody dies.
const TIMES_MAX: u32 = 20;
const BETWEEN_SWITCHES_MAX: Duration = Duration::from_millis(300);
const BETWEEN_PAYMENTS: Duration = Duration::from_millis(30);
/// For one answer. Whoever is killed between taking a question and hearing of it leaves the asker alone.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ABORTED: i32 = 6;

/// Which part the process to be killed is, and its arguments, JSON.
const CHILD: &str = "FAULTLINE_TEST_CHILD";
/// The socket that is our stdout becomes descriptor 3 by systemd's protocol, as `faultline up` does it: who connects while
/// nobody lives waits for the next life.
const WITH_SOCKET: &str = r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@" 3>&1 >/dev/null"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_and_kills_lose_and_double_nothing() {
    let (kafka, serving) = product_testing::kafka().await;
    let around = Process::start();
    around.spawn(serving);
    let (receiver, acquirer) = (Receiver::start().await, Acquirer::start().await);
    let product = Product::new(&kafka, &receiver, &acquirer).await;
    let (unrest, watched) = watch::channel(false);
    let mut keepers = JoinSet::new();
    for (part, seed) in product.parts.iter().zip(SEED..) {
        keepers.spawn(keep(part.clone(), StdRng::seed_from_u64(seed), watched.clone()));
    }
    tokio::select! {
        () = story(&product, &receiver, &unrest) => {}
        Some(ended) = keepers.join_next() => panic!("a part ended otherwise than it was to: {ended:?}"),
    }
}

async fn story(product: &Product, receiver: &Receiver, unrest: &watch::Sender<bool>) {
    let mut customers = Vec::new();
    for name in ["ada", "bob", "cleo", "dan"] {
        customers.push(product.customer(name).await);
    }
    unrest.send_replace(true);
    let enough = CancellationToken::new();
    let paying = futures::future::join_all(customers.iter().map(|token| product.pay_until(token, &enough)));
    let switching = async {
        product.switch().await;
        enough.cancel();
    };
    let (payments, ()) = tokio::join!(paying, switching);
    let payments: Vec<String> = payments.into_iter().flatten().collect();
    unrest.send_replace(false);

    // The last events may be anybody's; whoever looks at them must be able to.
    product.go("jobs", Mode::Events).await;
    product.go("analytics", Mode::Events).await;
    until("everything to be done", async || product.is_owed_nothing().await).await;
    let captured =
        |payment: &String, effect: &&str| ((*effect).to_owned(), "payment.captured".to_owned(), payment.clone());
    let expected: Vec<_> =
        payments.iter().flat_map(|payment| ALL.iter().map(move |effect| captured(payment, effect))).collect();
    until("every effect of every payment", async || {
        let evidence = product.evidence(receiver).await;
        expected.iter().all(|effect| evidence.contains_key(effect))
    })
    .await;
    let evidence = product.evidence(receiver).await;
    assert_eq!(evidence.len(), expected.len(), "no other payment, no other effect");
    let mut again = 0;
    for (effect, (count, deliveries)) in evidence {
        // A delivery whose sender died before it heard of it comes again, with the key by which it is known.
        assert_eq!(count, 1, "{effect:?}");
        again += deliveries - count;
    }
    println!("{} payments, {again} deliveries came again", payments.len());
    for name in ["revenue", "activity", "funnel", "top-customers"] {
        product.go("analytics", Mode::Inline).await;
        let own = product.report(name).await;
        product.go("analytics", Mode::Events).await;
        until("the service to count as core does", async || product.report(name).await == own).await;
    }
}

/// A part of the product, with the port that outlives its processes.
struct Part {
    name: &'static str,
    arguments: Vec<String>,
    socket: TcpListener,
    /// Where it may die.
    steps: &'static [Step],
    life_max: Duration,
    deaths: AtomicUsize,
    data: TestDatabase,
}

/// How a life ends.
enum Fate {
    /// At a step, by its own hand: the process names it in [`DIE_AT`].
    At(Step, u32),
    /// By `kill -9`, wherever it is then.
    After(Duration),
}

impl Part {
    fn url(&self) -> String {
        format!("http://{}", self.socket.local_addr().unwrap())
    }

    fn fate(&self, random: &mut StdRng) -> Fate {
        if random.random_bool(0.5) {
            Fate::At(*self.steps.choose(random).unwrap(), random.random_range(1..=TIMES_MAX))
        } else {
            Fate::After(self.life_max.mul_f64(random.random()))
        }
    }

    fn start(&self, fate: Option<&Fate>) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", WITH_SOCKET])
            .arg(std::env::current_exe().unwrap())
            .args(["modes::kills::the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(CHILD, json!([self.name, self.arguments]).to_string())
            .stdin(Stdio::piped()) // its lifeline
            .stdout(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())))
            .kill_on_drop(true);
        if let Some(Fate::At(step, time)) = fate {
            command.env(DIE_AT, format!("{step:?} {time}"));
        }
        command.spawn().unwrap()
    }
}

/// Lets a part live, one process after another. While there is unrest each dies soon; with its beginning and with its end
/// everybody dies once.
async fn keep(part: Arc<Part>, mut random: StdRng, mut unrest: watch::Receiver<bool>) {
    loop {
        let fate = unrest.borrow_and_update().then(|| part.fate(&mut random));
        let mut child = part.start(fate.as_ref());
        let _lifeline = child.stdin.take(); // waiting would close it
        let time = async {
            match fate {
                Some(Fate::After(time)) => tokio::time::sleep(time).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = child.wait() => assert_eq!(ended.unwrap().signal(), Some(ABORTED), "{}", part.name),
            () = time => child.kill().await.unwrap(),
            moved = unrest.changed() => {
                moved.unwrap();
                child.kill().await.unwrap();
            }
        }
        part.deaths.fetch_add(1, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that is killed, started by the test above"]
async fn the_process_that_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    // Whoever started us may be killed as well.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let (part, arguments): (String, Vec<String>) = serde_json::from_str(&told).unwrap();
    let never = CancellationToken::new();
    let ended = match part.as_str() {
        "core" => product_core::run(settings_of(&arguments), never).await,
        "jobs" => product_jobs::run(settings_of(&arguments), never).await,
        _ => product_analytics::run(settings_of(&arguments), never).await,
    };
    panic!("{part} ended by itself: {ended:?}");
}

/// The parts as customers and operators meet them: whoever does not answer is asked again.
struct Product {
    client: reqwest::Client,
    parts: [Arc<Part>; 3],
}

impl Product {
    async fn new(kafka: &KafkaArgs, receiver: &Receiver, acquirer: &Acquirer) -> Product {
        let part = async |name: &'static str, steps: &'static [Step], more: Vec<String>| {
            let data = TestDatabase::create().await;
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut arguments = vec![
                format!("--{name}-listen={}", socket.local_addr().unwrap()),
                format!("--data-dir={}", data.folder().display()),
                format!("--bootstrap-servers={}", kafka.bootstrap_servers),
            ];
            arguments.extend(data.url().map(|url| format!("--{name}-database-url={url}")));
            arguments.extend(kafka.topic_prefix.as_ref().map(|prefix| format!("--topic-prefix={prefix}")));
            arguments.extend(more);
            let life_max = if name == "core" { CORE_LIFE_MAX } else { SERVICE_LIFE_MAX };
            Arc::new(Part { name, arguments, socket, steps, life_max, deaths: AtomicUsize::new(0), data })
        };
        let receivers = vec![format!("--webhook-url={}", receiver.url), format!("--smtp-address={}", receiver.mail)];
        let consuming = &[Step::Received, Step::Prepared, Step::Remembered, Step::Applied, Step::Done];
        let jobs = part("jobs", consuming, receivers.clone()).await;
        let analytics = part("analytics", consuming, Vec::new()).await;
        let mut neighbours = receivers;
        neighbours.extend([
            format!("--jobs-url={}", jobs.url()),
            format!("--analytics-url={}", analytics.url()),
            format!("--acquirer-url={}", acquirer.url()),
        ]);
        let publishing = &[
            Step::Enqueued,
            Step::Committed,
            Step::Read,
            Step::Handed,
            Step::Acknowledged,
            Step::Marking,
            Step::Marked,
        ];
        let core = part("core", publishing, neighbours).await;
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).build().unwrap();
        Product { client, parts: [core, jobs, analytics] }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.parts[0].url()))
    }

    /// The token of a new customer. Nobody is killed yet.
    async fn customer(&self, name: &str) -> String {
        let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD, "display_name": name });
        insist(self.request(Method::POST, "/v1/register").json(&body), StatusCode::CREATED).await;
        let login = insist(self.request(Method::POST, "/v1/login").json(&body), StatusCode::OK).await;
        json_of(&login)["token"].as_str().unwrap().to_owned()
    }

    /// Ids of the payments made until it is enough. Who gets no answer asks again with the same key.
    async fn pay_until(&self, token: &str, enough: &CancellationToken) -> Vec<String> {
        let mut payments = Vec::new();
        while !enough.is_cancelled() {
            let payment = self.request(Method::POST, "/v1/payments").bearer_auth(token).json(&order(500));
            let payment = payment.header("idempotency-key", format!("k{}", payments.len()));
            let paid = insist(payment, StatusCode::CREATED).await;
            payments.push(json_of(&paid)["id"].as_str().unwrap().to_owned());
            tokio::time::sleep(BETWEEN_PAYMENTS).await;
        }
        payments
    }

    /// Switches until it was often enough and everybody has died often enough.
    async fn switch(&self) {
        let mut random = StdRng::seed_from_u64(SEED);
        let mut switches = 0;
        while switches < SWITCHES_MIN || self.parts.iter().any(|part| part.deaths.load(Relaxed) < DEATHS_MIN) {
            let concern = ["jobs", "analytics"].choose(&mut random).unwrap();
            let mode = [Mode::Inline, Mode::Dual, Mode::Events].choose(&mut random);
            let percent = [0, 25, 50, 100, 100].choose(&mut random).unwrap();
            self.put_mode(concern, &json!({ "mode": mode, "percent": percent, "force": true })).await;
            tokio::time::sleep(BETWEEN_SWITCHES_MAX.mul_f64(random.random())).await;
            switches += 1;
        }
        let deaths = self.parts.each_ref().map(|part| (part.name, part.deaths.load(Relaxed)));
        println!("{switches} switches, deaths: {deaths:?}");
    }

    async fn go(&self, concern: &str, mode: Mode) {
        self.put_mode(concern, &json!({ "mode": mode, "force": true })).await;
    }

    async fn put_mode(&self, concern: &str, change: &Value) {
        insist(self.request(Method::PUT, &format!("/internal/modes/{concern}")).json(change), StatusCode::OK).await;
    }

    async fn report(&self, name: &str) -> Value {
        json_of(&insist(self.request(Method::GET, &format!("/v1/analytics/{name}")), StatusCode::OK).await)
    }

    /// Whether all that was committed is published, and what core does itself is done.
    async fn is_owed_nothing(&self) -> bool {
        let outbox = insist(self.request(Method::GET, "/internal/outbox"), StatusCode::OK).await;
        let database = self.parts[0].data.open("product/core.db").await;
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM inline_jobs").fetch_one(database.readers()).await;
        database.close().await;
        json_of(&outbox)["pending"] == 0 && count.is_ok_and(|count: i64| count == 0)
    }

    async fn evidence(&self, receiver: &Receiver) -> Evidence {
        let [core, jobs, analytics] = self.parts.each_ref().map(|part| part.url());
        let sources = [
            (&receiver.url, &["mail", "webhook"][..]),
            (&core, &["receipt"]),
            (&jobs, &["receipt"]),
            (&analytics, &["projection"]),
        ];
        let mut evidence = Evidence::new();
        for (url, effects) in sources {
            let text = insist(self.client.get(format!("{url}/internal/effects")), StatusCode::OK).await;
            add_evidence(&mut evidence, parsed(&text), effects);
        }
        evidence
    }
}

/// Asks until the answer is `status`.
async fn insist(request: RequestBuilder, status: StatusCode) -> String {
    let mut last = String::new();
    let asking = async {
        loop {
            let answer = async {
                let response = request.try_clone().unwrap().send().await?;
                Ok::<_, reqwest::Error>((response.status(), response.text().await?))
            };
            match answer.await {
                Ok((found, text)) if found == status => return text,
                other => last = format!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    answered.unwrap_or_else(|_| panic!("no {status} for {request:?}, but {last}"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
