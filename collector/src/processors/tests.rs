//! Each processor over OTLP as it comes and as it would leave again.

use model::{Batch, Signal};
use serde_json::{Value, json};

use super::config::parse;
use super::{Counted, Processor, Processors, TooLarge};

fn processors(declared: &str) -> Processors {
    Processors::new(parse(declared).expect("a declaration that is understood")).expect("patterns of a usual size")
}

fn decode(signal: Signal, request: &Value) -> Vec<Batch> {
    let converted = model::decode_json(signal, request.to_string().as_bytes()).expect("a request");
    assert_eq!(converted.rejected.count, 0);
    converted.batches
}

/// What a request becomes, and what was counted.
fn pass(declared: &str, signal: Signal, request: &Value) -> (Value, Vec<(&'static str, u64)>) {
    let processors = processors(declared);
    let batches = processors.apply(decode(signal, request)).expect("it stays small");
    let counted = processors.counted().into_iter().filter(|of| of.signal == signal);
    let counts = counted.map(|Counted { processor, count, .. }| (processor.name(), count)).collect();
    (model::encode_json(signal, &batches), counts)
}

/// A value that is a string, a whole number or a list of strings.
fn attributes(of: &[(&str, Value)]) -> Value {
    let value = |value: &Value| match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        other => other.clone(),
    };
    of.iter().map(|(key, of)| json!({ "key": key, "value": value(of) })).collect()
}

fn span(service: &str, span: Value) -> Value {
    let mut span = span;
    for (field, value) in [("traceId", "0af7651916cd43dd8448eb211c80319c"), ("spanId", "00f067aa0ba902b7")] {
        if span[field].is_null() {
            span[field] = value.into();
        }
    }
    let resource = json!({ "attributes": attributes(&[("service.name", service.into())]) });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [span] }] }] })
}

fn log(service: &str, record: Value) -> Value {
    let resource = json!({ "attributes": attributes(&[("service.name", service.into())]) });
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "logRecords": [record] }] }] })
}

fn of_span(request: &Value) -> &Value {
    &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
}

fn of_log(request: &Value) -> &Value {
    &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
}

/// The attributes of a span after rules.
fn check_edits(rules: &str, before: &[(&str, Value)], after: &[(&str, Value)]) {
    let request = span("checkout", json!({ "name": "pay", "attributes": attributes(before) }));
    let (kept, _) = pass(rules, Signal::Traces, &request);
    let found = of_span(&kept).get("attributes").cloned().unwrap_or(json!([]));
    assert_eq!(found, attributes(after), "{rules}");
}

#[test]
fn attributes_are_set_by_action_and_keep_their_types_and_their_order() {
    let before = [("a", json!("x")), ("b", json!(7)), ("c", json!({ "boolValue": true }))];
    let [a, b, c] = before.clone();
    let rule = |action: &str, key: &str, value: &str| {
        format!("[[processors.attributes]]\naction = \"{action}\"\nkey = \"{key}\"\n{value}\n")
    };
    let new = ("n", json!({ "doubleValue": 2.5 }));
    check_edits(&rule("insert", "n", "value = 2.5"), &before, &[a.clone(), b.clone(), c.clone(), new]);
    check_edits(&rule("insert", "a", "value = 2.5"), &before, &before);
    check_edits(&rule("update", "n", "value = 2.5"), &before, &before);
    check_edits(&rule("update", "a", "value = 8"), &before, &[("a", json!(8)), b.clone(), c.clone()]);
    check_edits(&rule("upsert", "b", "value = \"y\""), &before, &[a.clone(), ("b", json!("y")), c.clone()]);
    let truth = ("n", json!({ "boolValue": false }));
    check_edits(&rule("upsert", "n", "value = false"), &before, &[a.clone(), b.clone(), c.clone(), truth]);
    check_edits(&rule("delete", "b", ""), &before, &[a.clone(), c.clone()]);
    let seven = "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451";
    check_edits(&rule("hash", "b", ""), &before, &[a.clone(), ("b", json!(seven)), c.clone()]);
    let twice = rule("delete", "a", "") + &rule("insert", "a", "value = \"z\"");
    check_edits(&twice, &before, &[b, c, ("a", json!("z"))]);
}

