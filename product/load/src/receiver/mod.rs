//! The merchant's receiver: keeps the webhooks and the mails that arrive and recognises what it already has.
//!
//! A webhook is known by its `Idempotency-Key`, a mail by its `Message-ID`. One that comes again is counted as a
//! delivery, not as another. `webhooks` takes what comes over HTTP, `smtp` and `mails` what comes over SMTP, `kept` is
//! the evidence. Answers take the stated time of machines that are not ours.

mod kept;
mod mails;
mod signature;
mod smtp;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::kept::Kept;
use self::mails::Mailbox;
use self::webhooks::Webhooks;
use crate::database::Database;
use crate::faults::{self, Faults, Target};
use crate::latency::Latency;
use crate::{Secret, answers};

/// `service.name` of this process.
pub const SERVICE: &str = "receiver";

/// Signs webhooks where nobody chose a secret: good for development, known to everybody.
const DEVELOPMENT_SECRET: &str = "faultline-development-webhook-secret";

/// Settings of the webhook and mail receiver.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address on which it takes mail by SMTP.
    #[arg(long, env = "FAULTLINE_MAIL_LISTEN", default_value = "127.0.0.1:7025")]
    pub mail_listen: SocketAddr,
    /// Address on which it takes webhooks.
    #[arg(long, env = "FAULTLINE_RECEIVER_LISTEN", default_value = "127.0.0.1:7011")]
    pub receiver_listen: SocketAddr,
    /// Key of the webhooks' signatures, the same as the sender's. The default is for development alone.
    #[arg(long, env = "FAULTLINE_WEBHOOK_SECRET", default_value = DEVELOPMENT_SECRET, hide_env_values = true)]
    pub webhook_secret: Secret,
    /// Median of the time a webhook's answer takes, milliseconds: a merchant's server across the internet. An assumption
    /// about machines that are not ours; lognormal around it, 0 for none.
    #[arg(long, env = "FAULTLINE_WEBHOOK_LATENCY_MEDIAN_MS", default_value_t = 80.0)]
    pub webhook_latency_median_ms: f64,
    /// Median of the time until a mail is accepted, milliseconds: a mail relay in the same city. An assumption as well.
    #[arg(long, env = "FAULTLINE_MAIL_LATENCY_MEDIAN_MS", default_value_t = 40.0)]
    pub mail_latency_median_ms: f64,
    /// Spread of both: standard deviation of the natural logarithm. 0.5 puts p99 near 3.2 medians.
    #[arg(long, env = "FAULTLINE_RECEIVER_LATENCY_SIGMA", default_value_t = 0.5)]
    pub receiver_latency_sigma: f64,
    /// Seed of both; the same seed and message take the same time.
    #[arg(long, env = "FAULTLINE_RECEIVER_SEED", default_value_t = 1)]
    pub receiver_seed: u64,
    /// Folder of all data; what was received lives in `product/receiver.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

impl Args {
    /// On ports that the kernel chooses and without latencies, with the development secret: what a test wants.
    pub fn on_free_ports(data_dir: impl Into<PathBuf>) -> Args {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Args {
            mail_listen: free,
            receiver_listen: free,
            webhook_secret: Secret::from(DEVELOPMENT_SECRET.to_owned()),
            webhook_latency_median_ms: 0.0,
            mail_latency_median_ms: 0.0,
            receiver_latency_sigma: 0.0,
            receiver_seed: 1,
            data_dir: data_dir.into(),
        }
    }
}

/// The receiver with its listeners bound and its database open.
pub struct Server {
    http: TcpListener,
    http_address: SocketAddr,
    smtp: TcpListener,
    smtp_address: SocketAddr,
    database: Database,
    faults: Faults,
    webhooks: Webhooks,
    mailbox: Mailbox,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let latency =
            |median_ms, whose| Latency::new(args.receiver_seed, median_ms, args.receiver_latency_sigma, whose);
        let webhook_latency = latency(args.webhook_latency_median_ms, "webhook receiver")?;
        let mail_latency = latency(args.mail_latency_median_ms, "mail receiver")?;
        let smtp = observe::http::listen(args.mail_listen, "--mail-listen").await?;
        let http = observe::http::listen(args.receiver_listen, "--receiver-listen").await?;
        let (http_address, smtp_address) = (http.local_addr()?, smtp.local_addr()?);
        let database = Database::open(&args.data_dir, "receiver.db", kept::SCHEMA).await?;
        info!(server.address = %http_address.ip(), server.port = http_address.port(),
            "the webhook receiver is listening on {http_address}");
        info!(server.address = %smtp_address.ip(), server.port = smtp_address.port(),
            "the mail receiver is listening on {smtp_address}");
        let kept = Kept::new(database.clone());
        let faults = Faults::none(&[Target::Webhook, Target::Mail]);
        Ok(Server {
            http,
            http_address,
            smtp,
            smtp_address,
            database,
            webhooks: Webhooks::new(kept.clone(), args.webhook_secret, webhook_latency),
            mailbox: Mailbox::new(kept, mail_latency, faults.clone()),
            faults,
        })
    }

    /// Where webhooks go, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where mail goes.
    pub fn mail_address(&self) -> SocketAddr {
        self.smtp_address
    }

    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mail = tokio::spawn(smtp::listen(self.smtp, self.mailbox, stop.clone()));
        let router = Router::new()
            .route("/v1/webhooks", post(webhooks::receive))
            .route_layer(from_fn_with_state((self.faults.clone(), Target::Webhook), faults::struck))
            .route("/health", get(answers::health))
            .route("/internal/effects", get(effects))
            .merge(self.faults.routes())
            .layer(DefaultBodyLimit::max(answers::BODY_BYTES_MAX))
            .with_state(self.webhooks);
        observe::http::serve(self.http, observe::http::observed(router), stop).await;
        mail.await?;
        self.database.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// For each event type of each payment: distinct webhooks and mails, and deliveries with repeats.
async fn effects(State(webhooks): State<Webhooks>) -> Response {
    answers::lines(ReceiverStream::new(webhooks.kept.lines()))
}
