//! Reads a request body within its limits: bytes of one request, bytes of all requests, time.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::gate::Lease;
use crate::refusal::Refusal;

/// Bytes allocated for a body before any of it arrived; most batches of an SDK fit, and a promise costs no more.
const FIRST_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Incoming {
    body: Body,
    arrived: Vec<u8>,
    time_max: Duration,
    deadline: Instant,
}

impl Incoming {
    pub(crate) fn new(body: Body, time_max: Duration) -> Incoming {
        use axum::body::HttpBody;

        let announced = body.size_hint().exact().unwrap_or(0) as usize;
        let arrived = Vec::with_capacity(announced.min(FIRST_BYTES_MAX));
        Incoming { body, arrived, time_max, deadline: Instant::now() + time_max }
    }

    /// What arrived so far.
    pub(crate) fn arrived(&self) -> &[u8] {
        &self.arrived
    }

    /// Reads the next bytes; false at the end of the body.
    pub(crate) async fn read(&mut self, bytes_max: usize, lease: &mut Lease) -> Result<bool, Refusal> {
        let Some(chunk) = self.next().await? else { return Ok(false) };
        if self.arrived.len() + chunk.len() > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        lease.grow(chunk.len())?;
        self.arrived.extend_from_slice(&chunk);
        Ok(true)
    }

    /// The whole body.
    pub(crate) async fn read_all(
        mut self,
        bytes_max: usize,
        lease: &mut Lease,
    ) -> Result<Vec<u8>, (Refusal, Incoming)> {
        loop {
            match self.read(bytes_max, lease).await {
                Ok(true) => {}
                Ok(false) => return Ok(self.arrived),
                Err(refusal) => return Err((refusal, self)),
            }
        }
    }

    /// Reads and forgets the rest, within limits. An HTTP/1.1 client that is still sending would see a reset connection in
    /// place of the answer.
    pub(crate) async fn discard(mut self, bytes_max: usize) {
        self.arrived = Vec::new();
        let mut discarded = 0;
        while discarded < bytes_max {
            match self.next().await {
                Ok(Some(chunk)) => discarded += chunk.len(),
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn next(&mut self) -> Result<Option<axum::body::Bytes>, Refusal> {
        loop {
            let frame = match tokio::time::timeout_at(self.deadline, self.body.frame()).await {
                Err(_) => return Err(Refusal::Slow { time_max: self.time_max }),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Broken),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers of a request carry nothing OTLP defines.
            if let Ok(chunk) = frame.into_data() {
                return Ok(Some(chunk));
            }
        }
    }
}
