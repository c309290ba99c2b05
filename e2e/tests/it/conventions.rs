//! What the stack says of itself, laid beside the semantic conventions of OpenTelemetry: names, units, and what has to be said
//! of a request, a statement, a message.
//!
//! The registry is the crate `opentelemetry-semantic-conventions`, which is generated from it (0.33.1 from v1.42.0). A
//! name below is a constant of that crate, so the compiler answers whether it exists and is still recommended; what is
//! required of whom is in the conventions' text and is written down here.
#![deny(deprecated)]

use std::collections::BTreeSet;

use e2e::Query;
use opentelemetry_semantic_conventions::{attribute, metric};

/// Attributes of the registry that we use.
const ATTRIBUTES: &[&str] = &[
    attribute::CLIENT_ADDRESS,
    attribute::CPU_MODE,
    attribute::DB_COLLECTION_NAME,
    attribute::DB_OPERATION_NAME,
    attribute::DB_QUERY_SUMMARY,
    attribute::DB_SYSTEM_NAME,
    attribute::ERROR_TYPE,
    attribute::EXCEPTION_MESSAGE,
    attribute::HTTP_REQUEST_METHOD,
    attribute::HTTP_RESPONSE_STATUS_CODE,
    attribute::HTTP_ROUTE,
    attribute::LOG_RECORD_UID,
    attribute::MESSAGING_CONSUMER_GROUP_NAME,
    attribute::MESSAGING_DESTINATION_NAME,
    attribute::MESSAGING_DESTINATION_PARTITION_ID,
    attribute::MESSAGING_KAFKA_MESSAGE_KEY,
    attribute::MESSAGING_KAFKA_OFFSET,
    attribute::MESSAGING_MESSAGE_ID,
    attribute::MESSAGING_OPERATION_NAME,
    attribute::MESSAGING_OPERATION_TYPE,
    attribute::MESSAGING_SYSTEM,
    attribute::NETWORK_PROTOCOL_NAME,
    attribute::NETWORK_PROTOCOL_VERSION,
    attribute::PROCESS_PID,
    attribute::SERVER_ADDRESS,
    attribute::SERVER_PORT,
    attribute::SERVICE_INSTANCE_ID,
    attribute::SERVICE_NAME,
    attribute::SERVICE_NAMESPACE,
    attribute::SERVICE_VERSION,
    attribute::TELEMETRY_SDK_LANGUAGE,
    attribute::TELEMETRY_SDK_NAME,
    attribute::TELEMETRY_SDK_VERSION,
    attribute::URL_FULL,
    attribute::URL_PATH,
    attribute::URL_SCHEME,
    attribute::USER_AGENT_ORIGINAL,
    attribute::USER_ID,
];

/// Metrics of the registry that we use, with the units it gives them.
const METRICS: &[(&str, &str)] = &[
    (metric::DB_CLIENT_OPERATION_DURATION, "s"),
    (metric::HTTP_CLIENT_REQUEST_DURATION, "s"),
    (metric::HTTP_SERVER_REQUEST_DURATION, "s"),
    (metric::MESSAGING_CLIENT_CONSUMED_MESSAGES, "{message}"),
    (metric::MESSAGING_CLIENT_OPERATION_DURATION, "s"),
    (metric::MESSAGING_CLIENT_SENT_MESSAGES, "{message}"),
    (metric::MESSAGING_PROCESS_DURATION, "s"),
    (metric::PROCESS_CPU_TIME, "s"),
    (metric::PROCESS_MEMORY_USAGE, "By"),
];

/// First words of all attributes of the registry: where nobody else may put a name.
const REGISTRY: &str = "android app artifact aspnetcore aws az azure browser cassandra cicd client cloud cloudevents \
    cloudfoundry code container cpu cpython db deployment destination device disk dns dotnet elasticsearch enduser error \
    event exception faas feature_flag file gcp gen_ai geo go graphql heroku host http hw ios jsonrpc jvm k8s linux log \
    mainframe mcp message messaging net network nfs nodejs oci onc_rpc openai openshift opentracing oracle oracle_cloud os \
    otel peer pool pprof process profile rpc security_rule server service session signalr source state system telemetry \
    test thread tls url user user_agent v8js vcs webengine zos";

