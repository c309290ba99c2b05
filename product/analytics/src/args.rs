//! Settings of the analytics service.

use std::net::SocketAddr;
use std::path::PathBuf;

use product_bus::KafkaArgs;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address of the HTTP interface: health, revenue, activity, counted effects.
    #[arg(long, env = "FAULTLINE_ANALYTICS_LISTEN", default_value = "127.0.0.1:7003")]
    pub analytics_listen: SocketAddr,
    /// Database of analytics, such as postgres://analytics@127.0.0.1:5432/analytics. Without it the SQLite file
    /// `product/analytics.db` in the data folder: nothing to install.
    #[arg(long, env = "FAULTLINE_ANALYTICS_DATABASE_URL", hide_env_values = true)]
    pub analytics_database_url: Option<String>,
    /// Folder of all data; `product/analytics.db` lives below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// What operators present as `Authorization: Bearer …` for reports and `/internal`. Without it only this machine may ask.
    #[arg(long, env = "FAULTLINE_OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: Option<String>,
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
