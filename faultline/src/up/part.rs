//! The parts that `up` starts, in the order they start; they stop in the order of the data's flow.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use clap::{ArgMatches, Args};

use crate::cli;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
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
    /// Bad networks on the way to what is outside the product; only with `--proxied`.
    AcquirerProxy,
    WebhookProxy,
    MailProxy,
}

/// `--load` and `--for` of `up` mean something else than those of the customers, and each proxy has a way of its own.
pub(super) const NOT_HANDED_ON: [&str; 5] = ["rate", "run_for", "proxy_listen", "proxy_target", "proxy_control"];

impl Part {
    /// Each part needs only parts before it.
    pub(crate) const START_ORDER: [Part; 12] = [
        Part::Collector,
        Part::Broker,
        Part::Query,
        Part::Acquirer,
        Part::Receiver,
        Part::AcquirerProxy,
        Part::WebhookProxy,
        Part::MailProxy,
        Part::Core,
        Part::Jobs,
        Part::Analytics,
        Part::Load,
    ];

    /// Stop accepting, drain, then whoever keeps what the others say. The load has stopped before.
    pub(crate) const STOP_ORDER: [Part; 12] = [
        Part::Load,
        Part::Core,
        Part::Jobs,
        Part::Analytics,
        Part::AcquirerProxy,
        Part::WebhookProxy,
        Part::MailProxy,
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
            Part::AcquirerProxy => "acquirer-proxy",
            Part::WebhookProxy => "webhook-proxy",
            Part::MailProxy => "mail-proxy",
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
            Part::AcquirerProxy | Part::WebhookProxy | Part::MailProxy => &["product", "proxy"],
        }
    }

    /// Settings that hold the addresses it listens on. The last one answers when the part is ready.
    pub(crate) fn listens(self) -> &'static [&'static str] {
        match self {
            Part::Broker => &["broker_listen"],
            Part::Collector => &["otlp_grpc", "otlp_http"],
            Part::Query => &["query_listen"],
            Part::Acquirer => &["acquirer_listen"],
            Part::Receiver => &["mail_listen", "receiver_listen"],
            Part::Core => &["core_listen"],
            Part::Jobs => &["jobs_listen"],
            Part::Analytics => &["analytics_listen"],
            Part::Load | Part::AcquirerProxy | Part::WebhookProxy | Part::MailProxy => &[],
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
            Part::AcquirerProxy | Part::WebhookProxy | Part::MailProxy => {
                cli::Part::<product_load::proxy::Args>::augment_args(command)
            }
        }
    }

    /// Whether `up` holds its port, so that an old and a new instance can serve it together.
    pub(crate) fn is_handed_over(self) -> bool {
        matches!(self, Part::Core | Part::Jobs | Part::Analytics)
    }

    /// What to type to start this part with the settings `up` was given. Everything is spelled out, so a child needs
    /// neither the file nor the offset. `unless` leaves a setting out, by its variable.
    pub(crate) fn command_line(self, settings: &ArgMatches, unless: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
        let mut line: Vec<OsString> = self.verb().iter().map(Into::into).collect();
        for arg in self.command().get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let id = arg.get_id().as_str();
            if arg.get_env().is_some_and(&unless) || arg.is_hide_env_values_set() || NOT_HANDED_ON.contains(&id) {
                continue;
            }
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

    /// Settings that no list of processes may show: they are handed on as variables.
    pub(crate) fn secrets(self, settings: &ArgMatches) -> Vec<(String, String)> {
        let command = self.command();
        let secret = |arg: &clap::Arg| {
            let variable = arg.get_env().filter(|_| arg.is_hide_env_values_set())?.to_str()?.to_owned();
            let value = settings.try_get_raw(arg.get_id().as_str()).ok()??.next()?.to_str()?.to_owned();
            Some((variable, value))
        };
        command.get_arguments().filter_map(secret).collect()
    }

    /// Where it listens, each with the setting that says so.
    pub(super) fn addresses(self, settings: &ArgMatches) -> Vec<(&'static str, SocketAddr)> {
        let address = |id: &&'static str| {
            let raw = settings.try_get_raw(id).ok()??.next()?;
            Some((*id, raw.to_str()?.parse().ok()?))
        };
        self.listens().iter().filter_map(address).collect()
    }
}