/// First words of our own attributes. `faultline` is for what is neither a thing of the product's domain nor a plain word that
/// divides one metric of ours.
const OWN_ATTRIBUTES: &str = "attempts by charge concern connections currency customers deploy effect endpoint export \
    fault faultline forced from items limit load mail outcome otlp payment percent picture queue refused report requests settlement sink status \
    to webhook wish worker_pool";

/// First words of our own metrics. `kafka.consumer_group.lag` is named as by the collector's `kafkametrics` receiver.
const OWN_METRICS: &str = "accounts broker comparisons faultline inline_jobs kafka payments requests tokio worker_pool";

/// Records of libraries that log in their own words: their scope is the module that wrote them.
const STRANGERS: &str = "scope_name NOT LIKE 'sqlx%' AND scope_name NOT LIKE 'rdkafka%' AND scope_name NOT LIKE 'librdkafka%' \
    AND scope_name NOT LIKE 'lettre%'";

/// Whose spans have to have which attributes.
const REQUIRED: &[(&str, &[&str])] = &[
    (
        // The mail receiver's are the only ones that are not HTTP.
        "kind = 'Server' AND name <> 'receive mail'",
        &[attribute::HTTP_REQUEST_METHOD, attribute::URL_PATH, attribute::URL_SCHEME],
    ),
    ("kind = 'Server' AND attributes['http.response.status_code'] NOT IN ('404', '405')", &[attribute::HTTP_ROUTE]),
    (
        // Whoever asked knows that it was answered.
        "kind = 'Server' AND EXISTS (SELECT 1 FROM spans AS asking WHERE asking.trace_id = spans.trace_id \
         AND asking.span_id = spans.parent_span_id AND asking.attributes['http.response.status_code'] IS NOT NULL)",
        &[attribute::HTTP_RESPONSE_STATUS_CODE],
    ),
    (
        // A client's span is of a database, or of mail, or it has to be of HTTP.
        "kind = 'Client' AND attributes['db.system.name'] IS NULL AND name <> 'SMTP DATA'",
        &[attribute::HTTP_REQUEST_METHOD, attribute::SERVER_ADDRESS, attribute::SERVER_PORT, attribute::URL_FULL],
    ),
    (
        "kind = 'Client' AND attributes['http.request.method'] IS NOT NULL AND attributes['error.type'] IS NULL",
        &[attribute::HTTP_RESPONSE_STATUS_CODE],
    ),
    (
        "kind = 'Client' AND attributes['db.system.name'] IS NOT NULL",
        &[attribute::DB_OPERATION_NAME, attribute::DB_QUERY_SUMMARY],
    ),
    (
        "kind IN ('Producer', 'Consumer')",
        &[
            attribute::MESSAGING_SYSTEM,
            attribute::MESSAGING_OPERATION_NAME,
            attribute::MESSAGING_OPERATION_TYPE,
            attribute::MESSAGING_DESTINATION_NAME,
        ],
    ),
    ("kind = 'Consumer'", &[attribute::MESSAGING_CONSUMER_GROUP_NAME]),
    ("status = 'Error'", &[attribute::ERROR_TYPE]),
];

/// Whose points have to have which attributes.
const REQUIRED_OF_POINTS: &[(&str, &[&str])] = &[
    (metric::DB_CLIENT_OPERATION_DURATION, &[attribute::DB_SYSTEM_NAME]),
    (
        metric::HTTP_CLIENT_REQUEST_DURATION,
        &[attribute::HTTP_REQUEST_METHOD, attribute::SERVER_ADDRESS, attribute::SERVER_PORT],
    ),
    (metric::HTTP_SERVER_REQUEST_DURATION, &[attribute::HTTP_REQUEST_METHOD, attribute::URL_SCHEME]),
    (metric::MESSAGING_CLIENT_CONSUMED_MESSAGES, &[attribute::MESSAGING_OPERATION_NAME, attribute::MESSAGING_SYSTEM]),
    (metric::MESSAGING_CLIENT_OPERATION_DURATION, &[attribute::MESSAGING_OPERATION_NAME, attribute::MESSAGING_SYSTEM]),
    (metric::MESSAGING_CLIENT_SENT_MESSAGES, &[attribute::MESSAGING_OPERATION_NAME, attribute::MESSAGING_SYSTEM]),
    (metric::MESSAGING_PROCESS_DURATION, &[attribute::MESSAGING_OPERATION_NAME, attribute::MESSAGING_SYSTEM]),
    (metric::PROCESS_CPU_TIME, &[attribute::CPU_MODE]),
];

