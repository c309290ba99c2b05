//! Payments of whoever is signed in.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Asked, Body, Id, IdempotencyKey, SignedIn};
use super::problem::Problem;
use crate::domain::idempotency::Key;
use crate::domain::input::{self, CardToken, FieldErrors, Money};
use crate::domain::payments::Payment;
use crate::flows::payments::{self, Order, Wish};
use crate::flows::{Core, Error};

const PAGE_ROWS_DEFAULT: u32 = 20;
const PAGE_ROWS_MAX: u32 = 100;

#[derive(Deserialize, ToSchema)]
pub(crate) struct PaymentBody {
    /// In the smallest unit of the currency.
    #[schema(value_type = i64, minimum = 1, maximum = 99_999_999, examples(1250))]
    amount_minor: Option<i64>,
    /// ISO 4217.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$", examples("EUR"))]
    currency: Option<String>,
    #[schema(max_length = 200)]
    description: Option<String>,
    /// The acquirer's name for the card.
    #[schema(value_type = String, min_length = 1, max_length = 128, examples("tok_4242"))]
    card_token: Option<String>,
    /// False: the bank only holds the money, until `/capture`.
    #[schema(default = true)]
    capture: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    items: Vec<Payment>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<Uuid>,
}

/// Pay
///
/// With the same Idempotency-Key and the same body it is the same payment and the same answer, for 24 hours.
#[utoipa::path(post, path = "/v1/payments", tag = "payments", security(("session" = [])), request_body = PaymentBody,
    params(("Idempotency-Key" = String, Header, description = "A new value for each payment", min_length = 1, max_length = 255)),
    responses(
        (status = 201, description = "Decided: captured, authorized or declined", body = Payment,
            headers(("Idempotency-Replayed" = bool, description = "Whether an earlier request got this answer first"))),
        (status = 409, description = "An earlier request with this key is still at work"),
        (status = 502, description = "The acquirer gave no usable answer; repeat with the same key"),
    ))]
pub(crate) async fn create(
    State(core): State<Core>,
    signed_in: SignedIn,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<PaymentBody>,
) -> Result<Response, Problem> {
    let answer = payments::create(&core, body.check(signed_in.user_id(), key)?).await?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        ("idempotency-replayed", if answer.replayed { "true" } else { "false" }),
    ];
    Ok((StatusCode::CREATED, headers, answer.json).into_response())
}

/// Read a payment
#[utoipa::path(get, path = "/v1/payments/{id}", tag = "payments", security(("session" = [])),
    params(("id" = Uuid, Path, description = "Of the payment")),
    responses(
        (status = 200, description = "The payment", body = Payment),
        (status = 404, description = "No such payment of this account"),
    ))]
pub(crate) async fn read(State(core): State<Core>, signed_in: SignedIn, Id(id): Id) -> Result<Json<Payment>, Problem> {
    Ok(Json(payments::find(&core, signed_in.user_id(), id.ok_or(Error::PaymentMissing)?).await?))
}

/// List payments, newest first
#[utoipa::path(get, path = "/v1/payments", tag = "payments", security(("session" = [])), params(PageQuery),
    responses((status = 200, description = "A page", body = Page)))]
pub(crate) async fn list(
    State(core): State<Core>,
    signed_in: SignedIn,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page>, Problem> {
    let (before, limit) = query.check()?;
    let page = payments::list(&core, signed_in.user_id(), before, limit).await?;
    Ok(Json(Page { items: page.payments, next_cursor: page.next }))
}

/// Capture an authorized payment
///
/// Asking again changes nothing.
#[utoipa::path(post, path = "/v1/payments/{id}/capture", tag = "payments", security(("session" = [])),
    params(("id" = Uuid, Path, description = "Of the payment")),
    responses(
        (status = 200, description = "Captured", body = Payment),
        (status = 404, description = "No such payment of this account"),
        (status = 409, description = "Not authorized, or given back already"),
        (status = 502, description = "The acquirer gave no usable answer; ask again"),
    ))]
pub(crate) async fn capture(
    State(core): State<Core>,
    signed_in: SignedIn,
    Id(id): Id,
) -> Result<Json<Payment>, Problem> {
    let id = id.ok_or(Error::PaymentMissing)?;
    Ok(Json(payments::change(&core, signed_in.user_id(), id, Wish::Capture).await?))
}

/// Give a captured payment back
///
/// Asking again changes nothing.
#[utoipa::path(post, path = "/v1/payments/{id}/refund", tag = "payments", security(("session" = [])),
    params(("id" = Uuid, Path, description = "Of the payment")),
    responses(
        (status = 200, description = "Refunded", body = Payment),
        (status = 404, description = "No such payment of this account"),
        (status = 409, description = "Nothing was captured"),
        (status = 502, description = "The acquirer gave no usable answer; ask again"),
    ))]
pub(crate) async fn refund(
    State(core): State<Core>,
    signed_in: SignedIn,
    Id(id): Id,
) -> Result<Json<Payment>, Problem> {
    let id = id.ok_or(Error::PaymentMissing)?;
    Ok(Json(payments::change(&core, signed_in.user_id(), id, Wish::Refund).await?))
}

impl PaymentBody {
    fn check(self, user_id: Uuid, key: String) -> Result<Order, Problem> {
        let mut errors = FieldErrors::default();
        let amount = errors.check("amount_minor", input::amount_minor(self.amount_minor));
        let currency = errors.check("currency", input::currency(self.currency));
        let description = errors.check("description", input::description(self.description));
        let card = errors.check("card_token", CardToken::parse(self.card_token));
        match (amount, currency, description, card) {
            (Some(amount), Some(currency), Some(description), Some(card)) => {
                let (money, capture) = (Money::new(amount, currency), self.capture.unwrap_or(true));
                // Over the values, not the bytes: the same order written with other spaces is the same request.
                let request = json!([amount, currency, description, card.as_str(), capture]);
                let request_hash = Sha256::digest(request.to_string()).into();
                Ok(Order { key: Key { user_id, key, request_hash }, money, description, card, capture })
            }
            _ => Err(Problem::fields(errors)),
        }
    }
}

impl PageQuery {
    fn check(self) -> Result<(Option<Uuid>, u32), Problem> {
        let mut errors = FieldErrors::of_query();
        let limit = self.limit.unwrap_or(PAGE_ROWS_DEFAULT);
        let limit = errors.check(
            "limit",
            match limit {
                1..=PAGE_ROWS_MAX => Ok(limit),
                _ => Err(format!("must be between 1 and {PAGE_ROWS_MAX}")),
            },
        );
        // Today's cursor is the id of the last payment shown. Clients are told nothing but to hand it back.
        let cursor = self.cursor.map(|cursor| Uuid::parse_str(&cursor)).transpose();
        let cursor =
            errors.check("cursor", cursor.map_err(|_| "must be the next_cursor of an earlier page".to_owned()));
        cursor.zip(limit).ok_or_else(|| Problem::fields(errors))
    }
}
