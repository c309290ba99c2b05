//! What stands at the ends of the sinks, and how it fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::load::Signal;

/// A collector and a query node on a folder; the collector can be killed and started again on the same ports.
pub(crate) struct Receiver {
    folder: tempfile::TempDir,
    offset: u16,
    settings: Vec<String>,
    collector: Option<e2e::Process>,
    _query: e2e::Process,
}

impl Receiver {
    pub(crate) fn new(settings: Vec<String>) -> anyhow::Result<Receiver> {
        let (folder, offset) = (tempfile::tempdir()?, e2e::free_port_offset());
        let (path, port_offset) = (folder.path().display().to_string(), offset.to_string());
        let query = e2e::Process::start_quiet(["query", "--data-dir", &path, "--port-offset", &port_offset]);
        Ok(Receiver { folder, offset, settings, collector: None, _query: query })
    }

    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let (path, offset) = (self.folder.path().display().to_string(), self.offset.to_string());
        let fixed = ["collector", "--data-dir", &path, "--port-offset", &offset];
        let arguments = fixed.into_iter().chain(self.settings.iter().map(String::as_str));
        self.collector = Some(e2e::Process::start_quiet(arguments));
        let ready = format!("{}/ready", self.http());
        e2e::wait_for("a collector to be ready", || async {
            let answer = reqwest::get(&ready).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.collector = None;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.collector.is_some()
    }

    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", 4318 + self.offset)
    }

    pub(crate) fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", 4317 + self.offset)
    }

    pub(crate) fn query(&self) -> e2e::Query {
        e2e::Query::at(7317 + self.offset)
    }
}

/// The server of `deploy/testbed/clickhouse`, behind a door that can be shut.
pub(crate) struct ClickHouse {
    pub(crate) database: String,
    direct: String,
    door: Door,
}

impl ClickHouse {
    pub(crate) async fn from_testbed() -> anyhow::Result<ClickHouse> {
        let direct = std::env::var("FAULTLINE_TEST_CLICKHOUSE_URL").context("run this by `just soak`")?;
        let address = direct.trim_start_matches("http://").trim_end_matches('/').parse().context(direct.clone())?;
        Ok(ClickHouse { database: format!("soak_{}", std::process::id()), direct, door: Door::before(address).await? })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.door.address)
    }

    pub(crate) async fn ask(&self, sql: &str) -> anyhow::Result<String> {
        let sql = format!("{} FORMAT TSV", sql.replace("FROM ", &format!("FROM {}.", self.database)));
        let answer = reqwest::Client::new().post(&self.direct).body(sql).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

/// Passes connections on while it is open; when it is shut, those it has are cut and new ones refused.
struct Door {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    shut: Arc<Notify>,
}

impl Door {
    async fn before(server: SocketAddr) -> anyhow::Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (open, shut) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
        let door = Door { address, open: Arc::clone(&open), shut: Arc::clone(&shut) };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !open.load(Relaxed) {
                    continue;
                }
                let shut = Arc::clone(&shut);
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = shut.notified() => {}
                    }
                });
            }
        });
        Ok(door)
    }

    fn set(&self, open: bool) {
        self.open.store(open, Relaxed);
        if !open {
            self.shut.notify_waiters();
        }
    }
}

/// The broker of `deploy/testbed/kafka`; an outage is a process that does not answer.
pub(crate) struct Kafka {
    servers: String,
    pid: u32,
    /// As in [`Signal::ALL`].
    topics: [String; 3],
}

impl Kafka {
    pub(crate) async fn from_testbed() -> anyhow::Result<Kafka> {
        let variable = |name| std::env::var(name).context("run this by `just soak`");
        let servers = variable("FAULTLINE_TEST_BOOTSTRAP_SERVERS")?;
        let pid = variable("FAULTLINE_TEST_KAFKA_PID")?.parse()?;
        let run = std::process::id();
        let topics = Signal::ALL.map(|signal| format!("soak{run}.{}", signal.name()));
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &servers).create()?;
        let new = topics.each_ref().map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1)));
        for made in admin.create_topics(&new, &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("could not make topic {topic}: {code}"))?;
        }
        Ok(Kafka { servers, pid, topics })
    }

    pub(crate) fn as_sink(&self) -> [String; 2] {
        self.settings("out")
    }

    pub(crate) fn as_source(&self) -> [String; 2] {
        self.settings("in")
    }

    fn settings(&self, direction: &str) -> [String; 2] {
        let topics = Signal::ALL.iter().zip(&self.topics).map(|(signal, topic)| format!("{}={topic}", signal.name()));
        let topics: Vec<String> = topics.collect();
        [
            format!("--kafka-{direction}-servers={}", self.servers),
            format!("--kafka-{direction}-topics={}", topics.join(",")),
        ]
    }

    fn set(&self, answering: bool) {
        e2e::send_signal(self.pid, if answering { libc::SIGCONT } else { libc::SIGSTOP });
    }
}

/// One far end at a time is away for a while, by turns, and then all are there for a while.
pub(crate) struct Outages {
    pub(crate) count: u32,
    longest: Duration,
    away: bool,
    until: Instant,
}

impl Outages {
    /// An hour has outages of up to two minutes.
    pub(crate) fn over(time: Duration) -> Outages {
        Outages { count: 0, longest: time / 30, away: false, until: Instant::now() }
    }

    pub(crate) async fn next(
        &mut self,
        clickhouse: &ClickHouse,
        kafka: &Kafka,
        second: &mut Receiver,
        third: &mut Receiver,
    ) -> anyhow::Result<()> {
        if Instant::now() < self.until {
            return Ok(());
        }
        self.end(clickhouse, kafka, second, third).await?;
        self.away = !self.away;
        if self.away {
            match self.count % 4 {
                0 => clickhouse.door.set(false),
                1 => second.kill(),
                2 => kafka.set(false),
                _ => third.kill(),
            }
            self.count += 1;
        }
        self.until = Instant::now() + self.longest.mul_f64(random_share());
        Ok(())
    }

    /// All are there again.
    pub(crate) async fn end(
        &self,
        clickhouse: &ClickHouse,
        kafka: &Kafka,
        second: &mut Receiver,
        third: &mut Receiver,
    ) -> anyhow::Result<()> {
        clickhouse.door.set(true);
        kafka.set(true);
        for receiver in [second, third] {
            if !receiver.is_up() {
                receiver.start().await?;
            }
        }
        Ok(())
    }
}

/// From a tenth to all.
fn random_share() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let number = std::collections::hash_map::RandomState::new().build_hasher().finish();
    0.1 + 0.9 * (number >> 11) as f64 / (1u64 << 53) as f64
}
