//! The one definition of every column: name, type, unit, meaning and absent value.
//!
//! Arrow batches, Parquet files, `DESCRIBE`, ClickHouse DDL and the column reference are derived from the tables below;
//! nothing else in the workspace spells a column type. Strings are never null (absent is `''`); optional numbers and ids are
//! null when absent. Ids rest as bytes; SQL shows them as lower-case hex.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// What OTLP calls a signal: one export service, one hot log, one order of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    /// Lower-case plural as in the OTLP paths: `traces`, `logs`, `metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }

    /// The tables a request of this signal can fill.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Signal::Traces => &[Table::Spans],
            Signal::Logs => &[Table::Logs],
            Signal::Metrics => {
                &[Table::Metrics, Table::MetricHistograms, Table::MetricExponentialHistograms, Table::MetricSummaries]
            }
        }
    }
}

/// A table as SQL sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Spans,
    Logs,
    Metrics,
    MetricHistograms,
    MetricExponentialHistograms,
    MetricSummaries,
}

impl Table {
    pub const ALL: [Table; 6] = [
        Table::Spans,
        Table::Logs,
        Table::Metrics,
        Table::MetricHistograms,
        Table::MetricExponentialHistograms,
        Table::MetricSummaries,
    ];

    /// The SQL name, which is also the folder of its Parquet files.
    pub fn name(self) -> &'static str {
        match self {
            Table::Spans => "spans",
            Table::Logs => "logs",
            Table::Metrics => "metrics",
            Table::MetricHistograms => "metric_histograms",
            Table::MetricExponentialHistograms => "metric_exponential_histograms",
            Table::MetricSummaries => "metric_summaries",
        }
    }

    pub fn signal(self) -> Signal {
        match self {
            Table::Spans => Signal::Traces,
            Table::Logs => Signal::Logs,
            _ => Signal::Metrics,
        }
    }

    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The columns with their documentation, in order.
    pub fn columns(self) -> &'static [Column] {
        &DEFINITIONS[self as usize].columns
    }

    pub fn schema(self) -> &'static SchemaRef {
        &DEFINITIONS[self as usize].schema
    }

    /// Sort order of cold files: the common question first.
    pub fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Table::Logs => &["service", "time"],
            _ => &["service", "name", "time"],
        }
    }
}

/// One column: `field` is its Arrow shape, `doc` says unit, meaning, absent value and OTLP source.
#[derive(Debug)]
pub struct Column {
    pub field: Field,
    pub doc: &'static str,
}

/// Bytes of a trace id and of a span id.
pub const TRACE_ID_BYTES: i32 = 16;
pub const SPAN_ID_BYTES: i32 = 8;

/// Nanoseconds since the Unix epoch, UTC. OTLP's unsigned 64 bits are kept bit for bit: a time after 2262 reads as negative.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// `Map<Utf8, Utf8>` in the order received; values as text, nested ones as JSON.
pub fn attributes_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// Few distinct values: dictionary-encoded text.
pub fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn list_of(fields: Vec<Field>) -> DataType {
    list_type(DataType::Struct(Fields::from(fields)))
}

fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, false)))
}

