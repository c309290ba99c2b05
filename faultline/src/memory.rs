//! Memory that was freed goes back to the system.
//!
//! glibc keeps what a thread has freed for that thread: after one compaction, or one large query, a process would hold for ever
//! what it needed for a second.

use std::io;
use std::time::Duration;

/// Between two looks: what a compaction or a query needed is gone before the next of them, mostly.
const INTERVAL: Duration = Duration::from_secs(15);

/// Where the allocator is not glibc's, this does nothing.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, with no condition to wait for and nothing to block")]
pub(crate) fn give_back() -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    std::thread::Builder::new().name("give-back".to_owned()).spawn(|| {
        loop {
            std::thread::sleep(INTERVAL);
            trim();
        }
    })?;
    Ok(())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: it may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}
