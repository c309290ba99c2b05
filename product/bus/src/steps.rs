//! The steps of an event's way, between any two of which a process may die. A test has it killed at one of them.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The row is written and its transaction not committed.
    Enqueued,
    /// The transaction is committed and the relay does not know.
    Committed,
    /// The relay has read rows.
    Read,
    /// They are with the Kafka client.
    Handed,
    /// The broker has them and their rows do not say so.
    Acknowledged,
    /// Their rows say so in a transaction that is not committed.
    Marking,
    Marked,
    /// A consumer has a message.
    Received,
    /// The work outside the database is done.
    Prepared,
    /// The inbox row is written.
    Remembered,
    /// And the effect, and nothing is committed.
    Applied,
    /// All is committed and the broker does not know.
    Done,
    /// The attempt failed and the message is in no other topic yet.
    PuttingAside,
    /// It is, and the reader has not passed it.
    PutAside,
}

impl Step {
    pub const ALL: [Step; 14] = [
        Step::Enqueued,
        Step::Committed,
        Step::Read,
        Step::Handed,
        Step::Acknowledged,
        Step::Marking,
        Step::Marked,
        Step::Received,
        Step::Prepared,
        Step::Remembered,
        Step::Applied,
        Step::Done,
        Step::PuttingAside,
        Step::PutAside,
    ];

    pub(crate) fn reached(self) {
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let Some((step, time)) = *FATE else { return };
        if self == step && TIMES.fetch_add(1, Relaxed) + 1 >= time {
            std::process::abort();
        }
    }
}

/// Names the step at which a process ends as if its power was cut: `Marking` the first time, `Marking 7` the seventh.
/// Only tests set it.
pub const DIE_AT: &str = "FAULTLINE_TEST_DIE_AT";

static FATE: LazyLock<Option<(Step, u64)>> = LazyLock::new(|| {
    let fate = std::env::var(DIE_AT).ok()?;
    let (name, time) = fate.split_once(' ').unwrap_or((&fate, "1"));
    let step = Step::ALL.into_iter().find(|step| format!("{step:?}") == name)?;
    Some((step, time.parse().ok()?))
});
