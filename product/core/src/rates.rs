//! So many requests a second from one account or address, with room for a burst; in bounded memory.
//!
//! The generic cell rate algorithm: for each key one moment, the time at which its bucket would be full again.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

/// Some 64 bytes each, 4 MiB together.
const KEYS_MAX: usize = 65_536;
/// Looking through all of them takes a millisecond: not with each request of a flood.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who makes the requests of one rate.
pub(crate) struct Rates<K> {
    every: Duration,
    burst: Duration,
    keys_max: usize,
    buckets: Mutex<Buckets<K>>,
    refused: Counter<u64>,
    limit: &'static str,
}

struct Buckets<K> {
    full_at: HashMap<K, Instant>,
    /// Shared by all for whom there is no room: a flood of new keys limits itself, not those who were here.
    rest_full_at: Option<Instant>,
    swept_at: Option<Instant>,
}

/// No more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) retry_after: Duration,
}

impl<K: Hash + Eq> Rates<K> {
    /// `requests` in each `period` sustained, `burst` at once; `limit` is what its metric is called by.
    pub(crate) fn new(limit: &'static str, requests: u32, period: Duration, burst: u32) -> Rates<K> {
        Self::bounded(limit, period / requests.max(1), burst, KEYS_MAX)
    }

    fn bounded(limit: &'static str, every: Duration, burst: u32, keys_max: usize) -> Rates<K> {
        let refused = global::meter("product-core")
            .u64_counter("requests.refused")
            .with_unit("{request}")
            .with_description("Requests that were one too many, by limit.")
            .build();
        let buckets = Mutex::new(Buckets { full_at: HashMap::new(), rest_full_at: None, swept_at: None });
        Rates { every, burst: every.saturating_mul(burst.max(1)), keys_max, buckets, refused, limit }
    }

    /// Counts one request of `key`, unless it is one too many.
    pub(crate) fn admit(&self, key: K, now: Instant) -> Result<(), Exceeded> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { full_at, rest_full_at, swept_at } = &mut *buckets;
        let newcomer = !full_at.contains_key(&key);
        if newcomer && full_at.len() >= self.keys_max && swept_at.is_none_or(|at| now >= at + SWEEP_EVERY) {
            // Whose bucket is full again is as good as new.
            full_at.retain(|_, full_at| *full_at > now);
            *swept_at = Some(now);
        }
        let bucket = match newcomer && full_at.len() >= self.keys_max {
            true => rest_full_at.get_or_insert(now),
            false => full_at.entry(key).or_insert(now),
        };
        let next = (*bucket).max(now) + self.every;
        match next.checked_duration_since(now + self.burst) {
            Some(excess) if !excess.is_zero() => {
                self.refused.add(1, &[KeyValue::new("limit", self.limit)]);
                Err(Exceeded { retry_after: excess })
            }
            _ => {
                *bucket = next;
                Ok(())
            }
        }
    }
}

/// What one household or office is given as a whole: its IPv4 address, or its IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(u64);

impl Network {
    /// None for loopback: who is on this machine needs no network to disturb us.
    pub(crate) fn of(address: IpAddr) -> Option<Network> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Network(u64::from(address.to_bits()))),
            IpAddr::V6(address) => Some(Network((address.to_bits() >> 64) as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (rates, start) = (Rates::new("test", 10, 1_000 * MS, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(rates.admit("ada", start), Ok(()));
        }
        assert_eq!(rates.admit("ada", start), Err(Exceeded { retry_after: 100 * MS }));
        assert_eq!(rates.admit("bob", start), Ok(()), "each has a bucket of its own");
        assert_eq!(rates.admit("ada", start + 99 * MS), Err(Exceeded { retry_after: MS }));
        assert_eq!(rates.admit("ada", start + 100 * MS), Ok(()));
        for n in 0..3 {
            assert_eq!(rates.admit("ada", start + 1_000 * MS).is_ok(), n < 3);
        }
        assert!(rates.admit("ada", start + 1_000 * MS).is_err(), "what was not used is not saved beyond the burst");
    }

    #[test]
    fn newcomers_share_what_is_left_when_all_places_are_taken() {
        let (rates, start) = (Rates::bounded("test", 100 * MS, 1, 2), Instant::now());
        assert!(rates.admit(1, start).is_ok() && rates.admit(2, start).is_ok());
        assert!(rates.admit(3, start).is_ok());
        assert!(rates.admit(4, start).is_err(), "it shares a bucket with 3");
        assert_eq!(rates.buckets.lock().unwrap().full_at.len(), 2);
        assert!(rates.admit(4, start + 1_000 * MS).is_ok(), "those who rested made room");
        assert_eq!(rates.buckets.lock().unwrap().full_at.len(), 1);
    }

    #[test]
    fn a_network_is_what_somebody_is_given() {
        let network = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(network("127.0.0.1"), None);
        assert_eq!(network("::1"), None);
        assert_eq!(network("::ffff:127.0.0.1"), None);
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
