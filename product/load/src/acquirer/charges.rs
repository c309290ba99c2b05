//! What the acquirer decided, by payment.

use futures::StreamExt;
use observe::db;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use crate::answers;
use crate::database::Database;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS charges (
        payment_id   TEXT PRIMARY KEY,
        charge_id    TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency     TEXT NOT NULL,
        status       TEXT NOT NULL,            -- approved, declined, refunded
        charges      INTEGER NOT NULL,         -- requests for the charge, repeats included
        refunds      INTEGER NOT NULL DEFAULT 0
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

pub(super) enum Refund {
    Done(Charge),
    /// No money was taken.
    Declined,
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
        sqlx::query_as(
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
        .fetch_one(&self.database.writer)
        .instrument(db::span(db::SQLITE, "INSERT", "charges"))
        .await
    }

    /// Refunds once; a second request finds it done.
    pub(super) async fn refund(&self, payment: Uuid) -> sqlx::Result<Refund> {
        let charge: Option<Charge> = sqlx::query_as(
            "UPDATE charges SET refunds = refunds + 1,
                status = CASE status WHEN 'declined' THEN 'declined' ELSE 'refunded' END
             WHERE payment_id = ?
             RETURNING charge_id, amount_minor, currency, status",
        )
        .bind(payment.to_string())
        .fetch_optional(&self.database.writer)
        .instrument(db::span(db::SQLITE, "UPDATE", "charges"))
        .await?;
        Ok(match charge {
            None => Refund::Unknown,
            Some(charge) if charge.status == "declined" => Refund::Declined,
            Some(charge) => Refund::Done(charge),
        })
    }

    /// One JSON line for each charge and one for each refund.
    pub(super) fn lines(&self) -> mpsc::Receiver<sqlx::Result<String>> {
        let (send, receive) = mpsc::channel(answers::LINES_UNREAD_MAX);
        let readers = self.database.readers.clone();
        tokio::spawn(async move {
            let mut rows = sqlx::query_as::<_, (String, String, i64)>(
                "SELECT 'charge.' || CASE status WHEN 'declined' THEN 'declined' ELSE 'approved' END,
                    payment_id, charges FROM charges
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
