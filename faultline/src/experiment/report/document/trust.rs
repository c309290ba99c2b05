//! The answers to doubts: where it ran, equal work, nothing merely moved, everything counted, every window shown.

use super::super::{Report, plot};
use super::{Block, figure, heading, mib, short, table, text, whole};

pub(super) fn place(report: &Report, blocks: &mut Vec<Block>) {
    let machine = &report.run.machine;
    heading(blocks, 2, "Where it ran");
    text(
        blocks,
        format!(
            "{}, {} cores, {} MiB memory, Linux {}.",
            machine.processor,
            machine.cores,
            mib(machine.memory_bytes),
            machine.kernel
        ),
    );
    table(blocks, &["what", "cores"], report.run.pins.iter().map(|pin| vec![pin.what.clone(), pin.cores.clone()]));
    let arms = report.arms.iter().map(|arm| {
        vec![arm.name.to_string(), arm.jobs.clone(), arm.analytics.clone(), arm.cores.clone(), arm.meaning.clone()]
    });
    table(blocks, &["arm", "jobs", "analytics", "cores of the product", "what it is"], arms);
    if !report.run.assumptions.is_empty() {
        heading(blocks, 3, "Assumptions");
        let rows = report
            .run
            .assumptions
            .iter()
            .map(|assumption| vec![assumption.what.clone(), assumption.value.clone(), assumption.why.clone()]);
        table(blocks, &["assumed", "value", "why"], rows);
    }
    if !report.run.notes.is_empty() {
        heading(blocks, 3, "Notes");
        blocks.push(Block::List(report.run.notes.clone()));
    }
}

pub(super) fn work(report: &Report, blocks: &mut Vec<Block>) {
    if report.work.is_empty() {
        return;
    }
    heading(blocks, 2, "Equal work");
    text(
        blocks,
        "CPU time of all processes of the product, the database's and the broker's included, from the begin of a window until \
         everything that its requests caused was done; divided by its requests. Idle is what broker and extracted services cost while they have nothing to do (polling, heartbeats), as seen in the windows of `inline`. Effects are counted by those who received them.",
    );
    let inline = report.work.first().map(|work| work.cpu_ms_per_request);
    let rows = report.work.iter().map(|work| {
        let against = inline.filter(|inline| *inline > 0.0).map(|inline| work.cpu_ms_per_request / inline - 1.0);
        let parts: Vec<String> =
            work.cpu_ms_per_request_by_process.iter().map(|(name, ms)| format!("{name} {ms:.2}")).collect();
        vec![
            work.arm.to_string(),
            work.requests.to_string(),
            format!("{:.2}", work.cpu_ms_per_request),
            against.map_or("–".to_owned(), |share| format!("{:+.1} %", 100.0 * share)),
            short(work.idle_cpu_ms_per_request),
            work.effects_per_request.map_or("–".to_owned(), |count| format!("{count:.3}")),
            short(work.database_calls_per_request),
            work.password_hashes_per_request.map_or("–".to_owned(), |count| format!("{count:.3}")),
            parts.join(", "),
        ]
    });
    table(
        blocks,
        &[
            "arm",
            "requests",
            "CPU a request, ms",
            "against inline",
            "of it idle, ms",
            "effects a request",
            "database calls a request",
            "password hashes a request",
            "CPU by process, ms",
        ],
        rows,
    );
}

pub(super) fn not_merely_moved(report: &Report, blocks: &mut Vec<Block>) {
    if report.breakdown.is_empty() && report.delays.is_empty() {
        return;
    }
    heading(blocks, 2, "Not merely moved");
    if let Some(share) = report.asynchronous_share_pct {
        text(
            blocks,
            format!(
                "**{share:.1} %** of the time that `inline` spends on creating a payment happens outside the request in `events`."
            ),
        );
    }
    let rows: Vec<(String, Vec<(String, f64)>)> = report
        .breakdown
        .iter()
        .map(|found| {
            let parts = found.parts.iter().map(|part| (part.name.clone(), part.ms)).collect();
            (format!("{}: {}", found.arm, found.endpoint), parts)
        })
        .collect();
    figure(blocks, "Where the milliseconds of a request go, mean, from traces", plot::stacks("ms", &rows));
    for found in &report.breakdown {
        heading(
            blocks,
            3,
            &format!("{} in {}: {:.1} ms, {} requests", found.endpoint, found.arm, found.total_ms, found.requests),
        );
        let rows = found
            .parts
            .iter()
            .map(|part| vec![part.name.clone(), format!("{:.2}", part.ms), format!("{:.1} %", part.share_pct)]);
        table(blocks, &["part", "mean, ms", "share"], rows);
    }
    if let Some(found) = report.breakdown.first() {
        text(blocks, "The question behind these tables, asked of the query node:");
        blocks.push(Block::Code(found.sql.clone()));
    }
    if !report.delays.is_empty() {
        heading(blocks, 3, "From commit to visible");
        text(
            blocks,
            "What customers no longer wait for still has to happen. From the answer's commit to the end of the effect:",
        );
        let rows = report.delays.iter().map(|delay| {
            vec![
                delay.effect.clone(),
                delay.arm.to_string(),
                short(Some(delay.rate)),
                delay.count.to_string(),
                short(Some(delay.p50_ms)),
                short(Some(delay.p95_ms)),
                short(Some(delay.max_ms)),
            ]
        });
        table(blocks, &["effect", "arm", "requests/s", "count", "p50, ms", "p95, ms", "longest, ms"], rows);
    }
}

