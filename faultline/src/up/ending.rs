//! The end of a run: everything in flight arrives, the parts stop in order, and what happened is compared with what was
//! promised.

use std::time::Duration;

use serde::Deserialize;

use super::accounting;
use super::effects::{self, Promises, Witness};
use super::part::Part;
use super::report::Report;
use super::say;
use super::stack::Stack;

/// For one small question to core, which is well or is not.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Customers first; then every event may arrive; then the services, then whoever keeps what they said.
pub(crate) async fn wind_down(stack: &Stack, telemetry: observe::Telemetry) -> Report {
    let mut report = Report::default();
    say("stopping the customers, then waiting for every event to arrive");
    stack.stop(Part::Load).await;
    match settle(stack).await {
        Ok(effects) => report.effects = effects,
        Err(error) => report.unknown.push(format!("what became of the payments: {error:#}")),
    }
    say("stopping the product, then the platform");
    for part in Part::STOP_ORDER.into_iter().filter(|part| *part != Part::Collector) {
        stack.stop(part).await;
    }
    telemetry.shutdown().await;
    stack.stop(Part::Collector).await;
    report.uncounted = stack.sums().unclean;
    match account(stack).await {
        Ok(signals) => report.signals = signals,
        Err(error) => report.unknown.push(format!("what is stored: {error:#}")),
    }
    report
}

async fn settle(stack: &Stack) -> anyhow::Result<Vec<effects::Tally>> {
    if !stack.runs(Part::Core) {
        return Ok(Vec::new());
    }
    let token = Some(stack.args.text("operator_token")).filter(|token| !token.is_empty());
    let modes = Modes::of(stack, token.as_deref()).await;
    let url = |part: Part| stack.args.url(part).filter(|_| stack.runs(part));
    let mut witnesses = Vec::new();
    let mut ask = |effect, parts: &[Part]| {
        witnesses.push(Witness { effect, urls: parts.iter().filter_map(|part| url(*part)).collect() });
    };
    // Without jobs nobody does what core leaves to events.
    if stack.runs(Part::Jobs) || modes.jobs.is_inline() {
        ask("receipt", &[Part::Core, Part::Jobs]);
        if stack.runs(Part::Receiver) {
            ask("mail", &[Part::Receiver]);
            ask("webhook", &[Part::Receiver]);
        }
    }
    // With both concerns inside core no event leaves it: its own tables are what reports are made of.
    if stack.runs(Part::Analytics) && !(modes.jobs.is_inline() && modes.analytics.is_inline()) {
        ask(effects::PROJECTION, &[Part::Analytics]);
    }
    let ledger = stack.args.data_dir().join("product/ledger.jsonl");
    let promises = Promises { ledger: &ledger, witnesses: &witnesses, operator_token: token.as_deref() };
    effects::settle(&promises, stack.args.own.drain_max).await
}

async fn account(stack: &Stack) -> anyhow::Result<Vec<accounting::Row>> {
    let counts = accounting::read_counts(&stack.counts_dir())?;
    let (left, expected) = (counts.len(), stack.sums().counted + 1);
    anyhow::ensure!(left >= expected, "{expected} processes ended well, but {left} left their counts");
    accounting::compare(stack.args.query.clone(), &counts, stack.started.elapsed()).await
}

/// How core has its work done at the end.
#[derive(Deserialize)]
struct Modes {
    jobs: Route,
    analytics: Route,
}

#[derive(Deserialize)]
struct Route {
    mode: String,
    percent: u32,
}

impl Route {
    fn is_inline(&self) -> bool {
        self.mode == "inline" && self.percent == 100
    }
}

impl Modes {
    /// A core that does not say works with events.
    async fn of(stack: &Stack, token: Option<&str>) -> Modes {
        let ask = async {
            let mut request = reqwest::Client::new()
                .get(format!("http://{}/internal/modes", stack.args.text("core_listen")))
                .timeout(ANSWER_MAX);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request.send().await?.error_for_status()?.json().await
        };
        let events = || Route { mode: "events".to_owned(), percent: 100 };
        ask.await.unwrap_or_else(|_: reqwest::Error| Modes { jobs: events(), analytics: events() })
    }
}
