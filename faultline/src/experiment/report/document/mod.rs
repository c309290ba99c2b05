//! The report in the order a doubting reader asks: what is claimed, where it ran, whether the work was equal, whether it was
//! merely moved, what a fault does, and every window that was measured.

mod isolation;
mod speed;
mod trust;

use super::super::stats::Estimate;
use super::plot;
use super::{Report, Run, Verdict};

/// What a report is made of, however it is written.
pub(super) enum Block {
    Heading(u8, String),
    Text(String),
    List(Vec<String>),
    Table(Vec<String>, Vec<Vec<String>>),
    Code(String),
    /// Caption and SVG.
    Figure(String, String),
}

/// Whether a column of these rows holds figures, which align at their right end.
pub(super) fn holds_figures(rows: &[Vec<String>], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    // A dash is a figure that was not measured.
    cells.all(|cell| cell.starts_with(|first: char| first.is_ascii_digit() || "+-–".contains(first)) && cell.len() < 40)
}

pub(super) fn compose(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    opening(report, &mut blocks);
    speed::headline(report, &mut blocks);
    trust::place(report, &mut blocks);
    speed::knee(report, &mut blocks);
    speed::comparisons(report, &mut blocks);
    trust::work(report, &mut blocks);
    trust::not_merely_moved(report, &mut blocks);
    isolation::faults(report, &mut blocks);
    isolation::scaling(report, &mut blocks);
    isolation::rollback(report, &mut blocks);
    trust::counting(report, &mut blocks);
    trust::memory(report, &mut blocks);
    trust::method(report, &mut blocks);
    trust::windows(report, &mut blocks);
    blocks
}

fn opening(report: &Report, blocks: &mut Vec<Block>) {
    let Run { plan, database, broker, started, seconds, seed, version, .. } = &report.run;
    blocks.push(Block::Heading(1, "What decoupling bought: one product, inline and event-driven".to_owned()));
    blocks.push(Block::Text(format!(
        "Plan {plan}, database {database}, broker {broker}, seed {seed}, faultline {version}; started {started}, {:.0} minutes.",
        seconds / 60.0
    )));
    if !report.run.complete {
        blocks.push(Block::Text("**This run is not complete**: what is missing below was not measured.".to_owned()));
    }
    if !report.run.optimised {
        blocks.push(Block::Text(
            "**Built without optimisation**: the figures show that the experiment works, not how fast the product is."
                .to_owned(),
        ));
    }
    if report.claims.is_empty() {
        return;
    }
    heading(blocks, 2, "The claims");
    let rows = report.claims.iter().map(|claim| {
        let verdict = match claim.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::Undecided => "**undecided**",
            Verdict::Reported => "reported",
            Verdict::NotMeasured => "not measured",
        };
        vec![claim.claim.clone(), claim.target.clone(), claim.measured.clone(), verdict.to_owned()]
    });
    table(blocks, &["claim", "target", "measured", "verdict"], rows);
}

fn heading(blocks: &mut Vec<Block>, level: u8, words: &str) {
    blocks.push(Block::Heading(level, words.to_owned()));
}

fn text(blocks: &mut Vec<Block>, words: impl Into<String>) {
    blocks.push(Block::Text(words.into()));
}

fn table(blocks: &mut Vec<Block>, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    blocks.push(Block::Table(head.iter().map(|cell| (*cell).to_owned()).collect(), rows.into_iter().collect()));
}

/// A plot without anything in it is left out.
fn figure(blocks: &mut Vec<Block>, caption: &str, svg: String) {
    if !svg.is_empty() {
        blocks.push(Block::Figure(caption.to_owned(), svg));
    }
}

/// A figure in few digits; a dash when it was not measured.
fn short(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), plot::number)
}

fn whole(value: Option<u64>) -> String {
    value.map_or("–".to_owned(), |value| value.to_string())
}

fn interval(estimate: Option<&Estimate>) -> String {
    estimate.map_or("–".to_owned(), Estimate::percent)
}

fn mib(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}
