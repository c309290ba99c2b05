//! What can be typed. Each part's settings are declared in its own crate; here they get a name.

use clap::{Args, Parser, Subcommand};

use crate::{commands, experiment, up};

/// Observability from a terminal: traces, logs and metrics of a whole system, in SQL and on the screen.
///
/// Without a command it does `up`: a complete event-driven product under load, observed live.
#[derive(Parser, Debug)]
#[command(name = "faultline", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The TOML file with settings; flags and variables win over it. `faultline config` prints one with all defaults.
    #[arg(long, global = true, env = "FAULTLINE_CONFIG", default_value = "faultline.toml", value_name = "FILE")]
    pub(crate) config: std::path::PathBuf,
    /// Added to the port of every address that is not given by flag or variable, so that two stacks run side by side.
    #[arg(long, global = true, env = "FAULTLINE_PORT_OFFSET", default_value_t = 0, value_name = "PORTS")]
    pub(crate) port_offset: u16,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start everything: broker, collector, query, the product, its customers, and the screen in front.
    Up(Box<up::Args>),
    /// Receive OTLP and keep it: gRPC on 4317, HTTP on 4318.
    Collector(Box<Part<collector::Args>>),
    /// Answer SQL and trace lookups over a data folder: HTTP on 7317.
    Query(Part<query::Args>),
    /// The terminal screens, for a query node that is already running.
    Tui(tui::Args),
    /// Ask one SQL question.
    Sql(commands::sql::Args),
    /// Show one trace across all services, with its logs.
    Trace(commands::trace::Args),
    /// Write stored telemetry as OTLP/JSON lines.
    Export(commands::export::Args),
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
    /// Measure what decoupling bought: the product inline and event-driven, side by side, with a report.
    Experiment(experiment::Args),
    /// Operate the observed product (modes, faults, deploys), or run one part of it.
    #[command(subcommand)]
    Product(Box<Product>),
    /// Print every setting with its meaning and default, as a `faultline.toml`.
    Config,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Bench {
    /// Send OTLP to any endpoint as fast as it accepts, or at a rate.
    Ingest(commands::bench::Args),
}

#[derive(Subcommand, Debug)]
pub(crate) enum Product {
    #[command(flatten)]
    Operate(commands::product::Operation),
    /// The embedded Kafka-protocol broker: 127.0.0.1:7092, in memory.
    Broker(Part<product_bus::broker::Args>),
    /// Authentication, profiles and payments: HTTP on 7001.
    Core(Part<product_core::Args>),
    /// Receipts, mails and webhooks from payment events: HTTP on 7002.
    Jobs(Part<product_jobs::Args>),
    /// Revenue and activity from all events: HTTP on 7003.
    Analytics(Part<product_analytics::Args>),
    /// The payment acquirer that core calls: HTTP on 7010.
    Acquirer(Part<product_load::acquirer::Args>),
    /// The receiver of webhooks and mail: HTTP on 7011, SMTP on 7025.
    Receiver(Part<product_load::receiver::Args>),
    /// A bad network: TCP in, TCP out, delayed and lossy as it is told.
    Proxy(Part<product_load::proxy::Args>),
    /// A neighbour that takes processors, memory, a lock or every session: what some faults start.
    Hog(Part<commands::product::hog::Args>),
    /// The customers: an open-loop load on core.
    Load(Part<product_load::customers::Args>),
}

/// A part that runs until it is told to stop, and is observed while it does.
#[derive(Args, Clone, Debug)]
pub(crate) struct Part<A: Args> {
    #[command(flatten)]
    pub(crate) part: A,
    #[command(flatten)]
    pub(crate) observe: observe::Args,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_settings_of_a_command_share_a_name() {
        Cli::command().debug_assert();
    }
}
