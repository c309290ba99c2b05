//! The claims, each against what was measured. A figure with an interval is judged by it.

use std::collections::BTreeSet;

use super::faults::HELD_DOWN;
use crate::experiment::arm::Arm;
use crate::experiment::report::{Claim, Fault, Report, Verdict, Work};
use crate::experiment::stats::Estimate;
use crate::experiment::{LOGIN, PAY};

const REDUCTION_MIN_PCT: f64 = 60.0;
const EQUAL_WORK_MAX_PCT: f64 = 10.0;
const MOVED_MAX_PCT: f64 = 5.0;
const ROLLBACK_MAX_MS: f64 = 1_000.0;
const MEMORY_MAX_BYTES: u64 = 512_000_000;

pub(crate) fn judge(report: &Report) -> Vec<Claim> {
    let mut claims = vec![payment(report), login(report), two_cores(report)];
    claims.extend(equal_work(report));
    claims.extend(held_down(report));
    claims.extend([inline_hurts(report), counted(report), rollback(report), memory(report)]);
    claims
}

fn claim(claim: &str, target: &str, measured: Option<(String, Verdict)>) -> Claim {
    let (measured, verdict) = measured.unwrap_or(("–".to_owned(), Verdict::NotMeasured));
    Claim { claim: claim.to_owned(), target: target.to_owned(), measured, verdict }
}

fn verdict(met: bool) -> Verdict {
    if met { Verdict::Met } else { Verdict::Missed }
}

/// Met when the whole interval is on the right side of `least`, missed when none of it is.
fn at_least(estimate: &Estimate, least: f64) -> Verdict {
    match () {
        () if estimate.low >= least => Verdict::Met,
        () if estimate.high < least => Verdict::Missed,
        () => Verdict::Undecided,
    }
}

fn headline(report: &Report, name: &str) -> Option<Estimate> {
    let endpoint = report.endpoints.iter().find(|endpoint| endpoint.name == name)?;
    let [low, high] = endpoint.p95_reduction_pct_interval?;
    Some(Estimate { value: endpoint.p95_reduction_pct?, low, high })
}

fn payment(report: &Report) -> Claim {
    let measured = headline(report, PAY).map(|found| {
        // The goal is for the lower bound, so an interval around it has missed it.
        (found.percent(), verdict(found.low >= REDUCTION_MIN_PCT))
    });
    claim("p95 of creating a payment falls", "lower bound at least 60 %", measured)
}

fn login(report: &Report) -> Claim {
    let measured = headline(report, LOGIN).map(|found| (found.percent(), Verdict::Reported));
    claim(
        "p95 of login, as it is",
        "none: its time is argon2id in every arm; it gains only what others no longer take from its core",
        measured,
    )
}

fn two_cores(report: &Report) -> Claim {
    let endpoint =
        report.comparisons.first().and_then(|found| found.endpoints.iter().find(|endpoint| endpoint.name == PAY));
    let measured = endpoint
        .and_then(|endpoint| endpoint.p95_reduction_against_two_cores_pct)
        .map(|found| (found.percent(), at_least(&found, 0.0)));
    claim("events on one core beats inline on two", "p95 of creating a payment is lower", measured)
}

fn equal_work(report: &Report) -> [Claim; 2] {
    let of = |arm: Arm| report.work.iter().find(|work| work.arm == arm);
    let apart = |of_events: f64, of_inline: f64| (of_inline > 0.0).then(|| 100.0 * (of_events / of_inline - 1.0));
    let judged = |pct: Option<f64>| pct.map(|pct| (format!("{pct:+.1} %"), verdict(pct.abs() <= EQUAL_WORK_MAX_PCT)));
    let both = of(Arm::Events).zip(of(Arm::Inline));
    let cpu = both.and_then(|(events, inline)| apart(events.cpu_ms_per_request, inline.cpu_ms_per_request));
    let busy = both.and_then(|(events, inline)| {
        apart(events.cpu_ms_per_request - events.idle_cpu_ms_per_request?, inline.cpu_ms_per_request)
    });
    let cpu = judged(cpu).map(|(words, verdict)| {
        let idle =
            busy.map_or(String::new(), |busy| format!("; {busy:+.1} % without what broker and services cost idle"));
        (format!("{words} (ms a request: {}{idle})", both.map_or(String::new(), by_process)), verdict)
    });
    let effects = both.and_then(|(events, inline)| apart(events.effects_per_request?, inline.effects_per_request?));
    [
        claim("equal work: CPU a request, events against inline", "within 10 %, or explained", cpu),
        claim("equal work: effects a request, events against inline", "within 10 %", judged(effects)),
    ]
}

/// Where the difference is: what each process costs in `events` against `inline`.
fn by_process((events, inline): (&Work, &Work)) -> String {
    let of = |work: &Work, name: &str| work.cpu_ms_per_request_by_process.get(name).copied().unwrap_or_default();
    let names: BTreeSet<_> =
        [events, inline].iter().flat_map(|work| work.cpu_ms_per_request_by_process.keys()).collect();
    let apart: Vec<_> =
        names.iter().map(|name| format!("{name} {:+.2}", of(events, name) - of(inline, name))).collect();
    apart.join(", ")
}

