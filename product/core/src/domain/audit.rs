//! Who did what to which account, for those who must answer for it later. Written in the transaction of the deed,
//! so neither exists without the other; nothing deletes from it.

use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::Uuid;

use super::{span, traced};

/// What happened. A closed set: whoever reads the log can list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Registered,
    Verified,
    LoggedIn,
    LoginFailed,
    Locked,
    Refreshed,
    RefreshReused,
    LoggedOut,
    ProfileUpdated,
    AvatarChanged,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    ExportRequested,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Registered => "registered",
            Kind::Verified => "verified",
            Kind::LoggedIn => "logged_in",
            Kind::LoginFailed => "login_failed",
            Kind::Locked => "locked",
            Kind::Refreshed => "refreshed",
            Kind::RefreshReused => "refresh_reused",
            Kind::LoggedOut => "logged_out",
            Kind::ProfileUpdated => "profile_updated",
            Kind::AvatarChanged => "avatar_changed",
            Kind::PaymentAuthorized => "payment_authorized",
            Kind::PaymentCaptured => "payment_captured",
            Kind::PaymentDeclined => "payment_declined",
            Kind::PaymentRefunded => "payment_refunded",
            Kind::ExportRequested => "export_requested",
        }
    }
}

/// One line of the log. No address and no secret: it outlives both.
pub(crate) struct Entry {
    /// The event's, where the deed has one, so that log and event can be laid side by side.
    pub(crate) id: Uuid,
    /// None when somebody failed to sign in to an account that does not exist.
    pub(crate) user_id: Option<Uuid>,
    pub(crate) kind: Kind,
    pub(crate) at: Timestamp,
    /// The id of what it was done to, when that is not the account itself.
    pub(crate) detail: Option<Uuid>,
}

impl Entry {
    pub(crate) fn new(kind: Kind, user_id: impl Into<Option<Uuid>>, at: Timestamp) -> Entry {
        Entry { id: Uuid::now_v7(), user_id: user_id.into(), kind, at, detail: None }
    }
}

pub(crate) async fn note(connection: &mut AnyConnection, entry: Entry) -> sqlx::Result<()> {
    let query = sqlx::query("INSERT INTO audit_log (id, user_id, kind, at, detail) VALUES ($1, $2, $3, $4, $5)")
        .bind(entry.id.to_string())
        .bind(entry.user_id.map(|id| id.to_string()))
        .bind(entry.kind.as_str())
        .bind(entry.at.as_millisecond())
        .bind(entry.detail.map(|id| id.to_string()));
    traced(span(connection, "INSERT", "audit_log"), query.execute(connection)).await?;
    Ok(())
}
