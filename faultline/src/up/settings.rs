//! `up` takes its own flags and every flag of every part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};

use super::part::{NOT_HANDED_ON, Part};
use super::pin::{Cpus, Pin};

/// What `up` itself is told.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Own {
    /// No screen: a status line every few seconds. Also without this flag when stdout is no terminal.
    #[arg(long, env = "FAULTLINE_NO_TUI")]
    pub(crate) no_tui: bool,

    /// Stop after this time, e.g. 60s, 10m, 1h. Runs until it is interrupted by default.
    #[arg(long = "for", env = "FAULTLINE_FOR", value_parser = duration, value_name = "TIME")]
    pub(crate) run_for: Option<Duration>,

    /// Requests a second that the customers send: enough to see percentiles move, little for two cores. 0 starts no customers.
    #[arg(long, env = "FAULTLINE_LOAD", default_value_t = 50.0, value_name = "PER SECOND")]
    pub(crate) load: f64,

    /// Time between two status lines without a screen.
    #[arg(long, env = "FAULTLINE_STATUS_EVERY", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub(crate) status_every: Duration,

    /// How long, after the customers stopped, events may take to reach every consumer before they count as lost:
    /// the consumers' longest retry delay twice.
    #[arg(long, env = "FAULTLINE_DRAIN_MAX", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain_max: Duration,

    /// How long a part may take to start, and to stop before it is killed.
    #[arg(long, env = "FAULTLINE_PATIENCE", default_value = "20s", value_parser = duration, value_name = "TIME")]
    pub(crate) patience: Duration,

    /// Parts not to start: the product does without them, or they run elsewhere. E.g. analytics,jobs.
    #[arg(
        long,
        env = "FAULTLINE_WITHOUT",
        hide_short_help = true,
        value_enum,
        value_delimiter = ',',
        value_name = "PART,…"
    )]
    pub(crate) without: Vec<Part>,

    /// CPUs that a part may use, as taskset counts them, e.g. core=0,jobs=0,load=1 or query=0-1. Parts that are not named use all.
    #[arg(long, env = "FAULTLINE_PIN", hide_short_help = true, value_delimiter = ',', value_name = "PART=CPUS,…")]
    pub(crate) pin: Vec<Pin>,

    /// Put a fault proxy on the ways to the acquirer and to the receivers of webhooks and mail, for faults of the network.
    #[arg(long, env = "FAULTLINE_PROXIED", hide_short_help = true)]
    pub(crate) proxied: bool,

    /// First of the six ports of the fault proxies: a way and its control each.
    #[arg(long, env = "FAULTLINE_PROXIES_LISTEN", hide_short_help = true, default_value = "127.0.0.1:7100")]
    pub(crate) proxies_listen: SocketAddr,
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) own: Own,
    pub(crate) tui: tui::Args,
    pub(crate) observe: observe::Args,
    pub(crate) query: query::Args,
    /// Settings of all parts by name.
    pub(crate) parts: ArgMatches,
}

impl Args {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.text("data_dir").into()
    }

    /// Where the part listens, each with the setting that says so; the last one answers when the part is ready.
    pub(crate) fn addresses(&self, part: Part) -> Vec<(&'static str, SocketAddr)> {
        let way = self.ways().into_iter().find(|way| way.part == part);
        way.map_or_else(
            || part.addresses(&self.parts),
            |way| vec![("proxies_listen", way.control), ("proxies_listen", way.listen)],
        )
    }

    /// `http://` and the address of the part's HTTP interface.
    pub(crate) fn url(&self, part: Part) -> Option<String> {
        self.addresses(part).pop().map(|(_, address)| format!("http://{address}"))
    }

    /// The ways that a proxy stands on; none unless `--proxied`.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let Own { proxied, proxies_listen, .. } = &self.own;
        let ways = [
            (Part::AcquirerProxy, "acquirer_listen", "--acquirer-url", "http://"),
            (Part::WebhookProxy, "receiver_listen", "--webhook-url", "http://"),
            (Part::MailProxy, "mail_listen", "--smtp-address", ""),
        ];
        let port =
            |number: usize| SocketAddr::new(proxies_listen.ip(), proxies_listen.port().saturating_add(number as u16));
        let way = |(number, (part, target, flag, scheme)): (usize, (Part, &str, &'static str, &str))| Way {
            part,
            listen: port(2 * number),
            control: port(2 * number + 1),
            target: self.text(target),
            flag,
            detour: format!("{scheme}{}", port(2 * number)),
        };
        ways.into_iter().enumerate().filter(|_| *proxied).map(way).collect()
    }

    /// The CPUs that `--pin` leaves to a part; the last word counts.
    pub(crate) fn cpus(&self, part: Part) -> Option<Cpus> {
        self.own.pin.iter().rev().find(|pin| pin.part == part).map(|pin| pin.cpus.clone())
    }

    /// A setting of some part, as text.
    pub(crate) fn text(&self, id: &str) -> String {
        let raw = self.parts.try_get_raw(id).ok().flatten().and_then(|mut values| values.next());
        raw.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Headers that the exports of every part carry: those that were set, else the one token that our own collector asks for.
    pub(crate) fn otlp_headers(&self) -> Option<String> {
        let own_token = Some(self.text("otlp_token")).filter(|token| !token.is_empty());
        let own_token = own_token.filter(|_| self.observe.otlp_endpoint.is_none());
        let bearer = own_token.map(|token| format!("authorization=Bearer%20{}", percent_encoded(&token)));
        self.observe.otlp_headers.clone().or(bearer)
    }

    /// Parts to start: no broker of ours when another is named, no customers at rate 0.
    pub(crate) fn started(&self) -> Vec<Part> {
        let listen = self.text("broker_listen");
        let wanted = |part: &Part| match part {
            part if self.own.without.contains(part) => false,
            Part::AcquirerProxy | Part::WebhookProxy | Part::MailProxy => self.own.proxied,
            Part::Broker => self.text("bootstrap_servers") == listen,
            Part::Load => self.own.load > 0.0,
            _ => true,
        };
        Part::START_ORDER.into_iter().filter(wanted).collect()
    }
}

