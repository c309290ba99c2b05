//! Payments of whoever is signed in.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::extract::{Asked, Body, IdempotencyKey, SignedIn};
use super::problem::Problem;
use crate::domain::idempotency::Key;
use crate::domain::input::{self, CardToken, FieldErrors, Money};
use crate::domain::payments::Payment;
use crate::flows::payments::{self, Order};
use crate::flows::{Core, Error};

const PAGE_ROWS_DEFAULT: u32 = 20;
const PAGE_ROWS_MAX: u32 = 100;

#[derive(Deserialize)]
pub(crate) struct PaymentBody {
    amount_minor: Option<i64>,
    currency: Option<String>,
    description: Option<String>,
    card_token: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PageQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

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

pub(crate) async fn read(
    State(core): State<Core>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Payment>, Problem> {
    Ok(Json(payments::find(&core, signed_in.user_id(), payment_id(&id)?).await?))
}

pub(crate) async fn list(
    State(core): State<Core>,
    signed_in: SignedIn,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let (before, limit) = query.check()?;
    let page = payments::list(&core, signed_in.user_id(), before, limit).await?;
    Ok(Json(json!({ "items": page.payments, "next_cursor": page.next })))
}

pub(crate) async fn refund(
    State(core): State<Core>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Payment>, Problem> {
    Ok(Json(payments::refund(&core, signed_in.user_id(), payment_id(&id)?).await?))
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
                let money = Money::new(amount, currency);
                let request_hash = request_hash(money, &description, &card);
                Ok(Order { key: Key { user_id, key, request_hash }, money, description, card })
            }
            _ => Err(Problem::fields(errors)),
        }
    }
}

impl PageQuery {
    fn check(self) -> Result<(Option<Uuid>, u32), Problem> {
        let mut errors = FieldErrors::default();
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

/// Over the values, not the bytes: the same order written with other spaces is the same request.
fn request_hash(money: Money, description: &str, card: &CardToken) -> [u8; 32] {
    let request = json!([money.amount_minor(), money.currency(), description, card.as_str()]);
    Sha256::digest(request.to_string()).into()
}

/// What is no id at all is no payment of ours either.
fn payment_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Error::PaymentMissing.into())
}
