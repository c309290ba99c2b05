//! argon2id on a bounded number of threads.
//!
//! Hashing is meant to be expensive, so it is the first thing a flood of logins would exhaust. Here it cannot:
//! so many at a time, so many waiting, so long; whoever comes after that is told to retry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use opentelemetry::metrics::UpDownCounter;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument;

use crate::domain::input::Password;
use crate::metrics::Metrics;

/// OWASP's recommendation: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Longer than a full queue takes on two cores, shorter than people wait.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("could not hash a password")]
    Failed(#[source] anyhow::Error),
}

#[derive(Clone)]
pub(crate) struct Passwords {
    workers: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// What an unknown account is checked against, so that it takes as long as a known one.
    nobodys_hash: Arc<str>,
}

impl Passwords {
    pub(crate) async fn new(
        workers: usize,
        waiting_max: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Passwords, PasswordError> {
        let mut passwords = Passwords {
            workers: Arc::new(Semaphore::new(workers.max(1))),
            waiting: Arc::new(Semaphore::new(waiting_max.max(1))),
            metrics,
            nobodys_hash: Arc::from(""),
        };
        let hash = passwords.work(|| hash(&rand::random::<[u8; 32]>())).await?;
        passwords.nobodys_hash = Arc::from(hash);
        Ok(passwords)
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
        let permit = self.admit().instrument(tracing::info_span!("wait for a password worker")).await?;
        let span = tracing::info_span!("argon2id");
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit; // Held to the end of the work, even if the request is gone by then.
            span.in_scope(work)
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(PasswordError::Failed(anyhow!(error))),
            Err(panicked) => Err(PasswordError::Failed(panicked.into())),
        }
    }

    async fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, PasswordError> {
        let refused = || {
            self.metrics.password_pool_refused.add(1, &[]);
            PasswordError::Busy
        };
        let _place = self.waiting.try_acquire().map_err(|_full| refused())?;
        let _counted = Counted::one(&self.metrics.password_pool_waiting);
        let permit = timeout(WAIT_MAX, self.workers.clone().acquire_owned()).await;
        permit.map_err(|_elapsed| refused())?.map_err(|closed| PasswordError::Failed(closed.into()))
    }
}

/// One more while it lives.
struct Counted<'a>(&'a UpDownCounter<i64>);

impl<'a> Counted<'a> {
    fn one(counter: &'a UpDownCounter<i64>) -> Self {
        counter.add(1, &[]);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
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
        let passwords = Passwords::new(2, 8, Arc::new(Metrics::new())).await.unwrap();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(password("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(password("battery staple"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(password("anything"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let passwords = Passwords::new(1, 1, Arc::new(Metrics::new())).await.unwrap();
        let worker = passwords.workers.clone().acquire_owned().await.unwrap();
        let mut waiting = std::pin::pin!(passwords.admit());
        assert!(polled_once(waiting.as_mut()).await.is_none(), "the first waits for the worker");
        assert!(matches!(passwords.admit().await, Err(PasswordError::Busy)), "there is one place to wait");
        drop(worker);
        drop(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let metrics = Arc::new(Metrics::new());
        let passwords = Passwords {
            workers: Arc::new(Semaphore::new(0)),
            waiting: Arc::new(Semaphore::new(1)),
            metrics,
            nobodys_hash: Arc::from(""),
        };
        assert!(matches!(passwords.admit().await, Err(PasswordError::Busy)));
    }

    async fn polled_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
