//! The numbers of consistent probability sampling: 56 bits of randomness that all spans of a trace share, and the threshold
//! they have to reach.

use serde::Deserialize;
use serde::de::Deserializer;

use super::config::percentage;

const BITS: u32 = 56;
const DIGITS: usize = 14;
/// Hex digits of a threshold after those that say how small the part is: one in 65,536 of it is exact enough, and shorter
/// than the fourteen that most percentages would need in every span.
const PRECISION_DIGITS: usize = 4;

/// What part of all traces is left out, of 2^56. At 2^56 none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold(u64);

/// Evenly distributed over 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Randomness(u64);

impl Threshold {
    fn of_percentage(percentage: f64) -> Threshold {
        let all = 1u64 << BITS;
        let exact = all - (percentage / 100.0 * all as f64).round() as u64;
        let leading = format!("{exact:0DIGITS$x}").bytes().take_while(|digit| *digit == b'f').count();
        let cut = 4 * DIGITS.saturating_sub(leading + PRECISION_DIGITS) as u32;
        match (exact, cut) {
            (exact, _) if exact == all => Threshold(all),
            (exact, 0) => Threshold(exact),
            (exact, cut) => Threshold((exact + (1 << (cut - 1))) >> cut << cut),
        }
    }

    /// From `th`: one to fourteen hex digits, those that are missing being zeros.
    pub(super) fn read(digits: &str) -> Option<Threshold> {
        let number = hex(digits).filter(|_| (1..=DIGITS).contains(&digits.len()))?;
        Some(Threshold(number << (4 * (DIGITS - digits.len()))))
    }

    /// As `th` has it.
    pub(super) fn digits(self) -> String {
        let digits = format!("{:0DIGITS$x}", self.0);
        match digits.trim_end_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        }
    }

    pub(super) fn keeps(self, Randomness(randomness): Randomness) -> bool {
        self.0 <= randomness
    }

    pub(super) fn keeps_all(self) -> bool {
        self.0 == 0
    }
}

impl Randomness {
    /// The last seven bytes of a trace id.
    pub(super) fn of_trace(trace_id: &[u8]) -> Randomness {
        let bytes = trace_id.iter().rev().take(7).rev();
        Randomness(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// From `rv`: fourteen hex digits.
    pub(super) fn read(digits: &str) -> Option<Randomness> {
        hex(digits).filter(|_| digits.len() == DIGITS).map(Randomness)
    }
}

/// Lower case only, and no sign, which `from_str_radix` would take.
fn hex(digits: &str) -> Option<u64> {
    let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    lower.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Threshold, D::Error> {
        percentage(from).map(Threshold::of_percentage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_become_the_thresholds_that_the_specification_shows() {
        for (percentage, digits) in [
            (100.0, "0"),
            (50.0, "8"),
            (25.0, "c"),
            (1.0, "fd70a"),
            (100.0 / 3.0, "aaab"),
            (10.0, "e666"),
            (0.1, "ffbe77"),
        ] {
            let threshold = Threshold::of_percentage(percentage);
            assert_eq!(threshold.digits(), digits, "{percentage}");
            assert_eq!(Threshold::read(digits), Some(threshold));
        }
    }

    #[test]
    fn all_and_none_are_exact() {
        let least = Randomness::read("00000000000000").expect("fourteen digits");
        let most = Randomness::read("ffffffffffffff").expect("fourteen digits");
        assert!(Threshold::of_percentage(100.0).keeps(least));
        assert!(!Threshold::of_percentage(0.0).keeps(most));
        assert!(!Threshold::of_percentage(50.0).keeps(Randomness::read("7fffffffffffff").expect("fourteen digits")));
        assert!(Threshold::of_percentage(50.0).keeps(Randomness::read("80000000000000").expect("fourteen digits")));
        assert!(Threshold::of_percentage(1e-12).keeps(most), "as small as it may be, a part is a part");
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for digits in ["", "+8", "G", "C", "000000000000000"] {
            assert_eq!(Threshold::read(digits), None, "{digits}");
        }
        for digits in ["8", "8000000000000g", "800000000000000"] {
            assert_eq!(Randomness::read(digits), None, "{digits}");
        }
        let trace_id: Vec<u8> = (0..16).collect();
        assert_eq!(Some(Randomness::of_trace(&trace_id)), Randomness::read("090a0b0c0d0e0f"));
    }
}