#[test]
fn a_rule_is_for_its_signals_its_place_and_its_condition() {
    let rule =
        |more: &str| format!("[[processors.attributes]]\naction = \"upsert\"\nkey = \"k\"\nvalue = \"v\"\n{more}\n");
    let before = [("http.route", json!("/pay"))];
    let after = [("http.route", json!("/pay")), ("k", json!("v"))];
    for condition in [
        "service = \"checkout\"",
        "name = \"pay\"",
        "name_matches = \"^p\"",
        "attribute = { key = \"http.route\", equals = \"/pay\" }",
        "attribute = { key = \"service.name\", matches = \"^check\" }",
        "service = \"checkout\", name = \"pay\"",
    ] {
        check_edits(&rule(&format!("when = {{ {condition} }}")), &before, &after);
    }
    for condition in [
        "service = \"other\"",
        "name = \"pa\"",
        "name_matches = \"^a\"",
        "attribute = { key = \"http.route\", equals = \"/\" }",
        "attribute = { key = \"k\", matches = \"\" }",
        "severity_below = \"fatal\"",
        "service = \"checkout\", name = \"other\"",
    ] {
        check_edits(&rule(&format!("when = {{ {condition} }}")), &before, &before);
    }
    check_edits(&rule("signals = [\"logs\", \"metrics\"]"), &before, &before);
    check_edits(&rule("in = \"resource\""), &before, &before);

    let request = span("checkout", json!({ "name": "pay" }));
    let (kept, counts) = pass(&rule("in = \"scope\""), Signal::Traces, &request);
    let scope = &kept["resourceSpans"][0]["scopeSpans"][0]["scope"];
    assert_eq!(scope["attributes"], attributes(&[("k", json!("v"))]));
    assert_eq!(counts, [("attributes", 1)]);
}

#[test]
fn the_service_follows_its_resource() {
    let rule = "[[processors.attributes]]\naction = \"update\"\nkey = \"service.name\"\nvalue = \"pay\"\nin = \"resource\"\n\
                [[processors.filter]]\ndrop = { service = \"checkout\" }";
    let request = span("checkout", json!({ "name": "n" }));
    let kept = processors(rule).apply(decode(Signal::Traces, &request)).expect("it stays small");
    let services =
        super::columns::of_labels(super::columns::labels(kept[0].rows(), "service"), |label| label == "pay", false);
    assert_eq!(services, [true], "and the filter sees the new one");
}

#[test]
fn what_grows_beyond_all_bounds_is_refused() {
    let value = "v".repeat(1 << 20);
    let declared = format!("[[processors.attributes]]\naction = \"upsert\"\nkey = \"k\"\nvalue = \"{value}\"");
    let spans: Vec<Value> = (0..600)
        .map(
            |number| json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{:016x}", number + 1) }),
        )
        .collect();
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
    let grown = processors(&declared).apply(decode(Signal::Traces, &request));
    assert_eq!(grown.map(|batches| batches.len()), Err(TooLarge));
}

