//! The tables of the OpenTelemetry exporter for ClickHouse, by name and type as dashboards expect them, and how each column is
//! made of ours. What has no column there has one of its own behind the others, so that nothing is lost.

use model::Table;

use super::columns::Make::{self, Double, Hex, Map, Nested, Same, Temporality};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Destination {
    Traces,
    Logs,
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Type and codec.
    pub(super) definition: &'static str,
    pub(super) make: Make,
}

const TIME: &str = "DateTime64(9) CODEC(Delta(8), ZSTD(1))";
const TEXT: &str = "String CODEC(ZSTD(1))";
const LABEL: &str = "LowCardinality(String) CODEC(ZSTD(1))";
const MAP: &str = "Map(LowCardinality(String), String) CODEC(ZSTD(1))";
const DOUBLE: &str = "Float64 CODEC(ZSTD(1))";
const MAYBE_DOUBLE: &str = "Nullable(Float64) CODEC(ZSTD(1))";
const MAYBE_INT: &str = "Nullable(Int64) CODEC(ZSTD(1))";
const UINT64: &str = "UInt64 CODEC(Delta(8), ZSTD(1))";
const UINT32: &str = "UInt32 CODEC(ZSTD(1))";
const INT32: &str = "Int32 CODEC(ZSTD(1))";
const UINT8: &str = "UInt8";
const BOOL: &str = "Boolean CODEC(Delta(1), ZSTD(1))";
const TIMES: &str = "Array(DateTime64(9)) CODEC(ZSTD(1))";
const TEXTS: &str = "Array(String) CODEC(ZSTD(1))";
const LABELS: &str = "Array(LowCardinality(String)) CODEC(ZSTD(1))";
const MAPS: &str = "Array(Map(LowCardinality(String), String)) CODEC(ZSTD(1))";
const DOUBLES: &str = "Array(Float64) CODEC(ZSTD(1))";
const COUNTS: &str = "Array(UInt64) CODEC(ZSTD(1))";
const UINT32S: &str = "Array(UInt32) CODEC(ZSTD(1))";
const MAYBE_INTS: &str = "Array(Nullable(Int64)) CODEC(ZSTD(1))";

const fn column(name: &'static str, definition: &'static str, make: Make) -> Column {
    Column { name, definition, make }
}

const TRACES: &[Column] = &[
    column("Timestamp", TIME, Same("time")),
    column("TraceId", TEXT, Hex("trace_id")),
    column("SpanId", TEXT, Hex("span_id")),
    column("ParentSpanId", TEXT, Hex("parent_span_id")),
    column("TraceState", TEXT, Same("trace_state")),
    column("SpanName", LABEL, Same("name")),
    column("SpanKind", LABEL, Same("kind")),
    column("ServiceName", LABEL, Same("service")),
    column("ResourceAttributes", MAP, Map("resource")),
    column("ScopeName", TEXT, Same("scope_name")),
    column("ScopeVersion", TEXT, Same("scope_version")),
    column("SpanAttributes", MAP, Map("attributes")),
    column("Duration", UINT64, Same("duration_ns")),
    column("StatusCode", LABEL, Same("status")),
    column("StatusMessage", TEXT, Same("status_message")),
    column("Events.Timestamp", TIMES, Nested("events", &Same("time"))),
    column("Events.Name", LABELS, Nested("events", &Same("name"))),
    column("Events.Attributes", MAPS, Nested("events", &Map("attributes"))),
    column("Links.TraceId", TEXTS, Nested("links", &Hex("trace_id"))),
    column("Links.SpanId", TEXTS, Nested("links", &Hex("span_id"))),
    column("Links.TraceState", TEXTS, Nested("links", &Same("trace_state"))),
    column("Links.Attributes", MAPS, Nested("links", &Map("attributes"))),
    // Ours.
    column("SpanFlags", UINT32, Same("flags")),
    column("SpanAttributeTypes", TEXT, Same("attribute_types")),
    column("DroppedAttributesCount", UINT32, Same("dropped_attributes_count")),
    column("DroppedEventsCount", UINT32, Same("dropped_events_count")),
    column("DroppedLinksCount", UINT32, Same("dropped_links_count")),
    column("Events.AttributeTypes", TEXTS, Nested("events", &Same("attribute_types"))),
    column("Events.DroppedAttributesCount", UINT32S, Nested("events", &Same("dropped_attributes_count"))),
    column("Links.AttributeTypes", TEXTS, Nested("links", &Same("attribute_types"))),
    column("Links.DroppedAttributesCount", UINT32S, Nested("links", &Same("dropped_attributes_count"))),
    column("Links.Flags", UINT32S, Nested("links", &Same("flags"))),
    column("ResourceSchemaUrl", LABEL, Same("resource_schema_url")),
    column("ScopeSchemaUrl", LABEL, Same("scope_schema_url")),
    column("ScopeAttributes", MAP, Map("scope_attributes")),
];

