//! Rows as a table for people: as wide as needed, no wider than the terminal.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A column is not made narrower than this, in characters; a table of many columns may exceed the terminal.
const COLUMN_WIDTH_MIN: usize = 8;
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9fZ";

/// The table as text. Cells that do not fit `width` end in `…`; without a width nothing is cut.
pub(crate) fn table(schema: &Schema, batches: &[RecordBatch], width: Option<usize>) -> Result<String, ArrowError> {
    let header: Vec<String> = schema.fields().iter().map(|field| one_line(field.name())).collect();
    let right: Vec<bool> = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    let mut rows = Vec::new();
    for batch in batches {
        cells(batch, &mut rows)?;
    }
    let widths = fit(natural(&header, &rows), width);
    let mut text = String::new();
    line(&mut text, &header, &widths, &vec![false; header.len()]);
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    text.push_str(&rule.join("+"));
    text.push('\n');
    for row in &rows {
        line(&mut text, row, &widths, &right);
    }
    let _ = writeln!(text, "({} {})", rows.len(), if rows.len() == 1 { "row" } else { "rows" });
    Ok(text)
}

fn cells(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<(), ArrowError> {
    let options = FormatOptions::new().with_timestamp_format(Some(TIMESTAMP)).with_timestamp_tz_format(Some(TIMESTAMP));
    let columns: Vec<ArrayFormatter> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        let mut line = Vec::with_capacity(columns.len());
        for column in &columns {
            line.push(one_line(&column.value(row).try_to_string()?));
        }
        rows.push(line);
    }
    Ok(())
}

/// Control characters would move the cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn natural(header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let longest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(header[column].chars().count())
    };
    (0..header.len()).map(longest).collect()
}

/// Takes from the widest columns until the table fits.
fn fit(mut widths: Vec<usize>, width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else { return widths };
    let borders = 3 * widths.len();
    while widths.iter().sum::<usize>() + borders > width + 1 {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > COLUMN_WIDTH_MIN) else { break };
        *widest -= 1;
    }
    widths
}

fn line(text: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let mut padded = Vec::with_capacity(cells.len());
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        let cell = cut(cell, *width);
        padded.push(if *right { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") });
    }
    text.push_str(padded.join("|").trim_end());
    text.push('\n');
}

/// At most `width` characters; what was cut shows as `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Columns of the terminal on stdout, when there is one.
pub(crate) fn terminal_width() -> Option<usize> {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn check(width: Option<usize>, expected: &str) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("core"), Some("a service with a long\nname"), None])),
            Arc::new(Int64Array::from(vec![12, 345, 6])),
        ];
        let schema = Arc::new(Schema::new(vec![
            Field::new("service", DataType::Utf8, true),
            Field::new("requests", DataType::Int64, false),
        ]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        assert_eq!(table(&schema, &[batch], width).unwrap(), expected);
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        check(
            None,
            " service                    | requests
----------------------------+----------
 core                       |       12
 a service with a long name |      345
                            |        6
(3 rows)
",
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        check(
            Some(30),
            " service           | requests
-------------------+----------
 core              |       12
 a service with a… |      345
                   |        6
(3 rows)
",
        );
    }
}
