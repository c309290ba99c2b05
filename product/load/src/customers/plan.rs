//! When which request is made, and with what in hand: a function of the seed and nothing else.
//!
//! Who makes it depends on who is signed in by then, so a step carries a draw (`who`) from which the population
//! picks. The order of the draws is part of the plan: every step makes all of them, used or not.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A request that customers make. A closed set; the weights say how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    Register,
    LogIn,
    LogOut,
    Session,
    ReadProfile,
    WriteProfile,
    Pay,
    ReadPayment,
    ListPayments,
    Refund,
}

impl Endpoint {
    pub(super) const ALL: [Endpoint; 10] = [
        Endpoint::Register,
        Endpoint::LogIn,
        Endpoint::LogOut,
        Endpoint::Session,
        Endpoint::ReadProfile,
        Endpoint::WriteProfile,
        Endpoint::Pay,
        Endpoint::ReadPayment,
        Endpoint::ListPayments,
        Endpoint::Refund,
    ];

    /// The route, as core names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::Register => "POST /v1/register",
            Endpoint::LogIn => "POST /v1/login",
            Endpoint::LogOut => "POST /v1/logout",
            Endpoint::Session => "GET /v1/session",
            Endpoint::ReadProfile => "GET /v1/profile",
            Endpoint::WriteProfile => "PUT /v1/profile",
            Endpoint::Pay => "POST /v1/payments",
            Endpoint::ReadPayment => "GET /v1/payments/{id}",
            Endpoint::ListPayments => "GET /v1/payments",
            Endpoint::Refund => "POST /v1/payments/{id}/refund",
        }
    }

    /// Parts of a hundred. Logins equal registrations and logouts together, so that about as many people stay
    /// signed in as come; a visit is a dozen requests, every fourth of them a payment.
    fn weight(self) -> u32 {
        match self {
            Endpoint::Register => 3,
            Endpoint::LogIn => 6,
            Endpoint::LogOut => 3,
            Endpoint::Session => 20,
            Endpoint::ReadProfile => 14,
            Endpoint::WriteProfile => 6,
            Endpoint::Pay => 24,
            Endpoint::ReadPayment => 12,
            Endpoint::ListPayments => 9,
            Endpoint::Refund => 3,
        }
    }

    fn drawn(mut ticket: u32) -> Endpoint {
        for endpoint in Endpoint::ALL {
            match ticket.checked_sub(endpoint.weight()) {
                Some(rest) => ticket = rest,
                None => return endpoint,
            }
        }
        Endpoint::Session
    }
}

/// What would be bought if the step is a payment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Purchase {
    pub(super) amount_minor: i64,
    pub(super) currency: &'static str,
    pub(super) description: &'static str,
    /// The acquirer's name for a card that works, or for one that does not.
    pub(super) card_token: &'static str,
}

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Since the start of the run.
    pub(super) at: Duration,
    pub(super) endpoint: Endpoint,
    /// The draw by which the population picks a customer and a payment.
    pub(super) who: u64,
    pub(super) purchase: Purchase,
}

/// Card payments that the bank turns down: one in twenty is usual in e-commerce.
const DECLINED_SHARE: f64 = 0.05;
const AMOUNT_MAJOR_MEDIAN: f64 = 28.0;
const AMOUNT_SIGMA: f64 = 0.9;
const AMOUNT_MINOR_MAX: f64 = 9_999_999.0;

/// Currency, parts of a hundred, minor units of one major unit, and how many major units 1 EUR is about.
const CURRENCIES: [(&str, u32, f64, f64); 6] = [
    ("EUR", 42, 100.0, 1.0),
    ("USD", 26, 100.0, 1.1),
    ("GBP", 14, 100.0, 0.85),
    ("CHF", 8, 100.0, 0.95),
    ("SEK", 6, 100.0, 11.0),
    ("JPY", 4, 1.0, 165.0),
];

/// Some hold characters that a careless page would stumble over.
const DESCRIPTIONS: [&str; 12] = [
    "Monthly subscription",
    "Two tickets, row F",
    "Coffee beans 1 kg & filter paper",
    "Réservation d'hôtel, 2 nuits",
    "\"Dune\" (hardcover)",
    "Running shoes < size 43 >",
    "Groceries",
    "Train Zürich – München",
    "Gift card",
    "Bicycle repair",
    "寿司セット",
    "Top-up",
];

