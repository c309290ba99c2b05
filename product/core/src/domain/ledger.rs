//! Double entry: every movement of money leaves one account and enters another, in the transaction of the status
//! that says so. The sum over any movement, and so over all of them, is zero.
//!
//! Positive is what enters. An authorization moves nothing: the bank holds it, we do not have it.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row};

use super::payments::Payment;
use super::{span, traced};

/// Where money can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// What the acquirer has collected and owes us.
    Acquirer,
    /// What we owe the merchant for sales.
    Merchant,
    /// What the merchant gave back; kept apart from sales, so that both can be read.
    Refunds,
}

impl Account {
    fn as_str(self) -> &'static str {
        match self {
            Account::Acquirer => "acquirer",
            Account::Merchant => "merchant",
            Account::Refunds => "refunds",
        }
    }
}

/// A payment makes each of them at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    Capture,
    Refund,
}

impl Movement {
    fn as_str(self) -> &'static str {
        match self {
            Movement::Capture => "capture",
            Movement::Refund => "refund",
        }
    }

    /// From whom to whom.
    fn accounts(self) -> (Account, Account) {
        match self {
            Movement::Capture => (Account::Merchant, Account::Acquirer),
            Movement::Refund => (Account::Acquirer, Account::Refunds),
        }
    }
}

/// Writes both sides in one statement. Writing a movement twice is an error of the database.
pub(crate) async fn book(
    connection: &mut AnyConnection,
    payment: &Payment,
    movement: Movement,
    now: Timestamp,
) -> sqlx::Result<()> {
    let (from, to) = movement.accounts();
    let amount = payment.money.amount_minor();
    let query = sqlx::query(
        "INSERT INTO ledger_entries (payment_id, movement, account, amount_minor, currency, at)
         VALUES ($1, $2, $3, $4, $5, $6), ($7, $8, $9, $10, $11, $12)",
    );
    let query = [(from, -amount), (to, amount)].into_iter().fold(query, |query, (account, amount)| {
        query
            .bind(payment.id.to_string())
            .bind(movement.as_str())
            .bind(account.as_str())
            .bind(amount)
            .bind(payment.money.currency())
            .bind(now.as_millisecond())
    });
    traced(span(connection, "INSERT", "ledger_entries"), query.execute(connection)).await?;
    Ok(())
}

/// The books at one moment.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Books {
    /// Over all entries; anything but 0 is a bug.
    sum: i64,
    entries: i64,
    /// Movements whose entries do not sum to zero; anything but 0 is a bug.
    unbalanced: i64,
    balances: Vec<Balance>,
}

#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Balance {
    account: String,
    currency: String,
    balance_minor: i64,
}

pub(crate) async fn books(connection: &mut AnyConnection) -> sqlx::Result<Books> {
    // One statement, so that what is added up is one moment.
    let query = sqlx::query(
        "SELECT account, currency, CAST(SUM(amount_minor) AS BIGINT) AS balance, COUNT(*) AS entries,
            (SELECT COUNT(*) FROM (SELECT 1 FROM ledger_entries GROUP BY payment_id, movement, currency
             HAVING SUM(amount_minor) <> 0) AS crooked) AS unbalanced
         FROM ledger_entries GROUP BY account, currency ORDER BY account, currency",
    );
    let rows = traced(span(connection, "SELECT", "ledger_entries"), query.fetch_all(connection)).await?;
    let mut books = Books { sum: 0, entries: 0, unbalanced: 0, balances: Vec::with_capacity(rows.len()) };
    for row in rows {
        let balance_minor: i64 = row.try_get("balance")?;
        books.sum += balance_minor;
        books.entries += row.try_get::<i64, _>("entries")?;
        books.unbalanced = row.try_get("unbalanced")?;
        let (account, currency) = (row.try_get("account")?, row.try_get("currency")?);
        books.balances.push(Balance { account, currency, balance_minor });
    }
    Ok(books)
}
