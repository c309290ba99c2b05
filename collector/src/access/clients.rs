//! The clients that may send, from a TOML file: one table a client, named as metrics and logs shall call it.
//!
//! ```toml
//! [checkout]
//! token = "…"                          # authorization: Bearer …
//! requests_per_second_max = 50         # none when left out
//! bytes_per_second_max = 4194304       # as they arrive, and once more as they are inflated; none when left out
//!
//! [legacy]
//! user = "legacy"                      # authorization: Basic …
//! password = "…"
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::access::credentials::Credentials;
use crate::access::rate::Rate;
use crate::access::reload::Reload;
use crate::args::{self, Secret};
use crate::refusal::Refusal;

/// What the client of `--otlp-token` is called.
const OF_TOKEN: &str = "token";

const SHAPE: &str = "each client is a table with token, or with user and password, and may have requests_per_second_max \
                     and bytes_per_second_max, whole numbers above 0";

const NO_TOKEN: &str =
    "has to be ASCII without control characters and without blanks around it, as a header carries no other";

pub(crate) struct Clients(Vec<Arc<Client>>);

/// One who may send.
pub(crate) struct Client {
    name: String,
    credentials: Credentials,
    start: Instant,
    requests: Option<Rate>,
    bytes: Option<Rate>,
    requests_admitted: AtomicU64,
    requests_refused: AtomicU64,
    bytes_charged: AtomicU64,
}

/// What a client has sent since its entry was read.
#[derive(Clone, Debug)]
pub(crate) struct ClientCounts {
    pub name: String,
    pub requests_admitted: u64,
    /// Over one of its rates.
    pub requests_refused: u64,
    pub bytes: u64,
}

/// An entry of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: Option<String>,
    user: Option<String>,
    password: Option<String>,
    requests_per_second_max: Option<NonZeroU64>,
    bytes_per_second_max: Option<NonZeroU64>,
}

/// None when neither a file nor a token is set.
pub(crate) fn read(args: &args::Access) -> anyhow::Result<Option<Arc<Reload<Clients>>>> {
    let file = args.otlp_clients.clone();
    let token = args.otlp_token.as_ref().map(of_token).transpose()?;
    if file.is_none() && token.is_none() {
        return Ok(None);
    }
    let paths = file.iter().cloned().collect();
    let read = move || {
        let mut clients = Vec::new();
        if let Some(token) = &token {
            clients.push(Client::new(OF_TOKEN.to_owned(), token.clone(), None, None));
        }
        if let Some(path) = &file {
            clients.extend(read_file(path)?);
        }
        Clients::new(clients)
    };
    Reload::new("the clients of OTLP", paths, Box::new(read)).map(Some)
}

fn of_token(token: &Secret) -> anyhow::Result<Credentials> {
    let token = token.reveal();
    ensure!(!token.is_empty(), "--otlp-token is empty; leave it out to let everybody send");
    ensure!(Credentials::is_token(token), "--otlp-token {NO_TOKEN}");
    Ok(Credentials::bearer(token))
}

fn read_file(path: &Path) -> anyhow::Result<Vec<Client>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("could not read the clients of --otlp-clients from {}", path.display()))?;
    parse(&text).with_context(|| format!("{} does not say who may send", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<Client>> {
    // What the parser says may quote the line, and the line may be a secret: only its number is told.
    let entries: BTreeMap<String, Entry> = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("line {line} is not understood; {SHAPE}")
    })?;
    ensure!(!entries.is_empty(), "it is empty, so that nobody could send; {SHAPE}");
    entries.into_iter().map(|(name, entry)| entry.client(name)).collect()
}

impl Entry {
    fn client(self, name: String) -> anyhow::Result<Client> {
        let some = |text: &str| !text.is_empty();
        if let Some(token) = &self.token {
            ensure!(!some(token) || Credentials::is_token(token), "the token of client {name} {NO_TOKEN}");
        }
        let credentials = match (&self.token, &self.user, &self.password) {
            (Some(token), None, None) if some(token) => Credentials::bearer(token),
            // The colon ends a user's name in `authorization`.
            (None, Some(user), Some(password)) if some(user) && some(password) && !user.contains(':') => {
                Credentials::basic(user, password)
            }
            _ => bail!("client {name} has no credentials, or too many; {SHAPE}"),
        };
        Ok(Client::new(name, credentials, self.requests_per_second_max, self.bytes_per_second_max))
    }
}

impl Clients {
    fn new(clients: Vec<Client>) -> anyhow::Result<Clients> {
        for (at, client) in clients.iter().enumerate() {
            if let Some(twin) = clients[..at].iter().find(|twin| twin.credentials.equal(&client.credentials)) {
                bail!(
                    "clients {} and {} have the same credentials, so nobody could tell them apart",
                    twin.name,
                    client.name
                );
            }
        }
        Ok(Clients(clients.into_iter().map(Arc::new).collect()))
    }

    /// Looks at all of them whoever it is, so that the time it takes says nothing.
    pub(crate) fn find(&self, presented: &Credentials) -> Option<Arc<Client>> {
        let found = self.0.iter().fold(None, |found, client| match client.credentials.equal(presented) {
            true => Some(client),
            false => found,
        });
        found.cloned()
    }

