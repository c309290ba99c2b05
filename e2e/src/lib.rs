//! What the end-to-end tests share: the real binary as a process, free ports for a whole stack, and questions in SQL.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// How long anything may take to come up on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary that `cargo test --workspace` built beside the tests.
pub fn faultline() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let program = profile.join("faultline");
    assert!(program.exists(), "{} is not built; run the tests with --workspace", program.display());
    program
}

/// Held by the test whose processes run: several stacks at once would starve each other on two cores.
pub struct Turn {
    _file: std::fs::File,
}

impl Turn {
    pub fn take() -> Turn {
        let path = std::env::temp_dir().join("faultline-e2e.lock");
        let file = std::fs::File::create(&path).expect("a lock file can be made");
        file.lock().expect("the lock is given in the end");
        Turn { _file: file }
    }
}

/// Default ports of everything `up` starts.
const PORTS: [u16; 16] =
    [4317, 4318, 7317, 7092, 7001, 7002, 7003, 7010, 7011, 7025, 7100, 7101, 7102, 7103, 7104, 7105];

/// An offset at which every port of a stack is free now; each one later than the one before, so that what a stack
/// that just ended still sends does not reach the next.
pub fn free_port_offset() -> u16 {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() % 300 * 100;
    (0..400)
        .map(|_| STEP.fetch_add(1, Ordering::Relaxed) % 400)
        .map(|step| (10_000 + (start + step * 101) % 45_000) as u16)
        .find(|offset| PORTS.iter().all(|port| TcpListener::bind(("127.0.0.1", port + offset)).is_ok()))
        .expect("some hundred ports are free")
}

/// A running `faultline …`, killed when the test ends however it ends.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Process {
        let child = Command::new(faultline())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Process { child }
    }

    /// Its output goes nowhere: for parts that are started many times.
    pub fn start_quiet<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Process {
        let child = Command::new(faultline())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Process { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and takes what it printed.
    pub fn output(mut self) -> Output {
        let stdout = self.child.stdout.take();
        let stderr = self.child.stderr.take();
        let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    let _ = stream.read_to_end(&mut bytes);
                }
                bytes
            })
        };
        let stdout = read(stdout.map(|stream| Box::new(stream) as _));
        let stderr = read(stderr.map(|stream| Box::new(stream) as _));
        let status = self.child.wait().expect("a child can be waited for");
        Output { status, stdout: stdout.join().expect("read"), stderr: stderr.join().expect("read") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(unsafe_code)]
pub fn send_signal(pid: u32, signal: i32) {
    // SAFETY: kill takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Processes whose parent is `pid`, with their command lines.
pub fn children(pid: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(pid.to_string().as_str()) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((child, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    !matches!(state, None | Some("Z" | "X"))
}

/// Looks again and again until `condition` gives something.
pub async fn wait_for<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A query node that answers.
#[derive(Clone)]
pub struct Query {
    client: reqwest::Client,
    url: String,
}

impl Query {
    pub fn at(port: u16) -> Query {
        Query { client: reqwest::Client::new(), url: format!("http://127.0.0.1:{port}") }
    }

    pub async fn sql(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        let response = self.client.post(format!("{}/v1/sql", self.url)).body(sql.to_owned()).send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("no JSON array of rows: {text}"))
    }

    /// The first column of the only row, as a whole number.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let rows = self.sql(sql).await?;
        let value = rows.first().and_then(|row| row.as_object()?.values().next()?.as_i64());
        value.with_context(|| format!("no number in {rows:?}"))
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await?.error_for_status()?;
        Ok(response.json().await?)
    }
}
