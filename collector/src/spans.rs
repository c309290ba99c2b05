//! Rows of spans, looked at one by one behind the log.

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, Int32Array, ListArray, MapArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType};
use model::ids::{SpanId, TraceId};
use model::{Batch, Table};

pub(crate) struct Spans<'a> {
    len: usize,
    start_ns: &'a [i64],
    end_ns: &'a [i64],
    duration_ns: &'a [i64],
    trace_ids: &'a FixedSizeBinaryArray,
    span_ids: &'a FixedSizeBinaryArray,
    parent_span_ids: &'a FixedSizeBinaryArray,
    services: Labels<'a>,
    names: Labels<'a>,
    kinds: Labels<'a>,
    statuses: Labels<'a>,
    attributes: &'a MapArray,
    resources: &'a MapArray,
    links: &'a ListArray,
}

/// A column of text that is kept once.
struct Labels<'a> {
    keys: &'a Int32Array,
    values: &'a StringArray,
}

impl<'a> Spans<'a> {
    /// None for rows of another table.
    pub(crate) fn of(batch: &'a Batch) -> Option<Spans<'a>> {
        if batch.table() != Table::Spans {
            return None;
        }
        Some(Spans {
            len: batch.num_rows(),
            start_ns: numbers::<TimestampNanosecondType>(batch, "time"),
            end_ns: numbers::<TimestampNanosecondType>(batch, "end_time"),
            duration_ns: numbers::<Int64Type>(batch, "duration_ns"),
            trace_ids: column(batch, "trace_id").as_fixed_size_binary(),
            span_ids: column(batch, "span_id").as_fixed_size_binary(),
            parent_span_ids: column(batch, "parent_span_id").as_fixed_size_binary(),
            services: Labels::of(batch, "service"),
            names: Labels::of(batch, "name"),
            kinds: Labels::of(batch, "kind"),
            statuses: Labels::of(batch, "status"),
            attributes: column(batch, "attributes").as_map(),
            resources: column(batch, "resource").as_map(),
            links: column(batch, "links").as_list(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn start_ns(&self, row: usize) -> i64 {
        self.start_ns[row]
    }

    pub(crate) fn end_ns(&self, row: usize) -> i64 {
        self.end_ns[row]
    }

    /// Never negative.
    pub(crate) fn duration_ns(&self, row: usize) -> u64 {
        self.duration_ns[row].max(0) as u64
    }

    pub(crate) fn trace_id(&self, row: usize) -> TraceId {
        id(self.trace_ids, row)
    }

    pub(crate) fn span_id(&self, row: usize) -> SpanId {
        id(self.span_ids, row)
    }

    pub(crate) fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        self.parent_span_ids.is_valid(row).then(|| id(self.parent_span_ids, row))
    }

    /// `service.name`, '' when absent.
    pub(crate) fn service(&self, row: usize) -> &'a str {
        self.services.get(row)
    }

    pub(crate) fn name(&self, row: usize) -> &'a str {
        self.names.get(row)
    }

    /// As in the schema: Server, Client and so on.
    pub(crate) fn kind(&self, row: usize) -> &'a str {
        self.kinds.get(row)
    }

    /// As in the schema: Unset, Ok, Error.
    pub(crate) fn status(&self, row: usize) -> &'a str {
        self.statuses.get(row)
    }

    /// Text of an attribute of the span, else of its resource.
    pub(crate) fn attribute(&self, row: usize, key: &str) -> Option<&'a str> {
        entry(self.attributes, row, key).or_else(|| entry(self.resources, row, key))
    }

    /// The spans that this one links to.
    pub(crate) fn links(&self, row: usize) -> impl Iterator<Item = (TraceId, SpanId)> + use<'a> {
        let items = self.links.values().as_struct();
        let (trace_ids, span_ids) = (items.column(0).as_fixed_size_binary(), items.column(1).as_fixed_size_binary());
        range(self.links.value_offsets(), row).map(move |item| (id(trace_ids, item), id(span_ids, item)))
    }
}

impl<'a> Labels<'a> {
    fn of(batch: &'a Batch, name: &str) -> Labels<'a> {
        let labels = column(batch, name).as_dictionary::<Int32Type>();
        Labels { keys: labels.keys(), values: labels.values().as_string() }
    }

    fn get(&self, row: usize) -> &'a str {
        self.values.value(self.keys.value(row) as usize)
    }
}

fn column<'a>(batch: &'a Batch, name: &str) -> &'a dyn Array {
    let index = batch.table().schema().index_of(name).expect("the schema has every column named here");
    batch.rows().column(index)
}

fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a Batch, name: &str) -> &'a [T::Native] {
    column(batch, name).as_primitive::<T>().values()
}

fn id<const BYTES: usize>(ids: &FixedSizeBinaryArray, row: usize) -> [u8; BYTES] {
    ids.value(row).try_into().expect("the schema says how long an id is")
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn entry<'a>(map: &'a MapArray, row: usize, key: &str) -> Option<&'a str> {
    let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    let item = range(map.value_offsets(), row).find(|item| keys.value(*item) == key)?;
    values.is_valid(item).then(|| values.value(item))
}

#[cfg(test)]
mod tests {
    use model::{Signal, decode_json};

    use super::*;

    #[test]
    fn a_span_of_otlp_is_read_as_it_came() {
        let request = r#"{"resourceSpans":[{
            "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},
                                      {"key":"tenant","value":{"stringValue":"gold"}}]},
            "scopeSpans":[{"spans":[
                {"traceId":"01000000000000000000000000000002","spanId":"0300000000000004","parentSpanId":"0500000000000006",
                 "name":"GET /","kind":2,"startTimeUnixNano":"1000","endTimeUnixNano":"4000","status":{"code":2},
                 "attributes":[{"key":"http.response.status_code","value":{"intValue":"500"}}],
                 "links":[{"traceId":"00000000000000000000000000000007","spanId":"0000000000000008"}]},
                {"traceId":"01000000000000000000000000000002","spanId":"0300000000000005","name":"x",
                 "attributes":[{"key":"tenant","value":{"stringValue":"silver"}}]}]}]}]}"#;
        let batches = decode_json(Signal::Traces, request.as_bytes()).expect("it is OTLP").batches;
        let spans = Spans::of(&batches[0]).expect("they are spans");
        let texts = (spans.service(0), spans.name(0), spans.kind(0), spans.status(0));
        assert_eq!((spans.len(), texts), (2, ("shop", "GET /", "Server", "Error")));
        assert_eq!((spans.start_ns(0), spans.end_ns(0), spans.duration_ns(0)), (1000, 4000, 3000));
        assert_eq!((spans.trace_id(0)[0], spans.trace_id(0)[15], spans.span_id(0)[7]), (1, 2, 4));
        assert_eq!((spans.parent_span_id(0).map(|id| id[7]), spans.parent_span_id(1)), (Some(6), None));
        assert_eq!(spans.attribute(0, "http.response.status_code"), Some("500"));
        let tenants = (spans.attribute(0, "tenant"), spans.attribute(1, "tenant"), spans.attribute(1, "other"));
        assert_eq!(tenants, (Some("gold"), Some("silver"), None), "the span's own comes first");
        let linked: Vec<_> = spans.links(0).map(|(trace_id, span_id)| (trace_id[15], span_id[7])).collect();
        assert_eq!((linked, spans.links(1).count()), (vec![(7, 8)], 0));
    }
}
