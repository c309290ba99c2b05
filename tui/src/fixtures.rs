//! A small believable shop, as the batches a query node would answer with: every test of the screens looks at it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::conn::{Answer, Failure};
use crate::panel::{Panel, Question};
use crate::rows::Rows;
use crate::state::{Effect, Event, State};

/// 2026-08-01 12:00:00 UTC.
pub(crate) const NOW_NS: i64 = 1_785_585_600_000_000_000;
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// A trace of its own that a message of the other one caused.
const LINKED_TRACE: &str = "5bd66ef5095369c7b0d1f8f4bd33716a";
const MS: i64 = 1_000_000;

/// A state of this size that looks back five minutes.
pub(crate) fn state(width: u16, height: u16) -> State {
    State::new("http://127.0.0.1:7317", Duration::from_secs(300), width, height)
}

/// Types keys one by one, and answers what the screen asks after each: `enter`, `esc`, `tab` or a letter.
pub(crate) fn press(state: &mut State, keys: &str) -> Effect {
    settle(state);
    let mut effect = Effect::Nothing;
    for key in keys.split_whitespace() {
        let code = match key {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "space" => KeyCode::Char(' '),
            "backspace" => KeyCode::Backspace,
            letter => KeyCode::Char(letter.chars().next().expect("a key")),
        };
        effect = state.apply(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        settle(state);
    }
    effect
}

/// Answers questions until nothing new is asked: one answer may raise the next question.
pub(crate) fn settle(state: &mut State) {
    for _ in 0..4 {
        for question in state.questions() {
            if state.shown(question.panel).is_some_and(|shown| shown.question.sql == question.sql) {
                continue;
            }
            let batch = batch(&question);
            let rows = Rows::new(question.panel.columns(), &batch.schema(), std::slice::from_ref(&batch))
                .expect("a fixture has the columns of its panel");
            state.apply(Event::Answered(Answer { question, at_ns: NOW_NS, result: Ok(rows) }));
        }
    }
}

/// Answers every question of the screen with no rows.
pub(crate) fn settle_empty(state: &mut State) {
    for question in state.questions() {
        let batch = batch(&question).slice(0, 0);
        let rows = Rows::new(question.panel.columns(), &batch.schema(), &[batch]).expect("the columns of its panel");
        state.apply(Event::Answered(Answer { question, at_ns: NOW_NS, result: Ok(rows) }));
    }
}

pub(crate) fn fail(state: &mut State, failure: &Failure) {
    for question in state.questions() {
        state.apply(Event::Answered(Answer { question, at_ns: NOW_NS, result: Err(failure.clone()) }));
    }
}

fn batch(question: &Question) -> RecordBatch {
    match question.panel {
        Panel::Services => services(),
        Panel::ServicesOverTime => services_over_time(question),
        Panel::Operations => operations(),
        Panel::Heatmap => heatmap(question),
        Panel::Percentiles => percentiles(question),
        Panel::Dependencies => dependencies(),
        Panel::ConsumerLag => consumer_lag(),
        Panel::Traces => traces(),
        Panel::Trace => trace(),
        Panel::LinkedTraces => columns([("trace_id", label([LINKED_TRACE]))]),
        Panel::TraceLogs => trace_logs(),
    }
}

/// Name, requests in five minutes, errors, and p50, p95, p99 in milliseconds.
type Red = (&'static str, u64, i64, [f64; 3]);

const SERVICES: [Red; 5] = [
    ("acquirer", 4_210, 0, [20.1, 61.0, 118.0]),
    ("analytics", 9_120, 0, [0.8, 2.1, 4.0]),
    ("core", 14_870, 37, [3.2, 88.0, 240.0]),
    ("jobs", 4_180, 310, [6.4, 31.0, 1_204.0]),
    ("receiver", 4_170, 0, [0.4, 0.9, 2.0]),
];

const OPERATIONS: [Red; 5] = [
    ("POST /v1/payments", 4_210, 12, [31.0, 92.0, 240.0]),
    ("GET /v1/payments/{id}", 3_900, 0, [0.6, 1.9, 3.0]),
    ("GET /v1/profile", 3_100, 0, [0.5, 1.4, 2.0]),
    ("POST /v1/login", 2_400, 25, [84.0, 140.0, 210.0]),
    ("POST /v1/payments/{id}/refund", 1_260, 0, [28.0, 80.0, 133.0]),
];

fn services() -> RecordBatch {
    columns(
        [
            ("service", label(SERVICES.map(|red| red.0))),
            ("requests", Arc::new(UInt64Array::from(SERVICES.map(|red| red.1).to_vec()))),
        ]
        .into_iter()
        .chain(errors_and_percentiles(&SERVICES)),
    )
}

fn operations() -> RecordBatch {
    columns(
        [
            ("name", label(OPERATIONS.map(|red| red.0))),
            ("kind", label(OPERATIONS.map(|_| "Server"))),
            ("requests", Arc::new(UInt64Array::from(OPERATIONS.map(|red| red.1).to_vec()))),
        ]
        .into_iter()
        .chain(errors_and_percentiles(&OPERATIONS)),
    )
}

fn errors_and_percentiles(rows: &[Red]) -> Vec<(&'static str, ArrayRef)> {
    let percentile = |index: usize| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|red| red.3[index] * MS as f64)))
    };
    vec![
        ("errors", Arc::new(Int64Array::from_iter_values(rows.iter().map(|red| red.2)))),
        ("p50_ns", percentile(0)),
        ("p95_ns", percentile(1)),
        ("p99_ns", percentile(2)),
    ]
}

