//! The description of the API (OpenAPI 3.1), collected from the handlers.
//!
//! A handler says what is special about it, its own refusals by status and description. What holds for all of a kind (who
//! needs a token, what a body can be refused for, that anybody can be told to wait) is added here, from the shape of the
//! operation.

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::problem::Problem;
use crate::modes::Concern;

/// What a handler writes as `security(("session" = []))`.
const SESSION: &str = "session";
/// The same for what only operators may do.
const OPERATOR: &str = "operator";

/// The document before the handlers are in it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Faultline core",
        description = "Accounts, profiles and payments. Every refusal is a problem of RFC 9457; `type` is stable, for \
                       programs. Times are RFC 3339, amounts whole numbers of the currency's smallest unit."
    ),
    components(schemas(Concern, Problem)),
    modifiers(&Schemes),
    tags(
        (name = "accounts", description = "Register, sign in, stay signed in."),
        (name = "profiles", description = "What users say about themselves."),
        (name = "payments", description = "Charge, capture later, give back. Repeating a request never moves money twice."),
        (name = "exports", description = "A copy of everything we keep of an account."),
        (name = "analytics", description = "Reports for whoever runs the business."),
        (name = "operations", description = "For whoever runs core."),
    )
)]
pub(super) struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(SESSION, bearer.clone());
        components.add_security_scheme(OPERATOR, bearer);
    }
}

/// `/openapi.json` for programs, `/docs` for people; both made once.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    document: &utoipa::openapi::OpenApi,
) -> anyhow::Result<Router<S>> {
    let document = complete(document).context("could not write the description of the API")?;
    let page = super::docs::page(&document).context("could not write the page about the API")?;
    let json = Bytes::from(document.to_string());
    let page = Bytes::from(page);
    let style =
        [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")];
    Ok(Router::new()
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], json)))
        .route("/docs", get(async move || (style, Html(page)))))
}

/// The document as it is served, with the refusals that every operation of a kind shares.
fn complete(document: &utoipa::openapi::OpenApi) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(document)?;
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = name(method, path).into();
            share_refusals(path, operation);
        }
    }
    Ok(document)
}

/// What generated clients call it: `post_payments_id_capture`. Handlers have the same name in several modules.
fn name(method: &str, path: &str) -> String {
    let words = path.split('/').filter(|word| !matches!(*word, "" | "v1"));
    words.fold(method.to_owned(), |name, word| name + "_" + word.trim_matches(['{', '}']))
}

fn share_refusals(path: &str, operation: &mut Value) {
    for (status, why) in shared_refusals(path, operation) {
        let answer = &mut operation["responses"][status.as_str()];
        if answer.is_null() {
            *answer = json!({ "description": why });
        }
    }
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.as_str() >= "400" {
            refuse(status, answer);
        }
    }
}

fn shared_refusals(path: &str, operation: &Value) -> Vec<(StatusCode, &'static str)> {
    let mut refusals =
        vec![(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong; the cause is in the log of core")];
    if path.starts_with("/v1/") {
        refusals.extend([
            (StatusCode::REQUEST_TIMEOUT, "The request arrived too slowly"),
            (StatusCode::TOO_MANY_REQUESTS, "Too many requests; Retry-After says when to come back"),
            (StatusCode::SERVICE_UNAVAILABLE, "Too busy; Retry-After says when to come back"),
        ]);
    }
    if operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()) {
        refusals.push((StatusCode::UNAUTHORIZED, "No token, or one of a session that is over"));
    }
    if !operation["requestBody"].is_null() {
        refusals.extend([
            (StatusCode::BAD_REQUEST, "The body is not readable"),
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is of another type"),
            (StatusCode::UNPROCESSABLE_ENTITY, "Some fields cannot be used; `errors` says which and why"),
        ]);
    }
    let in_query = |parameter: &Value| parameter["in"] == "query";
    if operation["parameters"].as_array().is_some_and(|parameters| parameters.iter().any(in_query)) {
        refusals.extend([
            (StatusCode::BAD_REQUEST, "The query is not readable"),
            (StatusCode::UNPROCESSABLE_ENTITY, "Some parameters cannot be used; `errors` says which and why"),
        ]);
    }
    refusals
}

fn refuse(status: &str, answer: &mut Value) {
    answer["content"] = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    if matches!(status, "429" | "503") {
        answer["headers"] = json!({ "Retry-After": { "description": "Seconds to wait", "schema": { "type": "integer", "minimum": 1 } } });
    }
}
