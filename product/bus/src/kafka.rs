//! Where the brokers are, and the topics on them.

#[derive(clap::Args, Clone, Debug)]
pub struct KafkaArgs {
    /// Kafka brokers, `host:port` separated by commas. The default is the embedded broker of `faultline up`.
    #[arg(long, env = "FAULTLINE_BOOTSTRAP_SERVERS", default_value = "127.0.0.1:7092")]
    pub bootstrap_servers: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
}

/// Creates what is missing; what exists stays as it is.
pub async fn create_topics(_kafka: &KafkaArgs, _topics: &[Topic]) -> anyhow::Result<()> {
    todo!()
}