/// The starts of the steps a question over time covers.
fn steps(question: &Question) -> Vec<i64> {
    let step = question.step.as_nanos() as i64;
    let count = question.window.as_nanos() as i64 / step;
    let newest = NOW_NS.div_euclid(step);
    (0..count).map(|index| (newest - (count - 1 - index)) * step).collect()
}

/// Traffic as a slow wave with a burst of trouble two thirds in.
fn wave(share: f64) -> f64 {
    let trouble = if (0.62..0.72).contains(&share) { 0.9 } else { 0.0 };
    0.5 + 0.3 * (share * 12.0).sin() + trouble
}

fn services_over_time(question: &Question) -> RecordBatch {
    let steps = steps(question);
    let mut rows: Vec<(&str, i64, i64, f64)> = Vec::new();
    for (place, (name, requests, _, percentiles)) in SERVICES.into_iter().enumerate() {
        for (index, step) in steps.iter().enumerate() {
            let share = (index + place * 2) as f64 / steps.len() as f64;
            let count = requests as f64 / steps.len() as f64 * wave(share);
            rows.push((name, *step, count as i64, percentiles[1] * MS as f64 * wave(share)));
        }
    }
    columns([
        ("service", label(rows.iter().map(|row| row.0))),
        ("step", times(rows.iter().map(|row| row.1))),
        ("requests", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))) as ArrayRef),
        ("p95_ns", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3)))),
    ])
}

/// Two humps, reads near 1 ms and writes near 40 ms, that rise during the trouble.
fn heatmap(question: &Question) -> RecordBatch {
    let steps = steps(question);
    let mut rows: Vec<(i64, i64, i64, i64)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let wave = wave(index as f64 / steps.len() as f64);
        let slowdown = if wave > 1.0 { 12.0 } else { 0.0 };
        for bucket in 150..=232_i64 {
            let hump = |at: f64, width: f64, height: f64| height * (-((bucket as f64 - at) / width).powi(2)).exp();
            let count =
                hump(162.0, 7.0, 90.0) + hump(202.0 + slowdown, 8.0, 30.0 * wave) + hump(218.0 + slowdown, 3.0, 2.0);
            if count >= 1.0 {
                let errors = i64::from(slowdown > 0.0 && bucket > 222);
                rows.push((*step, bucket, count as i64, errors));
            }
        }
    }
    columns([
        ("step", times(rows.iter().map(|row| row.0))),
        ("bucket", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))) as ArrayRef),
        ("requests", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("errors", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3)))),
    ])
}

fn percentiles(question: &Question) -> RecordBatch {
    let steps = steps(question);
    let line = |ms: f64| -> ArrayRef {
        let value = |(index, _)| {
            let slow = if wave(index as f64 / steps.len() as f64) > 1.0 { 2.6 } else { 1.0 };
            ms * slow * MS as f64
        };
        Arc::new(Float64Array::from_iter_values(steps.iter().enumerate().map(value)))
    };
    columns([
        ("step", times(steps.iter().copied())),
        ("requests", Arc::new(Int64Array::from_iter_values(steps.iter().map(|_| 240))) as ArrayRef),
        ("p50_ns", line(3.2)),
        ("p95_ns", line(88.0)),
        ("p99_ns", line(240.0)),
    ])
}

/// Source, target, connection, topic, whether it is outside, requests, errors, and p95 and lag in milliseconds.
type Edge = (&'static str, &'static str, &'static str, &'static str, bool, i64, i64, f64, f64);

