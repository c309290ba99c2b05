//! Whether the arms did the same work, and where its time went.

use std::collections::BTreeMap;

use crate::experiment::PAY;
use crate::experiment::arm::Arm;
use crate::experiment::counting::Account;
use crate::experiment::report::{Breakdown, Work};
use crate::experiment::runner::Experiment;
use crate::experiment::telemetry::{BREAKDOWN, Period};
use crate::experiment::window::{WARM_UP, Window};

/// Cost, effects and calls of a request in each arm, over these windows.
pub(crate) async fn run(experiment: &mut Experiment, windows: &BTreeMap<Arm, Vec<usize>>) -> anyhow::Result<()> {
    let mut account = Account::default();
    for (arm, number) in windows.iter().flat_map(|(arm, numbers)| numbers.iter().map(move |number| (*arm, *number))) {
        account.add(arm, experiment.acknowledged(&experiment.windows[number])?);
    }
    let counted = experiment.count(&account).await?;
    let idle = idle(experiment, windows);
    for (arm, numbers) in windows {
        let mine: Vec<_> = numbers.iter().map(|number| &experiment.windows[*number]).collect();
        let requests: u64 = mine.iter().map(|window| window.requests_with_warm_up).sum();
        let per_request = |sum: f64| sum / (requests as f64).max(1.0);
        let mut cpu: BTreeMap<String, f64> = BTreeMap::new();
        for name in arm.parts() {
            let seconds: f64 = mine.iter().filter_map(|window| window.cpu_seconds.get(*name)).sum();
            if seconds > 0.0 {
                cpu.insert((*name).to_owned(), per_request(1e3 * seconds));
            }
        }
        let happened: u64 = counted.effects.iter().filter(|count| count.arm == *arm).map(|count| count.happened).sum();
        let calls: Option<Vec<_>> = mine.iter().map(|window| window.calls.clone()).collect();
        let idle_ms_per_request =
            idle.map(|idle| per_request(1e3 * idle * mine.iter().map(|window| seconds(window)).sum::<f64>()));
        experiment.report.work.push(Work {
            arm: *arm,
            requests,
            idle_cpu_ms_per_request: idle_ms_per_request.filter(|_| *arm == Arm::Events),
            cpu_ms_per_request: cpu.values().sum(),
            cpu_ms_per_request_by_process: cpu,
            effects_per_request: Some(per_request(happened as f64)),
            database_calls_per_request: calls
                .as_ref()
                .map(|calls| per_request(calls.iter().map(|calls| calls.database as f64).sum())),
            password_hashes_per_request: calls
                .map(|calls| per_request(calls.iter().map(|calls| calls.hashes as f64).sum())),
        });
    }
    traces(experiment, windows).await
}

/// CPU time a second of what only `events` uses, where it has nothing to do: in the windows of `inline`.
fn idle(experiment: &Experiment, windows: &BTreeMap<Arm, Vec<usize>>) -> Option<f64> {
    let inline: Vec<_> = windows.get(&Arm::Inline)?.iter().map(|number| &experiment.windows[*number]).collect();
    let parts = || Arm::Events.parts().iter().filter(|part| !Arm::Inline.parts().contains(part));
    let of = |window: &Window| parts().filter_map(|part| window.cpu_seconds.get(*part)).sum::<f64>();
    let whole: f64 = inline.iter().map(|window| seconds(window)).sum();
    (whole > 0.0).then(|| inline.iter().map(|window| of(window)).sum::<f64>() / whole)
}

/// From its begin until everything that it caused was done.
fn seconds(window: &Window) -> f64 {
    (window.settled_us - window.period.from_us) as f64 / 1e6 + WARM_UP.as_secs_f64()
}

/// One window of each arm, the first that counts: every request to create a payment, span by span.
async fn traces(experiment: &mut Experiment, windows: &BTreeMap<Arm, Vec<usize>>) -> anyhow::Result<()> {
    let mut totals: BTreeMap<Arm, f64> = BTreeMap::new();
    for (arm, numbers) in windows {
        let Some(window) = numbers.first().map(|number| &experiment.windows[*number]) else { continue };
        let (period, rate, settled_us) = (window.period, window.order.rate, window.settled_us);
        let lab = experiment.lab()?;
        let (requests, mut parts) = lab.telemetry.breakdown(PAY, period).await?;
        for part in &mut parts {
            part.name = lab.with_names(&part.name);
        }
        let total_ms = parts.iter().map(|part| part.ms).sum();
        if arm.has_events() {
            let delays = lab.telemetry.delays(Period { to_us: settled_us, ..period }, *arm, rate).await?;
            experiment.report.delays.extend(delays);
        }
        totals.insert(*arm, total_ms);
        let sql = BREAKDOWN.replace("$name", PAY);
        experiment.report.breakdown.push(Breakdown {
            arm: *arm,
            endpoint: PAY.to_owned(),
            requests,
            total_ms,
            parts,
            sql,
        });
    }
    if let (Some(inline), Some(events)) = (totals.get(&Arm::Inline), totals.get(&Arm::Events))
        && *inline > 0.0
    {
        experiment.report.asynchronous_share_pct = Some(100.0 * (1.0 - events / inline));
    }
    Ok(())
}
