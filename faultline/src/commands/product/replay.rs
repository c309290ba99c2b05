//! `faultline product replay`.

use std::path::PathBuf;

use product_bus::database::Database;
use product_bus::replay;

use crate::commands::sql::print;

pub(super) const EXAMPLES: &str = "\
Consumers ignore the events they know, so a replay repairs what was missed and doubles nothing.

Examples:
  faultline product replay --from 2026-11-22T12:00:00Z --kind payment.captured
  faultline product replay --key 0192f0c1-0000-7000-8000-000000000000
  faultline product replay --dead-letters jobs                           after the bug was mended";

/// What core's relay calls itself.
const SOURCE: &str = "core";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Replay {
    #[command(flatten)]
    replay: replay::Args,
    /// Database of core, which has the outbox. Without it the SQLite file in the data folder.
    #[arg(long, env = "FAULTLINE_CORE_DATABASE_URL", hide_env_values = true)]
    core_database_url: Option<String>,
    /// Folder of everything that is kept.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
}

pub(crate) async fn run(Replay { replay, core_database_url, data_dir }: Replay) -> anyhow::Result<()> {
    let file = data_dir.join("product/core.db");
    anyhow::ensure!(
        core_database_url.is_some() || file.exists(),
        "{} is not there; name the data folder with --data-dir, or the database with --core-database-url",
        file.display()
    );
    let database = Database::open(core_database_url.as_deref(), &file).await?;
    let replayed = replay::run(&replay, &database, SOURCE).await?;
    print(format!("{replayed} events were put back\n").as_bytes())
}