#[test]
fn each_resource_of_a_request_is_worked_on_by_itself() {
    let scope = |name: &str, spans: &[u64]| {
        let span = |id: &u64| json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{id:016x}"), "name": name });
        json!({ "spans": spans.iter().map(span).collect::<Value>() })
    };
    let resource = |service: &str, environment: Option<&str>, scopes: Value| {
        let mut of = vec![("service.name", json!(service)), ("card", json!(CARD))];
        of.extend(environment.map(|environment| ("env", json!(environment))));
        json!({ "resource": { "attributes": attributes(&of) }, "scopeSpans": scopes })
    };
    let request = json!({ "resourceSpans": [
        resource("a", None, json!([scope("n", &[1, 2]), scope("m", &[3])])),
        resource("b", Some("dev"), json!([scope("n", &[4])])),
        resource("a", None, json!([scope("n", &[5, 6])])),
    ] });
    let declared = "[[processors.attributes]]\naction = \"insert\"\nkey = \"env\"\nvalue = \"prod\"\nin = \"resource\"\n\
                    when = { name = \"n\" }\n[processors.redaction]";
    let (kept, counts) = pass(declared, Signal::Traces, &request);
    // The span named m is the only one of its resource that the rule is not for, so it goes into a resource of its own.
    let masked = |service: &str, environment: &[(&str, Value)]| {
        attributes(&[&[("service.name", json!(service)), ("card", json!("****"))], environment].concat())
    };
    let prod = [("env", json!("prod"))];
    let expected = [
        (masked("a", &prod), vec![1, 2, 5, 6]),
        (masked("a", &[]), vec![3]),
        (masked("b", &[("env", json!("dev"))]), vec![4]),
    ];
    let found: Vec<(Value, Vec<u64>)> = kept["resourceSpans"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|of| {
            let spans = of["scopeSpans"][0]["spans"].as_array().expect("spans").iter();
            let ids = spans.map(|span| u64::from_str_radix(span["spanId"].as_str().expect("an id"), 16).expect("hex"));
            (of["resource"]["attributes"].clone(), ids.collect())
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(counts, [("attributes", 4), ("redaction", 4)], "records changed, and values masked once a run of rows");
}

const CARD: &str = "4111 1111 1111 1111";

#[test]
fn card_numbers_are_masked_wherever_a_span_has_text() {
    let card = [("note", json!(format!("card {CARD}!"))), ("id", json!(4111111111111111_u64)), ("n", json!(411))];
    let masked = [("note", json!("card ****!")), ("id", json!("****")), ("n", json!(411))];
    let with = |text: &str, of: &[(&str, Value)]| {
        json!({
            "name": format!("GET /cards/{text}"),
            "attributes": attributes(of),
            "status": { "message": format!("{text} was declined"), "code": 2 },
            "events": [{ "name": format!("seen {text}"), "attributes": attributes(of) }, { "name": "plain" }],
            "links": [{ "traceId": "0af7651916cd43dd8448eb211c80319d", "spanId": "00f067aa0ba902b8", "attributes": attributes(of) }],
        })
    };
    let (kept, counts) = pass("[processors.redaction]", Signal::Traces, &span("a", with(CARD, &card)));
    let (expected, _) = pass("[processors]", Signal::Traces, &span("a", with("****", &masked)));
    assert_eq!(kept, expected);
    assert_eq!(counts, [("redaction", 3 + 2 * 3)]);
    let (kept, _) = pass("[processors.redaction]\ncard_numbers = false", Signal::Traces, &span("a", with(CARD, &card)));
    assert_eq!(kept, pass("[processors]", Signal::Traces, &span("a", with(CARD, &card))).0);
}

#[test]
fn bodies_and_values_of_every_type_are_searched() {
    let check = |before: Value, after: Value| {
        let request = |value: &Value| {
            let attributes = json!([{ "key": "k", "value": value }]);
            log("a", json!({ "body": value, "attributes": attributes }))
        };
        let declared =
            "[processors.redaction]\nkeys_masked = [\"secret\"]\nvalues_masked = [\"[a-z]+@example\\\\.com\"]";
        let (kept, counts) = pass(declared, Signal::Logs, &request(&before));
        assert_eq!(kept, pass("[processors]", Signal::Logs, &request(&after)).0, "{before}");
        assert_eq!(counts[0].1, if before == after { 0 } else { 2 }, "{before}");
    };
    let string = |text: &str| json!({ "stringValue": text });
    let list = |items: Value| json!({ "arrayValue": { "values": items } });
    let map = |key: &str, value: Value| json!({ "kvlistValue": { "values": [{ "key": key, "value": value }] } });
    check(string("4111111111111111"), string("****"));
    check(string("me@example.com and you@example.com"), string("**** and ****"));
    check(json!({ "intValue": "4111111111111111" }), string("****"));
    check(json!({ "doubleValue": 4111111111111111.0 }), string("****.0"));
    check(json!({ "bytesValue": "NDExMTExMTExMTExMTExMQ==" }), string("****"));
    check(list(json!([string("a"), string("me@example.com")])), list(json!([string("a"), string("****")])));
    check(list(json!([{ "intValue": "4111111111111111" }])), list(json!([string("****")])));
    check(list(json!([{ "bytesValue": "NDExMTExMTExMTExMTExMQ==" }])), list(json!([{ "bytesValue": "" }])));
    check(map("k", map("my secret", json!({ "intValue": "7" }))), map("k", map("my secret", string("****"))));
    let twice = json!({ "kvlistValue": { "values": [
        { "key": "z", "value": string("1") }, { "key": "secret", "value": string("1") }, { "key": "secret", "value": string("2") },
    ] } });
    let masked = json!({ "kvlistValue": { "values": [
        { "key": "z", "value": string("1") }, { "key": "secret", "value": string("****") }, { "key": "secret", "value": string("****") },
    ] } });
    check(twice, masked);
    for plain in [
        json!({ "boolValue": true }),
        json!({ "doubleValue": 0.4111111111111111 }),
        json!({ "bytesValue": "+/8=" }),
        json!({ "arrayValue": {} }),
        json!({}),
        list(json!([{ "doubleValue": 5.0 }, { "doubleValue": "NaN" }, { "boolValue": false }, {}])),
        map("z", map("a", json!({ "doubleValue": 1e300 }))),
    ] {
        check(plain.clone(), plain);
    }
}

#[test]
fn keys_decide_before_values() {
    let before = [("password", json!("sesame")), ("http.route", json!("/")), ("user.id", json!(7))];
    let declared = "[processors.redaction]\nkeys_masked = [\"(?i)^PASS\"]";
    check_edits(declared, &before, &[("password", json!("****")), before[1].clone(), before[2].clone()]);
    let declared = "[processors.redaction]\nkeys_allowed = [\"http.route\"]";
    check_edits(declared, &before, &[("password", json!("****")), before[1].clone(), ("user.id", json!("****"))]);
    check_edits("[processors.redaction]\nkeys_allowed = []", &[("a", json!("****"))], &[("a", json!("****"))]);

    let request = span("checkout", json!({ "name": "n" }));
    let (kept, counts) = pass(declared, Signal::Traces, &request);
    assert_eq!(
        (kept, counts),
        (pass("[processors]", Signal::Traces, &request).0, vec![("redaction", 0)]),
        "the service stays"
    );
    let hidden = "[processors.redaction]\nkeys_masked = [\"service.name\"]";
    let kept = processors(hidden).apply(decode(Signal::Traces, &request)).expect("it stays small");
    let services =
        super::columns::of_labels(super::columns::labels(kept[0].rows(), "service"), |label| label == "****", false);
    assert_eq!(services, [true], "unless it is named");
}

#[test]
fn exemplars_and_metadata_are_searched_and_names_of_metrics_stay() {
    let metric = |text: &str, value: &Value| {
        let exemplar = json!({ "filteredAttributes": attributes(&[("card", text.into())]), "asInt": "1" });
        let points =
            json!([{ "asInt": "1", "attributes": attributes(&[("card", text.into())]), "exemplars": [exemplar] }]);
        let metadata = json!([{ "key": "card", "value": value }]);
        let metric = json!({ "name": CARD, "gauge": { "dataPoints": points }, "metadata": metadata });
        json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] })
    };
    let before = metric(CARD, &json!({ "intValue": "4111111111111111" }));
    let (kept, counts) = pass("[processors.redaction]", Signal::Metrics, &before);
    let after = metric("****", &json!({ "stringValue": "****" }));
    assert_eq!(kept, pass("[processors]", Signal::Metrics, &after).0);
    assert_eq!(counts, [("redaction", 3)]);
}

