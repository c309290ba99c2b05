//! A connection costs a file descriptor. One that is missing would look like a failure of core.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the ledger, samples, logs, telemetry and the runtime.
const OTHERS: u64 = 64;

/// Makes sure that so many connections can be open.
pub(super) fn reserve(connections: usize) -> anyhow::Result<()> {
    if let Some(raised) = raised(&getrlimit(Resource::Nofile), connections as u64 + OTHERS)? {
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(())
}

/// The limit that is needed, if it is above the one in force.
fn raised(limit: &Rlimit, needed: u64) -> anyhow::Result<Option<Rlimit>> {
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(None);
    }
    let maximum = limit.maximum;
    anyhow::ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "--in-flight-max needs {needed} file descriptors and this process may have {}; make it smaller or raise `ulimit -Hn`",
        maximum.unwrap_or_default(),
    );
    Ok(Some(Rlimit { current: Some(needed), maximum }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let soft = limit(Some(1_024), Some(4_096));
        let current = |needed| raised(&soft, needed).map(|raised| raised.and_then(|limit| limit.current));
        assert_eq!(current(1_024).expect("allowed"), None);
        assert_eq!(current(2_000).expect("allowed"), Some(2_000));
        assert!(current(5_000).is_err());
        assert!(raised(&limit(None, None), 1_000_000).expect("allowed").is_none());
    }
}
