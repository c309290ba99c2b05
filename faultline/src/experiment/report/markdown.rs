//! The document as Markdown; figures stay in the page beside it.

use std::fmt::Write as _;

use super::document::{Block, holds_figures};

pub(super) fn render(document: &[Block]) -> String {
    let mut text = String::new();
    for block in document {
        match block {
            Block::Heading(level, words) => {
                let _ = writeln!(text, "{} {words}\n", "#".repeat(usize::from(*level)));
            }
            Block::Text(words) => {
                let _ = writeln!(text, "{words}\n");
            }
            Block::List(items) => {
                items.iter().for_each(|item| {
                    let _ = writeln!(text, "- {item}");
                });
                text.push('\n');
            }
            Block::Table(head, rows) => table(&mut text, head, rows),
            Block::Code(code) => {
                let _ = writeln!(text, "```\n{}\n```\n", code.trim_end());
            }
            Block::Figure(caption, _) => {
                let _ = writeln!(text, "*{caption}: see `report.html`.*\n");
            }
        }
    }
    text
}

fn table(text: &mut String, head: &[String], rows: &[Vec<String>]) {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text.push_str(&line(head));
    let rules = (0..head.len()).map(|column| if holds_figures(rows, column) { "---:|" } else { "---|" });
    let _ = writeln!(text, "|{}", rules.collect::<String>());
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text.push('\n');
}