    pub(crate) fn counts(&self) -> Vec<ClientCounts> {
        self.0.iter().map(|client| client.counts()).collect()
    }
}

impl Client {
    fn new(
        name: String,
        credentials: Credentials,
        requests_per_second_max: Option<NonZeroU64>,
        bytes_per_second_max: Option<NonZeroU64>,
    ) -> Client {
        Client {
            name,
            credentials,
            start: Instant::now(),
            requests: requests_per_second_max.map(Rate::new),
            bytes: bytes_per_second_max.map(Rate::new),
            requests_admitted: AtomicU64::new(0),
            requests_refused: AtomicU64::new(0),
            bytes_charged: AtomicU64::new(0),
        }
    }

    /// One request of its rate, if the bytes of those before it are paid for.
    pub(crate) fn take_request(&self) -> Result<(), Refusal> {
        let now = self.start.elapsed();
        if let Some(bytes) = &self.bytes {
            bytes.check(now).map_err(|wait| self.limited(bytes, "bytes", wait))?;
        }
        if let Some(requests) = &self.requests {
            requests.take(now).map_err(|wait| self.limited(requests, "requests", wait))?;
        }
        self.requests_admitted.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Bytes that take up memory for this client now. They are here, so they are let through, and its next request waits.
    pub(crate) fn charge(&self, bytes: usize) {
        self.bytes_charged.fetch_add(bytes as u64, Relaxed);
        if let Some(rate) = &self.bytes {
            rate.charge(bytes, self.start.elapsed());
        }
    }

    fn limited(&self, rate: &Rate, unit: &str, retry: Duration) -> Refusal {
        self.requests_refused.fetch_add(1, Relaxed);
        Refusal::Limited {
            reason: format!("client {} sends more than its {} {unit} a second", self.name, rate.per_second()),
            retry,
        }
    }

    fn counts(&self) -> ClientCounts {
        ClientCounts {
            name: self.name.clone(),
            requests_admitted: self.requests_admitted.load(Relaxed),
            requests_refused: self.requests_refused.load(Relaxed),
            bytes: self.bytes_charged.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [checkout]
        token = "a token of checkout"
        requests_per_second_max = 2
        bytes_per_second_max = 1000

        [legacy]
        user = "legacy"
        password = "pass:word"
    "#;

    fn clients(text: &str) -> anyhow::Result<Clients> {
        parse(text).and_then(Clients::new)
    }

    #[test]
    fn a_client_is_known_by_its_token_or_by_user_and_password() {
        let clients = clients(FILE).expect("two clients");
        let name = |credentials| clients.find(&credentials).map(|client| client.name.clone());
        assert_eq!(name(Credentials::bearer("a token of checkout")).as_deref(), Some("checkout"));
        assert_eq!(name(Credentials::basic("legacy", "pass:word")).as_deref(), Some("legacy"));
        assert_eq!(name(Credentials::bearer("a token of checkou")), None);
        assert_eq!(name(Credentials::bearer("")), None);
    }

    #[test]
    fn the_bytes_of_one_request_hold_up_the_next() {
        let clients = clients(FILE).expect("two clients");
        let checkout = clients.find(&Credentials::bearer("a token of checkout")).expect("it is in the file");
        assert_eq!(checkout.take_request(), Ok(()));
        checkout.charge(1_000_000);
        let Err(Refusal::Limited { reason, retry }) = checkout.take_request() else {
            panic!("a thousand seconds' worth")
        };
        assert_eq!(reason, "client checkout sends more than its 1000 bytes a second");
        assert!(retry > Duration::from_secs(900) && retry < Duration::from_secs(1000), "{retry:?}");
        let counts = &clients.counts()[0];
        assert_eq!((counts.requests_admitted, counts.requests_refused, counts.bytes), (1, 1, 1_000_000));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let cases = [
            ("", "it is empty"),
            ("[a]\ntoken = \"sesame\"\nbytes = 3", "line 3 is not understood"),
            ("[a]\ntoken = 1234567890", "line 2 is not understood"),
            ("[a]\ntoken = \"sesame", "line 2 is not understood"),
            ("[a]\ntoken = \"sesame\"\nrequests_per_second_max = 0", "line 3 is not understood"),
            ("[a]\nuser = \"sesame\"", "client a has no credentials"),
            ("[a]\ntoken = \"\"", "client a has no credentials"),
            ("[a]\ntoken = \"sesame-ö\"", "the token of client a has to be ASCII"),
            ("[a]\ntoken = \"sesame\\n\"", "the token of client a has to be ASCII"),
            ("[a]\ntoken = \" sesame\"", "the token of client a has to be ASCII"),
            ("[a]\ntoken = \"sesame\"\nuser = \"u\"", "client a has no credentials"),
            ("[a]\nuser = \"x:y\"\npassword = \"sesame\"", "client a has no credentials"),
            ("[a]\ntoken = \"sesame\"\n[b]\ntoken = \"sesame\"", "clients a and b have the same credentials"),
        ];
        for (text, expected) in cases {
            let Err(error) = clients(text) else { panic!("this must be refused: {text}") };
            let said = format!("{error:#}");
            assert!(said.starts_with(expected), "{text}: {said}");
            assert!(!said.contains("sesame") && !said.contains("1234567890"), "{said}");
        }
    }
}
