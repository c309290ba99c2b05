//! The account at the end of a run, as text.

use std::fmt::Write as _;

use super::{accounting::Row, effects::Tally};

/// Everything `up` can vouch for when it ends.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) signals: Vec<Row>,
    pub(crate) effects: Vec<Tally>,
    /// Processes that ended without telling their counts.
    pub(crate) uncounted: u32,
    /// What could not be found out, and why.
    pub(crate) unknown: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.uncounted == 0
            && self.unknown.is_empty()
            && self.signals.iter().all(Row::is_clean)
            && self.effects.iter().all(Tally::is_clean)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if !self.signals.is_empty() {
            let _ = writeln!(
                text,
                "{:<28}{:>12}{:>9}{:>14}{:>10}{:>10}",
                "signal", "made", "dropped", "acknowledged", "stored", "distinct"
            );
        }
        for row in &self.signals {
            let _ = writeln!(
                text,
                "{:<28}{:>12}{:>9}{:>14}{:>10}{:>10}{}",
                row.signal,
                row.made,
                row.dropped,
                row.acknowledged,
                row.stored,
                row.distinct,
                mark(row.is_clean())
            );
        }
        if !self.effects.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<28}{:>12}{:>9}{:>14}{:>10}{:>10}{:>10}",
                "effect", "acknowledged", "lost", "happened", "doubled", "repeats", "unheard"
            );
        }
        for tally in &self.effects {
            let _ = writeln!(
                text,
                "{:<28}{:>12}{:>9}{:>14}{:>10}{:>10}{:>10}{}",
                format!("{} of {}", tally.effect, tally.event_type),
                tally.acknowledged,
                tally.lost,
                tally.happened,
                tally.doubled,
                tally.repeats,
                tally.unheard,
                mark(tally.is_clean())
            );
        }
        if self.uncounted > 0 {
            let _ = writeln!(
                text,
                "\n{} processes ended without leaving their counts, so what they made is not in this account",
                self.uncounted
            );
        }
        for unknown in &self.unknown {
            let _ = writeln!(text, "\nnot known: {unknown}");
        }
        let verdict = if self.is_clean() { "nothing dropped, nothing lost, nothing doubled" } else { "NOT CLEAN: see above" };
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}

fn mark(clean: bool) -> &'static str {
    if clean { "" } else { "  <--" }
}
