//! Memory that was freed goes back to the system.
//!
//! glibc keeps what a thread has freed for that thread: after one compaction, or one large query, a process would hold for ever
//! what it needed for a second. And it has up to eight heaps a core, of which each keeps its own worst moment: one more heap than
//! there are cores, so that hardly a thread waits for another, takes a third less (see BENCHMARKS.md).

use std::io;
use std::time::Duration;

/// Between two looks: what a compaction or a query needed is gone before the next of them, mostly.
const INTERVAL: Duration = Duration::from_secs(15);

/// Before there is another thread. Where the allocator is not glibc's, this does nothing.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, with no condition to wait for and nothing to block")]
pub(crate) fn give_back() -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        limit_heaps(cores + 1);
        std::thread::Builder::new().name("give-back".to_owned()).spawn(|| {
            loop {
                std::thread::sleep(INTERVAL);
                trim();
            }
        })?;
    }
    Ok(())
}

/// Unless the environment says how many (`GLIBC_TUNABLES`, `MALLOC_ARENA_MAX`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn limit_heaps(heaps: usize) {
    let is_said = std::env::var_os("MALLOC_ARENA_MAX").is_some()
        || std::env::var("GLIBC_TUNABLES").is_ok_and(|tunables| tunables.contains("arena_max"));
    if is_said {
        return;
    }
    let heaps = libc::c_int::try_from(heaps).unwrap_or(libc::c_int::MAX);
    // SAFETY: it sets a number. A refusal leaves things as they were.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) };
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: it may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}
