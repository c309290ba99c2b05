//! What is compared: the same product, the same work, arranged in four ways.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arm {
    /// The monolith: jobs and analytics inside the request.
    Inline,
    /// The same with twice the processor: the hardware upgrade that is tried first.
    #[serde(rename = "inline-2-cores")]
    InlineTwoCores,
    /// Jobs extracted, analytics not yet.
    HalfWay,
    /// Both extracted.
    Events,
}

impl Arm {
    pub(crate) const ALL: [Arm; 4] = [Arm::Inline, Arm::InlineTwoCores, Arm::HalfWay, Arm::Events];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Arm::Inline => "inline",
            Arm::InlineTwoCores => "inline-2-cores",
            Arm::HalfWay => "half-way",
            Arm::Events => "events",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Arm::Inline => "monolith: jobs and analytics inside the request, one database; product on one core",
            Arm::InlineTwoCores => "the same monolith on both cores: the hardware upgrade",
            Arm::HalfWay => "jobs extracted (events), analytics still inside; product on one core",
            Arm::Events => "jobs and analytics extracted (events); all services, broker included, on one core",
        }
    }

    /// Mode of each concern: (jobs, analytics).
    pub(crate) fn modes(self) -> (&'static str, &'static str) {
        match self {
            Arm::Inline | Arm::InlineTwoCores => ("inline", "inline"),
            Arm::HalfWay => ("events", "inline"),
            Arm::Events => ("events", "events"),
        }
    }

    /// Whether events leave core in this arm.
    pub(crate) fn has_events(self) -> bool {
        self.modes() != ("inline", "inline")
    }

    /// The processes that do its work; the others of the stack are idle, and kept off the product's core.
    pub(crate) fn parts(self) -> &'static [&'static str] {
        match self {
            Arm::Inline | Arm::InlineTwoCores => &["core", "postgres"],
            Arm::HalfWay => &["core", "postgres", "jobs", "broker", "kafka"],
            Arm::Events => &["core", "postgres", "jobs", "analytics", "broker", "kafka"],
        }
    }

    pub(crate) fn cores(self) -> usize {
        match self {
            Arm::InlineTwoCores => 2,
            _ => 1,
        }
    }
}

impl std::fmt::Display for Arm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}
