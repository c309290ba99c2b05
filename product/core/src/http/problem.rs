//! Every refusal as `application/problem+json` (RFC 9457). The client reads a sentence; the cause is logged here, once.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::domain::input::{FieldError, FieldErrors};
use crate::flows::Error;
use crate::flows::payments::Wish;
use crate::rates::Exceeded;

/// Short, since what we run out of (a worker, a connection, a key's lease) comes back within a second.
const SHORTLY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Identifies the kind of problem; stable, for programs.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    status: u16,
    /// This one in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Problem {
        Problem { kind, title, status: status.as_u16(), detail: String::new(), errors: Vec::new(), retry_after: None }
    }

    fn detail(self, detail: impl ToString) -> Problem {
        Problem { detail: detail.to_string(), ..self }
    }

    fn retry(self, after: Duration) -> Problem {
        Problem { retry_after: Some(after), ..self }
    }

    pub(crate) fn fields(errors: FieldErrors) -> Problem {
        Problem {
            errors: errors.into_vec(),
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:faultline:problem:invalid-fields",
                "Some fields cannot be used",
            )
        }
    }

    /// Of one field of a JSON body.
    pub(crate) fn field(field: &'static str, complaint: &str) -> Problem {
        let mut errors = FieldErrors::default();
        errors.check::<()>(field, Err(complaint.to_owned()));
        Self::fields(errors)
    }

    pub(crate) fn header(detail: &str) -> Problem {
        Self::new(StatusCode::BAD_REQUEST, "urn:faultline:problem:invalid-header", "A header cannot be used")
            .detail(detail)
    }

    pub(crate) fn not_signed_in() -> Problem {
        Self::new(StatusCode::UNAUTHORIZED, "urn:faultline:problem:not-signed-in", "Not signed in")
            .detail("this needs the header `Authorization: Bearer <token>` of a session that is not over")
    }

    pub(crate) fn not_operator() -> Problem {
        Self::new(StatusCode::UNAUTHORIZED, "urn:faultline:problem:not-operator", "Not an operator").detail(
            "this needs the header `Authorization: Bearer <operator token>`, or without such a setting this machine",
        )
    }

    pub(crate) fn not_clean(reason: &'static str) -> Problem {
        Self::new(StatusCode::CONFLICT, "urn:faultline:problem:not-clean", "The comparison does not allow it")
            .detail(reason)
    }

    /// The service that has the reports gave none.
    pub(crate) fn analytics_away(cause: &anyhow::Error) -> Problem {
        warn!(exception.message = %format_args!("{cause:#}"), "no report from the analytics service: {cause:#}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "urn:faultline:problem:analytics-away", "No reports for now")
            .detail("the analytics service is away, retry shortly")
            .retry(SHORTLY)
    }

    pub(crate) fn no_route() -> Problem {
        Self::new(StatusCode::NOT_FOUND, "urn:faultline:problem:not-found", "Not found")
    }

    pub(crate) fn no_method() -> Problem {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "urn:faultline:problem:method-not-allowed", "Method not allowed here")
    }

    pub(crate) fn busy() -> Problem {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "urn:faultline:problem:busy", "Too busy")
            .detail("too many requests at once, retry shortly")
            .retry(SHORTLY)
    }

    fn too_many(detail: &str, retry_after: Duration) -> Problem {
        let kind = "urn:faultline:problem:too-many-requests";
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, "Too many requests").detail(detail).retry(retry_after)
    }

    pub(crate) fn media_type(detail: &str) -> Problem {
        Self::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail.to_owned())
    }

    pub(crate) fn too_slow() -> Problem {
        Self::new(StatusCode::REQUEST_TIMEOUT, "urn:faultline:problem:too-slow", "The request took too long")
    }

    fn internal() -> Problem {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "urn:faultline:problem:internal", "Something went wrong")
    }

    fn unreadable(status: StatusCode, detail: String) -> Problem {
        Self::new(status, "urn:faultline:problem:unreadable", "The request cannot be read").detail(detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let problem = match &error {
            Error::EmailTaken => {
                Problem::new(StatusCode::CONFLICT, "urn:faultline:problem:email-taken", "The account exists")
            }
            Error::WrongCredentials => {
                Problem::new(StatusCode::UNAUTHORIZED, "urn:faultline:problem:wrong-credentials", "Login refused")
            }
            // As slow as the lock is long: guessing does not pay.
            Error::Locked(remaining) => {
                Problem::too_many("too many wrong passwords for this address, wait before the next", *remaining)
            }
            Error::SessionOver => {
                Problem::new(StatusCode::UNAUTHORIZED, "urn:faultline:problem:session-over", "The session is over")
            }
            Error::PaymentMissing | Error::AvatarMissing | Error::ExportMissing => Problem::no_route(),
            Error::WrongStatus { wish: Wish::Capture, .. } => {
                Problem::new(StatusCode::CONFLICT, "urn:faultline:problem:not-capturable", "Not capturable")
            }
            Error::WrongStatus { wish: Wish::Refund, .. } => {
                Problem::new(StatusCode::CONFLICT, "urn:faultline:problem:not-refundable", "Not refundable")
            }
            Error::Picture(_) => {
                let kind = "urn:faultline:problem:picture";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "The picture cannot be used")
            }
            Error::KeyInFlight => {
                Problem::new(StatusCode::CONFLICT, "urn:faultline:problem:key-in-flight", "Still being worked on")
                    .retry(SHORTLY)
            }
            Error::KeyReused => {
                let kind = "urn:faultline:problem:key-reused";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "The Idempotency-Key means another request")
            }
            Error::Acquirer(_) => {
                let kind = "urn:faultline:problem:acquirer";
                Problem::new(StatusCode::BAD_GATEWAY, kind, "The acquirer gave no usable answer")
                    .detail("repeat the request with the same Idempotency-Key: nothing is charged or refunded twice")
            }
            Error::Busy => Problem::busy(),
            Error::Full(cause) => {
                error!(exception.message = %cause, "no room for what a request brings: {cause}");
                let kind = "urn:faultline:problem:full";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, "No room")
                    .detail("retry later; with the same Idempotency-Key nothing is done twice")
                    .retry(SHORTLY)
            }
            Error::Internal(cause) => {
                error!(exception.message = %format_args!("{cause:#}"), "a request failed: {cause:#}");
                Problem::internal()
            }
        };
        match problem.detail.is_empty() && problem.status < 500 {
            true => problem.detail(error),
            false => problem,
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        Problem::unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        Problem::unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Problem {
        Problem::too_many("more than one is given, wait before the next", exceeded.retry_after)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::unreadable(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            // Whole seconds, and not too soon.
            headers
                .insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs() + u64::from(after.subsec_nanos() > 0)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What a client gets from a bug. The panic's message stays here: it may hold anything.
pub(crate) fn panicked(_payload: Box<dyn Any + Send>) -> axum::http::Response<Body> {
    error!("a request handler panicked");
    Problem::internal().into_response()
}
