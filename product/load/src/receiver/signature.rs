//! Whether a webhook comes from who it says: `Webhook-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`.
//!
//! The time is part of what is signed, so that a copy caught on its way is worthless some minutes later.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::Secret;

/// How far the two clocks may be apart, the way included.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    #[error("the header Webhook-Signature is missing or makes no sense")]
    Unsigned,
    #[error("the signature is of another time, or the clocks are far apart")]
    Stale,
    #[error("the signature is not of this body with our secret")]
    Wrong,
}

impl Distrust {
    pub(super) fn name(self) -> &'static str {
        match self {
            Distrust::Unsigned => "unsigned",
            Distrust::Stale => "stale",
            Distrust::Wrong => "wrong",
        }
    }
}

pub(super) fn check(headers: &HeaderMap, body: &[u8], secret: &Secret, now: SystemTime) -> Result<(), Distrust> {
    let header = headers.get("webhook-signature").and_then(|header| header.to_str().ok()).ok_or(Distrust::Unsigned)?;
    let part = |name| header.split(',').find_map(|part| part.trim().strip_prefix(name)).ok_or(Distrust::Unsigned);
    let (time, signature) = (part("t=")?, part("v1=")?);
    let signature = hex::decode(signature).map_err(|_| Distrust::Unsigned)?;
    let signed_at = time.parse().map_err(|_| Distrust::Unsigned)?;
    let signed_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(signed_at)).ok_or(Distrust::Stale)?;
    let apart = now.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if apart > AGE_MAX {
        return Err(Distrust::Stale);
    }
    // Comparing takes the same time wherever the difference is.
    signer(secret, time, body).verify_slice(&signature).map_err(|_| Distrust::Wrong)
}

fn signer(secret: &Secret, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut signer =
        Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("HMAC takes a key of any length");
    signer.update(time.as_bytes());
    signer.update(b".");
    signer.update(body);
    signer
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED_S: u64 = 1_795_348_800;
    /// Of "1795348800.{}" with the key "secret", by another implementation.
    const SIGNATURE: &str = "a2bb56e28c051bf8ec34a6b17227a73c171ec872e2d3f7a2bdd11b571f529cff";

    fn checked(header: &str, body: &str, secret: &str, age_s: i64) -> Result<(), Distrust> {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-signature", header.parse().expect("a header"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(SIGNED_S.saturating_add_signed(age_s));
        check(&headers, body.as_bytes(), &Secret::from(secret.to_owned()), now)
    }

    fn signed(age_s: i64) -> Result<(), Distrust> {
        checked(&format!("t={SIGNED_S},v1={SIGNATURE}"), "{}", "secret", age_s)
    }

    #[test]
    fn what_was_signed_with_the_secret_a_moment_ago_is_believed() {
        assert_eq!(signed(0), Ok(()));
        assert_eq!((signed(300), signed(-300)), (Ok(()), Ok(())));
    }

    #[test]
    fn an_old_signature_is_worth_nothing() {
        assert_eq!((signed(301), signed(-301)), (Err(Distrust::Stale), Err(Distrust::Stale)));
        let renewed = format!("t={},v1={SIGNATURE}", SIGNED_S + 1);
        assert_eq!(checked(&renewed, "{}", "secret", 0), Err(Distrust::Wrong), "the time is signed as well");
    }

    #[test]
    fn another_body_or_secret_does_not_fit() {
        let header = format!("t={SIGNED_S},v1={SIGNATURE}");
        assert_eq!(checked(&header, "{} ", "secret", 0), Err(Distrust::Wrong));
        assert_eq!(checked(&header, "{}", "guess", 0), Err(Distrust::Wrong));
        assert_eq!(checked(&format!("t={SIGNED_S},v1="), "{}", "secret", 0), Err(Distrust::Wrong));
    }

    #[test]
    fn half_a_header_is_no_signature() {
        for header in ["", "t=1", &format!("v1={SIGNATURE}"), "t=soon,v1=00", "t=1,v1=xyz"] {
            assert_eq!(checked(header, "{}", "secret", 0), Err(Distrust::Unsigned), "{header}");
        }
        assert_eq!(
            check(&HeaderMap::new(), b"{}", &Secret::from(String::new()), SystemTime::UNIX_EPOCH),
            Err(Distrust::Unsigned)
        );
    }
}