pub(super) fn counting(report: &Report, blocks: &mut Vec<Block>) {
    heading(blocks, 2, "Counting");
    text(
        blocks,
        format!(
            "The customers' ledger of acknowledged intents against the evidence of whoever did the work or received it: **{} lost, {} \
             doubled**, {} repeated deliveries that their receiver recognised by the key.",
            whole(report.lost),
            whole(report.doubled),
            whole(report.repeats)
        ),
    );
    let rows = report.effects.iter().map(|count| {
        vec![
            count.effect.clone(),
            count.arm.to_string(),
            count.acknowledged.to_string(),
            count.happened.to_string(),
            count.lost.to_string(),
            count.doubled.to_string(),
            count.repeats.to_string(),
        ]
    });
    table(blocks, &["effect", "requested in", "acknowledged", "happened", "lost", "doubled", "repeats"], rows);
}

pub(super) fn memory(report: &Report, blocks: &mut Vec<Block>) {
    let Some(most) = report.memory.stack_bytes_max else { return };
    heading(blocks, 2, "Memory");
    text(
        blocks,
        format!(
            "At its most the whole stack held {} MiB, pages that processes share counted once (PSS), seen at the end of each window.",
            mib(most)
        ),
    );
    let rows = report.memory.processes.iter().map(|process| {
        let where_ = if process.in_stack { "stack" } else { "beside it" };
        vec![process.process.clone(), mib(process.bytes_max), where_.to_owned()]
    });
    table(blocks, &["process", "most, MiB", "counted in"], rows);
}

pub(super) fn method(report: &Report, blocks: &mut Vec<Block>) {
    heading(blocks, 2, "Method, and what it cannot show");
    blocks.push(Block::List(
        [
            "Open loop: arrivals are a Poisson process from the seed, whatever the answers take; a late answer delays no other \
             request. Windows of one round have the same seed, so the same arrivals, customers and amounts; their order is drawn.",
            "Before each window all events of the one before have been published, processed and projected, so no arm pays for \
             another. The first seconds of a window (sign-in of the first customers, connections) are left out.",
            "Percentiles are of requests answered with success; failures are counted beside them. A window in which the generator \
             could not keep its schedule is listed below and does not count.",
            "Intervals: rounds are drawn with replacement, then samples within each window; 2,000 redraws, 2.5th and 97.5th \
             percentile. With five rounds such intervals are somewhat too narrow.",
            "The load, the stubs, the collector and the query node share the other core in every arm. In `inline-2-cores` the \
             product runs there too and competes with them; the windows' busy shares below say how much was left.",
            "Worker threads are the same in every arm: parts start with both cores in sight and are moved afterwards.",
            "One machine, loopback networking. Nothing here says what a network between the services would add.",
        ]
        .map(str::to_owned)
        .to_vec(),
    ));
    text(blocks, "The command:");
    blocks.push(Block::Code(report.run.command.clone()));
}

pub(super) fn windows(report: &Report, blocks: &mut Vec<Block>) {
    if report.windows.is_empty() {
        return;
    }
    heading(blocks, 2, "Every window");
    let rows = report.windows.iter().map(|window| {
        let busy: Vec<String> = window.core_busy_pct.iter().map(|share| format!("{share:.0}")).collect();
        vec![
            window.number.to_string(),
            window.purpose.clone(),
            window.arm.to_string(),
            short(Some(window.rate)),
            short(Some(window.seconds)),
            window.seed.to_string(),
            window.from.clone(),
            window.requests.to_string(),
            format!("{} / {}", window.failed, window.skipped),
            short(window.drained_s),
            busy.join(" / "),
            window.excluded.clone().unwrap_or_else(|| "yes".to_owned()),
        ]
    });
    table(
        blocks,
        &[
            "no.",
            "purpose",
            "arm",
            "requests/s",
            "s",
            "seed",
            "from",
            "requests",
            "failed / skipped",
            "drained, s",
            "busy by core, %",
            "counts",
        ],
        rows,
    );
}