/// A way between two parts with a proxy on it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) part: Part,
    pub(crate) listen: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) target: String,
    /// The setting by which others go this way, and what it says then.
    pub(crate) flag: &'static str,
    pub(crate) detour: String,
}

impl clap::Args for Args {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = Own::augment_args(command);
        let command = add_missing(command, &tui::Args::augment_args(clap::Command::new("the screen")));
        Part::START_ORDER.iter().fold(command, |command, part| add_missing(command, &part.command()))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Settings shared by several parts, such as the data folder, appear once.
fn add_missing(command: clap::Command, part: &clap::Command) -> clap::Command {
    let heading = format!("Settings of {}", part.get_name());
    part.get_arguments().filter(|arg| !NOT_HANDED_ON.contains(&arg.get_id().as_str())).fold(command, |command, arg| {
        if command.get_arguments().any(|known| known.get_id() == arg.get_id()) {
            return command;
        }
        // `up -h` stays one screen: parts' settings show in `--help`.
        command.arg(arg.clone().help_heading(heading.clone()).hide_short_help(true))
    })
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Args {
            own: Own::from_arg_matches(matches)?,
            tui: tui::Args::from_arg_matches(matches)?,
            observe: observe::Args::from_arg_matches(matches)?,
            query: query::Args::from_arg_matches(matches)?,
            parts: matches.clone(),
        })
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches(matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Every byte that is no letter and no digit, so that none of them ends a header.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// `500ms`, `60s`, `10m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is no time; write 500ms, 60s, 10m or 1h"))?;
    Duration::try_from(span).map_err(|_| format!("{text:?} lies in the past"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: Args,
    }

    fn line(words: &[&str]) -> Args {
        Line::try_parse_from([&["up"], words].concat()).map(|line| line.up).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_part_gets_every_setting_it_knows_and_no_other() {
        let args = line(&["--data-dir", "/tmp/x", "--core-listen", "127.0.0.1:1"]);
        let core = Part::Core.command_line(&args.parts, |_| false);
        assert_eq!(core[..2], ["product", "core"]);
        assert!(
            core.contains(&"--data-dir=/tmp/x".into()) && core.contains(&"--core-listen=127.0.0.1:1".into()),
            "{core:?}"
        );
        assert!(!core.iter().any(|flag| flag.to_string_lossy().starts_with("--otlp-grpc")), "{core:?}");
    }

    #[test]
    fn a_broker_named_by_hand_replaces_ours() {
        assert!(line(&[]).started().contains(&Part::Broker));
        assert!(!line(&["--bootstrap-servers", "127.0.0.1:9092"]).started().contains(&Part::Broker));
        assert!(!line(&["--load", "0"]).started().contains(&Part::Load));
    }

    #[test]
    fn what_a_deploy_says_by_variable_is_not_spelled_out() {
        let core = Part::Core.command_line(&line(&[]).parts, |variable| variable == "FAULTLINE_ACQUIRER_URL");
        assert!(!core.iter().any(|flag| flag.to_string_lossy().starts_with("--acquirer-url")), "{core:?}");
    }

    #[test]
    fn parts_can_be_left_out_and_pinned() {
        let args = line(&["--without", "jobs,analytics", "--pin", "core=0,load=1"]);
        assert!(!args.started().contains(&Part::Jobs) && args.started().contains(&Part::Core));
        assert_eq!((args.cpus(Part::Core), args.cpus(Part::Jobs)), ("0".parse().ok(), None));
        assert!(Line::try_parse_from(["up", "--without", "nobody"]).is_err());
    }

    #[test]
    fn parts_show_the_token_that_their_own_collector_asks_for() {
        let headers = |words: &[&str]| line(words).otlp_headers();
        assert_eq!(headers(&["--otlp-token", "a,b=%"]).as_deref(), Some("authorization=Bearer%20a%2Cb%3D%25"));
        assert_eq!(headers(&["--otlp-token", "a", "--otlp-headers", "x=y"]).as_deref(), Some("x=y"), "as it was set");
        assert_eq!(headers(&["--otlp-token", "a", "--otlp-endpoint", "http://elsewhere:4317"]), None);
        let collector = Part::Collector.command_line(&line(&["--otlp-token", "sesame"]).parts, |_| false);
        assert!(!collector.iter().any(|flag| flag.to_string_lossy().contains("sesame")), "{collector:?}");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert!(duration("60").is_err() && duration("-1s").is_err());
    }
}
