//! SHOWS: the terminal UI. It talks only to a query node, in SQL, and draws the Arrow that comes back.

mod args;

use tokio_util::sync::CancellationToken;

pub use args::Args;

/// Runs the UI in the terminal until the user quits or `stop` is cancelled; the terminal is restored either way.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let _ = (args, stop);
    todo!()
}