/// Sentences about everything in the store that departs from the conventions; none is good. `of` is a condition on `service`.
pub(crate) async fn departures(query: &Query, of: &str) -> anyhow::Result<Vec<String>> {
    let mut found = names(query, of).await?;
    found.extend(units(query, of).await?);
    for (whose, keys) in REQUIRED {
        for key in *keys {
            let sql = format!(
                "SELECT DISTINCT service, name FROM spans WHERE {of} AND {whose} AND attributes['{key}'] IS NULL"
            );
            let lacking = query.sql(&sql).await?;
            found.extend(lacking.iter().map(|span| format!("no {key} in the span {span}")));
        }
    }
    let points = "(SELECT service, name, attributes FROM metrics UNION ALL SELECT service, name, attributes FROM metric_histograms)";
    for (name, keys) in REQUIRED_OF_POINTS {
        for key in *keys {
            let sql = format!(
                "SELECT DISTINCT service FROM {points} WHERE {of} AND name = '{name}' AND attributes['{key}'] IS NULL"
            );
            found.extend(query.sql(&sql).await?.iter().map(|point| format!("no {key} in {name} of {point}")));
        }
    }
    Ok(found)
}

async fn names(query: &Query, of: &str) -> anyhow::Result<Vec<String>> {
    let registered: BTreeSet<&str> = ATTRIBUTES.iter().copied().collect();
    let mut found = Vec::new();
    for table in ["spans", "logs", "metrics", "metric_histograms"] {
        for column in ["attributes", "resource"] {
            let whose = if table == "logs" { STRANGERS } else { "true" };
            let sql = format!(
                "SELECT DISTINCT key, service FROM (SELECT service, unnest(map_keys({column})) AS key FROM {table} \
                 WHERE {of} AND {whose})"
            );
            let rows = query.sql(&sql).await?;
            assert!(!rows.is_empty(), "nothing in {table}.{column}");
            for row in rows {
                let key = row["key"].as_str().unwrap_or_default();
                if !registered.contains(key) && !is_within(key, OWN_ATTRIBUTES) {
                    found.push(format!("{key} in {table}.{column} of {}", row["service"]));
                }
            }
        }
    }
    Ok(found)
}

async fn units(query: &Query, of: &str) -> anyhow::Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT name, unit FROM (SELECT service, name, unit FROM metrics \
         UNION ALL SELECT service, name, unit FROM metric_histograms) WHERE {of}"
    );
    let rows = query.sql(&sql).await?;
    let told: BTreeSet<(&str, &str)> =
        rows.iter().filter_map(|row| Some((row["name"].as_str()?, row["unit"].as_str()?))).collect();
    let registered: BTreeSet<(&str, &str)> = METRICS.iter().copied().collect();
    let missing = registered.difference(&told).map(|(name, unit)| format!("no metric {name} in {unit}"));
    let unknown = told.difference(&registered).filter(|(name, _)| !is_within(name, OWN_METRICS));
    let unitless = told.iter().filter(|(_, unit)| unit.is_empty()).map(|(name, _)| format!("no unit of {name}"));
    Ok(missing.chain(unknown.map(|(name, unit)| format!("the metric {name} in {unit:?}"))).chain(unitless).collect())
}

fn is_within(name: &str, namespaces: &str) -> bool {
    let first = name.split('.').next();
    namespaces.split_whitespace().any(|namespace| Some(namespace) == first)
}

#[test]
fn our_own_names_are_outside_the_registry() {
    let clash = |own: &&str| is_within(own, REGISTRY);
    assert_eq!(OWN_ATTRIBUTES.split_whitespace().find(clash), None);
    assert!(ATTRIBUTES.iter().all(|name| is_within(name, REGISTRY)));
}