fn dependencies() -> RecordBatch {
    let edges: [Edge; 8] = [
        ("analytics", "sqlite", "sync", "", true, 9_120, 0, 0.4, f64::NAN),
        ("core", "acquirer", "sync", "", false, 4_210, 0, 61.0, f64::NAN),
        ("core", "analytics", "message", "payments", false, 4_180, 0, 2.1, 14.0),
        ("core", "analytics", "message", "users", false, 4_940, 0, 1.4, 11.0),
        ("core", "jobs", "message", "payments", false, 4_180, 310, 31.0, 16.0),
        ("core", "sqlite", "sync", "", true, 40_200, 0, 0.9, f64::NAN),
        ("jobs", "receiver", "sync", "", false, 4_170, 0, 0.9, f64::NAN),
        ("load", "core", "sync", "", false, 14_870, 37, 88.0, f64::NAN),
    ];
    let real = |value: fn(&Edge) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter(edges.iter().map(value).map(|value| (!value.is_nan()).then_some(value))))
    };
    columns([
        ("source", label(edges.map(|edge| edge.0))),
        ("target", label(edges.map(|edge| edge.1))),
        ("connection", label(edges.map(|edge| edge.2))),
        ("topic", label(edges.map(|edge| edge.3))),
        ("external", Arc::new(BooleanArray::from(edges.map(|edge| edge.4).to_vec())) as ArrayRef),
        ("seconds", real(|_| 300.0)),
        ("requests", Arc::new(Int64Array::from(edges.map(|edge| edge.5).to_vec()))),
        ("errors", Arc::new(Int64Array::from(edges.map(|edge| edge.6).to_vec()))),
        ("p95_ns", real(|edge| edge.7 * MS as f64)),
        ("lag_p95_ns", real(|edge| edge.8 * MS as f64)),
    ])
}

fn consumer_lag() -> RecordBatch {
    columns([
        ("topic", label(["payments", "payments", "users"])),
        ("consumer", label(["analytics", "jobs", "analytics"])),
        ("waiting", Arc::new(Float64Array::from(vec![0.0, 42.0, 3.0])) as ArrayRef),
    ])
}

fn traces() -> RecordBatch {
    let roots = ["POST /v1/payments", "GET /v1/profile", "POST /v1/login"];
    let count = 40_usize;
    let id = |index: usize| if index == 0 { TRACE.to_owned() } else { format!("{index:032x}") };
    let duration = |index: usize| (7 + index as i64 * 37 % 211) * MS;
    columns([
        ("trace_id", Arc::new(StringArray::from_iter_values((0..count).map(id))) as ArrayRef),
        ("time", times((0..count).map(|index| NOW_NS - 2_000 * MS - index as i64 * 731 * MS))),
        ("duration_ns", Arc::new(Int64Array::from_iter_values((0..count).map(duration)))),
        ("root", label((0..count).map(|index| roots[index % 3]))),
        ("root_service", label((0..count).map(|_| "load"))),
        ("spans", Arc::new(Int64Array::from_iter_values((0..count).map(|index| [14, 3, 5][index % 3])))),
        ("services", Arc::new(Int64Array::from_iter_values((0..count).map(|index| [6, 2, 2][index % 3])))),
        ("errors", Arc::new(Int64Array::from_iter_values((0..count).map(|index| i64::from(index % 11 == 3))))),
    ])
}

/// Id, parent, service, name, kind, start and duration in microseconds, and the span it links to.
type Span = (&'static str, &'static str, &'static str, &'static str, &'static str, i64, i64, &'static str);

const SPANS: [Span; 13] = [
    ("a1", "", "load", "POST /v1/payments", "Client", 0, 41_000, ""),
    ("a2", "a1", "core", "POST /v1/payments", "Server", 600, 39_800, ""),
    ("a3", "a2", "core", "SELECT payments", "Client", 900, 350, ""),
    ("a4", "a2", "core", "POST", "Client", 1_600, 31_000, ""),
    ("a5", "a4", "acquirer", "POST /v1/charges", "Server", 2_100, 29_900, ""),
    ("a6", "a2", "core", "COMMIT", "Client", 33_200, 6_400, ""),
    ("b1", "a2", "core", "send payments", "Producer", 44_000, 900, ""),
    ("b2", "b1", "jobs", "process payments", "Consumer", 47_000, 26_000, "b1"),
    ("b3", "b2", "jobs", "render receipt", "Internal", 47_600, 4_200, ""),
    ("b4", "b2", "jobs", "POST", "Client", 52_300, 19_000, ""),
    ("b5", "b4", "receiver", "POST /v1/webhooks", "Server", 53_000, 17_400, ""),
    ("b6", "b1", "analytics", "process payments", "Consumer", 46_200, 1_900, "b1"),
    ("c1", "", "mailer", "process payments", "Consumer", 61_000, 8_000, "b1"),
];