const LOGS: &[Column] = &[
    column("Timestamp", TIME, Same("time")),
    column("TraceId", TEXT, Hex("trace_id")),
    column("SpanId", TEXT, Hex("span_id")),
    column("TraceFlags", UINT8, Same("flags")),
    column("SeverityText", LABEL, Same("severity_text")),
    column("SeverityNumber", UINT8, Same("severity_number")),
    column("ServiceName", LABEL, Same("service")),
    column("Body", TEXT, Same("body")),
    column("ResourceSchemaUrl", LABEL, Same("resource_schema_url")),
    column("ResourceAttributes", MAP, Map("resource")),
    column("ScopeSchemaUrl", LABEL, Same("scope_schema_url")),
    column("ScopeName", TEXT, Same("scope_name")),
    column("ScopeVersion", LABEL, Same("scope_version")),
    column("ScopeAttributes", MAP, Map("scope_attributes")),
    column("LogAttributes", MAP, Map("attributes")),
    column("EventName", TEXT, Same("event_name")),
    // Ours.
    column("EventTimestamp", TIME, Same("event_time")),
    column("ObservedTimestamp", TIME, Same("observed_time")),
    column("BodyType", TEXT, Same("body_type")),
    column("LogAttributeTypes", TEXT, Same("attribute_types")),
    column("DroppedAttributesCount", UINT32, Same("dropped_attributes_count")),
];

/// What every point starts with.
const POINT: &[Column] = &[
    column("ResourceAttributes", MAP, Map("resource")),
    column("ResourceSchemaUrl", TEXT, Same("resource_schema_url")),
    column("ScopeName", TEXT, Same("scope_name")),
    column("ScopeVersion", TEXT, Same("scope_version")),
    column("ScopeAttributes", MAP, Map("scope_attributes")),
    column("ScopeDroppedAttrCount", UINT32, Same("scope_dropped_attributes_count")),
    column("ScopeSchemaUrl", TEXT, Same("scope_schema_url")),
    column("ServiceName", LABEL, Same("service")),
    column("MetricName", LABEL, Same("name")),
    column("MetricDescription", TEXT, Same("description")),
    column("MetricUnit", TEXT, Same("unit")),
    column("Attributes", MAP, Map("attributes")),
    column("StartTimeUnix", TIME, Same("start_time")),
    column("TimeUnix", TIME, Same("time")),
    column("Flags", UINT32, Same("flags")),
    // Ours.
    column("AttributeTypes", TEXT, Same("attribute_types")),
    column("MetricMetadata", TEXT, Same("metadata")),
];

const EXEMPLARS: &[Column] = &[
    column("Exemplars.FilteredAttributes", MAPS, Nested("exemplars", &Map("attributes"))),
    column("Exemplars.TimeUnix", TIMES, Nested("exemplars", &Same("time"))),
    column("Exemplars.Value", DOUBLES, Nested("exemplars", &Double("value_double", "value_int"))),
    column("Exemplars.SpanId", TEXTS, Nested("exemplars", &Hex("span_id"))),
    column("Exemplars.TraceId", TEXTS, Nested("exemplars", &Hex("trace_id"))),
    // Ours.
    column("Exemplars.ValueInt", MAYBE_INTS, Nested("exemplars", &Same("value_int"))),
];

