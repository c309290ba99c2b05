//! Operating the product that `faultline up` runs: modes, faults, deploys.

mod deploys;
mod door;
mod faults;
pub(crate) mod hog;
mod modes;
mod parts;
mod replay;

use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(crate) enum Operation {
    /// Show who does the work of jobs and analytics, and how comparisons stand.
    #[command(after_help = modes::EXAMPLES)]
    Modes(modes::At),
    /// Let core or a service do the work: inline, dual or events; for all users or a share of them; at once and reversibly.
    #[command(after_help = modes::EXAMPLES)]
    Mode(modes::Mode),
    /// Show the processes of a running `up`.
    Parts(door::At),
    /// List every fault there is, what one will see of it, and what is at work now.
    Faults(door::At),
    /// Switch a fault on, or off before its time.
    #[command(after_help = faults::EXAMPLES)]
    Fault(faults::Fault),
    /// Replace core, jobs or analytics by another version under load; taken back by itself when it is worse.
    // `--version` is that of the deploy.
    #[command(after_help = deploys::EXAMPLES, disable_version_flag = true)]
    Deploy(deploys::Deploy),
    /// Go back to what ran before the last deploy.
    Rollback(deploys::Rollback),
    /// What was deployed and taken back since `up` started.
    Deploys(door::At),
    /// Put events back on their topic, from the outbox or from the dead letters of a service.
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Replay),
}

pub(crate) async fn run(operation: Operation) -> anyhow::Result<()> {
    match operation {
        Operation::Modes(at) => modes::show(at).await,
        Operation::Mode(mode) => modes::change(mode).await,
        Operation::Parts(at) => parts::show(at).await,
        Operation::Faults(at) => faults::list(at).await,
        Operation::Fault(fault) => faults::switch(fault).await,
        Operation::Deploy(deploy) => deploys::begin(deploy).await,
        Operation::Rollback(rollback) => deploys::roll_back(rollback).await,
        Operation::Deploys(at) => deploys::list(at).await,
        Operation::Replay(replay) => replay::run(replay).await,
    }
}
