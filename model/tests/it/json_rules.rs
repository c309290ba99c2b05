//! The rules of OTLP/JSON, one test a line.

use model::{Signal, decode_json, decode_protobuf, encode_json};
use serde_json::{Value, json};

/// One span with these members beside its ids, as it comes back.
fn span(members: &str) -> Value {
    let converted = decode_json(Signal::Traces, span_request(members).as_bytes()).unwrap();
    assert_eq!(converted.rejected.count, 0, "{}", converted.rejected.message);
    let mut request = encode_json(Signal::Traces, &converted.batches);
    let mut span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0].take();
    let members = span.as_object_mut().unwrap();
    members.remove("traceId");
    members.remove("spanId");
    span
}

fn span_request(members: &str) -> String {
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids}{members}}}]}}]}}]}}"#)
}

fn error(members: &str) -> String {
    decode_json(Signal::Traces, span_request(members).as_bytes()).unwrap_err().to_string()
}

/// The value of one attribute, there and back.
fn value(value: &str) -> Value {
    let mut span = span(&format!(r#","attributes":[{{"key":"k","value":{value}}}]"#));
    span["attributes"][0]["value"].take()
}

#[test]
fn ids_are_hex_of_either_case_and_keep_leading_zeros() {
    let request = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"00000000000000000000000000000ABC","spanId":"00aBcDeF01234567","parentSpanId":"00ABCDEF01234568"}]}]}]}"#;
    let converted = decode_json(Signal::Traces, request.as_bytes()).unwrap();
    let span = &encode_json(Signal::Traces, &converted.batches)["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let ids = json!({"traceId":"00000000000000000000000000000abc","spanId":"00abcdef01234567","parentSpanId":"00abcdef01234568"});
    assert_eq!(*span, ids);
}

#[test]
fn an_id_that_is_not_hex_costs_its_span_alone() {
    let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
    for bad in
        ["zz8efff798038103d269b633813fc60c", "5b8e", "5b8efff798038103d269b633813fc60", "", "W47/95gDgQPSabYzgT/GDA=="]
    {
        let bad = format!(r#"{{"traceId":"{bad}","spanId":"eee19b7ec3c1b174"}}"#);
        let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{good},{bad},{good}]}}]}}]}}"#);
        let converted = decode_json(Signal::Traces, request.as_bytes()).unwrap();
        assert_eq!((converted.batches[0].num_rows(), converted.rejected.count), (2, 1), "{bad}");
    }
    let log = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"","spanId":"zz"},{"traceId":"00000000000000000000000000000000"}]}]}]}"#;
    let converted = decode_json(Signal::Logs, log.as_bytes()).unwrap();
    assert_eq!((converted.batches[0].num_rows(), converted.rejected.count), (2, 0));
}

