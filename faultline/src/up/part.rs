//! The parts that `up` starts, in the order they start; they stop in the order of the data's flow.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::{ArgMatches, Args};

use crate::cli;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Broker,
    Collector,
    Query,
    Acquirer,
    Receiver,
    Core,
    Jobs,
    Analytics,
    Load,
}

impl Part {
    /// Each part needs only parts before it.
    pub(crate) const START_ORDER: [Part; 9] = [
        Part::Collector,
        Part::Broker,
        Part::Query,
        Part::Acquirer,
        Part::Receiver,
        Part::Core,
        Part::Jobs,
        Part::Analytics,
        Part::Load,
    ];

    /// Stop accepting, drain, then whoever keeps what the others say. The load has stopped before.
    pub(crate) const STOP_ORDER: [Part; 9] = [
        Part::Load,
        Part::Core,
        Part::Jobs,
        Part::Analytics,
        Part::Acquirer,
        Part::Receiver,
        Part::Broker,
        Part::Query,
        Part::Collector,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Broker => "broker",
            Part::Collector => "collector",
            Part::Query => "query",
            Part::Acquirer => "acquirer",
            Part::Receiver => "receiver",
            Part::Core => "core",
            Part::Jobs => "jobs",
            Part::Analytics => "analytics",
            Part::Load => "load",
        }
    }

    /// How it is typed: `faultline collector`, `faultline product core`.
    fn verb(self) -> &'static [&'static str] {
        match self {
            Part::Broker => &["product", "broker"],
            Part::Collector => &["collector"],
            Part::Query => &["query"],
            Part::Acquirer => &["product", "acquirer"],
            Part::Receiver => &["product", "receiver"],
            Part::Core => &["product", "core"],
            Part::Jobs => &["product", "jobs"],
            Part::Analytics => &["product", "analytics"],
            Part::Load => &["product", "load"],
        }
    }

    /// Settings that hold the addresses it listens on. The last one answers when the part is ready.
    pub(crate) fn listens(self) -> &'static [&'static str] {
        match self {
            Part::Broker => &["broker_listen"],
            Part::Collector => &["otlp_grpc", "otlp_http"],
            Part::Query => &["query_listen"],
            Part::Acquirer => &["acquirer_listen"],
            Part::Receiver => &["receiver_listen"],
            Part::Core => &["core_listen"],
            Part::Jobs => &["jobs_listen"],
            Part::Analytics => &["analytics_listen"],
            Part::Load => &[],
        }
    }

    /// The part's settings as a command of their own.
    pub(crate) fn command(self) -> clap::Command {
        let command = clap::Command::new(self.name());
        match self {
            Part::Broker => cli::Part::<product_bus::broker::Args>::augment_args(command),
            Part::Collector => cli::Part::<collector::Args>::augment_args(command),
            Part::Query => cli::Part::<query::Args>::augment_args(command),
            Part::Acquirer => cli::Part::<product_load::acquirer::Args>::augment_args(command),
            Part::Receiver => cli::Part::<product_load::receiver::Args>::augment_args(command),
            Part::Core => cli::Part::<product_core::Args>::augment_args(command),
            Part::Jobs => cli::Part::<product_jobs::Args>::augment_args(command),
            Part::Analytics => cli::Part::<product_analytics::Args>::augment_args(command),
            Part::Load => cli::Part::<product_load::customers::Args>::augment_args(command),
        }
    }

    /// What to type to start this part with the settings `up` was given. Everything is spelled out, so a child needs
    /// neither the file nor the offset.
    pub(crate) fn command_line(self, settings: &ArgMatches) -> Vec<OsString> {
        let mut line: Vec<OsString> = self.verb().iter().map(Into::into).collect();
        for arg in self.command().get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let id = arg.get_id().as_str();
            if !arg.get_action().takes_values() {
                if matches!(settings.try_get_one::<bool>(id), Ok(Some(true))) {
                    line.push(format!("--{long}").into());
                }
            } else if let Ok(Some(values)) = settings.try_get_raw(id) {
                line.extend(values.map(|value| {
                    let mut flag = OsString::from(format!("--{long}="));
                    flag.push(value);
                    flag
                }));
            }
        }
        line
    }

    pub(crate) fn addresses(self, settings: &ArgMatches) -> Vec<(&'static str, SocketAddr)> {
        let address = |id: &&'static str| {
            let raw = settings.try_get_raw(id).ok()??.next()?;
            Some((*id, raw.to_str()?.parse().ok()?))
        };
        self.listens().iter().filter_map(address).collect()
    }
}
