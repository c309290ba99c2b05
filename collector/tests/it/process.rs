//! A collector in a process of its own: one to be killed, or one with telemetry of its own, of which a process has only one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::harness::{args, eventually};

/// Its settings, a line each; the first line is its folder.
const SETTINGS: &str = "FAULTLINE_TEST_PROCESS_SETTINGS";
/// How it exports its own telemetry to itself, a line each; the first line is `http` or `https`. It does not when not set.
const OBSERVED: &str = "FAULTLINE_TEST_PROCESS_OBSERVED";
/// File in its folder: where probes ask.
const ADDRESS: &str = "probe.address";

pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(folder: &Path, settings: &[String], observed: &[String]) -> Process {
        let lines = [vec![folder.display().to_string()], settings.to_vec()].concat().join("\n");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "process::a_process_for_other_tests"]).env(SETTINGS, lines);
        if !observed.is_empty() {
            command.env(OBSERVED, observed.join("\n"));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        Process(child)
    }

    /// Its port for probes, once it serves.
    pub(crate) async fn probe(&mut self, folder: &Path) -> SocketAddr {
        let read = || std::fs::read_to_string(folder.join(ADDRESS)).ok().and_then(|text| text.parse().ok());
        eventually("it serves", async || {
            let ended = self.0.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended before it served: {ended:?}");
            read().is_some()
        })
        .await;
        read().expect("it was there just now")
    }
}

impl Drop for Process {
    /// SIGKILL, as `kill -9` has it.
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }
}

#[derive(Parser)]
struct Observed {
    #[command(flatten)]
    observe: observe::Args,
}

/// No test: what other tests start, and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it as a process of its own"]
async fn a_process_for_other_tests() {
    let Ok(lines) = std::env::var(SETTINGS) else { return };
    let lines: Vec<_> = lines.lines().collect();
    let (folder, settings) = lines.split_first().expect("a folder");
    let settings = [&["--otlp-probe=127.0.0.1:0"], settings].concat();
    let server = collector::Server::bind(args(Path::new(folder), &settings)).await.expect("it starts");
    let telemetry = std::env::var(OBSERVED).ok().map(|lines| {
        let lines: Vec<_> = lines.lines().collect();
        let (scheme, settings) = lines.split_first().expect("a scheme");
        let endpoint = format!("--otlp-endpoint={scheme}://localhost:{}", server.grpc_address().port());
        let words = ["collector", &endpoint, "--metric-interval-ms=100"];
        let words = words.iter().chain(settings);
        observe::init("collector", &Observed::parse_from(words).observe).expect("telemetry starts")
    });
    let folder = Path::new(folder);
    std::fs::write(folder.join("unfinished"), server.probe_address().expect("it was asked for").to_string())
        .expect("the folder is there");
    std::fs::rename(folder.join("unfinished"), folder.join(ADDRESS)).expect("the folder is there");
    server.run(CancellationToken::new()).await.expect("it runs until it is killed");
    drop(telemetry);
}
