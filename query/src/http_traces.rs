//! `GET /v1/traces/{id}`: one story as a tree, or as the OTLP/JSON it came as. `GET /v1/services`: who is there.

use arrow::array::RecordBatch;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::format::rows_as_json;
use crate::hex_ids::text_rows;
use crate::story::{Story, trace_id};
use crate::tree::tree;
use crate::{Engine, QueryError};

const OTLP_JSON: &str = "application/json; profile=otlp";

#[derive(Deserialize)]
pub(crate) struct Shape {
    /// `otlp` for the stored spans and logs as OTLP/JSON.
    format: Option<String>,
}

pub(crate) async fn trace(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Query(shape): Query<Shape>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let otlp = wants_otlp(&shape, &headers)?;
    let story = Story::of(&engine, trace_id(&id)?).await?;
    if otlp {
        return Ok(([(CONTENT_TYPE, OTLP_JSON)], Json(story.otlp()?).0.to_string()).into_response());
    }
    let traces: Vec<String> = story.traces.iter().map(hex::encode).collect();
    Ok(Json(json!({
        "trace_id": traces[0],
        "traces": traces,
        "traces_left_out": story.traces_left_out,
        "spans": tree(objects(&story.spans)?),
        "logs": objects(&story.logs)?,
    }))
    .into_response())
}

/// Rows as SQL shows them.
fn objects(stored: &[RecordBatch]) -> Result<Vec<Map<String, Value>>, QueryError> {
    let mut objects = Vec::new();
    for batch in stored {
        objects.extend(rows_as_json(&text_rows(batch)?)?);
    }
    Ok(objects)
}

fn wants_otlp(shape: &Shape, headers: &HeaderMap) -> Result<bool, Failure> {
    match shape.format.as_deref() {
        Some("otlp") => return Ok(true),
        Some("json") => return Ok(false),
        Some(other) => {
            return Err(Failure::new(StatusCode::BAD_REQUEST, format!("format is json or otlp, not {other:?}")));
        }
        None => {}
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(accept.split(',').any(|range| {
        let mut parameters = range.split(';').map(str::trim).skip(1);
        parameters.any(|parameter| matches!(parameter, "profile=otlp" | "profile=\"otlp\""))
    }))
}

/// Every service with spans: when it was first and last seen, how many spans, errors and spans of each kind.
pub(crate) async fn services(State(engine): State<Engine>) -> Result<Json<Vec<Value>>, Failure> {
    let (_, batches) = engine
        .collect(
            "SELECT service, kind, min(time) AS first_seen, max(time) AS last_seen, count(*) AS spans,
               sum(CASE WHEN status = 'Error' THEN 1 ELSE 0 END) AS errors
             FROM stored.spans GROUP BY service, kind ORDER BY service, kind",
        )
        .await?;
    let mut services: Vec<Value> = Vec::new();
    for batch in &batches {
        for row in rows_as_json(batch)? {
            match services.last_mut().and_then(Value::as_object_mut) {
                Some(service) if service.get("name") == row.get("service") => add_kind(service, &row),
                _ => services.push(first_kind(row)),
            }
        }
    }
    Ok(Json(services))
}

fn first_kind(mut row: Map<String, Value>) -> Value {
    let kind = row.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    json!({
        "name": row.remove("service"),
        "first_seen": row.remove("first_seen"),
        "last_seen": row.remove("last_seen"),
        "kinds": { kind: row.get("spans") },
        "spans": row.get("spans"),
        "errors": row.get("errors"),
    })
}

fn add_kind(service: &mut Map<String, Value>, row: &Map<String, Value>) {
    // Timestamps of one form compare as text.
    let number = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_u64).unwrap_or_default();
    let text =
        |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for key in ["spans", "errors"] {
        service.insert(key.to_owned(), (number(service, key) + number(row, key)).into());
    }
    service.insert("first_seen".to_owned(), text(service, "first_seen").min(text(row, "first_seen")).into());
    service.insert("last_seen".to_owned(), text(service, "last_seen").max(text(row, "last_seen")).into());
    if let Some(kinds) = service.get_mut("kinds").and_then(Value::as_object_mut) {
        kinds.insert(text(row, "kind"), row.get("spans").cloned().unwrap_or_default());
    }
}
