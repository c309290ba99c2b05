//! The document as one page that needs nothing else: no script, no font, no network.

use std::fmt::Write as _;

use super::document::{Block, holds_figures};
use super::plot::escape;

const STYLE: &str = include_str!("page.css");

pub(super) fn render(document: &[Block]) -> String {
    let title = document.iter().find_map(|block| match block {
        Block::Heading(1, words) => Some(escape(words)),
        _ => None,
    });
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style></head><body><main>\n",
        title.unwrap_or_default()
    );
    for block in document {
        let _ = match block {
            Block::Heading(level, words) => writeln!(page, "<h{level}>{}</h{level}>", inline(words)),
            Block::Text(words) => writeln!(page, "<p>{}</p>", inline(words)),
            Block::List(items) => {
                let items: String = items.iter().map(|item| format!("<li>{}</li>\n", inline(item))).collect();
                writeln!(page, "<ul>\n{items}</ul>")
            }
            Block::Table(head, rows) => writeln!(page, "{}", table(head, rows)),
            Block::Code(code) => writeln!(page, "<pre>{}</pre>", escape(code)),
            Block::Figure(caption, svg) => {
                writeln!(page, "<figure>{svg}<figcaption>{}</figcaption></figure>", inline(caption))
            }
        };
    }
    page + "</main></body></html>\n"
}

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let classes: Vec<&str> =
        (0..head.len()).map(|column| if holds_figures(rows, column) { " class=\"figure\"" } else { "" }).collect();
    let line = |tag: &str, cells: &[String]| {
        let cells = cells.iter().zip(&classes).map(|(cell, class)| format!("<{tag}{class}>{}</{tag}>", inline(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = rows.iter().map(|row| line("td", row)).collect();
    format!("<div class=\"wide\"><table><thead>{}</thead><tbody>\n{body}</tbody></table></div>", line("th", head))
}

/// The two marks that the document uses: `code` and **strong**.
fn inline(words: &str) -> String {
    let marked = |text: &str, mark: &str, tag: &str| {
        let mut parts = text.split(mark);
        let mut result = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.collect();
        for pair in rest.chunks(2) {
            match pair {
                [inner, after] => result += &format!("<{tag}>{inner}</{tag}>{after}"),
                // A mark without its partner is a character.
                [lonely] => result += &format!("{mark}{lonely}"),
                _ => {}
            }
        }
        result
    };
    marked(&marked(&escape(words), "`", "code"), "**", "strong")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_tags_and_everything_else_is_text() {
        assert_eq!(inline("**5 %** of `a<b`"), "<strong>5 %</strong> of <code>a&lt;b</code>");
        assert_eq!(inline("2 ** 3 and ` alone"), "2 ** 3 and ` alone");
    }

    #[test]
    fn columns_of_figures_align_at_the_right() {
        let rows = [["a", "1.5"], ["b", "–"], ["3 c", "-2"]].map(|row| row.map(str::to_owned).to_vec());
        let table = table(&["name".to_owned(), "ms".to_owned()], &rows);
        assert!(table.contains("<td>a</td><td class=\"figure\">1.5</td>"), "{table}");
    }

    #[test]
    fn a_page_refers_to_nothing_outside() {
        let page = render(&[Block::Heading(1, "x".to_owned()), Block::Figure("y".to_owned(), "<svg/>".to_owned())]);
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "{page}");
        assert!(page.contains("<title>x</title>"), "{page}");
    }
}