#[test]
fn integers_of_64_bits_are_strings_or_numbers_and_exact() {
    for exact in ["9007199254740993", "18446744073709551615", "0"] {
        let quoted = span(&format!(r#","startTimeUnixNano":"{exact}""#));
        assert_eq!(quoted, span(&format!(r#","startTimeUnixNano":{exact}"#)));
        assert_eq!(quoted.get("startTimeUnixNano").map_or("0", |time| time.as_str().unwrap()), exact);
    }
    assert_eq!(value(r#"{"intValue":-9007199254740993}"#), json!({"intValue":"-9007199254740993"}));
    assert_eq!(value(r#"{"intValue":"-9223372036854775808"}"#), json!({"intValue":"-9223372036854775808"}));
    assert_eq!(value(r#"{"intValue":1e3}"#), json!({"intValue":"1000"}));
    assert_eq!(value(r#"{"intValue":0}"#), json!({"intValue":"0"}));
}

#[test]
fn integers_out_of_range_or_broken_are_errors() {
    for time in ["-1", r#""-1""#, "18446744073709551616", r#""18446744073709551616""#, "1.5", r#""x""#, "true", "[]"] {
        let error = error(&format!(r#","startTimeUnixNano":{time}"#));
        assert!(
            error.starts_with("malformed JSON at $.resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano: "),
            "{error}"
        );
    }
    assert!(error(r#","flags":4294967296"#).contains("4294967296 is out of range"));
}

#[test]
fn enums_are_integers_only() {
    assert_eq!(span(r#","kind":3,"status":{"code":2}"#), json!({"kind":3,"status":{"code":2}}));
    let error = error(r#","kind":"SPAN_KIND_SERVER""#);
    assert!(
        error.contains(r#".kind: invalid value: string "SPAN_KIND_SERVER", expected the integer of an enum"#),
        "{error}"
    );
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    assert_eq!(span(r#","name":"n","later":{"a":[1,{"b":null}]},"zz":"x""#), json!({"name":"n"}));
}

#[test]
fn names_are_lower_camel_case_only() {
    assert_eq!(span(r#","start_time_unix_nano":"5","Name":"n","trace_state":"s""#), json!({}));
}

#[test]
fn bytes_are_base64() {
    assert_eq!(value(r#"{"bytesValue":"AQL/"}"#), json!({"bytesValue":"AQL/"}));
    assert_eq!(value(r#"{"bytesValue":"AQL_"}"#), json!({"bytesValue":"AQL/"}));
    assert!(
        error(r#","attributes":[{"key":"k","value":{"bytesValue":"?"}}]"#)
            .contains(".attributes[0].value.bytesValue: ")
    );
}

#[test]
fn doubles_without_a_number_are_strings() {
    for name in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(value(&format!(r#"{{"doubleValue":"{name}"}}"#)), json!({"doubleValue":name}));
    }
    assert_eq!(value(r#"{"doubleValue":5}"#), json!({"doubleValue":5.0}));
    assert_eq!(value(r#"{"doubleValue":"0.1"}"#), json!({"doubleValue":0.1}));
    assert!(error(r#","attributes":[{"value":{"doubleValue":"inf"}}]"#).contains("doubleValue"));
}

#[test]
fn null_is_absent() {
    let nulls =
        r#","name":null,"kind":null,"attributes":null,"status":null,"startTimeUnixNano":null,"parentSpanId":null"#;
    assert_eq!(span(nulls), json!({}));
    assert_eq!(value("null"), Value::Null);
    assert_eq!(value(r#"{"stringValue":null}"#), json!({}));
    assert_eq!(value(r#"{"arrayValue":{"values":[null,{}]}}"#), json!({"arrayValue":{"values":[{},{}]}}));
    assert!(decode_json(Signal::Traces, b"null").is_err());
}

#[test]
fn defaults_that_were_sent_in_a_oneof_stay() {
    for default in [
        json!({"stringValue":""}),
        json!({"boolValue":false}),
        json!({"intValue":"0"}),
        json!({"doubleValue":0.0}),
        json!({}),
    ] {
        assert_eq!(value(&default.to_string()), default);
    }
    assert_eq!(value(r#"{"bytesValue":""}"#), json!({"bytesValue":""}));
    assert_eq!(value(r#"{"arrayValue":{}}"#), json!({"arrayValue":{}}));
    assert_eq!(value(r#"{"kvlistValue":{}}"#), json!({"kvlistValue":{}}));
}

#[test]
fn strings_that_are_not_unicode_are_repaired() {
    assert_eq!(span(r#","name":"a\ud800b""#), json!({"name":"a\u{fffd}\u{fffd}\u{fffd}b"}));
    let mut request = span_request(r#","name":"a#b""#).into_bytes();
    let at = request.iter().position(|byte| *byte == b'#').unwrap();
    request[at] = 0xff;
    assert_eq!(decode_json(Signal::Traces, &request).unwrap().batches[0].num_rows(), 1);
}

#[test]
fn what_is_not_json_is_an_error_with_a_place() {
    for (body, expected) in [
        ("", "malformed JSON at $: EOF while parsing a value at line 1 column 0"),
        ("[]", "malformed JSON at $: invalid type: sequence, expected an object (ExportTraceServiceRequest)"),
        ("{} x", "malformed JSON at $: trailing characters at line 1 column 4"),
        (
            r#"{"resourceSpans":[{},{"scopeSpans":[{"spans":{}}]}]}"#,
            "malformed JSON at $.resourceSpans[1].scopeSpans[0].spans: ",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[7]}]}]}"#,
            "malformed JSON at $.resourceSpans[0].scopeSpans[0].spans[0]: ",
        ),
    ] {
        let error = decode_json(Signal::Traces, body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn values_nest_to_a_limit() {
    let nest = |levels: usize| {
        format!("{}{}{}", r#"{"arrayValue":{"values":["#.repeat(levels), r#"{"intValue":"1"}"#, "]}}".repeat(levels))
    };
    let deepest = nest(model::NESTING_MAX - 1);
    assert_eq!(value(&deepest).to_string(), deepest);
    let error = error(&format!(r#","attributes":[{{"value":{}}}]"#, nest(model::NESTING_MAX)));
    assert!(error.contains("values nest deeper than 24"), "{error}");
    assert!(decode_json(Signal::Traces, "{\"a\":[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn members_may_come_in_any_order() {
    let request = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"dataPoints":[{"asInt":"7"}],"isMonotonic":true,
        "aggregationTemporality":2},"name":"late"}],"schemaUrl":"s","scope":{"name":"lib"}}],"schemaUrl":"r",
        "resource":{"attributes":[{"value":{"stringValue":"shop"},"key":"service.name"}]}}]}"#;
    let converted = decode_json(Signal::Metrics, request.as_bytes()).unwrap();
    assert_eq!(encode_json(Signal::Metrics, &converted.batches), serde_json::from_str::<Value>(request).unwrap());
}

#[test]
fn an_example_of_each_signal_comes_back_as_it_was() {
    let examples = [
        (
            Signal::Traces,
            json!({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeSpans":[{"scope":{"name":"lib","version":"1.0","attributes":[{"key":"a","value":{"boolValue":true}}]},"spans":[{
                "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173",
                "flags":769,"traceState":"k=v","name":"pay","kind":2,
                "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",
                "attributes":[{"key":"n","value":{"intValue":"5"}}],"droppedAttributesCount":1,
                "events":[{"timeUnixNano":"1544712660500000000","name":"retry","attributes":[{"key":"d","value":{"doubleValue":1.5}}]}],
                "links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b175","flags":256}],
                "status":{"code":2,"message":"declined"}}]}]}]}),
        ),
        (
            Signal::Logs,
            json!({"resourceLogs":[{"resource":{"entityRefs":[{"type":"service","idKeys":["service.name"]}]},
            "scopeLogs":[{"schemaUrl":"https://example.com/1","logRecords":[{
                "timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000001","severityNumber":10,
                "severityText":"Information","eventName":"page","traceId":"5b8efff798038103d269b633813fc60c",
                "spanId":"eee19b7ec3c1b174","flags":1,
                "body":{"kvlistValue":{"values":[{"key":"type","value":{"intValue":"0"}},{"key":"url","value":{"stringValue":"/"}}]}}}]}]}]}),
        ),
        (
            Signal::Metrics,
            json!({"resourceMetrics":[{"scopeMetrics":[{"scope":{"name":"lib"},"metrics":[
                {"name":"c","unit":"1","description":"counts","metadata":[{"key":"k","value":{"stringValue":"v"}}],
                    "sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5.0,"startTimeUnixNano":"1","timeUnixNano":"2"}]}},
                {"name":"g","gauge":{"dataPoints":[{"asInt":"10","timeUnixNano":"2","flags":1}]}},
                {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"2","count":"2","sum":2.5,
                    "bucketCounts":["1","1"],"explicitBounds":[1.0],"min":0.0,"max":2.0,
                    "exemplars":[{"timeUnixNano":"2","asDouble":2.0,"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
                        "filteredAttributes":[{"key":"user","value":{"stringValue":"u"}}]}]}]}},
                {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"2","count":"3","sum":10.0,
                    "scale":-1,"zeroCount":"1","zeroThreshold":0.5,"positive":{"offset":-3,"bucketCounts":["0","2"]},"negative":{}}]}},
                {"name":"s","summary":{"dataPoints":[{"timeUnixNano":"2","count":"3","sum":10.0,"quantileValues":[{"quantile":0.5,"value":4.0},{}]}]}},
            ]}]}]}),
        ),
    ];
    for (signal, example) in examples {
        let converted = decode_json(signal, example.to_string().as_bytes()).unwrap();
        assert_eq!(encode_json(signal, &converted.batches), example);
        let wire = model::encode_protobuf(signal, &converted.batches);
        assert_eq!(decode_protobuf(signal, &wire).unwrap().batches, converted.batches);
    }
}