fn held_down(report: &Report) -> Vec<Claim> {
    let counts = |fault: &&Fault| fault.name == HELD_DOWN && fault.arm == Arm::Events && fault.excluded.is_none();
    let fault = report.faults.iter().find(counts);
    let moved = |name: &str| {
        let impact = fault?.endpoints.iter().find(|impact| impact.endpoint == name)?;
        let change = impact.change_pct?;
        let judged = match () {
            () if change.low > MOVED_MAX_PCT => Verdict::Missed,
            () if change.high <= MOVED_MAX_PCT => Verdict::Met,
            () => Verdict::Undecided,
        };
        Some((change.percent(), judged))
    };
    let whole = fault.and_then(|fault| {
        let (lost, doubled, failed) = (fault.lost?, fault.doubled?, fault.failed - fault.failed_reports);
        let drained =
            fault.drained_s.map_or("not drained".to_owned(), |seconds| format!("drained after {seconds:.0} s"));
        let met = failed + lost + doubled == 0 && fault.drained_s.is_some();
        Some((format!("{failed} failed, {lost} lost, {doubled} doubled, {drained}"), verdict(met)))
    });
    let reports =
        fault.map(|fault| (format!("{} of {} failed", fault.failed_reports, fault.reports), Verdict::Reported));
    vec![
        claim("jobs and analytics held down: p95 of creating a payment", "moves by at most 5 %", moved(PAY)),
        claim("jobs and analytics held down: p95 of login", "moves by at most 5 %", moved(LOGIN)),
        claim("jobs and analytics held down: customers' requests", "0 failed, 0 lost, 0 doubled, drained", whole),
        claim("jobs and analytics held down: analysts' reports", "none: who answers them is away", reports),
    ]
}

/// In `inline` faults of the same kind must be seen to hurt login or payments, by a named mechanism.
fn inline_hurts(report: &Report) -> Claim {
    let inline: Vec<_> =
        report.faults.iter().filter(|fault| fault.arm == Arm::Inline && fault.excluded.is_none()).collect();
    let hurt: Vec<String> = inline
        .iter()
        .filter(|fault| fault.hurt.iter().any(|name| name == PAY || name == LOGIN))
        .map(|fault| format!("{}: {}", fault.name, fault.mechanism))
        .collect();
    let measured = (!inline.is_empty()).then(|| {
        let words = if hurt.is_empty() { "no fault hurt login or payments".to_owned() } else { hurt.join("; ") };
        (words, verdict(!hurt.is_empty()))
    });
    claim("faults of jobs and analytics hurt login and payments in inline", "with the mechanism by name", measured)
}

fn counted(report: &Report) -> Claim {
    let measured = report.lost.zip(report.doubled).map(|(lost, doubled)| {
        (format!("{lost} lost, {doubled} doubled, in all windows of all arms"), verdict(lost + doubled == 0))
    });
    claim("every acknowledged intent has its effects, once", "0 lost, 0 doubled", measured)
}

fn rollback(report: &Report) -> Claim {
    let measured = report.rollback.as_ref().map(|found| {
        let worst = found.answered_ms.iter().chain(&found.last_event_ms).copied().fold(0.0, f64::max);
        (
            format!("{worst:.0} ms at most, {} failed", found.failed),
            verdict(worst < ROLLBACK_MAX_MS && found.failed == 0),
        )
    });
    claim("going back from events to inline under load", "under 1 s, 0 failed", measured)
}

fn memory(report: &Report) -> Claim {
    let measured = report
        .memory
        .stack_bytes_max
        .map(|bytes| (format!("{} MB", bytes / 1_000_000), verdict(bytes <= MEMORY_MAX_BYTES)));
    claim("memory of the whole stack", "at most 512 MB", measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::{Endpoint, Latency};

    fn report(low: f64) -> Report {
        let endpoint = Endpoint {
            name: PAY.to_owned(),
            inline: Latency::default(),
            events: Latency::default(),
            p95_reduction_pct: Some(65.0),
            p95_reduction_pct_interval: Some([low, 70.0]),
            enough_samples: true,
        };
        Report { endpoints: vec![endpoint], lost: Some(0), doubled: Some(1), ..Report::default() }
    }

    fn verdicts(report: &Report) -> Vec<(String, Verdict)> {
        judge(report).into_iter().map(|claim| (claim.claim, claim.verdict)).collect()
    }

    #[test]
    fn the_lower_bound_decides_and_what_was_not_measured_is_not_claimed() {
        assert_eq!(verdicts(&report(61.0))[0].1, Verdict::Met);
        assert_eq!(verdicts(&report(59.0))[0].1, Verdict::Missed);
        let not_measured = verdicts(&Report::default());
        assert!(not_measured.iter().all(|(_, verdict)| *verdict == Verdict::NotMeasured), "{not_measured:?}");
    }

    #[test]
    fn one_doubled_effect_is_a_miss() {
        let found = verdicts(&report(61.0));
        assert!(
            found.iter().any(|(claim, verdict)| claim.starts_with("every acknowledged") && *verdict == Verdict::Missed)
        );
    }
}
