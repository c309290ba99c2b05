//! `faultline up`: everything on one machine, supervised, with the screen in front and an account at the end.

mod accounting;
pub(crate) mod control;
pub(crate) mod deploy;
pub(crate) mod effects;
mod ending;
pub(crate) mod faults;
mod launch;
mod part;
mod pin;
mod question;
mod ready;
mod report;
mod settings;
mod sockets;
mod stack;
mod status;
mod supervisor;
pub(crate) mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use control::Operations;
pub(crate) use launch::Launch;
pub(crate) use settings::{Args, duration};
use stack::Stack;
use status::StatusLine;
use supervisor::Event;
pub(crate) use supervisor::{keep_output, signal};

/// Supervision events waiting to be shown; a part restarts at most every 200 ms.
const EVENTS_MAX: usize = 256;

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let signal = observe::shutdown_signal();
    let screen = !args.own.no_tui && std::io::stdout().is_terminal();
    let (events, mut received) = mpsc::channel(EVENTS_MAX);
    let stack = Arc::new(Stack::new(args, events).await?);
    let args = &stack.args;
    let telemetry = observe::init("faultline", &stack.observe_args())?;

    let started = tokio::select! {
        started = stack.start(|part| say(&format!("started the {}", part.name()))) => started,
        () = signal.cancelled() => Ok(()),
    };
    let operations = match started {
        Ok(()) => Operations::open(stack.clone()),
        Err(error) => Err(error),
    };
    let operations = match operations {
        Ok(operations) => operations,
        Err(error) => {
            stack.abandon().await;
            return Err(explain(error, &mut received));
        }
    };
    if !screen {
        say(&format!("query node: http://{}", args.text("query_listen")));
    }
    let ending = front(args, screen, signal, &mut received).await;
    operations.close().await;
    let report = ending::wind_down(&stack, telemetry).await;
    say(&report.text());
    ending?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for whoever reads. Nobody may be reading any more (a closed terminal, `| head`): no reason to die without stopping
/// the parts.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What the user looks at until it is over: the time is up, a signal came, the user quit, or a part gave up.
async fn front(
    args: &Args,
    screen: bool,
    signal: CancellationToken,
    events: &mut mpsc::Receiver<Event>,
) -> anyhow::Result<()> {
    let stop = signal.child_token();
    let timer = async {
        match args.own.run_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let shown = async {
        if screen {
            let url = format!("http://{}", args.text("query_listen"));
            tui::run(tui::Args { query_url: url, ..args.tui.clone() }, stop.clone()).await
        } else {
            status_lines(args, stop.clone()).await
        }
    };
    tokio::pin!(shown, timer);
    let outcome = tokio::select! {
        outcome = &mut shown => return outcome,
        () = &mut timer => Ok(()),
        outcome = watch(events, screen) => outcome,
    };
    stop.cancel();
    // The screen gives the terminal back before anything is printed.
    shown.await.and(outcome)
}

async fn status_lines(args: &Args, stop: CancellationToken) -> anyhow::Result<()> {
    let line = StatusLine::new(&args.text("query_listen"))?;
    let started = Instant::now();
    let mut clock = tokio::time::interval(args.own.status_every);
    clock.tick().await;
    loop {
        tokio::select! {
            _ = clock.tick() => say(&format!("{:>5} s  {}", started.elapsed().as_secs(), line.read().await)),
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Reports what the supervisor does; ends when a part cannot be kept alive.
async fn watch(events: &mut mpsc::Receiver<Event>, screen: bool) -> anyhow::Result<()> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Restarting { part, why } => {
                tracing::warn!(part = part.name(), "restarting the {}: {why}", part.name());
                if !screen {
                    say(&format!("restarting the {}: {why}", part.name()));
                }
            }
            Event::GaveUp { part, why, last_lines } => {
                anyhow::bail!("the {} keeps failing ({why}); its last words:\n{}", part.name(), last_lines.join("\n"));
            }
        }
    }
    std::future::pending().await
}

/// A start that failed is explained by the part's own last words when there are any.
fn explain(error: anyhow::Error, events: &mut mpsc::Receiver<Event>) -> anyhow::Error {
    while let Ok(event) = events.try_recv() {
        if let Event::GaveUp { part, last_lines, .. } = event {
            return error.context(format!("the {} said:\n{}", part.name(), last_lines.join("\n")));
        }
    }
    error
}
