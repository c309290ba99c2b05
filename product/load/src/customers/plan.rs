//! When which request is made, and with what in hand: a function of the seed and nothing else.
//!
//! Who makes it depends on who is signed in by then, so a step carries a draw (`who`) from which the population
//! picks. The order of the draws is part of the plan: every step makes all of them, used or not.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::rates::Rates;
use crate::latency::normal;

/// A request that customers and analysts make. A closed set; the weights say how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    Register,
    LogIn,
    LogOut,
    Refresh,
    Session,
    ReadProfile,
    WriteProfile,
    ReadAvatar,
    WriteAvatar,
    Pay,
    Authorize,
    Capture,
    ReadPayment,
    ListPayments,
    Refund,
    Revenue,
    TopCustomers,
    Funnel,
}

impl Endpoint {
    pub(super) const ALL: [Endpoint; 18] = [
        Endpoint::Register,
        Endpoint::LogIn,
        Endpoint::LogOut,
        Endpoint::Refresh,
        Endpoint::Session,
        Endpoint::ReadProfile,
        Endpoint::WriteProfile,
        Endpoint::ReadAvatar,
        Endpoint::WriteAvatar,
        Endpoint::Pay,
        Endpoint::Authorize,
        Endpoint::Capture,
        Endpoint::ReadPayment,
        Endpoint::ListPayments,
        Endpoint::Refund,
        Endpoint::Revenue,
        Endpoint::TopCustomers,
        Endpoint::Funnel,
    ];

