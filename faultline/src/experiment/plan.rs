//! What is measured, for how long. The numbers of the two plans stand here and nowhere else.

use std::time::Duration;

use super::arm::Arm;
use super::stats::Ladder;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Phase {
    /// The highest rate each arm sustains
    Knee,
    /// All arms side by side, at shares of inline's knee
    Rounds,
    /// The same fault in both arms
    Faults,
    /// Going back from events to inline under load
    Rollback,
    /// 1, 2 and 4 instances of jobs and of analytics
    Scaling,
    /// Without the latencies that are assumed of others
    Sensitivity,
}

/// All arms at one rate, several times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Percent of inline's knee.
    pub(crate) load_pct: f64,
    pub(crate) arms: &'static [Arm],
    pub(crate) rounds: usize,
    pub(crate) time_min: Duration,
    pub(crate) time_max: Duration,
}

/// A run of the load over the time of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultTimes {
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    pub(crate) after: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) phases: Vec<Phase>,
    /// Requests a second when no knee is looked for.
    pub(crate) rate: f64,
    pub(crate) rounds: Vec<Rounds>,
    /// How often a window is measured until it counts.
    pub(crate) attempts: usize,
    pub(crate) knee_time: Duration,
    /// The fault of the claim: jobs and analytics held down.
    pub(crate) held_down: FaultTimes,
    /// Every other fault.
    pub(crate) fault: FaultTimes,
    pub(crate) all_faults: bool,
    pub(crate) fault_arms: &'static [Arm],
    pub(crate) sensitivity_rounds: usize,
    pub(crate) sensitivity_time: Duration,
    /// Time of load while a service is held down before it is scaled.
    pub(crate) scaling_load: Duration,
}

/// Samples of the least frequent watched endpoint that an arm shall have: login is 6 % of the requests.
const SAMPLES_MIN: f64 = 1_000.0;
const LOGIN_SHARE: f64 = 0.06;

pub(crate) const LADDER: Ladder = Ladder {
    first_rate: 20.0,
    factor: 1.8,
    points_min: 5,
    points_max: 9,
    closeness: 1.15,
    achieved_share_min: 0.99,
    slowdown_max: 3.0,
    backlog_seconds_max: 5.0,
};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Plan {
    /// Under five minutes: one rate, five pairs, one fault.
    pub(crate) fn quick() -> Plan {
        Plan {
            name: "quick",
            phases: vec![Phase::Rounds, Phase::Faults],
            rate: 30.0,
            rounds: vec![Rounds {
                load_pct: 50.0,
                arms: &[Arm::Inline, Arm::Events],
                rounds: 5,
                time_min: seconds(18),
                time_max: seconds(18),
            }],
            attempts: 1,
            knee_time: seconds(10),
            held_down: FaultTimes { before: seconds(12), fault: seconds(15), after: seconds(5) },
            fault: FaultTimes { before: seconds(12), fault: seconds(15), after: seconds(5) },
            all_faults: false,
            fault_arms: &[Arm::Events],
            sensitivity_rounds: 0,
            sensitivity_time: seconds(0),
            scaling_load: seconds(10),
        }
    }

    /// About an hour.
    pub(crate) fn full() -> Plan {
        let rounds = |load_pct, arms, time_max| Rounds { load_pct, arms, rounds: 5, time_min: seconds(20), time_max };
        Plan {
            name: "full",
            phases: vec![
                Phase::Knee,
                Phase::Rounds,
                Phase::Faults,
                Phase::Rollback,
                Phase::Scaling,
                Phase::Sensitivity,
            ],
            rate: 40.0,
            rounds: vec![
                rounds(50.0, &Arm::ALL, seconds(60)),
                rounds(70.0, &[Arm::Inline, Arm::Events], seconds(25)),
                rounds(90.0, &[Arm::Inline, Arm::Events], seconds(25)),
            ],
            attempts: 2,
            knee_time: seconds(12),
            held_down: FaultTimes { before: seconds(60), fault: seconds(60), after: seconds(20) },
            fault: FaultTimes { before: seconds(20), fault: seconds(25), after: seconds(15) },
            all_faults: true,
            fault_arms: &[Arm::Inline, Arm::Events],
            sensitivity_rounds: 5,
            sensitivity_time: seconds(20),
            scaling_load: seconds(90),
        }
    }
}

impl FaultTimes {
    pub(crate) fn whole(&self) -> Duration {
        self.before + self.fault + self.after
    }
}

impl Plan {
    /// All windows with what lies between them; the search for the knee takes about seven in each arm.
    pub(crate) fn time_expected(&self, between: Duration) -> Duration {
        const KNEE_WINDOWS: u32 = 7;
        let of = |phase: &Phase| match phase {
            Phase::Knee => (self.knee_time + between) * KNEE_WINDOWS * Arm::ALL.len() as u32,
            Phase::Rounds => self
                .rounds
                .iter()
                .map(|rounds| (rounds.time(self.rate) + between) * (rounds.rounds * rounds.arms.len()) as u32)
                .sum(),
            Phase::Faults => {
                let others = if self.all_faults { super::phases::faults::FAULTS.len() as u32 - 1 } else { 0 };
                let each = self.held_down.whole() + between + (self.fault.whole() + between) * others;
                each * self.fault_arms.len() as u32
            }
            Phase::Rollback => Duration::from_secs(40) + between,
            Phase::Scaling => (self.scaling_load + Duration::from_secs(45) + between) * 6,
            Phase::Sensitivity => (self.sensitivity_time + between) * (self.sensitivity_rounds * 2) as u32,
        };
        self.phases.iter().map(of).sum()
    }
}

impl Rounds {
    /// As long as an arm needs for enough logins, within the bounds.
    pub(crate) fn time(&self, rate: f64) -> Duration {
        let needed = SAMPLES_MIN * 1.1 / (LOGIN_SHARE * rate) / self.rounds as f64;
        Duration::from_secs_f64(needed.ceil()).clamp(self.time_min, self.time_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_as_long_as_samples_ask_for() {
        let rounds = Plan::full().rounds[0];
        assert_eq!(rounds.time(10.0), rounds.time_max);
        assert_eq!(rounds.time(100.0), seconds(37));
        assert_eq!(rounds.time(1_000.0), rounds.time_min);
    }

    #[test]
    fn the_quick_plan_leaves_its_five_minutes_room_for_what_lies_between() {
        let plan = Plan::quick();
        let windows: Duration = plan
            .rounds
            .iter()
            .map(|rounds| {
                (rounds.time(plan.rate) + super::super::window::WARM_UP) * (rounds.rounds * rounds.arms.len()) as u32
            })
            .sum();
        let FaultTimes { before, fault, after } = plan.held_down;
        assert!(windows + before + fault + after <= seconds(240), "{windows:?}");
    }
}
