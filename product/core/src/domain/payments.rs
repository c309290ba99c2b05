//! Payments and the only ways in which their status may change.

use std::fmt;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use uuid::Uuid;

use super::input::{Money, known_currency};
use super::{id, span, time, traced, undecodable};

/// `Pending` until the acquirer has answered; `Capturing` and `Refunding` from the wish to the acquirer's word on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Pending,
    Authorized,
    Capturing,
    Captured,
    Declined,
    Refunding,
    Refunded,
}

impl Status {
    const ALL: [Status; 7] = [
        Status::Pending,
        Status::Authorized,
        Status::Capturing,
        Status::Captured,
        Status::Declined,
        Status::Refunding,
        Status::Refunded,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Authorized => "authorized",
            Status::Capturing => "capturing",
            Status::Captured => "captured",
            Status::Declined => "declined",
            Status::Refunding => "refunding",
            Status::Refunded => "refunded",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payment as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Payment {
    pub(crate) id: Uuid,
    #[serde(skip)]
    pub(crate) user_id: Uuid,
    pub(crate) status: Status,
    #[serde(flatten)]
    pub(crate) money: Money,
    pub(crate) description: String,
    pub(crate) created_at: Timestamp,
}

/// Adds a payment that nobody has been charged for yet.
pub(crate) async fn open(
    connection: &mut AnyConnection,
    user_id: Uuid,
    money: Money,
    description: &str,
    now: Timestamp,
) -> sqlx::Result<Payment> {
    let payment = Payment {
        id: Uuid::now_v7(),
        user_id,
        status: Status::Pending,
        money,
        description: description.to_owned(),
        created_at: now,
    };
    let query = sqlx::query(
        "INSERT INTO payments (id, user_id, amount_minor, currency, description, status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(payment.id.to_string())
    .bind(user_id.to_string())
    .bind(money.amount_minor())
    .bind(money.currency())
    .bind(description)
    .bind(payment.status.as_str())
    .bind(now.as_millisecond())
    .bind(now.as_millisecond());
    traced(span(connection, "INSERT", "payments"), query.execute(connection)).await?;
    Ok(payment)
}

/// The payment, if it is this user's.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    user_id: Uuid,
    payment_id: Uuid,
) -> sqlx::Result<Option<Payment>> {
    let query = sqlx::query("SELECT * FROM payments WHERE id = $1 AND user_id = $2")
        .bind(payment_id.to_string())
        .bind(user_id.to_string());
    let row = traced(span(connection, "SELECT", "payments"), query.fetch_optional(connection)).await?;
    row.as_ref().map(payment).transpose()
}

/// The newest payments of a user that are older than `before`.
pub(crate) async fn list(
    connection: &mut AnyConnection,
    user_id: Uuid,
    before: Option<Uuid>,
    rows_max: u32,
) -> sqlx::Result<Vec<Payment>> {
    // `g` sorts after every hexadecimal digit: without a cursor the list starts at the newest.
    let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
    let query = sqlx::query("SELECT * FROM payments WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
        .bind(user_id.to_string())
        .bind(before)
        .bind(i64::from(rows_max));
    let rows = traced(span(connection, "SELECT", "payments"), query.fetch_all(connection)).await?;
    rows.iter().map(payment).collect()
}

/// Changes the status if it still is `from`; false when somebody else was first.
pub(crate) async fn advance(
    connection: &mut AnyConnection,
    payment: &mut Payment,
    from: Status,
    to: Status,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let moment = match to {
        Status::Captured => ", captured_at = $2",
        Status::Declined => ", declined_at = $2",
        Status::Refunded => ", refunded_at = $2",
        _ => "",
    };
    let sql = format!("UPDATE payments SET status = $1, updated_at = $2{moment} WHERE id = $3 AND status = $4");
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(to.as_str())
        .bind(now.as_millisecond())
        .bind(payment.id.to_string())
        .bind(from.as_str());
    let changed = traced(span(connection, "UPDATE", "payments"), query.execute(connection)).await?.rows_affected() == 1;
    if changed {
        payment.status = to;
    }
    Ok(changed)
}

fn payment(row: &AnyRow) -> sqlx::Result<Payment> {
    let status: &str = row.try_get("status")?;
    let currency: &str = row.try_get("currency")?;
    Ok(Payment {
        id: id(row, "id")?,
        user_id: id(row, "user_id")?,
        status: Status::ALL
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or_else(|| undecodable("status", "unknown status"))?,
        money: Money::new(
            row.try_get("amount_minor")?,
            known_currency(currency).ok_or_else(|| undecodable("currency", "unknown currency"))?,
        ),
        description: row.try_get("description")?,
        created_at: time(row, "created_at")?,
    })
}
