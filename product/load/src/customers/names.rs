//! Who a customer is: all of it follows from the seed, so a run on the data of an earlier one signs the same people in.

const GIVEN_NAMES: [&str; 16] = [
    "Ada", "Bruno", "Chiara", "Deniz", "Elif", "Fatima", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena", "Mateo",
    "Noor", "Olga", "Priya",
];
const FAMILY_NAMES: [&str; 12] = [
    "Andersson",
    "Brandt",
    "Costa",
    "Dubois",
    "Evans",
    "Fischer",
    "García",
    "Hoang",
    "Ivanova",
    "Jensen",
    "Kaya",
    "O'Neill",
];

/// Which customer of which seed: all else about the person follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) seed: u64,
    pub(super) customer: u64,
}

impl Name {
    pub(super) fn email(&self) -> String {
        format!("customer-{}-{}@example.com", self.seed, self.customer)
    }

    pub(super) fn password(&self) -> String {
        format!("correct-horse-{:016x}", self.mixed())
    }

    pub(super) fn display_name(&self) -> String {
        let mixed = self.mixed() as usize;
        let given = GIVEN_NAMES[mixed % GIVEN_NAMES.len()];
        let family = FAMILY_NAMES[(mixed >> 16) % FAMILY_NAMES.len()];
        format!("{given} {family}")
    }

    /// SplitMix64's finaliser: neighbours in, strangers out.
    fn mixed(&self) -> u64 {
        let mut mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.customer);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_follow_from_the_name() {
        let name = Name { seed: 1, customer: 7 };
        assert_eq!(name.email(), "customer-1-7@example.com");
        assert_eq!(name.password(), Name { seed: 1, customer: 7 }.password());
        assert_ne!(name.password(), Name { seed: 1, customer: 8 }.password());
        assert_ne!(name.password(), Name { seed: 2, customer: 7 }.password());
    }
}