    /// The route, as core names it. A payment that is only authorized takes another way through core than one that
    /// is captured at once, so it has a name of its own.
    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::Register => "POST /v1/register",
            Endpoint::LogIn => "POST /v1/login",
            Endpoint::LogOut => "POST /v1/logout",
            Endpoint::Refresh => "POST /v1/refresh",
            Endpoint::Session => "GET /v1/session",
            Endpoint::ReadProfile => "GET /v1/profile",
            Endpoint::WriteProfile => "PUT /v1/profile",
            Endpoint::ReadAvatar => "GET /v1/profile/avatar",
            Endpoint::WriteAvatar => "PUT /v1/profile/avatar",
            Endpoint::Pay => "POST /v1/payments",
            Endpoint::Authorize => "POST /v1/payments (authorize)",
            Endpoint::Capture => "POST /v1/payments/{id}/capture",
            Endpoint::ReadPayment => "GET /v1/payments/{id}",
            Endpoint::ListPayments => "GET /v1/payments",
            Endpoint::Refund => "POST /v1/payments/{id}/refund",
            Endpoint::Revenue => "GET /v1/analytics/revenue",
            Endpoint::TopCustomers => "GET /v1/analytics/top-customers",
            Endpoint::Funnel => "GET /v1/analytics/funnel",
        }
    }

    /// The path of a report that an analyst looks at; none for what customers do.
    pub(super) fn report(self) -> Option<&'static str> {
        match self {
            Endpoint::Revenue => Some("/v1/analytics/revenue"),
            Endpoint::TopCustomers => Some("/v1/analytics/top-customers"),
            Endpoint::Funnel => Some("/v1/analytics/funnel"),
            _ => None,
        }
    }

    /// Parts of a thousand. Logins equal registrations and logouts together, so that about as many people stay
    /// signed in as come; a visit is a dozen requests, every fourth of them a payment. One request in fifty is an
    /// analyst's.
    fn weight(self) -> u32 {
        match self {
            Endpoint::Register => 30,
            Endpoint::LogIn => 60,
            Endpoint::LogOut => 30,
            Endpoint::Refresh => 15,
            Endpoint::Session => 180,
            Endpoint::ReadProfile => 130,
            Endpoint::WriteProfile => 55,
            Endpoint::ReadAvatar => 7,
            Endpoint::WriteAvatar => 3,
            Endpoint::Pay => 220,
            Endpoint::Authorize => 20,
            Endpoint::Capture => 15,
            Endpoint::ReadPayment => 115,
            Endpoint::ListPayments => 75,
            Endpoint::Refund => 25,
            Endpoint::Revenue => 8,
            Endpoint::TopCustomers => 6,
            Endpoint::Funnel => 6,
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

impl Purchase {
    /// For who buys nothing.
    pub(super) const NOTHING: Purchase =
        Purchase { amount_minor: 0, currency: "EUR", description: "", card_token: "tok_approved" };
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

/// The sequence of steps, endless unless the rates end.
#[derive(Debug)]
pub(super) struct Plan {
    dice: StdRng,
    rates: Rates,
    /// Steps that come at the same moment: 1 for a stream, more for a herd.
    herd: u32,
    left_of_herd: u32,
    at_s: f64,
}

impl Plan {
    /// `herd`: so many steps come at a time, and as much more rarely; at least 1.
    pub(super) fn new(seed: u64, rates: Rates, herd: u32) -> Plan {
        Plan { dice: StdRng::seed_from_u64(seed), rates, herd, left_of_herd: 0, at_s: 0.0 }
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
        let major = AMOUNT_MAJOR_MEDIAN * (AMOUNT_SIGMA * normal(&mut self.dice)).exp() * per_euro;
        let description = DESCRIPTIONS[self.dice.random_range(0..DESCRIPTIONS.len())];
        let declined = self.dice.random_bool(DECLINED_SHARE);
        Purchase {
            amount_minor: (major * minor).round().clamp(1.0, AMOUNT_MINOR_MAX) as i64,
            currency,
            description,
            card_token: if declined { "tok_declined" } else { "tok_approved" },
        }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        // Exponential gaps make a Poisson process.
        let gap: f64 = self.dice.random();
        if self.left_of_herd == 0 {
            self.left_of_herd = self.herd;
            self.at_s = self.rates.after(self.at_s, -(1.0 - gap).ln() * f64::from(self.herd))?;
        }
        self.left_of_herd -= 1;
        Some(Step {
            at: Duration::from_secs_f64(self.at_s),
            endpoint: Endpoint::drawn(self.dice.random_range(0..1_000)),
            who: self.dice.random(),
            purchase: self.purchase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, rates: &str, herd: u32) -> Plan {
        Plan::new(seed, rates.parse().expect("rates"), herd)
    }

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        plan(seed, "50", 1).take(count).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        assert_eq!(steps(1, 5_000), steps(1, 5_000));
        assert_ne!(steps(1, 10), steps(2, 10));
    }

    #[test]
    fn the_rate_changes_the_times_and_nothing_else() {
        let slow: Vec<Step> = plan(1, "10", 1).take(100).collect();
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
    fn a_herd_comes_at_once_and_as_much_more_rarely() {
        let steps: Vec<Step> = plan(1, "50", 100).take(100_000).collect();
        for herd in steps.chunks(100) {
            assert!(herd.iter().all(|step| step.at == herd[0].at));
        }
        let herds: Vec<f64> = steps.chunks(100).map(|herd| herd[0].at.as_secs_f64()).collect();
        assert!(herds.windows(2).all(|pair| pair[0] < pair[1]));
        let seconds = herds.last().expect("herds");
        assert!((1_800.0..2_200.0).contains(seconds), "100,000 requests at 50/s took {seconds} s");
    }

    #[test]
    fn a_plan_ends_with_its_rates_and_follows_their_change() {
        let steps: Vec<Step> = plan(1, "50@100s,200@100s", 1).collect();
        let before = steps.iter().filter(|step| step.at < Duration::from_secs(100)).count();
        let after = steps.len() - before;
        assert!((4_700..5_300).contains(&before) && (19_400..20_600).contains(&after), "{before} and {after}");
        assert!(steps.iter().all(|step| step.at < Duration::from_secs(200)));
    }

    #[test]
    fn the_mix_is_the_stated_one() {
        assert_eq!(Endpoint::ALL.map(Endpoint::weight).iter().sum::<u32>(), 1_000);
        assert_eq!(CURRENCIES.iter().map(|(_, weight, ..)| weight).sum::<u32>(), 100);
        let steps = steps(4, 100_000);
        for endpoint in Endpoint::ALL {
            let share = steps.iter().filter(|step| step.endpoint == endpoint).count() as f64 / 100.0;
            let stated = f64::from(endpoint.weight());
            assert!((share - stated).abs() < 5.0, "{} is {share} of 1,000 instead of {stated}", endpoint.name());
        }
        let declined = steps.iter().filter(|step| step.purchase.card_token == "tok_declined").count();
        assert!((4_700..5_300).contains(&declined), "{declined} of 100,000 cards are declined");
        assert!(steps.iter().all(|step| step.purchase.amount_minor >= 1));
    }
}
