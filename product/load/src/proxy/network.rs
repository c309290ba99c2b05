//! What a wire is like, and what that does to a chunk of bytes.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// Payload of an Ethernet frame's TCP segment: what is lost is lost in pieces of this size.
pub(super) const SEGMENT_BYTES: usize = 1_448;
/// Linux's shortest retransmission timeout. It doubles with each loss of the same segment.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// Losses of the same segment before it gets through after all: 200 ms doubled six times is 12 seconds of silence.
const LOSSES_MAX: u32 = 6;
/// Beyond it nothing useful passes, and TCP would have given up.
const LOSS_MAX: f64 = 0.9;
/// The moon is 1.3 s away.
const DELAY_MAX_MS: u64 = 10_000;

/// What a wire is like. All zero is a perfect one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// One way.
    pub delay_ms: u64,
    /// Random delay on top, evenly spread from 0 to this.
    pub jitter_ms: u64,
    /// Share of segments lost, each a stall until TCP sends it again.
    pub loss: f64,
    /// Of each direction of each connection; 0 sets no limit.
    pub bandwidth_bytes_s: u64,
}

impl Network {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!((0.0..=LOSS_MAX).contains(&self.loss), "loss is a share from 0 to {LOSS_MAX}");
        anyhow::ensure!(
            self.delay_ms <= DELAY_MAX_MS && self.jitter_ms <= DELAY_MAX_MS,
            "delay and jitter are at most {DELAY_MAX_MS} ms"
        );
        Ok(())
    }

    /// How long these bytes are on their way.
    pub(super) fn travel(&self, bytes: usize, luck: &mut StdRng) -> Duration {
        let jitter = luck.random_range(0.0..=1.0) * self.jitter_ms as f64 / 1_000.0;
        let stall: Duration = (0..bytes.div_ceil(SEGMENT_BYTES)).map(|_| self.stall(luck)).sum();
        Duration::from_millis(self.delay_ms) + Duration::from_secs_f64(jitter) + stall
    }

    /// How long the sender's end is busy with these bytes.
    pub(super) fn sending(&self, bytes: usize) -> Duration {
        match self.bandwidth_bytes_s {
            0 => Duration::ZERO,
            bandwidth => Duration::from_secs_f64(bytes as f64 / bandwidth as f64),
        }
    }

    /// Until one segment got through.
    fn stall(&self, luck: &mut StdRng) -> Duration {
        let losses = (0..LOSSES_MAX).take_while(|_| luck.random_bool(self.loss)).count() as u32;
        // 1 + 2 + 4 + … timeouts.
        RETRANSMIT_AFTER * (2_u32.pow(losses) - 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_perfect_wire_takes_no_time() {
        let mut luck = StdRng::seed_from_u64(1);
        let network = Network::default();
        assert_eq!(
            (network.travel(1_000_000, &mut luck), network.sending(1_000_000)),
            (Duration::ZERO, Duration::ZERO)
        );
    }

    #[test]
    fn jitter_lies_between_nothing_and_what_is_stated() {
        let mut luck = StdRng::seed_from_u64(1);
        let network = Network { delay_ms: 50, jitter_ms: 20, ..Network::default() };
        let taken: Vec<_> = (0..1_000).map(|_| network.travel(100, &mut luck)).collect();
        let (least, most) = (taken.iter().min().expect("some"), taken.iter().max().expect("some"));
        assert!(*least >= Duration::from_millis(50) && *most <= Duration::from_millis(70), "{least:?} to {most:?}");
        assert!(*most - *least > Duration::from_millis(15), "{least:?} to {most:?}");
    }

    #[test]
    fn a_loss_is_a_stall_that_doubles() {
        let mut luck = StdRng::seed_from_u64(1);
        let network = Network { loss: 0.1, ..Network::default() };
        let stalls: Vec<u128> = (0..20_000).map(|_| network.travel(SEGMENT_BYTES, &mut luck).as_millis()).collect();
        let share = |wanted| stalls.iter().filter(|stall| **stall == wanted).count() as f64 / 20_000.0;
        assert!((share(0) - 0.9).abs() < 0.01, "{}", share(0));
        assert!((share(200) - 0.09).abs() < 0.01, "{}", share(200));
        assert!((share(600) - 0.009).abs() < 0.003, "{}", share(600));
        assert!(stalls.iter().all(|stall| [0, 200, 600, 1_400, 3_000, 6_200, 12_600].contains(stall)));
    }

    #[test]
    fn more_segments_meet_more_losses() {
        let network = Network { loss: 0.1, ..Network::default() };
        let mut luck = StdRng::seed_from_u64(1);
        let mut stalled = |bytes| (0..2_000).filter(|_| !network.travel(bytes, &mut luck).is_zero()).count();
        let (one, ten) = (stalled(10), stalled(10 * SEGMENT_BYTES));
        assert!((150..250).contains(&one) && (1_200..1_400).contains(&ten), "{one} and {ten} of 2,000"); // 1 - 0.9^10 = 65 %
    }

    #[test]
    fn what_is_no_network_is_said() {
        assert!(Network { loss: 0.95, ..Network::default() }.check().is_err());
        assert!(Network { loss: f64::NAN, ..Network::default() }.check().is_err());
        assert!(Network { jitter_ms: 10_001, ..Network::default() }.check().is_err());
        assert!(Network { loss: 0.9, delay_ms: 10_000, jitter_ms: 1, bandwidth_bytes_s: 1 }.check().is_ok());
    }
}