/// The fields of one entry of `spans.events`.
pub fn event_fields() -> Vec<Field> {
    vec![
        Field::new("time", time_type(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("attributes", attributes_type(), false),
        Field::new("attribute_types", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
    ]
}

/// The fields of one entry of `spans.links`.
pub fn link_fields() -> Vec<Field> {
    vec![
        Field::new("trace_id", DataType::FixedSizeBinary(TRACE_ID_BYTES), false),
        Field::new("span_id", DataType::FixedSizeBinary(SPAN_ID_BYTES), false),
        Field::new("trace_state", DataType::Utf8, false),
        Field::new("attributes", attributes_type(), false),
        Field::new("attribute_types", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
        Field::new("flags", DataType::UInt32, false),
    ]
}

/// The fields of one entry of `exemplars`. Exactly one of the two values is set, or none when the point carried none.
pub fn exemplar_fields() -> Vec<Field> {
    vec![
        Field::new("time", time_type(), false),
        Field::new("value_double", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("trace_id", DataType::FixedSizeBinary(TRACE_ID_BYTES), true),
        Field::new("span_id", DataType::FixedSizeBinary(SPAN_ID_BYTES), true),
        Field::new("attributes", attributes_type(), false),
        Field::new("attribute_types", DataType::Utf8, true),
    ]
}

/// The fields of one entry of `metric_summaries.quantiles`.
pub fn quantile_fields() -> Vec<Field> {
    vec![Field::new("quantile", DataType::Float64, false), Field::new("value", DataType::Float64, false)]
}

struct Definition {
    columns: Vec<Column>,
    schema: SchemaRef,
}

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    Table::ALL
        .into_iter()
        .map(|table| {
            let columns = define(table);
            let fields: Vec<Field> = columns.iter().map(|column| column.field.clone()).collect();
            Definition { columns, schema: Arc::new(Schema::new(fields)) }
        })
        .collect()
});

fn define(table: Table) -> Vec<Column> {
    match table {
        Table::Spans => spans(),
        Table::Logs => logs(),
        Table::Metrics => metrics(),
        Table::MetricHistograms => histograms(),
        Table::MetricExponentialHistograms => exponential_histograms(),
        Table::MetricSummaries => summaries(),
    }
}

fn required(name: &str, data_type: DataType, doc: &'static str) -> Column {
    Column { field: Field::new(name, data_type, false), doc }
}

fn optional(name: &str, data_type: DataType, doc: &'static str) -> Column {
    Column { field: Field::new(name, data_type, true), doc }
}

/// Where a record comes from; the same columns end every table.
fn origin() -> Vec<Column> {
    use DataType::{UInt32, Utf8};
    vec![
        required("resource", attributes_type(), "resource attributes; `Resource.attributes`"),
        optional("resource_types", Utf8, "one letter a value of `resource`, null when all are strings"),
        required("resource_dropped_attributes_count", UInt32, "`Resource.dropped_attributes_count`"),
        required("resource_schema_url", Utf8, "schema URL of the resource, '' when absent"),
        optional("resource_entity_refs", Utf8, "`Resource.entity_refs` as JSON, null when none"),
        required("scope_name", label_type(), "instrumentation scope, '' when absent; `InstrumentationScope.name`"),
        required("scope_version", label_type(), "`InstrumentationScope.version`, '' when absent"),
        required("scope_attributes", attributes_type(), "`InstrumentationScope.attributes`"),
        optional("scope_attribute_types", Utf8, "one letter a value of `scope_attributes`, null when all are strings"),
        required("scope_dropped_attributes_count", UInt32, "`InstrumentationScope.dropped_attributes_count`"),
        required("scope_schema_url", Utf8, "schema URL of the scope's records, '' when absent"),
    ]
}

fn attributes() -> Vec<Column> {
    vec![
        required(
            "attributes",
            attributes_type(),
            "the record's attributes in the order received; text, nested values as JSON",
        ),
        optional(
            "attribute_types",
            DataType::Utf8,
            "one letter a value of `attributes`: s string, b bool, i int, d double, x bytes (base64 text), a array, m map, n empty; null when all are strings",
        ),
    ]
}

fn service() -> Column {
    required("service", label_type(), "`service.name` of the resource, '' when absent")
}

fn spans() -> Vec<Column> {
    use DataType::{FixedSizeBinary, Int64, UInt32, Utf8};
    let mut columns = vec![
        required("time", time_type(), "start of the span; `Span.start_time_unix_nano`"),
        required("end_time", time_type(), "end of the span; `Span.end_time_unix_nano`"),
        required("duration_ns", Int64, "end minus start, nanoseconds, 0 when the end lies before the start"),
        required("trace_id", FixedSizeBinary(TRACE_ID_BYTES), "`Span.trace_id`, never all zero"),
        required("span_id", FixedSizeBinary(SPAN_ID_BYTES), "`Span.span_id`, never all zero"),
        optional("parent_span_id", FixedSizeBinary(SPAN_ID_BYTES), "null for a root span; `Span.parent_span_id`"),
        service(),
        required("name", label_type(), "`Span.name`"),
        required(
            "kind",
            label_type(),
            "Unspecified, Internal, Server, Client, Producer, Consumer, or the number of an unknown kind",
        ),
        required("status", label_type(), "Unset, Ok, Error, or the number of an unknown code; `Span.status.code`"),
        required("status_message", Utf8, "`Span.status.message`, '' when absent"),
        required("trace_state", Utf8, "W3C tracestate, '' when absent"),
        required("flags", UInt32, "W3C trace flags and the remote-parent bits; `Span.flags`"),
    ];
    columns.extend(attributes());
    columns.extend([
        required("dropped_attributes_count", UInt32, "`Span.dropped_attributes_count`"),
        required("events", list_of(event_fields()), "`Span.events` in order"),
        required("dropped_events_count", UInt32, "`Span.dropped_events_count`"),
        required("links", list_of(link_fields()), "`Span.links` in order"),
        required("dropped_links_count", UInt32, "`Span.dropped_links_count`"),
    ]);
    columns.extend(origin());
    columns
}

fn logs() -> Vec<Column> {
    use DataType::{FixedSizeBinary, Int32, UInt32, Utf8};
    let mut columns = vec![
        required(
            "time",
            time_type(),
            "when it happened, or when it was observed if that is not known; `time_unix_nano`, else `observed_time_unix_nano`",
        ),
        required("event_time", time_type(), "`LogRecord.time_unix_nano` as sent; the epoch when absent"),
        required("observed_time", time_type(), "`LogRecord.observed_time_unix_nano`; the epoch when absent"),
        optional("trace_id", FixedSizeBinary(TRACE_ID_BYTES), "null when the record belongs to no trace"),
        optional("span_id", FixedSizeBinary(SPAN_ID_BYTES), "null when the record belongs to no span"),
        service(),
        required(
            "severity_number",
            Int32,
            "1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal, 0 unspecified",
        ),
        required("severity_text", label_type(), "`LogRecord.severity_text`, '' when absent"),
        required("body", Utf8, "the body as text, nested values as JSON, '' when absent"),
        optional(
            "body_type",
            Utf8,
            "letter of the body's type as in `attribute_types`, null for a string, '-' when there is no body",
        ),
        required("event_name", label_type(), "`LogRecord.event_name`, '' when absent"),
        required("flags", UInt32, "W3C trace flags; `LogRecord.flags`"),
    ];
    columns.extend(attributes());
    columns.push(required("dropped_attributes_count", UInt32, "`LogRecord.dropped_attributes_count`"));
    columns.extend(origin());
    columns
}

/// What every metric point has, before its values.
fn point() -> Vec<Column> {
    use DataType::{UInt32, Utf8};
    let mut columns = vec![
        required("time", time_type(), "`time_unix_nano` of the point"),
        required("start_time", time_type(), "`start_time_unix_nano` of the point, the epoch when absent"),
        service(),
        required("name", label_type(), "`Metric.name`"),
        required("description", label_type(), "`Metric.description`, '' when absent"),
        required("unit", label_type(), "UCUM; `Metric.unit`, '' when absent"),
    ];
    columns.extend(attributes());
    columns.extend([
        required("flags", UInt32, "bit 0: no recorded value"),
        optional("metadata", Utf8, "`Metric.metadata` as JSON of OTLP key-values, null when none"),
    ]);
    columns
}

fn temporality() -> Column {
    required("temporality", label_type(), "Unspecified, Delta, Cumulative, or the number of an unknown one")
}

fn exemplars() -> Column {
    required("exemplars", list_of(exemplar_fields()), "exemplars of the point in order")
}

fn metrics() -> Vec<Column> {
    use DataType::{Boolean, Float64, Int64};
    let mut columns = point();
    columns.extend([
        required("type", label_type(), "gauge or sum"),
        optional("value", Float64, "the number; an integer is converted, null when the point carries none"),
        optional("value_int", Int64, "the exact integer of an integer point, null for a double"),
        required("is_monotonic", Boolean, "`Sum.is_monotonic`; false for a gauge"),
        optional(
            "temporality",
            label_type(),
            "Unspecified, Delta, Cumulative, or the number of an unknown one; null for a gauge",
        ),
        exemplars(),
    ]);
    columns.extend(origin());
    columns
}

fn histograms() -> Vec<Column> {
    use DataType::{Float64, UInt64};
    let mut columns = point();
    columns.extend([
        required("count", UInt64, "number of values"),
        optional("sum", Float64, "sum of values, null when not recorded"),
        optional("min", Float64, "smallest value, null when not recorded"),
        optional("max", Float64, "largest value, null when not recorded"),
        required("bucket_counts", list_type(UInt64), "one more than `explicit_bounds`, or empty"),
        required("explicit_bounds", list_type(Float64), "upper bounds of the buckets, inclusive"),
        temporality(),
        exemplars(),
    ]);
    columns.extend(origin());
    columns
}

fn exponential_histograms() -> Vec<Column> {
    use DataType::{Float64, Int32, UInt64};
    let mut columns = point();
    columns.extend([
        required("count", UInt64, "number of values"),
        optional("sum", Float64, "sum of values, null when not recorded"),
        optional("min", Float64, "smallest value, null when not recorded"),
        optional("max", Float64, "largest value, null when not recorded"),
        required("scale", Int32, "base is 2^(2^-scale)"),
        required("zero_count", UInt64, "values within the zero threshold"),
        required("zero_threshold", Float64, "width of the zero bucket"),
        optional(
            "positive_offset",
            Int32,
            "index of the first positive bucket, null when there are no positive buckets",
        ),
        required("positive_bucket_counts", list_type(UInt64), "counts from `positive_offset` on"),
        optional(
            "negative_offset",
            Int32,
            "index of the first negative bucket, null when there are no negative buckets",
        ),
        required("negative_bucket_counts", list_type(UInt64), "counts from `negative_offset` on"),
        temporality(),
        exemplars(),
    ]);
    columns.extend(origin());
    columns
}

fn summaries() -> Vec<Column> {
    use DataType::{Float64, UInt64};
    let mut columns = point();
    columns.extend([
        required("count", UInt64, "number of values"),
        required("sum", Float64, "sum of values"),
        required("quantiles", list_of(quantile_fields()), "`quantile_values` in order"),
    ]);
    columns.extend(origin());
    columns
}
