//! Settings of the jobs service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use product_bus::KafkaArgs;

use crate::JobsSettings;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address of the HTTP interface: health, receipts, settlements, counted effects.
    #[arg(long, env = "FAULTLINE_JOBS_LISTEN", default_value = "127.0.0.1:7002")]
    pub jobs_listen: SocketAddr,
    /// Database of jobs, such as postgres://jobs@127.0.0.1:5432/jobs. Without it the SQLite file `product/jobs.db` in the
    /// data folder: nothing to install.
    #[arg(long, env = "FAULTLINE_JOBS_DATABASE_URL", hide_env_values = true)]
    pub jobs_database_url: Option<String>,
    #[command(flatten)]
    pub receivers: Receivers,
    /// Folder of all data; `product/jobs.db`, receipts, exports and settlements live below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// What operators present as `Authorization: Bearer …` for `/internal`. Without it only this machine may ask.
    #[arg(long, env = "FAULTLINE_OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: Option<String>,
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// Whom jobs tell, whichever process does them: core has the same settings.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Receivers {
    /// `host:port` of the SMTP server that takes mail to customers.
    #[arg(long, env = "FAULTLINE_SMTP_ADDRESS", default_value = "127.0.0.1:7025")]
    pub smtp_address: String,
    /// Base URL of the webhook receiver.
    #[arg(long, env = "FAULTLINE_WEBHOOK_URL", default_value = "http://127.0.0.1:7011")]
    pub webhook_url: String,
    /// Milliseconds a webhook may take before it counts as failed: long for a healthy receiver, and short
    /// enough that one that hangs holds a partition no longer than a few events' worth of work.
    #[arg(long, env = "FAULTLINE_WEBHOOK_TIMEOUT_MS", default_value_t = 2_000)]
    pub webhook_timeout_ms: u64,
    /// Secret shared with the webhook receiver, by which it knows that a webhook is ours. The default is for development
    /// and known to everybody.
    #[arg(
        long,
        env = "FAULTLINE_WEBHOOK_SECRET",
        default_value = "faultline-development-webhook-secret",
        hide_env_values = true
    )]
    pub webhook_secret: String,
}

impl Receivers {
    /// The settings of jobs that leave their files below `data_dir`.
    pub fn settings(self, data_dir: PathBuf) -> JobsSettings {
        JobsSettings {
            webhook_url: self.webhook_url,
            webhook_timeout: Duration::from_millis(self.webhook_timeout_ms),
            webhook_secret: self.webhook_secret,
            mail_address: self.smtp_address,
            data_dir,
        }
    }
}
