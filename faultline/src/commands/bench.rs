//! `faultline bench ingest`: how much an OTLP endpoint takes, how long its answer takes, and what a record costs it.
//!
//! Requests are encoded beforehand and made unique by patching ids and times in their bytes, so the client's share of the
//! machine stays small. Nothing is retried: what is refused is counted. Any OTLP collector will do; only `--verify` asks ours.

mod histogram;
pub(crate) mod process;
mod report;
mod sender;
mod template;
mod verify;
mod workers;

use anyhow::{Context, bail};

use process::Usage;
use report::Report;
use template::Template;

/// Settings of `faultline bench ingest`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Args {
    /// Where the collector listens; http://127.0.0.1:4317 for gRPC and http://127.0.0.1:4318 for HTTP unless given
    #[arg(long, env = "FAULTLINE_BENCH_ENDPOINT")]
    pub(crate) endpoint: Option<String>,

    /// What to send
    #[arg(long, value_enum, default_value = "traces")]
    pub(crate) signal: Kind,

    /// OTLP/gRPC or OTLP/HTTP, both with protobuf
    #[arg(long, value_enum, default_value = "grpc")]
    pub(crate) protocol: Protocol,

    /// Records a second over all connections, or `max`: the next request as soon as one is answered
    #[arg(long, default_value = "max")]
    pub(crate) rate: Rate,

    /// Seconds to send; what is in flight then may still be answered
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,

    /// Records a request; the batch processors of SDKs send 512, collectors 8192
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,

    /// Connections; over HTTP/1.1 each request at once takes one of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) connections: u32,

    /// Requests at once on each connection; two let one be decoded while the other waits for its fsync
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) in_flight: u32,

    /// Seconds until a request without an answer counts as an error
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,

    /// Process id of the target on this machine: its CPU a record and its memory are reported too
    #[arg(long)]
    pub(crate) pid: Option<u32>,

    /// Ask SQL afterwards how many rows and distinct ids of this run there are; any difference is a failure
    #[arg(long)]
    pub(crate) verify: bool,

    /// Where `--verify` asks
    #[arg(long, env = "FAULTLINE_URL", default_value = "http://127.0.0.1:7317")]
    pub(crate) query_url: String,

    /// Print one JSON object in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Spans of ten attributes, about 460 bytes each
    Traces,
    /// Records of about 300 bytes
    Logs,
    /// Points of a gauge with five attributes, about 180 bytes each
    Metrics,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    Max,
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Rate::Max),
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Rate::PerSecond(rate)),
            _ => Err("a rate is `max` or a number of records a second above 0".to_owned()),
        }
    }
}

impl Args {
    fn endpoint(&self) -> &str {
        let default = match self.protocol {
            Protocol::Grpc => "http://127.0.0.1:4317",
            Protocol::Http => "http://127.0.0.1:4318",
        };
        self.endpoint.as_deref().unwrap_or(default).trim_end_matches('/')
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let run = rand::random::<u64>();
    let template = Template::new(args.signal, args.batch, run);
    let usage = || args.pid.map(Usage::of).transpose().context("could not read the target's CPU time");

    let before = (usage()?, Usage::own()?);
    let outcome = workers::send(&args, &template).await?;
    let after = (usage()?, Usage::own()?);

    let mut report = Report::new(&args, &template, &outcome, before, after);
    if args.verify {
        report.stored = Some(verify::stored(&args, &template, outcome.accepted).await?);
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{report}"),
    }
    match report.stored {
        _ if outcome.accepted == 0 => bail!("{} accepted nothing", args.endpoint()),
        Some(stored) if !stored.complete(outcome.accepted, outcome.unknown) => {
            bail!("{}", stored.difference(outcome.accepted))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_max_or_a_positive_number() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1500".parse(), Ok(Rate::PerSecond(1500.0)));
        for nonsense in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert!(nonsense.parse::<Rate>().is_err(), "{nonsense}");
        }
    }
}
