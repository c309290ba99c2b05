//! What the acquirer decided, by payment.

use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::answers;
use crate::database::{Database, told};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS charges (
        payment_id   TEXT PRIMARY KEY,
        charge_id    TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency     TEXT NOT NULL,
        status       TEXT NOT NULL,            -- authorized (held, not taken), approved (taken), declined, refunded
        charges      INTEGER NOT NULL,         -- requests for the charge, repeats included
        refunds      INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS captures (      -- of money that was held first
        payment_id   TEXT PRIMARY KEY,
        captures     INTEGER NOT NULL          -- requests, repeats included
    ) WITHOUT ROWID, STRICT";

#[derive(Clone, Debug)]
pub(super) struct Charges {
    database: Database,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Charge {
    pub(super) charge_id: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    status: String,
}

impl Charge {
    /// What was decided on the charge, whatever happened later.
    pub(super) fn decision(&self) -> &'static str {
        if self.status == "declined" { "declined" } else { "approved" }
    }
}

/// What came of a request about a charge made before.
pub(super) enum Change {
    Done(Charge),
    /// There is no money to take or to give back.
    Nothing,
    Unknown,
}

impl Charges {
    pub(super) fn new(database: Database) -> Charges {
        Charges { database }
    }

    /// The charge of this payment: made now with `status`, or as it was decided before.
    pub(super) async fn decide(
        &self,
        payment: Uuid,
        amount_minor: i64,
        currency: &str,
        status: &str,
    ) -> sqlx::Result<Charge> {
        let statement = sqlx::query_as(
            "INSERT INTO charges (payment_id, charge_id, amount_minor, currency, status, charges)
             VALUES (?, ?, ?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET charges = charges + 1
             RETURNING charge_id, amount_minor, currency, status",
        )
        .bind(payment.to_string())
        .bind(Uuid::now_v7().to_string())
        .bind(amount_minor)
        .bind(currency)
        .bind(status)
        .fetch_one(&self.database.writer);
        told("INSERT", "charges", statement).await
    }

    /// Takes money that is held, once; a second request finds it taken.
    pub(super) async fn capture(&self, payment: Uuid) -> sqlx::Result<Change> {
        let mut transaction = self.database.writer.begin().await?;
        let statement = sqlx::query_scalar(
            "INSERT INTO captures (payment_id, captures)
             SELECT payment_id, 1 FROM charges WHERE payment_id = ?
                AND (status = 'authorized' OR EXISTS (SELECT 1 FROM captures WHERE payment_id = charges.payment_id))
             ON CONFLICT DO UPDATE SET captures = captures + 1
             RETURNING captures",
        )
        .bind(payment.to_string())
        .fetch_optional(&mut *transaction);
        let captures: Option<i64> = told("INSERT", "captures", statement).await?;
        let statement = sqlx::query_as(
            "UPDATE charges SET status = CASE status WHEN 'authorized' THEN 'approved' ELSE status END
             WHERE payment_id = ?
             RETURNING charge_id, amount_minor, currency, status",
        )
        .bind(payment.to_string())
        .fetch_optional(&mut *transaction);
        let charge: Option<Charge> = told("UPDATE", "charges", statement).await?;
        transaction.commit().await?;
        Ok(match charge {
            None => Change::Unknown,
            Some(charge) if captures.is_some() => Change::Done(charge),
            Some(_) => Change::Nothing,
        })
    }

    /// Refunds once; a second request finds it done.
    pub(super) async fn refund(&self, payment: Uuid) -> sqlx::Result<Change> {
        let statement = sqlx::query_as(
            "UPDATE charges SET refunds = refunds + (status IN ('approved', 'refunded')),
                status = CASE status WHEN 'approved' THEN 'refunded' ELSE status END
             WHERE payment_id = ?
             RETURNING charge_id, amount_minor, currency, status",
        )
        .bind(payment.to_string())
        .fetch_optional(&self.database.writer);
        let charge: Option<Charge> = told("UPDATE", "charges", statement).await?;
        Ok(match charge {
            None => Change::Unknown,
            Some(charge) if charge.status == "refunded" => Change::Done(charge),
            Some(_) => Change::Nothing,
        })
    }

    /// One JSON line for each charge, capture of held money, and refund. Money was taken where a charge was approved or
    /// an authorized one captured.
    pub(super) fn lines(&self) -> mpsc::Receiver<sqlx::Result<String>> {
        let (send, receive) = mpsc::channel(answers::LINES_UNREAD_MAX);
        let readers = self.database.readers.clone();
        tokio::spawn(async move {
            let mut rows = sqlx::query_as::<_, (String, String, i64)>(
                "SELECT 'charge.' || CASE
                        WHEN status = 'declined' THEN 'declined'
                        WHEN status = 'authorized' OR captures IS NOT NULL THEN 'authorized'
                        ELSE 'approved' END,
                    payment_id, charges FROM charges LEFT JOIN captures USING (payment_id)
                 UNION ALL
                 SELECT 'charge.captured', payment_id, captures FROM captures
                 UNION ALL
                 SELECT 'charge.refunded', payment_id, refunds FROM charges WHERE status = 'refunded'",
            )
            .fetch(&readers);
            while let Some(row) = rows.next().await {
                let line = row.map(|(event_type, payment_id, deliveries)| {
                    let line = json!({
                        "effect": "charge", "event_type": event_type, "payment_id": payment_id,
                        "count": 1, "deliveries": deliveries,
                    });
                    format!("{line}\n")
                });
                if send.send(line).await.is_err() {
                    break; // the reader has gone
                }
            }
        });
        receive
    }
}
