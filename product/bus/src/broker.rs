//! The embedded broker.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the embedded Kafka-protocol broker, for clients of this machine.
    #[arg(long, env = "FAULTLINE_BROKER_LISTEN", default_value = "127.0.0.1:7092")]
    pub broker_listen: SocketAddr,
}

pub async fn run(_args: Args, _stop: CancellationToken) -> anyhow::Result<()> {
    todo!()
}