const NUMBER: &[Column] = &[
    column("Value", DOUBLE, Double("value", "value_int")),
    // Ours.
    column("ValueInt", MAYBE_INT, Same("value_int")),
];

const TEMPORALITY: &[Column] = &[column("AggregationTemporality", INT32, Temporality("temporality"))];

const MONOTONIC: &[Column] = &[column("IsMonotonic", BOOL, Same("is_monotonic"))];

/// `Sum`, `Min` and `Max` are 0 there when they were not recorded; `Recorded…` are null then.
const EXTENT: &[Column] = &[
    column("Count", UINT64, Same("count")),
    column("Sum", DOUBLE, Same("sum")),
    column("Min", DOUBLE, Same("min")),
    column("Max", DOUBLE, Same("max")),
    // Ours.
    column("RecordedSum", MAYBE_DOUBLE, Same("sum")),
    column("RecordedMin", MAYBE_DOUBLE, Same("min")),
    column("RecordedMax", MAYBE_DOUBLE, Same("max")),
];

const BUCKETS: &[Column] = &[
    column("BucketCounts", COUNTS, Same("bucket_counts")),
    column("ExplicitBounds", DOUBLES, Same("explicit_bounds")),
];

const EXPONENTIAL_BUCKETS: &[Column] = &[
    column("Scale", INT32, Same("scale")),
    column("ZeroCount", UINT64, Same("zero_count")),
    column("PositiveOffset", INT32, Same("positive_offset")),
    column("PositiveBucketCounts", COUNTS, Same("positive_bucket_counts")),
    column("NegativeOffset", INT32, Same("negative_offset")),
    column("NegativeBucketCounts", COUNTS, Same("negative_bucket_counts")),
    // Ours.
    column("ZeroThreshold", DOUBLE, Same("zero_threshold")),
];

const QUANTILES: &[Column] = &[
    column("Count", UINT64, Same("count")),
    column("Sum", DOUBLE, Same("sum")),
    column("ValueAtQuantiles.Quantile", DOUBLES, Nested("quantiles", &Same("quantile"))),
    column("ValueAtQuantiles.Value", DOUBLES, Nested("quantiles", &Same("value"))),
];

impl Destination {
    pub(super) const ALL: [Destination; 7] = [
        Destination::Traces,
        Destination::Logs,
        Destination::Gauge,
        Destination::Sum,
        Destination::Histogram,
        Destination::ExponentialHistogram,
        Destination::Summary,
    ];

