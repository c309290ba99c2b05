//! What an experiment found, as data. `report.json` is this, serialised; `deploy/experiment.md` says what each field means.
//!
//! A field that was not measured is null, never 0.

mod document;
mod html;
mod markdown;
mod plot;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::arm::Arm;
use super::stats::{Estimate, Impact, Knee, Ladder, Point};

/// Raised when a field changes its meaning or goes; a new field does not raise it.
pub(crate) const SCHEMA_VERSION: u32 = 1;

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) run: Run,
    pub(crate) claims: Vec<Claim>,
    /// The headline: at the rate of the claim, `events` against `inline`.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) arms: Vec<ArmDescription>,
    /// How the knee was looked for; null when the rate was given.
    pub(crate) ladder: Option<Ladder>,
    pub(crate) knee: Vec<ArmKnee>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) work: Vec<Work>,
    pub(crate) breakdown: Vec<Breakdown>,
    /// Share of the inline request's time that is spent outside the request in `events`, percent.
    pub(crate) asynchronous_share_pct: Option<f64>,
    pub(crate) delays: Vec<Delay>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) scaling: Vec<Scaling>,
    pub(crate) rollback: Option<Rollback>,
    pub(crate) sensitivity: Option<Comparison>,
    pub(crate) memory: Memory,
    /// By effect and arm.
    pub(crate) effects: Vec<EffectCount>,
    pub(crate) lost: Option<u64>,
    pub(crate) doubled: Option<u64>,
    /// Deliveries beyond the first that their receiver recognised by the key.
    pub(crate) repeats: Option<u64>,
    pub(crate) windows: Vec<WindowRow>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    pub(crate) command: String,
    /// quick or full.
    pub(crate) plan: String,
    /// False while it runs, and after it broke off.
    pub(crate) complete: bool,
    pub(crate) started: String,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) version: String,
    /// Whether the binary is optimised; figures of one that is not are worth nothing.
    pub(crate) optimised: bool,
    pub(crate) database: String,
    pub(crate) broker: String,
    pub(crate) machine: Machine,
    /// What runs on which core.
    pub(crate) pins: Vec<Pin>,
    pub(crate) assumptions: Vec<Assumption>,
    /// Anything a reader should know that is no figure.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pin {
    pub(crate) what: String,
    pub(crate) cores: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Assumption {
    pub(crate) what: String,
    pub(crate) value: String,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The interval holds both answers.
    Undecided,
    /// Nothing was promised.
    Reported,
    NotMeasured,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claim {
    pub(crate) claim: String,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) samples: u64,
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) inline: Latency,
    pub(crate) events: Latency,
    pub(crate) p95_reduction_pct: Option<f64>,
    /// 95 %, lower and upper bound.
    pub(crate) p95_reduction_pct_interval: Option<[f64; 2]>,
    /// At least 1,000 samples in each arm and five pairs.
    pub(crate) enough_samples: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ArmDescription {
    pub(crate) name: Arm,
    pub(crate) jobs: String,
    pub(crate) analytics: String,
    pub(crate) cores: String,
    pub(crate) meaning: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ArmKnee {
    pub(crate) arm: Arm,
    #[serde(flatten)]
    pub(crate) knee: Knee,
    pub(crate) points: Vec<KneePoint>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KneePoint {
    #[serde(flatten)]
    pub(crate) point: Point,
    /// p95 by endpoint, milliseconds.
    pub(crate) endpoints_p95_ms: BTreeMap<String, f64>,
    pub(crate) indicators: Indicators,
    pub(crate) window: usize,
}

/// All arms at one rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    /// Percent of inline's knee.
    pub(crate) load_pct: Option<f64>,
    pub(crate) rate: f64,
    pub(crate) rounds: usize,
    pub(crate) endpoints: Vec<ComparedEndpoint>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ComparedEndpoint {
    pub(crate) name: String,
    pub(crate) arms: BTreeMap<Arm, Latency>,
    /// Of the p95 of the other arms against `inline`, percent.
    pub(crate) p95_reduction_pct: BTreeMap<Arm, Estimate>,
    /// Of the p95 of `events` on one core against `inline` on two, percent.
    pub(crate) p95_reduction_against_two_cores_pct: Option<Estimate>,
}

/// What a request costs in all, wherever it is paid.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Work {
    pub(crate) arm: Arm,
    pub(crate) requests: u64,
    /// Of the product's processes together, until everything that the requests caused was done.
    pub(crate) cpu_ms_per_request: f64,
    /// Of it, what broker and extracted services cost while they have nothing to do, as seen in the windows of `inline`.
    pub(crate) idle_cpu_ms_per_request: Option<f64>,
    pub(crate) cpu_ms_per_request_by_process: BTreeMap<String, f64>,
    pub(crate) effects_per_request: Option<f64>,
    pub(crate) database_calls_per_request: Option<f64>,
    pub(crate) password_hashes_per_request: Option<f64>,
}

/// Where the milliseconds of one kind of request go, by traces.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Breakdown {
    pub(crate) arm: Arm,
    pub(crate) endpoint: String,
    pub(crate) requests: u64,
    pub(crate) total_ms: f64,
    pub(crate) parts: Vec<PartOfTime>,
    /// The question that was asked.
    pub(crate) sql: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PartOfTime {
    pub(crate) name: String,
    pub(crate) ms: f64,
    pub(crate) share_pct: f64,
}

/// From the commit of the cause to the end of an effect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Delay {
    pub(crate) arm: Arm,
    pub(crate) rate: f64,
    pub(crate) effect: String,
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) max_ms: f64,
}

