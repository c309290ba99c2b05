//! How a process of ours is started: its settings, its port, its CPUs, and the pipe that ties its life to ours.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};

use super::pin::Cpus;

/// Names the descriptor whose end of file tells a child that we are gone; `observe` reads it.
const LIFELINE: &str = "FAULTLINE_PARENT_FD";
/// Systemd's protocol for sockets that a service inherits: their number, the first being descriptor 3.
const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_FIRST: RawFd = 3;
/// Systemd's protocol for a service that says when it is ready.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Ours, not a child's: everything it needs is spelled out, and a socket that was given to us is not for it.
const NOT_INHERITED: [&str; 5] = ["FAULTLINE_PORT_OFFSET", "FAULTLINE_CONFIG", LISTEN_FDS, "LISTEN_PID", NOTIFY_SOCKET];

/// Everything a process is started with, again and again if need be.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Beside our own environment.
    pub(crate) environment: Vec<(String, String)>,
    /// `service.version` of its telemetry.
    pub(crate) version: String,
    pub(crate) log_file: PathBuf,
    /// How long it may take to start, and to stop before it is killed.
    pub(crate) patience: Duration,
    pub(crate) cpus: Option<Cpus>,
}

impl Launch {
    /// Its stdin is the lifeline, its output is ours to read. `socket` is the port it shall use, `ready` where it says that it
    /// serves.
    pub(crate) fn spawn(&self, socket: Option<&TcpListener>, ready: Option<&Path>) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(LIFELINE, "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for us alone; we stop the parts in order.
            .process_group(0)
            .kill_on_drop(true);
        if socket.is_some() {
            command.env(LISTEN_FDS, "1");
        }
        if let Some(path) = ready {
            command.env(NOTIFY_SOCKET, path);
        }
        before_exec(&mut command, socket.map(AsRawFd::as_raw_fd), self.cpus.clone());
        command.spawn().with_context(|| format!("could not start {}", self.program.display()))
    }
}

#[allow(unsafe_code)]
fn before_exec(command: &mut Command, socket: Option<RawFd>, cpus: Option<Cpus>) {
    if socket.is_none() && cpus.is_none() {
        return;
    }
    let cpus = cpus.map(|cpus| cpus.mask());
    let prepare = move || {
        if let Some(socket) = socket {
            // Descriptor 3 of the child is a copy of ours, which the runtime has held since before any socket: never the pipe
            // by which the child tells that exec failed.
            // SAFETY: both calls take integers and are safe between fork and exec; `socket` is open, its owner waits in spawn.
            let given =
                unsafe { libc::dup2(socket, LISTEN_FIRST) >= 0 && libc::fcntl(LISTEN_FIRST, libc::F_SETFD, 0) >= 0 };
            if !given {
                return Err(std::io::Error::last_os_error());
            }
        }
        cpus.as_ref().map_or(Ok(()), |mask| mask.apply(0))
    };
    // SAFETY: `prepare` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}
