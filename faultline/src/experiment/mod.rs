//! `faultline experiment`: the same product, inline and event-driven, measured side by side on one machine.
//!
//! `stats` knows what can be said of numbers, `lab` runs the stack and switches it, `window` measures one window, `phases` say
//! which, `report` keeps and writes what they found. Nothing is simulated: every figure is of a request that was sent.

mod arm;
mod counting;
mod databases;
mod lab;
mod machine;
mod parts;
mod phases;
mod plan;
mod processes;
mod report;
mod runner;
mod samples;
mod stats;
mod switches;
mod telemetry;
mod window;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use arm::Arm;
use databases::Databases;
use machine::Cores;
use plan::{Phase, Plan};
use report::{ArmDescription, Assumption, Report, Run, SCHEMA_VERSION};
use runner::Experiment;

/// The endpoints that the claims are about.
pub(crate) const PAY: &str = "POST /v1/payments";
pub(crate) const LOGIN: &str = "POST /v1/login";

/// Settings of `faultline experiment`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) plan: Which,

    /// Folder for report.md, report.html and report.json, and for the stack while it runs
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// `sqlite`, or the address of a PostgreSQL server on this machine where databases may be made and dropped,
    /// e.g. postgres://postgres@127.0.0.1:5433/postgres
    #[arg(long, env = "FAULTLINE_EXPERIMENT_DATABASE", default_value = "sqlite")]
    pub(crate) database: Databases,

    /// Kafka brokers on this machine in place of the embedded broker
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap_servers: Option<String>,

    /// Of the load, of the order of windows and of the intervals: the same seed plans the same experiment
    #[arg(long = "seed", id = "experiment_seed", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Requests a second of the claim, in place of half of inline's knee; then no knee is looked for
    #[arg(long = "rate", id = "experiment_rate", value_name = "PER SECOND")]
    pub(crate) rate: Option<f64>,

    /// Measure only these phases
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PHASE,…")]
    pub(crate) phases: Vec<Phase>,

    /// Added to the ports of the stack, so that one that runs already is not met
    #[arg(long, default_value_t = 20_000, value_name = "PORTS")]
    pub(crate) stack_ports: u16,

    #[command(flatten)]
    pub(crate) limits: window::Limits,

    /// Keep databases, telemetry and logs of the stack
    #[arg(long)]
    pub(crate) keep_data: bool,
}

#[derive(clap::Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// One rate, five pairs of windows, one fault: under five minutes
    #[arg(long)]
    quick: bool,

    /// Everything: about an hour and a half
    #[arg(long)]
    full: bool,
}

pub(crate) async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let stop = observe::shutdown_signal();
    std::fs::create_dir_all(&args.out).with_context(|| format!("could not create {}", args.out.display()))?;
    // Children run elsewhere or are told paths: a relative one would mean another folder to them.
    args.out = args.out.canonicalize().with_context(|| format!("could not find {}", args.out.display()))?;
    let plan = plan(&args)?;
    let mut experiment = Experiment::new(args.clone(), plan.clone(), opening(&args, &plan));
    let outcome = tokio::select! {
        outcome = experiment.run() => outcome,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    let stopped = experiment.stop().await;
    if let Err(error) = outcome {
        experiment.report.run.notes.push(format!("broke off: {error:#}"));
        experiment.write()?;
        stopped?;
        return Err(error.context(format!("the report so far is in {}", args.out.display())));
    }
    stopped?;
    experiment.write()?;
    for claim in &experiment.report.claims {
        say(&format!("{:>12?}  {}: {} (target: {})", claim.verdict, claim.claim, claim.measured, claim.target));
    }
    say(&format!("report: {}", args.out.join("report.html").display()));
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let mut plan = if args.plan.full { Plan::full() } else { Plan::quick() };
    if let Some(rate) = args.rate {
        if !(rate.is_finite() && rate > 0.0) {
            bail!("--rate must be a number above 0");
        }
        plan.rate = rate;
        plan.phases.retain(|phase| *phase != Phase::Knee);
    }
    if !args.phases.is_empty() {
        plan.phases.retain(|phase| args.phases.contains(phase));
        if plan.phases.is_empty() {
            bail!("the {} plan has none of the phases {:?}", plan.name, args.phases);
        }
    }
    Ok(plan)
}

/// What is known before anything is measured.
fn opening(args: &Args, plan: &Plan) -> Report {
    let cores = Cores::available();
    let mut notes = Vec::new();
    if !cores.are_apart() {
        notes.push(
            "only one core: product, load and telemetry share it, and the arms on one core are not apart".to_owned(),
        );
    } else if !cores.upgrade_is_apart() {
        notes.push(
            "the machine has two cores: in inline-2-cores the product shares the second with load, stubs and telemetry, \
             which favours the arms on one core by what these use of it (busy shares are listed with every window)"
                .to_owned(),
        );
    }
    let describe = |arm: Arm| {
        let (jobs, analytics) = arm.modes();
        ArmDescription {
            name: arm,
            jobs: jobs.to_owned(),
            analytics: analytics.to_owned(),
            cores: machine::list(&cores.product(arm)),
            meaning: arm.meaning().to_owned(),
        }
    };
    Report {
        schema_version: SCHEMA_VERSION,
        run: Run {
            command: command_line(),
            plan: plan.name.to_owned(),
            started: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            seed: args.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
            database: args.database.name().to_owned(),
            broker: args.bootstrap_servers.as_ref().map_or("embedded", |_| "Kafka").to_owned(),
            machine: machine::describe(&cores),
            pins: cores.pins(),
            assumptions: assumptions(),
            notes,
            ..Run::default()
        },
        arms: Arm::ALL.map(describe).to_vec(),
        ..Report::default()
    }
}

fn assumptions() -> Vec<Assumption> {
    let assumption = |what: &str, value: &str, why: &str| Assumption {
        what: what.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
    };
    vec![
        assumption(
            "acquirer's answer",
            "lognormal, median 20 ms, sigma 0.5",
            "a card network; in the request in every arm, so it is no part of the difference",
        ),
        assumption(
            "merchant's answer to a webhook",
            "lognormal, median 80 ms, sigma 0.5",
            "somebody else's machine across the internet; inside the request in inline. See the run without it",
        ),
        assumption(
            "mail server's answer",
            "lognormal, median 40 ms, sigma 0.5",
            "a relay nearby; inside the request in inline. See the run without it",
        ),
        assumption(
            "customers' patience",
            "10 s",
            "a request without an answer by then has failed; payments are asked for again with the same key",
        ),
    ]
}

/// As it was typed, but for a password in an address.
fn command_line() -> String {
    let words = std::env::args().map(|word| match word.split_once("://").zip(word.rsplit_once('@')) {
        Some(((scheme, rest), (_, server))) if rest.split('@').next().is_some_and(|user| user.contains(':')) => {
            format!("{scheme}://…@{server}")
        }
        _ => word,
    });
    let mut words: Vec<String> = words.collect();
    if let Some(program) = words.first_mut() {
        *program = "faultline".to_owned();
    }
    words.join(" ")
}

/// A line for whoever watches. Nobody may be watching any more: no reason to leave a stack running.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
