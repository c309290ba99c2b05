//! Rows as bytes: a JSON array of objects, CSV with a header, an Arrow IPC stream.
//!
//! In JSON and CSV a timestamp is RFC 3339 in UTC with nine digits, bytes are hex; in JSON a map is an object; in CSV a nested
//! value is its JSON.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::{self, EncoderOptions};

use crate::QueryError;

const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9fZ";
const DATE_TIME: &str = "%Y-%m-%dT%H:%M:%S%.9f";

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// From an Accept header: the first format we know of those with the highest weight. No header means JSON.
    pub(crate) fn accepted(header: Option<&str>) -> Option<Format> {
        let Some(header) = header else { return Some(Format::Json) };
        let mut best: Option<(f32, Format)> = None;
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/json" | "application/*" | "*/*" => Format::Json,
                "text/csv" | "text/*" => Format::Csv,
                "application/vnd.apache.arrow.stream" => Format::Arrow,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
            if weight > 0.0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
                best = Some((weight, format));
            }
        }
        best.map(|(_, format)| format)
    }
}

/// Writes batches of one answer; what is written so far can be taken out at any time.
pub(crate) struct Encoder {
    writer: Writer,
    schema: SchemaRef,
}

enum Writer {
    Json { out: Vec<u8>, rows: usize },
    Csv { out: Vec<u8>, header: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(format: Format, schema: SchemaRef) -> Result<Encoder, QueryError> {
        let writer = match format {
            Format::Json => Writer::Json { out: b"[".to_vec(), rows: 0 },
            Format::Csv => Writer::Csv { out: Vec::new(), header: true },
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(Vec::new(), &schema)?)),
        };
        let mut encoder = Encoder { writer, schema };
        if format == Format::Csv {
            encoder.write(&RecordBatch::new_empty(Arc::clone(&encoder.schema)))?;
        }
        Ok(encoder)
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        match &mut self.writer {
            Writer::Json { out, rows } => {
                if batch.num_rows() == 0 {
                    return Ok(());
                }
                out.extend_from_slice(if *rows == 0 { b"\n" } else { b",\n" });
                *rows += batch.num_rows();
                let mut writer = json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .with_timestamp_format(TIMESTAMP.to_owned())
                    .with_timestamp_tz_format(TIMESTAMP.to_owned())
                    .with_datetime_format(DATE_TIME.to_owned())
                    .build::<_, CommaLines>(out);
                writer.write(batch)?;
                writer.finish()?;
            }
            Writer::Csv { out, header } => {
                let mut writer = csv::WriterBuilder::new()
                    .with_header(std::mem::take(header))
                    .with_timestamp_format(TIMESTAMP.to_owned())
                    .with_timestamp_tz_format(TIMESTAMP.to_owned())
                    .with_datetime_format(DATE_TIME.to_owned())
                    .build(out);
                writer.write(&flat(batch)?)?;
            }
            Writer::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Bytes written since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match &mut self.writer {
            Writer::Json { out, .. } | Writer::Csv { out, .. } => std::mem::take(out),
            Writer::Arrow(writer) => std::mem::take(writer.get_mut()),
        }
    }

    pub(crate) fn written(&self) -> usize {
        match &self.writer {
            Writer::Json { out, .. } | Writer::Csv { out, .. } => out.len(),
            Writer::Arrow(writer) => writer.get_ref().len(),
        }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, QueryError> {
        match &mut self.writer {
            Writer::Json { out, .. } => out.extend_from_slice(b"\n]\n"),
            Writer::Csv { .. } => {}
            Writer::Arrow(writer) => writer.finish()?,
        }
        Ok(self.take())
    }
}

/// Each row as a JSON object.
pub(crate) fn rows_as_json(batch: &RecordBatch) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, QueryError> {
    let mut encoder = Encoder::new(Format::Json, batch.schema())?;
    encoder.write(batch)?;
    serde_json::from_slice(&encoder.finish()?).map_err(|error| QueryError::Internal(error.to_string()))
}

/// One object a line with commas between; the brackets around are the encoder's.
#[derive(Debug, Default)]
struct CommaLines {}

impl json::writer::JsonFormat for CommaLines {
    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        if !is_first_row {
            writer.write_all(b",\n").map_err(write_error)?;
        }
        Ok(())
    }
}

fn write_error(error: io::Error) -> ArrowError {
    ArrowError::IoError("could not write rows".to_owned(), error)
}

/// CSV has no nested values: they become their JSON; bytes become hex.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        match is_nested(field.data_type()) {
            true => {
                fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
                columns.push(json_text(field, column)?);
            }
            false => {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested() && !matches!(data_type, DataType::Dictionary(_, value) if !value.is_nested())
}

fn json_text(field: &Arc<Field>, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(TIMESTAMP.to_owned())
        .with_timestamp_tz_format(TIMESTAMP.to_owned());
    let mut encoder = json::writer::make_encoder(field, column.as_ref(), &options)?;
    let mut text = StringBuilder::new();
    let mut value = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            text.append_null();
            continue;
        }
        value.clear();
        encoder.encode(row, &mut value);
        text.append_value(String::from_utf8_lossy(&value));
    }
    Ok(Arc::new(text.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_format_is_taken() {
        assert_eq!(Format::accepted(None), Some(Format::Json));
        assert_eq!(Format::accepted(Some("text/html, */*;q=0.8")), Some(Format::Json));
        assert_eq!(Format::accepted(Some("application/json;q=0.5, text/csv")), Some(Format::Csv));
        assert_eq!(Format::accepted(Some("application/vnd.apache.arrow.stream")), Some(Format::Arrow));
        assert_eq!(Format::accepted(Some("image/png")), None);
    }
}
