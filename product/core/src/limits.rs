//! How much one account and one network may ask for, and how often one may guess.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::lockout;
use crate::rates::{Network, Rates};

/// Settings that protect accounts from guessing, and the rest from one client out of hand.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // flattened into the settings of core
pub struct LimitArgs {
    /// Requests a second that one account may make for long. A customer's app makes a few; two hundred is a script
    /// out of hand. Beyond it the answer is 429.
    #[arg(long, env = "FAULTLINE_CORE_ACCOUNT_REQUESTS_PER_S", default_value_t = 200)]
    pub core_account_requests_per_s: u32,

    /// Requests that one account may make at once after a rest: five seconds' worth.
    #[arg(long, env = "FAULTLINE_CORE_ACCOUNT_REQUESTS_BURST", default_value_t = 1_000)]
    pub core_account_requests_burst: u32,

    /// Requests a minute to register, sign in, refresh or verify from one network (an IPv4 address, an IPv6 /64) for
    /// long: an office behind one address still gets to work, trying passwords on many accounts does not get far.
    /// Loopback is not counted: a proxy in front counts for itself.
    #[arg(long, env = "FAULTLINE_CORE_NETWORK_SIGN_INS_PER_MIN", default_value_t = 60)]
    pub core_network_sign_ins_per_min: u32,

    /// The same at once, after a rest: an office at nine in the morning.
    #[arg(long, env = "FAULTLINE_CORE_NETWORK_SIGN_INS_BURST", default_value_t = 60)]
    pub core_network_sign_ins_burst: u32,

    /// Wrong passwords in a row after which an address is locked, whether it has an account or not. People err a few
    /// times; ten in every five minutes would need centuries for a good password.
    #[arg(long, env = "FAULTLINE_CORE_LOCKOUT_FAILURES", default_value_t = 10)]
    pub core_lockout_failures: u32,

    /// Seconds that the lock lasts and that a failure counts. Short, since anybody can lock anybody out.
    #[arg(long, env = "FAULTLINE_CORE_LOCKOUT_S", default_value_t = 300)]
    pub core_lockout_s: u32,
}

pub(crate) struct Limits {
    pub(crate) accounts: Rates<Uuid>,
    pub(crate) networks: Rates<Network>,
    pub(crate) lockout: lockout::Policy,
}

impl Limits {
    pub(crate) fn new(args: &LimitArgs) -> Limits {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let (per_s, per_min) = (args.core_account_requests_per_s, args.core_network_sign_ins_per_min);
        Limits {
            accounts: Rates::new("account", per_s, second, args.core_account_requests_burst),
            networks: Rates::new("network", per_min, minute, args.core_network_sign_ins_burst),
            lockout: lockout::Policy {
                failures_max: args.core_lockout_failures.max(1),
                lock: Duration::from_secs(args.core_lockout_s.into()),
            },
        }
    }
}