/// The endless sequence of steps.
#[derive(Debug)]
pub(super) struct Plan {
    dice: StdRng,
    rate: f64,
    at_s: f64,
}

impl Plan {
    /// `rate`: requests a second on average, above 0.
    pub(super) fn new(seed: u64, rate: f64) -> Plan {
        Plan { dice: StdRng::seed_from_u64(seed), rate, at_s: 0.0 }
    }

    fn purchase(&mut self) -> Purchase {
        let mut ticket: u32 = self.dice.random_range(0..100);
        let (currency, _, minor, per_euro) = CURRENCIES
            .into_iter()
            .find(|(_, weight, ..)| match ticket.checked_sub(*weight) {
                Some(rest) => {
                    ticket = rest;
                    false
                }
                None => true,
            })
            .unwrap_or(CURRENCIES[0]);
        let major = AMOUNT_MAJOR_MEDIAN * (AMOUNT_SIGMA * self.normal()).exp() * per_euro;
        let description = DESCRIPTIONS[self.dice.random_range(0..DESCRIPTIONS.len())];
        let declined = self.dice.random_bool(DECLINED_SHARE);
        Purchase {
            amount_minor: (major * minor).round().clamp(1.0, AMOUNT_MINOR_MAX) as i64,
            currency,
            description,
            card_token: if declined { "tok_declined" } else { "tok_approved" },
        }
    }

    /// A standard normal number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (radius, angle): (f64, f64) = (self.dice.random(), self.dice.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        // Exponential gaps make a Poisson process.
        let gap: f64 = self.dice.random();
        self.at_s += -(1.0 - gap).ln() / self.rate;
        Some(Step {
            at: Duration::from_secs_f64(self.at_s),
            endpoint: Endpoint::drawn(self.dice.random_range(0..100)),
            who: self.dice.random(),
            purchase: self.purchase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        Plan::new(seed, 50.0).take(count).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        assert_eq!(steps(1, 5_000), steps(1, 5_000));
        assert_ne!(steps(1, 10), steps(2, 10));
    }

    #[test]
    fn the_rate_changes_the_times_and_nothing_else() {
        let slow: Vec<Step> = Plan::new(1, 10.0).take(100).collect();
        for (slow, fast) in slow.iter().zip(steps(1, 100)) {
            assert_eq!((slow.endpoint, slow.who, &slow.purchase), (fast.endpoint, fast.who, &fast.purchase));
            assert!((slow.at.as_secs_f64() - fast.at.as_secs_f64() * 5.0).abs() < 1e-6);
        }
    }

    #[test]
    fn arrivals_are_poisson_at_the_rate() {
        let steps = steps(3, 50_000);
        let seconds = steps.last().expect("steps").at.as_secs_f64();
        assert!((980.0..1_020.0).contains(&seconds), "50,000 requests at 50/s took {seconds} s");
        // In a Poisson process the variance of the count in a second equals its mean.
        let mut counts = vec![0_f64; 900];
        for step in &steps {
            if let Some(count) = counts.get_mut(step.at.as_secs() as usize) {
                *count += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / 900.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 900.0;
        assert!((40.0..60.0).contains(&variance), "mean {mean}, variance {variance}");
    }

    #[test]
    fn the_mix_is_the_stated_one() {
        assert_eq!(Endpoint::ALL.map(Endpoint::weight).iter().sum::<u32>(), 100);
        assert_eq!(CURRENCIES.iter().map(|(_, weight, ..)| weight).sum::<u32>(), 100);
        let steps = steps(4, 100_000);
        for endpoint in Endpoint::ALL {
            let share = steps.iter().filter(|step| step.endpoint == endpoint).count() as f64 / 1_000.0;
            let stated = f64::from(endpoint.weight());
            assert!((share - stated).abs() < 0.5, "{} is {share} % instead of {stated} %", endpoint.name());
        }
        let declined = steps.iter().filter(|step| step.purchase.card_token == "tok_declined").count();
        assert!((4_700..5_300).contains(&declined), "{declined} of 100,000 cards are declined");
        assert!(steps.iter().all(|step| step.purchase.amount_minor >= 1));
    }
}