    /// Where rows of one of our tables go.
    pub(super) fn of(table: Table) -> &'static [Destination] {
        match table {
            Table::Spans => &[Destination::Traces],
            Table::Logs => &[Destination::Logs],
            Table::Metrics => &[Destination::Gauge, Destination::Sum],
            Table::MetricHistograms => &[Destination::Histogram],
            Table::MetricExponentialHistograms => &[Destination::ExponentialHistogram],
            Table::MetricSummaries => &[Destination::Summary],
        }
    }

    /// The `type` of our rows that go here, where a table of ours is two there.
    pub(super) fn point_type(self) -> Option<&'static str> {
        match self {
            Destination::Gauge => Some("gauge"),
            Destination::Sum => Some("sum"),
            _ => None,
        }
    }

    /// As the settings call it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Destination::Traces => "traces",
            Destination::Logs => "logs",
            Destination::Gauge => "gauge",
            Destination::Sum => "sum",
            Destination::Histogram => "histogram",
            Destination::ExponentialHistogram => "exponential_histogram",
            Destination::Summary => "summary",
        }
    }

    pub(super) fn default_name(self) -> &'static str {
        match self {
            Destination::Traces => "otel_traces",
            Destination::Logs => "otel_logs",
            Destination::Gauge => "otel_metrics_gauge",
            Destination::Sum => "otel_metrics_sum",
            Destination::Histogram => "otel_metrics_histogram",
            Destination::ExponentialHistogram => "otel_metrics_exponential_histogram",
            Destination::Summary => "otel_metrics_summary",
        }
    }

    pub(super) fn columns(self) -> Vec<Column> {
        let parts: &[&[Column]] = match self {
            Destination::Traces => &[TRACES],
            Destination::Logs => &[LOGS],
            Destination::Gauge => &[POINT, NUMBER, EXEMPLARS],
            Destination::Sum => &[POINT, NUMBER, TEMPORALITY, MONOTONIC, EXEMPLARS],
            Destination::Histogram => &[POINT, EXTENT, BUCKETS, TEMPORALITY, EXEMPLARS],
            Destination::ExponentialHistogram => &[POINT, EXTENT, EXPONENTIAL_BUCKETS, TEMPORALITY, EXEMPLARS],
            Destination::Summary => &[POINT, QUANTILES],
        };
        parts.concat()
    }

    /// The column whose day is the partition.
    pub(super) fn time(self) -> &'static str {
        match self {
            Destination::Traces | Destination::Logs => "Timestamp",
            _ => "TimeUnix",
        }
    }

    pub(super) fn order(self) -> &'static str {
        match self {
            Destination::Traces => "ServiceName, SpanName, toDateTime(Timestamp)",
            Destination::Logs => "toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp",
            _ => "ServiceName, MetricName, Attributes, toUnixTimestamp64Nano(TimeUnix)",
        }
    }

    /// Maps whose keys and values are indexed.
    pub(super) fn indexed_maps(self) -> &'static [&'static str] {
        match self {
            Destination::Traces => &["ResourceAttributes", "SpanAttributes"],
            Destination::Logs => &["ResourceAttributes", "ScopeAttributes", "LogAttributes"],
            _ => &["ResourceAttributes", "ScopeAttributes", "Attributes"],
        }
    }

    /// Indexes besides those of maps.
    pub(super) fn indexes(self) -> &'static [&'static str] {
        match self {
            Destination::Traces => &[
                "INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1",
                "INDEX idx_duration Duration TYPE minmax GRANULARITY 1",
            ],
            Destination::Logs => &[
                "INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1",
                "INDEX idx_body Body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8",
            ],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every column of ours that a table is made of.
    fn sources(make: &Make, names: &mut Vec<&'static str>) {
        match make {
            Same(name) | Hex(name) | Map(name) | Temporality(name) | Nested(name, _) => names.push(name),
            Double(double, int) => names.extend([*double, *int]),
        }
    }

    #[test]
    fn every_column_is_made_of_columns_that_exist() {
        for table in Table::ALL {
            for destination in Destination::of(table) {
                let mut names = Vec::new();
                destination.columns().iter().for_each(|column| sources(&column.make, &mut names));
                for name in names {
                    assert!(table.schema().index_of(name).is_ok(), "{} has no {name}", table.name());
                }
            }
        }
    }

    #[test]
    fn no_column_of_ours_is_forgotten_except_what_the_exporter_drops_too() {
        // Counts and references of resources and scopes have no column in any deployment we know.
        let left_out = [
            "end_time",
            "type",
            "resource_types",
            "resource_dropped_attributes_count",
            "resource_entity_refs",
            "scope_attribute_types",
            "scope_dropped_attributes_count",
        ];
        for table in Table::ALL {
            let mut names = Vec::new();
            for destination in Destination::of(table) {
                destination.columns().iter().for_each(|column| sources(&column.make, &mut names));
            }
            for field in table.schema().fields() {
                let name = field.name().as_str();
                assert!(names.contains(&name) || left_out.contains(&name), "{} loses {name}", table.name());
            }
        }
    }

    #[test]
    fn no_column_is_there_twice() {
        for destination in Destination::ALL {
            let mut names: Vec<&str> = destination.columns().iter().map(|column| column.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{destination:?}");
        }
    }
}
