//! The one binary: `faultline up` runs everything, every part also runs alone. Wiring only.

mod cli;
mod commands;
mod config;
mod experiment;
mod memory;
mod up;

use std::process::ExitCode;

use cli::{Command, Product};

fn main() -> ExitCode {
    let command = match config::command_line() {
        Ok(command) => command,
        Err(error) => return fail(&error),
    };
    if let Err(error) = memory::give_back() {
        return fail(&anyhow::Error::new(error).context("could not start a thread"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("could not start the async runtime")),
    };
    match runtime.block_on(run(command)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => return up::run(*args).await,
        Command::Collector(part) => commands::serve::collector(*part).await?,
        Command::Query(part) => commands::serve::part("query", part, query::run).await?,
        Command::Tui(args) => tui::run(args, observe::shutdown_signal()).await?,
        Command::Product(part) => match *part {
            Product::Operate(operation) => commands::product::run(operation).await?,
            Product::Broker(part) => commands::serve::part("broker", part, product_bus::broker::run).await?,
            Product::Core(part) => commands::serve::part("core", part, product_core::run).await?,
            Product::Jobs(part) => commands::serve::part("jobs", part, product_jobs::run).await?,
            Product::Analytics(part) => commands::serve::part("analytics", part, product_analytics::run).await?,
            Product::Acquirer(part) => commands::serve::part("acquirer", part, product_load::acquirer::run).await?,
            Product::Receiver(part) => commands::serve::part("receiver", part, product_load::receiver::run).await?,
            Product::Proxy(part) => commands::serve::part("proxy", part, product_load::proxy::run).await?,
            Product::Hog(part) => commands::serve::part("hog", part, commands::product::hog::run).await?,
            Product::Load(part) => commands::serve::part("load", part, product_load::customers::run).await?,
        },
        Command::Sql(args) => commands::sql::run(args).await?,
        Command::Trace(args) => commands::trace::run(args).await?,
        Command::Export(args) => commands::export::run(args).await?,
        Command::Bench(cli::Bench::Ingest(args)) => commands::bench::run(args).await?,
        Command::Experiment(args) => return experiment::run(args).await,
        Command::Config => print!("{}", config::document()),
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("faultline: {error:#}");
    ExitCode::FAILURE
}
