//! What stays whole when something breaks, and what more instances bring.

use super::super::plot::{self, Lines, Scale, Series};
use super::super::{Fault, Indicators, Report};
use super::{Block, figure, heading, interval, short, table, text, whole};

pub(super) fn faults(report: &Report, blocks: &mut Vec<Block>) {
    if report.faults.is_empty() {
        return;
    }
    heading(blocks, 2, "Isolation: the same fault in both arms");
    text(
        blocks,
        "One uninterrupted load over three windows: before, during, and after until nothing waits any more. An endpoint is hurt \
         when the 95 % interval of its p95's change lies above 5 %, or when requests fail that did not fail before.",
    );
    let rows = report.faults.iter().map(|fault| {
        vec![
            fault
                .excluded
                .as_ref()
                .map_or(fault.name.clone(), |why| format!("{} (**does not count**: {why})", fault.name)),
            fault.arm.to_string(),
            if fault.hurt.is_empty() { "nothing".to_owned() } else { fault.hurt.join(", ") },
            fault.mechanism.clone(),
            format!("{} ({} of {} reports)", fault.failed, fault.failed_reports, fault.reports),
            format!("{} / {}", whole(fault.lost), whole(fault.doubled)),
            short(fault.drained_s),
        ]
    });
    let head = ["fault", "arm", "hurt", "mechanism", "failed requests", "lost / doubled", "drained after, s"];
    table(blocks, &head, rows);
    report.faults.iter().for_each(|fault| one(fault, blocks));
}

fn one(fault: &Fault, blocks: &mut Vec<Block>) {
    heading(blocks, 3, &format!("{} in {}", fault.name, fault.arm));
    text(
        blocks,
        format!(
            "{} {:.0} s before, {:.0} s of fault, {:.0} s after; {:.1} requests a second.",
            fault.what, fault.before_s, fault.fault_s, fault.after_s, fault.rate
        ),
    );
    let rows = fault.endpoints.iter().map(|impact| {
        vec![
            impact.endpoint.clone(),
            format!("{} / {}", impact.requests_before, impact.requests_during),
            short(impact.p95_before_ms),
            short(impact.p95_during_ms),
            interval(impact.change_pct.as_ref()),
            format!("{} / {} / {}", impact.failed_before, impact.failed_during, impact.failed_after),
            impact.hurt_for_s.map_or("not hurt".to_owned(), |seconds| format!("{seconds:.0}")),
        ]
    });
    table(
        blocks,
        &[
            "endpoint",
            "requests before / during",
            "p95 before, ms",
            "p95 during, ms",
            "change of p95",
            "failed before / during / after",
            "hurt for, s",
        ],
        rows,
    );
    let row = |name: &str, of: fn(&Indicators) -> Option<f64>| {
        vec![name.to_owned(), short(of(&fault.before)), short(of(&fault.during))]
    };
    table(
        blocks,
        &["under strain", "before", "during"],
        [
            row("CPU of the product, % of a core", |found| found.product_cpu_pct),
            row("product's core busy, %", |found| found.product_core_busy_pct),
            row("pool and lock wait p95, ms", |found| found.pool_wait_p95_ms),
            row("statement p95, ms", |found| found.statement_p95_ms),
            row("calls to others, ms a request", |found| found.calls_ms_per_request),
            row("outbox, most", |found| found.outbox_pending_max),
            row("consumer lag, most", |found| found.lag_max),
        ],
    );
    let series = fault.course.iter().map(|(name, points)| Series { name: name.clone(), points: points.clone() });
    let plot = Lines {
        x: "seconds since the fault began",
        y: "p95, ms",
        y_scale: Scale::Logarithmic,
        series: series.collect(),
        band: Some((0.0, fault.fault_s, "fault")),
    };
    figure(blocks, &format!("p95 in blocks of time: {} in {}", fault.name, fault.arm), plot::lines(&plot));
}

pub(super) fn scaling(report: &Report, blocks: &mut Vec<Block>) {
    if report.scaling.is_empty() {
        return;
    }
    heading(blocks, 2, "Scaling by instances");
    text(
        blocks,
        "A backlog is made while the service is held down, then worked off by 1, 2 and 4 instances that share its partitions, each \
         pinned to one core, the next instance to the next core of the machine. The prediction is written into the report after the \
         run with one instance and before the others: as many times the measured throughput of one instance as there are instances, \
         but not as there are partitions, nor more than all cores of the machine allow at the CPU time that everybody (database, \
         broker and telemetry too) spent on an event. Throughput counts while all instances are at work; where the backlog was gone \
         before, there is none.",
    );
    let rows = report.scaling.iter().map(|run| {
        vec![
            run.service.clone(),
            run.instances.to_string(),
            run.events.to_string(),
            short(run.measured_per_s),
            short(run.predicted_per_s),
            run.error_pct.map_or("–".to_owned(), |error| format!("{error:+.0} %")),
            short(run.rebalance_pause_s),
            short(Some(run.service_ms)),
            short(Some(run.cpu_ms_per_event)),
            run.partitions.to_string(),
            run.bound.clone(),
        ]
    });
    table(
        blocks,
        &[
            "service",
            "instances",
            "events",
            "events/s",
            "predicted",
            "error",
            "rebalance pause, s",
            "service time, ms",
            "CPU of all an event, ms",
            "partitions",
            "bound",
        ],
        rows,
    );
    let mut services: Vec<&String> = report.scaling.iter().map(|run| &run.service).collect();
    services.dedup();
    let line = |service: &String, name: &str, of: fn(&super::super::Scaling) -> Option<f64>| Series {
        name: format!("{service}, {name}"),
        points: report
            .scaling
            .iter()
            .filter(|run| run.service == *service)
            .filter_map(|run| Some((run.instances as f64, of(run)?)))
            .collect(),
    };
    let series = services.into_iter().flat_map(|service| {
        [line(service, "measured", |run| run.measured_per_s), line(service, "predicted", |run| run.predicted_per_s)]
    });
    let plot =
        Lines { x: "instances", y: "events a second", y_scale: Scale::Linear, series: series.collect(), band: None };
    figure(blocks, "Throughput by instances, measured and predicted", plot::lines(&plot));
}

pub(super) fn rollback(report: &Report, blocks: &mut Vec<Block>) {
    let Some(rollback) = &report.rollback else { return };
    heading(blocks, 2, "Going back");
    let list = |values: &[f64]| values.iter().map(|value| plot::number(*value)).collect::<Vec<_>>().join(", ");
    text(
        blocks,
        format!(
            "Both concerns from `events` to `inline` under load, {} times: the order was answered after {} ms; the last event that \
             jobs or analytics still took up was made {} ms after the order was sent; {} requests failed.",
            rollback.answered_ms.len(),
            list(&rollback.answered_ms),
            list(&rollback.last_event_ms),
            rollback.failed
        ),
    );
}
