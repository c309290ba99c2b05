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
            line(&mut text, "signal", ["made", "dropped", "acked", "stored", "distinct"], true);
        }
        for row in &self.signals {
            let counts = [row.made, row.dropped, row.acknowledged, row.stored, row.distinct];
            line(&mut text, row.signal, counts, row.is_clean());
        }
        if !self.effects.is_empty() {
            text.push('\n');
            line(&mut text, "effect", ["acked", "lost", "happened", "doubled", "repeats", "unheard"], true);
        }
        for tally in &self.effects {
            let name = format!("{} of {}", tally.effect, tally.event_type.trim_start_matches("payment."));
            let counts = [tally.acknowledged, tally.lost, tally.happened, tally.doubled, tally.repeats, tally.unheard];
            line(&mut text, &name, counts, tally.is_clean());
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
        let verdict =
            if self.is_clean() { "nothing dropped, nothing lost, nothing doubled" } else { "NOT CLEAN: see above" };
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}

/// Fits in 80 columns.
fn line<const N: usize>(text: &mut String, name: &str, cells: [impl std::fmt::Display; N], clean: bool) {
    let _ = write!(text, "{name:<24}");
    for cell in cells {
        let _ = write!(text, "{cell:>9}");
    }
    text.push_str(if clean { "\n" } else { " <\n" });
}
