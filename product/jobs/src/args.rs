//! Settings of the jobs service.

use std::net::SocketAddr;
use std::path::PathBuf;

use product_bus::KafkaArgs;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address of the HTTP interface: health, receipts, counted effects.
    #[arg(long, env = "FAULTLINE_JOBS_LISTEN", default_value = "127.0.0.1:7002")]
    pub jobs_listen: SocketAddr,
    /// Base URL of the webhook receiver.
    #[arg(long, env = "FAULTLINE_WEBHOOK_URL", default_value = "http://127.0.0.1:7011")]
    pub webhook_url: String,
    /// Milliseconds a webhook may take before it counts as failed: long for a healthy receiver, and short
    /// enough that one that hangs holds a partition no longer than a few events' worth of work.
    #[arg(long, env = "FAULTLINE_WEBHOOK_TIMEOUT_MS", default_value_t = 2_000)]
    pub webhook_timeout_ms: u64,
    /// Database of jobs, such as postgres://jobs@127.0.0.1:5432/jobs. Without it the SQLite file `product/jobs.db` in the
    /// data folder: nothing to install.
    #[arg(long, env = "FAULTLINE_JOBS_DATABASE_URL", hide_env_values = true)]
    pub jobs_database_url: Option<String>,
    /// Folder of all data; `product/receipts/` and `product/jobs.db` live below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
