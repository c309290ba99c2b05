//! What stands in the columns: the part of the mapping that people query.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::util::display::array_value_to_string;
use model::{Signal, decode_json};

fn rows(signal: Signal, json: &str) -> RecordBatch {
    let converted = decode_json(signal, json.as_bytes()).unwrap();
    assert_eq!(converted.rejected.count, 0);
    converted.batches[0].rows().clone()
}

fn span(members: &str) -> RecordBatch {
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let resource = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}"#;
    rows(
        Signal::Traces,
        &format!(r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"spans":[{{{ids}{members}}}]}}]}}]}}"#),
    )
}

fn show(rows: &RecordBatch, column: &str) -> String {
    array_value_to_string(rows.column_by_name(column).unwrap(), 0).unwrap()
}

#[test]
fn attributes_are_text_beside_their_types() {
    let span = span(
        r#","attributes":[{"key":"s","value":{"stringValue":"200"}},{"key":"i","value":{"intValue":"200"}},
            {"key":"d","value":{"doubleValue":2e2}},{"key":"b","value":{"boolValue":true}},{"key":"x","value":{"bytesValue":"AQI="}},
            {"key":"a","value":{"arrayValue":{"values":[{"stringValue":"q"},{"intValue":"1"}]}}},
            {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":1}}]}}},{"key":"n","value":{}},{"key":"z"}]"#,
    );
    let attributes = r#"{s: 200, i: 200, d: 200.0, b: true, x: AQI=, a: ["q",1], m: {"k":1.0}, n: , z: }"#;
    assert_eq!(show(&span, "attributes"), attributes);
    assert_eq!(show(&span, "attribute_types"), "sidbxamn-");
    assert!(span.column_by_name("resource_types").unwrap().is_null(0));
}

#[test]
fn names_of_kinds_status_and_service() {
    let span = span(r#","kind":5,"status":{"code":2,"message":"no"}"#);
    assert_eq!(
        ["service", "kind", "status", "status_message"].map(|column| show(&span, column)),
        ["shop", "Consumer", "Error", "no"]
    );
    assert_eq!(show(&self::span(r#","kind":17"#), "kind"), "17");
    assert_eq!(show(&self::span(""), "kind"), "Unspecified");
}

#[test]
fn a_duration_is_never_negative_and_a_time_is_kept_bit_for_bit() {
    let duration =
        |members: &str| span(members).column_by_name("duration_ns").unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!(duration(r#","startTimeUnixNano":"5","endTimeUnixNano":"12""#), 7);
    assert_eq!(duration(r#","startTimeUnixNano":"12","endTimeUnixNano":"5""#), 0);
    assert_eq!(duration(r#","endTimeUnixNano":"18446744073709551615""#), i64::MAX);
    let far = span(r#","startTimeUnixNano":"18446744073709551615""#);
    assert_eq!(far.column_by_name("time").unwrap().as_primitive::<TimestampNanosecondType>().value(0), -1);
}

#[test]
fn a_log_record_has_the_time_it_was_observed_when_it_has_no_other() {
    let log = |members: &str| {
        rows(Signal::Logs, &format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#))
    };
    let time =
        |rows: &RecordBatch| rows.column_by_name("time").unwrap().as_primitive::<TimestampNanosecondType>().value(0);
    assert_eq!(time(&log(r#""observedTimeUnixNano":"7""#)), 7);
    assert_eq!(time(&log(r#""observedTimeUnixNano":"7","timeUnixNano":"5""#)), 5);

    let body_type = |rows: &RecordBatch| show(rows, "body_type");
    assert_eq!(body_type(&log("")), "-");
    assert_eq!(body_type(&log(r#""body":{}"#)), "n");
    assert_eq!(body_type(&log(r#""body":{"intValue":1}"#)), "i");
    assert!(log(r#""body":{"stringValue":"x"}"#).column_by_name("body_type").unwrap().is_null(0));
}

#[test]
fn an_integer_point_has_its_number_twice_and_a_double_once() {
    let request = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"7"},{"asDouble":0.5},{}]}}]}]}]}"#;
    let rows = rows(Signal::Metrics, request);
    let column = |name: &str| {
        let column = rows.column_by_name(name).unwrap();
        (0..3).map(|row| array_value_to_string(column, row).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(column("value"), ["7.0", "0.5", ""]);
    assert_eq!(column("value_int"), ["7", "", ""]);
    assert_eq!(column("type"), ["gauge", "gauge", "gauge"]);
    assert_eq!(rows.column_by_name("temporality").unwrap().null_count(), 3);
    assert_eq!(rows.column_by_name("name").unwrap().as_dictionary::<Int32Type>().values().len(), 1);
}
