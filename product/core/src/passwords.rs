//! argon2id. Hashing is meant to be expensive, so it is the first thing a flood of logins would exhaust: it is done
//! by a bounded number of workers.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tracing::info_span;

use crate::domain::input::Password;
use crate::workers::{WorkError, Workers};

/// OWASP's recommendation: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("could not hash a password: {0}")]
    Hash(argon2::password_hash::Error),
}

#[derive(Clone)]
pub(crate) struct Passwords {
    workers: Workers,
    /// What an unknown account is checked against, so that it takes as long as a known one.
    nobodys_hash: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(workers: Workers) -> Result<Passwords, PasswordError> {
        let nobodys_hash = hash(&rand::random::<[u8; 32]>()).map_err(PasswordError::Hash)?;
        Ok(Passwords { workers, nobodys_hash: Arc::from(nobodys_hash) })
    }

    /// A PHC string with a salt of its own.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.work(move || hash(password.as_bytes())).await
    }

    /// Whether `password` belongs to `hash`. Without a hash it costs the same and is false.
    pub(crate) async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys_hash.to_string());
        let matches = self.work(move || verify(password.as_bytes(), &hash)).await?;
        Ok(known && matches)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, PasswordError> {
        self.workers.run(info_span!("argon2id"), work).await?.map_err(PasswordError::Hash)
    }
}

fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(argon2id()?.hash_password(password, &salt)?.to_string())
}

fn verify(password: &[u8], hash: &str) -> Result<bool, argon2::password_hash::Error> {
    match argon2id()?.verify_password(password, &PasswordHash::new(hash)?) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(error),
    }
}

fn argon2id() -> Result<Argon2<'static>, argon2::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::attempted(Some(text.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_belongs_to_a_hash() {
        let passwords = Passwords::new(Workers::new("passwords", 2, 8)).unwrap();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(password("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(password("battery staple"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(password("anything"), None).await.unwrap());
    }
}
