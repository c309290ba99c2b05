//! Keeps child processes alive until they are told to stop, and lets none outlive us: each holds the read end of a pipe whose
//! write end is ours, and asks the kernel to be killed when we die.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::launch::Launch;
use super::part::Part;
use super::ready::Readiness;

/// A part that ran this long had started well: its next failure is the first of a new series.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Failures in one series before we give up: by then the cause is not passing.
const FAILURES_MAX: u32 = 8;
const RESTART_DELAY: Duration = Duration::from_millis(200);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);
/// Last lines of a part's output shown when it fails.
const LAST_LINES: usize = 5;
/// A part's log file is started anew beyond this, the previous one kept beside it.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// What happened to a part, for the screen and the status lines.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Restarting { part: Part, why: String },
    GaveUp { part: Part, why: String, last_lines: Vec<String> },
}

/// One instance of a part under supervision.
pub(crate) struct Supervised {
    pub(crate) part: Part,
    pub(crate) launch: Launch,
    life: Arc<Life>,
    pub(crate) readiness: Option<Arc<Readiness>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Ended>,
}

/// What can be seen of it from outside.
#[derive(Debug, Default)]
struct Life {
    /// 0 while no process runs.
    pid: AtomicU32,
    /// Exits that nobody asked for.
    failures: watch::Sender<u32>,
    over: CancellationToken,
}

/// How its life went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    /// Exits nobody asked for, or a stop that needed SIGKILL: its counts are not known.
    pub(crate) unclean: u32,
    /// It ended as it was told and left its counts.
    pub(crate) counted: bool,
}

impl Supervised {
    pub(crate) fn start(
        part: Part,
        launch: Launch,
        socket: Option<Arc<TcpListener>>,
        readiness: Option<Readiness>,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<Supervised> {
        let (stop, life) = (CancellationToken::new(), Arc::new(Life::default()));
        let spawner = Spawner {
            launch: launch.clone(),
            socket,
            ready: readiness.as_ref().map(|readiness| readiness.path().to_owned()),
            life: life.clone(),
        };
        let child = spawner.spawn()?;
        let over = life.over.clone().drop_guard();
        let supervision = supervise(part, spawner, child, events, stop.clone());
        let task = tokio::spawn(async move {
            let _over = over;
            supervision.await
        });
        Ok(Supervised { part, launch, life, readiness: readiness.map(Arc::new), stop, task })
    }

    /// Of the process that runs now; none between two lives.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.life.pid.load(Relaxed)).filter(|pid| *pid != 0)
    }

