//! The bound on what is in flight: requests and the bytes of their bodies, over every connection.
//!
//! Bytes are taken as they arrive, not as they are announced, so a client that promises 64 MiB and sends nothing holds nothing.
//! Nobody waits at the gate: a place is free or the request is refused, and the protocol tells the client when to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Client;
use crate::args::Limits;
use crate::refusal::Refusal;

pub(crate) struct Gate {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    requests_max: usize,
    bytes_max: usize,
    retry: Duration,
    requests_refused: AtomicU64,
    bytes_refused: AtomicU64,
}

/// What the gate holds right now.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct InFlight {
    pub requests: usize,
    pub requests_max: usize,
    pub bytes: usize,
    pub bytes_max: usize,
    /// Requests turned away since the start, because of their number and because of their bytes.
    pub requests_refused: u64,
    pub bytes_refused: u64,
}

/// One request's place; everything it took goes back when it is dropped.
pub(crate) struct Lease {
    gate: Arc<Gate>,
    client: Option<Arc<Client>>,
    bytes: OwnedSemaphorePermit,
    _request: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Arc<Gate> {
        Arc::new(Gate {
            requests: Arc::new(Semaphore::new(limits.otlp_requests_max)),
            bytes: Arc::new(Semaphore::new(limits.otlp_in_flight_bytes_max)),
            requests_max: limits.otlp_requests_max,
            bytes_max: limits.otlp_in_flight_bytes_max,
            retry: limits.retry_delay(),
            requests_refused: AtomicU64::new(0),
            bytes_refused: AtomicU64::new(0),
        })
    }

    /// A place for one request; its bytes are charged to `client`.
    pub(crate) fn enter(self: &Arc<Gate>, client: Option<Arc<Client>>) -> Result<Lease, Refusal> {
        let Ok(request) = Arc::clone(&self.requests).try_acquire_owned() else {
            return Err(self.full(&self.requests_refused, "too many requests are in flight"));
        };
        let Ok(bytes) = Arc::clone(&self.bytes).try_acquire_many_owned(0) else {
            return Err(self.too_many_bytes());
        };
        Ok(Lease { gate: Arc::clone(self), client, bytes, _request: request })
    }

    /// A place and room for something that is here already and can wait: nothing is refused when there is none.
    pub(crate) fn admit(self: &Arc<Gate>, bytes: usize) -> Option<Lease> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Lease { gate: Arc::clone(self), client: None, bytes, _request: request })
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        InFlight {
            requests: self.requests_max - self.requests.available_permits(),
            requests_max: self.requests_max,
            bytes: self.bytes_max - self.bytes.available_permits(),
            bytes_max: self.bytes_max,
            requests_refused: self.requests_refused.load(Ordering::Relaxed),
            bytes_refused: self.bytes_refused.load(Ordering::Relaxed),
        }
    }

    fn too_many_bytes(&self) -> Refusal {
        self.full(&self.bytes_refused, "too many bytes are in flight")
    }

    fn full(&self, refused: &AtomicU64, reason: &str) -> Refusal {
        refused.fetch_add(1, Ordering::Relaxed);
        Refusal::Busy { reason: reason.to_owned(), retry: self.retry }
    }
}

impl Lease {
    /// For one attempt at what this one has a place and room for.
    pub(crate) fn attempt(&self) -> Result<Lease, Refusal> {
        let (requests, bytes) = (Arc::clone(&self.gate.requests), Arc::clone(&self.gate.bytes));
        let (Ok(request), Ok(bytes)) = (requests.try_acquire_many_owned(0), bytes.try_acquire_many_owned(0)) else {
            return Err(self.gate.too_many_bytes());
        };
        Ok(Lease { gate: Arc::clone(&self.gate), client: None, bytes, _request: request })
    }

    /// Takes room for that many more bytes.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken =
            u32::try_from(bytes).ok().and_then(|bytes| Arc::clone(&self.gate.bytes).try_acquire_many_owned(bytes).ok());
        match taken {
            Some(taken) => {
                self.bytes.merge(taken);
                if let Some(client) = &self.client {
                    client.charge(bytes);
                }
                Ok(())
            }
            None => Err(self.gate.too_many_bytes()),
        }
    }

    /// Gives back room that is no longer used.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        drop(self.bytes.split(bytes.min(self.bytes.num_permits())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::test_limits;

    #[test]
    fn bytes_are_taken_given_back_and_refused_when_short() {
        let gate = Gate::new(&Limits { otlp_in_flight_bytes_max: 100, ..test_limits() });
        let mut first = gate.enter(None).expect("the gate is empty");
        let mut second = gate.enter(None).expect("there is a second place");
        first.grow(60).expect("60 of 100 are free");
        assert!(matches!(second.grow(50), Err(Refusal::Busy { .. })));
        first.shrink(20);
        second.grow(50).expect("60 are free now");
        assert_eq!(gate.in_flight().bytes, 90);
        drop((first, second));
        let held = gate.in_flight();
        assert_eq!((held.bytes, held.requests, held.bytes_refused, held.requests_refused), (0, 0, 1, 0));
    }

    #[test]
    fn what_can_wait_is_not_refused_and_an_attempt_holds_nothing() {
        let gate = Gate::new(&Limits { otlp_in_flight_bytes_max: 100, otlp_requests_max: 2, ..test_limits() });
        let held = gate.admit(80).expect("the gate is empty");
        assert!(gate.admit(30).is_none());
        let attempt = held.attempt().expect("its room is taken already");
        let seen = gate.in_flight();
        assert_eq!((seen.bytes, seen.requests, seen.bytes_refused, seen.requests_refused), (80, 1, 0, 0));
        drop((held, attempt));
        assert_eq!((gate.in_flight().bytes, gate.in_flight().requests), (0, 0));
    }

    #[test]
    fn a_request_too_many_is_refused_with_a_delay() {
        let gate = Gate::new(&Limits { otlp_requests_max: 1, ..test_limits() });
        let held = gate.enter(None).expect("one place");
        let Err(Refusal::Busy { retry, .. }) = gate.enter(None) else { panic!("the second must be refused") };
        assert!(retry > Duration::ZERO);
        drop(held);
        assert!(gate.enter(None).is_ok());
    }
}