/// What was under strain, per second or at its most, during a piece of a run. Null: not to be had.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Indicators {
    /// CPU time of the product's processes, percent of one core.
    pub(crate) product_cpu_pct: Option<f64>,
    /// Mean busy share of the product's cores, whoever was busy there.
    pub(crate) product_core_busy_pct: Option<f64>,
    /// p95 of the wait for a connection and for the right to write, milliseconds.
    pub(crate) pool_wait_p95_ms: Option<f64>,
    /// p95 of a database statement, waits for locks included, milliseconds.
    pub(crate) statement_p95_ms: Option<f64>,
    /// Mean of the time a request spends in calls to others, milliseconds.
    pub(crate) calls_ms_per_request: Option<f64>,
    pub(crate) outbox_pending_max: Option<f64>,
    pub(crate) lag_max: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) arm: Arm,
    pub(crate) what: String,
    pub(crate) rate: f64,
    pub(crate) before_s: f64,
    pub(crate) fault_s: f64,
    pub(crate) after_s: f64,
    pub(crate) endpoints: Vec<Impact>,
    pub(crate) hurt: Vec<String>,
    /// pool, lock, CPU, queue, call: whatever grew most, and by how much.
    pub(crate) mechanism: String,
    pub(crate) before: Indicators,
    pub(crate) during: Indicators,
    pub(crate) failed: u64,
    /// Of these, requests for reports that analytics answers; and how many of those there were.
    pub(crate) failed_reports: u64,
    pub(crate) reports: u64,
    /// Why the window does not count; null when it does.
    pub(crate) excluded: Option<String>,
    pub(crate) lost: Option<u64>,
    pub(crate) doubled: Option<u64>,
    /// From the end of the fault until nothing waited any more, the load going on.
    pub(crate) drained_s: Option<f64>,
    /// p95 by block for the plot: (seconds since the fault began, milliseconds), by endpoint.
    pub(crate) course: BTreeMap<String, Vec<(f64, f64)>>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scaling {
    pub(crate) service: String,
    pub(crate) instances: usize,
    pub(crate) events: u64,
    /// While all instances were at work; null if the backlog was gone before, or nearly.
    pub(crate) measured_per_s: Option<f64>,
    /// Written down after the run with one instance and before the others; null for one instance.
    pub(crate) predicted_per_s: Option<f64>,
    pub(crate) error_pct: Option<f64>,
    /// The longest time without any event processed after the instances joined.
    pub(crate) rebalance_pause_s: Option<f64>,
    pub(crate) service_ms: f64,
    /// Of all processes: the service's instances, database, broker, telemetry.
    pub(crate) cpu_ms_per_event: f64,
    pub(crate) partitions: u64,
    /// What the prediction says the bound is.
    pub(crate) bound: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rollback {
    /// From sending the order to its answer, milliseconds, of each repetition.
    pub(crate) answered_ms: Vec<f64>,
    /// From sending the order to the last event that jobs or analytics took up before the next order.
    pub(crate) last_event_ms: Vec<f64>,
    pub(crate) failed: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// The most seen at the end of a window, all processes of `up` together: resident, shared pages counted once.
    pub(crate) stack_bytes_max: Option<u64>,
    pub(crate) processes: Vec<ProcessMemory>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessMemory {
    pub(crate) process: String,
    pub(crate) bytes_max: u64,
    pub(crate) in_stack: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct EffectCount {
    pub(crate) arm: Arm,
    pub(crate) effect: String,
    pub(crate) acknowledged: u64,
    pub(crate) happened: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) repeats: u64,
}

/// A window as it was, also when it does not count.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WindowRow {
    pub(crate) number: usize,
    pub(crate) purpose: String,
    pub(crate) arm: Arm,
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) from: String,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) drained_s: Option<f64>,
    /// Why it does not count; null when it does.
    pub(crate) excluded: Option<String>,
    pub(crate) core_busy_pct: Vec<f64>,
    pub(crate) cpu_seconds: BTreeMap<String, f64>,
    pub(crate) indicators: Indicators,
}

impl Report {
    /// `report.json`, `report.md` and `report.html` into the folder; each replaced whole.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let document = document::compose(self);
        let files = [
            ("report.json", serde_json::to_string_pretty(self)? + "\n"),
            ("report.md", markdown::render(&document)),
            ("report.html", html::render(&document)),
        ];
        for (name, text) in files {
            let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
            std::fs::write(&fresh, text)
                .and_then(|()| std::fs::rename(&fresh, &path))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        Ok(())
    }
}
