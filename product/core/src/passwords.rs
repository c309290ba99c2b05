//! argon2id. Hashing is meant to be expensive, so it is the first thing a flood of logins would exhaust: it is done
//! by a bounded number of workers, in memory that is kept from one password to the next. An allocator would keep it
//! for each thread that ever hashed (half a gigabyte in all) or fetch five thousand pages anew for each password.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
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
    memory: Arc<Memory>,
    /// What an unknown account is checked against, so that it takes as long as a known one.
    nobodys_hash: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(workers: Workers) -> Result<Passwords, PasswordError> {
        let memory = Arc::<Memory>::default();
        let nobodys_hash = hash(&memory, &rand::random::<[u8; 32]>()).map_err(PasswordError::Hash)?;
        Ok(Passwords { workers, memory, nobodys_hash: Arc::from(nobodys_hash) })
    }

    /// A PHC string with a salt of its own.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.work(move |memory| hash(memory, password.as_bytes())).await
    }

    /// Whether `password` belongs to `hash`. Without a hash it costs the same and is false.
    pub(crate) async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys_hash.to_string());
        let matches = self.work(move |memory| verify(memory, password.as_bytes(), &hash)).await?;
        Ok(known && matches)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Memory) -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let memory = self.memory.clone();
        self.workers.run(info_span!("argon2id"), move || work(&memory)).await?.map_err(PasswordError::Hash)
    }
}

/// What is not in use: as many pieces as passwords were ever hashed at once, which the workers bound.
#[derive(Default)]
struct Memory(Mutex<Vec<Vec<Block>>>);

impl Memory {
    fn argon2id(&self, params: &Params, password: &[u8], salt: &[u8]) -> Result<Output, argon2::password_hash::Error> {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = idle().pop().unwrap_or_default();
        blocks.resize(params.block_count(), Block::default());
        let argon2id = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let output = Output::init_with(length, |output| {
            Ok(argon2id.hash_password_into_with_memory(password, salt, output, &mut blocks)?)
        });
        idle().push(blocks);
        output
    }
}

fn hash(memory: &Memory, password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = rand::random::<[u8; 16]>();
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let output = memory.argon2id(&params, password, &salt)?;
    let salt = SaltString::encode_b64(&salt)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt.as_salt()),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

fn verify(memory: &Memory, password: &[u8], hash: &str) -> Result<bool, argon2::password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
        return Err(argon2::password_hash::Error::PhcStringField);
    };
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    // Equal in a time that does not tell where they differ.
    Ok(memory.argon2id(&Params::try_from(&hash)?, password, salt)? == expected)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

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
        assert_eq!(passwords.memory.0.lock().unwrap().len(), 1, "one after the other, in the same memory");
    }

    #[test]
    fn the_hash_is_everybodys_argon2id() {
        let hash = hash(&Memory::default(), b"correct horse").unwrap();
        let hash = PasswordHash::new(&hash).unwrap();
        Argon2::default().verify_password(b"correct horse", &hash).unwrap();
    }
}