#[test]
fn redaction_sees_what_rules_insert() {
    let declared = format!(
        "[[processors.attributes]]\naction = \"insert\"\nkey = \"k\"\nvalue = \"{CARD}\"\n[processors.redaction]"
    );
    check_edits(&declared, &[], &[("k", json!("****"))]);
}

#[test]
fn what_nobody_wants_is_dropped_and_counted() {
    let record = |severity: u64, route: &str| json!({ "severityNumber": severity, "eventName": "e", "attributes": attributes(&[("route", route.into())]) });
    let records = json!([record(5, "/a"), record(0, "/b"), record(9, "/health"), record(9, "/c")]);
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] });
    let declared = "[[processors.filter]]\ndrop = { severity_below = \"info\" }\n\
                    [[processors.filter]]\nsignals = [\"logs\"]\ndrop = { attribute = { key = \"route\", equals = \"/health\" } }\n\
                    [[processors.filter]]\nsignals = [\"traces\"]\ndrop = { name = \"e\" }";
    let (kept, counts) = pass(declared, Signal::Logs, &request);
    let left = &kept["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    let routes: Vec<&Value> = (0..2).map(|nth| &left[nth]["attributes"][0]["value"]["stringValue"]).collect();
    assert_eq!(
        (routes, left[2].is_null()),
        (vec![&json!("/b"), &json!("/c")], true),
        "who does not say how severe it is stays"
    );
    assert_eq!(counts, [("filter", 2)]);

    let (kept, counts) = pass("[[processors.filter]]\ndrop = { name = \"e\" }", Signal::Logs, &request);
    assert_eq!((kept, counts), (json!({}), vec![("filter", 4)]), "all of it is nothing");
}

