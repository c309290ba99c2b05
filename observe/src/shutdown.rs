//! When to stop: SIGINT, SIGTERM, or the end of the parent.

use std::{fs::File, io::Read, thread, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::parent::LIFELINE;

/// An orphan that has not stopped by itself after this is ended.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);
/// Shells report a process that SIGINT ended so.
const INTERRUPTED: i32 = 130;

/// Cancelled on SIGINT, SIGTERM and, in a child of `faultline up`, when the pipe `FAULTLINE_PARENT_FD` closes.
/// A second SIGINT ends the process at once. Call inside a tokio runtime.
pub fn shutdown_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => {
            tokio::spawn(await_signals(interrupt, terminate, stop.clone()));
        }
        (Err(error), _) | (_, Err(error)) => warn!("signals cannot be handled: {error}"),
    }
    // The one variable read here: it is a message from the parent, not a setting.
    #[allow(clippy::disallowed_methods)]
    if let Ok(descriptor) = std::env::var(LIFELINE) {
        if let Err(error) = crate::parent::die_with_parent() {
            warn!("the kernel will not tell of the parent's end: {error}");
        }
        await_parent(&descriptor, stop.clone());
    }
    stop
}

async fn await_signals(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    tokio::select! {
        _ = interrupt.recv() => info!("interrupted, stopping"),
        _ = terminate.recv() => info!("asked to stop"),
    }
    stop.cancel();
    interrupt.recv().await;
    std::process::exit(INTERRUPTED);
}

/// A thread of its own: a blocked read on the runtime's pool would keep the runtime from ending.
fn await_parent(descriptor: &str, stop: CancellationToken) {
    let path = format!("/proc/self/fd/{descriptor}");
    let mut pipe = match File::open(&path) {
        Ok(pipe) => pipe,
        Err(error) => return warn!("could not watch the parent through {path}: {error}"),
    };
    let watch = move || {
        // Nothing is ever written: reading ends when the parent does.
        let mut written = [0; 64];
        while matches!(pipe.read(&mut written), Ok(1..)) {}
        stop.cancel();
        thread::park_timeout(ORPHAN_GRACE);
        std::process::exit(1);
    };
    if let Err(error) = thread::Builder::new().name("parent".to_owned()).spawn(watch) {
        warn!("could not watch the parent: {error}");
    }
}