fn trace() -> RecordBatch {
    let ns = |us: i64| us * 1_000;
    let failed = |span: &Span| span.0 == "b5" || span.0 == "b4";
    let attributes = SPANS.map(|span| match span.0 {
        "a2" => vec![
            ("http.request.method", "POST"),
            ("http.route", "/v1/payments"),
            ("http.response.status_code", "201"),
            ("enduser.id", "0198c1de-7a10-7000-8000-1f2e3d4c5b6a"),
        ],
        "b2" | "b6" => vec![
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "payments"),
            ("messaging.destination.partition.id", "2"),
            ("messaging.kafka.offset", "4711"),
        ],
        _ => vec![("thread.name", "worker")],
    });
    let resource = SPANS.map(|span| vec![("service.name", span.2), ("service.version", "0.1.0")]);
    columns([
        ("time", times(SPANS.map(|span| NOW_NS - 2_000 * MS + ns(span.5)))),
        ("duration_ns", Arc::new(Int64Array::from(SPANS.map(|span| ns(span.6)).to_vec())) as ArrayRef),
        ("trace_id", label(SPANS.map(|span| if span.0 == "c1" { LINKED_TRACE } else { TRACE }))),
        ("span_id", label(SPANS.map(|span| span.0))),
        ("parent_span_id", Arc::new(StringArray::from_iter(SPANS.map(|span| (!span.1.is_empty()).then_some(span.1))))),
        ("service", label(SPANS.map(|span| span.2))),
        ("name", label(SPANS.map(|span| span.3))),
        ("kind", label(SPANS.map(|span| span.4))),
        ("status", label(SPANS.map(|span| if failed(&span) { "Error" } else { "Unset" }))),
        ("status_message", label(SPANS.map(|span| if failed(&span) { "503 service unavailable" } else { "" }))),
        ("attributes", maps(&attributes)),
        ("resource", maps(&resource)),
        ("events", events()),
        ("links", links()),
    ])
}

/// One event, on the receiver's failed span.
fn events() -> ArrayRef {
    let lengths = SPANS.map(|span| usize::from(span.0 == "b5"));
    let attributes =
        maps(&[vec![("exception.type", "Overloaded"), ("exception.message", "40 deliveries are waiting")]]);
    list(
        lengths,
        vec![("time", times([NOW_NS - 1_946 * MS])), ("name", text(["exception"])), ("attributes", attributes)],
    )
}

fn links() -> ArrayRef {
    let linked: Vec<&Span> = SPANS.iter().filter(|span| !span.7.is_empty()).collect();
    let lengths = SPANS.map(|span| usize::from(!span.7.is_empty()));
    let trace_ids = text(linked.iter().map(|_| TRACE));
    list(lengths, vec![("trace_id", trace_ids), ("span_id", text(linked.iter().map(|span| span.7)))])
}

fn trace_logs() -> RecordBatch {
    let at = |us: i64| NOW_NS - 2_000 * MS + us * 1_000;
    columns([
        ("time", times([at(39_000), at(54_000)])),
        ("span_id", label(["a2", "b5"])),
        ("service", label(["core", "receiver"])),
        ("severity", Arc::new(Int32Array::from(vec![9, 17])) as ArrayRef),
        ("severity_text", label(["INFO", "ERROR"])),
        ("body", text(["captured payment 0198c1de for 42.00 EUR", "refused a delivery: 40 are waiting"])),
        ("attributes", maps(&[vec![("payment.id", "0198c1de")], vec![]])),
    ])
}

fn columns<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn label<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>())
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from(values.into_iter().collect::<Vec<_>>()))
}

fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn list<const N: usize>(lengths: [usize; N], fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let values = StructArray::from(
        fields
            .into_iter()
            .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array))
            .collect::<Vec<_>>(),
    );
    let item = Arc::new(Field::new("item", DataType::Struct(values.fields().clone()), false));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::try_new(item, offsets, Arc::new(values), None).expect("lengths that fit"))
}

fn maps(rows: &[Vec<(&str, &str)>]) -> ArrayRef {
    let fields =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    let keys = text(rows.iter().flatten().map(|pair| pair.0));
    let values = text(rows.iter().flatten().map(|pair| pair.1));
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None).expect("keys and values");
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    Arc::new(MapArray::try_new(field, offsets, entries, None, false).expect("offsets that fit"))
}
