//! Every request of the plan as a line of JSON, for whoever draws the percentiles.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

use super::locked;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Acknowledged,
    Failed,
    /// Not sent: too many were under way, or nobody could make it.
    Skipped,
}

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub(super) intended: Instant,
    /// From `intended` to the moment it was sent: the generator's own share of the latency.
    pub(super) late: Duration,
    /// From `intended` to the end of the answer that settled it.
    pub(super) latency: Duration,
    /// Of the last answer; 0 when there was none.
    pub(super) status: u16,
}

#[derive(Debug)]
pub(super) struct Samples {
    file: Mutex<Written>,
    /// The same moment on both clocks.
    begun: Instant,
    begun_unix: Duration,
}

#[derive(Debug)]
struct Written {
    file: BufWriter<File>,
    /// The first error; what comes after it is not written.
    failed: Option<io::Error>,
}

#[derive(Serialize)]
struct Line {
    endpoint: &'static str,
    /// Since the Unix epoch.
    intended_us: u64,
    late_us: u64,
    latency_us: u64,
    outcome: Outcome,
    status: u16,
}

impl Samples {
    /// Begins a new file; what an earlier run left there is gone.
    pub(super) fn create(path: &Path) -> anyhow::Result<Samples> {
        let create = || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            File::create(path)
        };
        let file = create().with_context(|| format!("could not create {}", path.display()))?;
        let begun_unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let file = Mutex::new(Written { file: BufWriter::new(file), failed: None });
        Ok(Samples { file, begun: Instant::now(), begun_unix })
    }

    /// A line into memory, and now and then some kilobytes to the page cache: cheap enough to do in place.
    pub(super) fn add(&self, endpoint: &'static str, settled: Settled, outcome: Outcome) {
        let line = Line {
            endpoint,
            intended_us: micros(self.begun_unix + settled.intended.saturating_duration_since(self.begun)),
            late_us: micros(settled.late),
            latency_us: micros(settled.latency),
            outcome,
            status: settled.status,
        };
        let mut written = locked(&self.file);
        if written.failed.is_none() {
            let Written { file, failed } = &mut *written;
            let added = serde_json::to_writer(&mut *file, &line).map_err(io::Error::from);
            *failed = added.and_then(|()| file.write_all(b"\n")).err();
        }
    }

    /// Everything is in the file when this is `Ok`.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        let mut written = locked(&self.file);
        let failed = written.failed.take();
        failed.map_or_else(|| written.file.flush(), Err).context("could not write the samples")
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_how_long_and_what_became_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/samples.jsonl");
        let mut samples = Samples::create(&path).expect("a file");
        samples.begun_unix = Duration::from_secs(1_795_348_800);
        let settled = Settled {
            intended: samples.begun + Duration::from_millis(1_500),
            late: Duration::from_micros(80),
            latency: Duration::from_micros(12_345),
            status: 201,
        };
        samples.add("POST /v1/payments", settled, Outcome::Acknowledged);
        samples.finish().expect("written");
        expect_test::expect![[r#"
            {"endpoint":"POST /v1/payments","intended_us":1795348801500000,"late_us":80,"latency_us":12345,"outcome":"acknowledged","status":201}
        "#]]
        .assert_eq(&std::fs::read_to_string(&path).expect("read"));
    }

    #[test]
    fn a_full_disk_is_said_at_the_end() {
        let Ok(samples) = Samples::create(Path::new("/dev/full")) else { return }; // there is none on this machine
        let settled = Settled { intended: Instant::now(), late: Duration::ZERO, latency: Duration::ZERO, status: 0 };
        samples.add("GET /", settled, Outcome::Failed);
        assert!(samples.finish().is_err());
    }
}