#[test]
fn no_label_of_a_dropped_record_stays_behind() {
    let span = |name: &str, id: u64| json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{id:016x}"), "name": name });
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span("secret", 1), span("plain", 2)] }] }] });
    let declared = "[[processors.filter]]\ndrop = { name = \"secret\" }";
    let kept = processors(declared).apply(decode(Signal::Traces, &request)).expect("it stays small");
    let names = super::columns::labels(kept[0].rows(), "name");
    assert_eq!(arrow::array::Array::len(names.values()), 1, "{names:?}");
}

/// The numbers of the spans that stay, of 0 to 15 sixteenths of all randomness, and the state of the last.
fn sampled(declared: &str, state: &str, service: &str) -> (Vec<u64>, String) {
    let spans: Vec<Value> = (0..16_u64)
        .map(|sixteenth| {
            let trace_id = format!("0af7651916cd43dd84{sixteenth:x}{:013x}", 0);
            json!({ "traceId": trace_id, "spanId": format!("{:016x}", sixteenth + 1), "traceState": state })
        })
        .collect();
    let resource = json!({ "attributes": attributes(&[("service.name", service.into())]) });
    let request = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] });
    let (kept, counts) = pass(declared, Signal::Traces, &request);
    let kept = kept["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().unwrap_or_default();
    assert_eq!(counts, [("sampling", 16 - kept.len() as u64)]);
    let number = |span: &Value| {
        let id = span["spanId"].as_str().expect("an id");
        u64::from_str_radix(id, 16).expect("hex") - 1
    };
    let state = kept.last().map_or("", |span| span["traceState"].as_str().unwrap_or_default()).to_owned();
    (kept.iter().map(number).collect(), state)
}

#[test]
fn a_part_of_all_traces_stays_by_their_ids() {
    let quarter = "[processors.sampling]\npercentage = 25\nservices = { vip = 100, load = 0 }";
    assert_eq!(sampled(quarter, "", "a"), (vec![12, 13, 14, 15], "ot=th:c".to_owned()));
    assert_eq!(sampled(quarter, "congo=t61", "a"), (vec![12, 13, 14, 15], "ot=th:c,congo=t61".to_owned()));
    assert_eq!(
        sampled(quarter, "congo=t61", "vip"),
        ((0..16).collect(), "congo=t61".to_owned()),
        "all stay as they came"
    );
    assert_eq!(sampled(quarter, "", "load"), (vec![], String::new()));
}

#[test]
fn what_an_earlier_stage_said_is_honoured() {
    let quarter = "[processors.sampling]\npercentage = 25";
    let (kept, state) = sampled(quarter, "ot=th:8", "a");
    assert_eq!((kept.len(), state.as_str()), (4, "ot=th:c"), "half of all became a quarter of all, not of the half");
    let (kept, state) = sampled(quarter, "ot=th:f", "a");
    assert_eq!((kept.len(), state.as_str()), (4, "ot=th:f"), "a smaller part stays said");
    let (kept, state) = sampled(quarter, "ot=rv:c0000000000000", "a");
    assert_eq!((kept.len(), state.as_str()), (16, "ot=th:c;rv:c0000000000000"), "the randomness that is told counts");
    assert_eq!(sampled(quarter, "ot=rv:bfffffffffffff;th:0", "a").0.len(), 0);
}

#[test]
fn log_records_go_with_their_trace_when_asked() {
    let record = |trace_id: &str| json!({ "traceId": trace_id, "body": { "stringValue": trace_id } });
    let records = [record("0af7651916cd43dd84ffffffffffffff"), record("0af7651916cd43dd8400000000000000"), record("")];
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] });
    let (kept, counts) = pass("[processors.sampling]\npercentage = 50\nlogs = true", Signal::Logs, &request);
    assert_eq!(of_log(&kept)["traceId"], "0af7651916cd43dd84ffffffffffffff");
    let records = kept["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("two records");
    assert_eq!((records.len(), counts), (2, vec![("sampling", 1)]), "a record without a trace stays");
    let (kept, _) = pass("[processors.sampling]\npercentage = 50", Signal::Logs, &request);
    assert_eq!(kept["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("all").len(), 3);
}

#[test]
fn without_a_declaration_nothing_is_touched() {
    let batches = decode(Signal::Traces, &span("a", json!({ "name": CARD })));
    let processors = Processors::default();
    assert_eq!(processors.apply(batches.clone()), Ok(batches));
    assert!(processors.counted().is_empty());
    assert_eq!(Processor::ALL.map(Processor::name), ["attributes", "filter", "sampling", "redaction"]);
}
