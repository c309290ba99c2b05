//! The steps of an event's way, between any two of which a process may die. A test has itself killed at one of them;
//! outside of tests nothing of this is compiled.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
}

/// Names the step at which a process ends as if its power was cut: `Marking` the first time, `Marking 7` the seventh.
pub const DIE_AT: &str = "FAULTLINE_TEST_DIE_AT";

pub(crate) fn reached(step: Step) {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    let Ok(fate) = std::env::var(DIE_AT) else { return };
    let (name, time) = fate.split_once(' ').unwrap_or((&fate, "1"));
    if name == format!("{step:?}") && TIMES.fetch_add(1, Relaxed) + 1 >= time.parse().expect("a number") {
        std::process::abort();
    }
}