    /// Over at the first exit that nobody asked for.
    pub(crate) fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut failures = self.life.failures.subscribe();
        async move {
            // The sender lives as long as the supervision; when that ends there is nothing left to fail.
            if failures.wait_for(|failures| *failures > 0).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Cancelled when it is not kept alive any more.
    pub(crate) fn over(&self) -> CancellationToken {
        self.life.over.clone()
    }

    /// SIGTERM, then patience, then SIGKILL.
    pub(crate) async fn stop(self) -> Ended {
        self.stop.cancel();
        self.task.await.unwrap_or(Ended { unclean: 1, counted: false })
    }
}

/// Starts one life after the other.
struct Spawner {
    launch: Launch,
    socket: Option<Arc<TcpListener>>,
    ready: Option<PathBuf>,
    life: Arc<Life>,
}

impl Spawner {
    fn spawn(&self) -> anyhow::Result<Child> {
        let child = self.launch.spawn(self.socket.as_deref(), self.ready.as_deref())?;
        self.life.pid.store(child.id().unwrap_or(0), Relaxed);
        Ok(child)
    }
}

async fn supervise(
    part: Part,
    spawner: Spawner,
    mut child: Child,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Ended {
    let Spawner { launch, life, .. } = &spawner;
    let mut ended = Ended::default();
    let mut failures = 0;
    loop {
        let started = Instant::now();
        // Waiting for a child closes its stdin, which is the pipe it watches: keep our end.
        let _lifeline = child.stdin.take();
        let output = tokio::spawn(keep_output(
            child.stdout.take().expect("stdout is piped"),
            child.stderr.take().expect("stderr is piped"),
            launch.log_file.clone(),
        ));
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop.cancelled() => {
                match terminate(&mut child, launch.patience).await {
                    Farewell::Counted => ended.counted = true,
                    Farewell::Unborn => {}
                    Farewell::Unclean => ended.unclean += 1,
                }
                let _ = output.await;
                return ended;
            }
        };
        life.pid.store(0, Relaxed);
        life.failures.send_modify(|failures| *failures += 1);
        ended.unclean += 1;
        failures = if started.elapsed() > HEALTHY_AFTER { 1 } else { failures + 1 };
        let last_lines = output.await.unwrap_or_default();
        let why = describe(status);
        if failures >= FAILURES_MAX {
            let _ = events.send(Event::GaveUp { part, why, last_lines }).await;
            return ended;
        }
        let _ = events.send(Event::Restarting { part, why }).await;
        child = loop {
            let delay = RESTART_DELAY_MAX.min(RESTART_DELAY * 2u32.pow(failures - 1));
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.cancelled() => return ended,
            }
            match spawner.spawn() {
                Ok(child) => break child,
                Err(error) => {
                    failures += 1;
                    let why = format!("{error:#}");
                    if failures >= FAILURES_MAX {
                        let _ = events.send(Event::GaveUp { part, why, last_lines: Vec::new() }).await;
                        return ended;
                    }
                }
            }
        };
    }
}

/// How a part took it that it was told to stop.
enum Farewell {
    /// It ended by itself and well.
    Counted,
    /// The signal came before it listened for signals, which it does before anything else: it had made nothing.
    Unborn,
    Unclean,
}

async fn terminate(child: &mut Child, patience: Duration) -> Farewell {
    let Some(pid) = child.id() else { return Farewell::Unclean };
    signal(pid, libc::SIGTERM);
    signal(pid, libc::SIGCONT); // a fault may have stopped it
    match tokio::time::timeout(patience, child.wait()).await {
        Ok(Ok(status)) if status.success() => Farewell::Counted,
        Ok(Ok(status)) if status.signal() == Some(libc::SIGTERM) => Farewell::Unborn,
        Ok(_) => Farewell::Unclean,
        Err(_) => {
            let _ = child.kill().await;
            Farewell::Unclean
        }
    }
}

#[allow(unsafe_code)]
pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes two integers; the child is ours and not yet reaped, so its pid is not somebody else's.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("could not be waited for: {error}"),
    }
}

/// Both streams into one bounded file; returns the last lines.
pub(crate) async fn keep_output(
    stdout: impl AsyncRead + Unpin + Send + 'static,
    stderr: impl AsyncRead + Unpin + Send + 'static,
    path: PathBuf,
) -> Vec<String> {
    let mut stdout = BufReader::new(stdout).lines();
    let mut stderr = BufReader::new(stderr).lines();
    let mut file = open_log(&path).await.ok();
    let mut written = 0;
    let mut last = VecDeque::new();
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        let line = tokio::select! {
            line = stdout.next_line(), if stdout_open => { stdout_open = matches!(line, Ok(Some(_))); line }
            line = stderr.next_line(), if stderr_open => { stderr_open = matches!(line, Ok(Some(_))); line }
        };
        let Ok(Some(line)) = line else { continue };
        if let Some(open) = &mut file {
            let _ = open.write_all(format!("{line}\n").as_bytes()).await;
            written += line.len() as u64 + 1;
            if written > LOG_BYTES_MAX {
                let _ = tokio::fs::rename(&path, path.with_extension("log.1")).await;
                file = open_log(&path).await.ok();
                written = 0;
            }
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.into()
}

async fn open_log(path: &std::path::Path) -> std::io::Result<tokio::fs::File> {
    tokio::fs::OpenOptions::new().create(true).append(true).open(path).await
}
