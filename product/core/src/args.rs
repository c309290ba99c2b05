//! The settings of core, each explained where it is declared.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Mode;

use crate::limits::LimitArgs;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the HTTP API. Loopback by default: whoever opens it to a network puts TLS in front.
    #[arg(long, env = "FAULTLINE_CORE_LISTEN", default_value = "127.0.0.1:7001")]
    pub core_listen: SocketAddr,

    /// Database of core, such as postgres://core@127.0.0.1:5432/core. Without it the SQLite file `product/core.db` in the
    /// data folder: nothing to install.
    #[arg(long, env = "FAULTLINE_CORE_DATABASE_URL", hide_env_values = true)]
    pub core_database_url: Option<String>,

    /// Folder of everything that is kept; core writes below `product/` in it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// Base address of the acquirer that charges and refunds cards.
    #[arg(long, env = "FAULTLINE_ACQUIRER_URL", default_value = "http://127.0.0.1:7010")]
    pub acquirer_url: String,

    /// Milliseconds the acquirer has for one answer. Long against its usual 20 ms, short against a customer's patience.
    #[arg(long, env = "FAULTLINE_ACQUIRER_TIMEOUT_MS", default_value_t = 5_000)]
    pub acquirer_timeout_ms: u64,

    /// Passwords hashed at the same time. Each costs 19 MiB and a core for some 20 ms; two leave room for the other requests.
    #[arg(long, env = "FAULTLINE_CORE_PASSWORD_WORKERS", default_value_t = 2)]
    pub core_password_workers: usize,

    /// Requests that may wait for a password worker. Beyond it the answer is 503 at once: they would only time out later.
    #[arg(long, env = "FAULTLINE_CORE_PASSWORD_WAITING_MAX", default_value_t = 64)]
    pub core_password_waiting_max: usize,

    /// Hours a session lives after its login.
    #[arg(long, env = "FAULTLINE_CORE_SESSION_HOURS", default_value_t = 24)]
    pub core_session_hours: u32,

    /// Days a refresh token waits to be used: whoever comes back within them need not sign in again.
    #[arg(long, env = "FAULTLINE_CORE_REFRESH_DAYS", default_value_t = 30)]
    pub core_refresh_days: u32,

    #[command(flatten)]
    pub limits: LimitArgs,

    /// Who does the jobs while nothing else was chosen: `inline` core in the request, `events` the jobs service, `dual`
    /// core, and the service is compared. Later changes by `PUT /internal/modes/jobs` are kept and win.
    #[arg(long, env = "FAULTLINE_JOBS_MODE", value_enum, default_value_t = Mode::Events)]
    pub jobs_mode: Mode,

    /// The same for the reports of `/v1/analytics`.
    #[arg(long, env = "FAULTLINE_ANALYTICS_MODE", value_enum, default_value_t = Mode::Events)]
    pub analytics_mode: Mode,

    /// Base address of the jobs service, asked only for what it would have done.
    #[arg(long, env = "FAULTLINE_JOBS_URL", default_value = "http://127.0.0.1:7002")]
    pub jobs_url: String,

    /// Base address of the analytics service, asked for reports.
    #[arg(long, env = "FAULTLINE_ANALYTICS_URL", default_value = "http://127.0.0.1:7003")]
    pub analytics_url: String,

    /// What operators present as `Authorization: Bearer …` for reports and `/internal`. Without it only this machine may ask.
    #[arg(long, env = "FAULTLINE_OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: Option<String>,

    #[command(flatten)]
    pub receivers: product_jobs::Receivers,

    #[command(flatten)]
    pub kafka: product_bus::KafkaArgs,
}
