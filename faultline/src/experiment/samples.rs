//! What the load wrote down: one line for each request, by the time it was meant to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::report::Latency;
use super::stats::quantile;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Acknowledged,
    Failed,
    /// Planned and never sent.
    Skipped,
}

#[derive(Clone, Debug, Deserialize)]
struct Line {
    endpoint: String,
    /// Since the Unix epoch.
    intended_us: i64,
    #[serde(default)]
    latency_us: u64,
    outcome: Outcome,
    /// How much later than intended it was sent.
    #[serde(default)]
    late_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    intended_us: i64,
    latency_ms: f64,
    late_ms: f64,
    outcome: Outcome,
}

/// The requests of a run of the load, by endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<Sample>>);

impl Samples {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Samples> {
        let lines = std::fs::File::open(file).with_context(|| format!("could not read {}", file.display()))?;
        let mut samples = Samples::default();
        for line in BufReader::new(lines).lines() {
            let line = line.with_context(|| format!("could not read {}", file.display()))?;
            let line: Line = serde_json::from_str(&line).with_context(|| format!("{}: {line:?}", file.display()))?;
            samples.0.entry(line.endpoint).or_default().push(Sample {
                intended_us: line.intended_us,
                latency_ms: line.latency_us as f64 / 1e3,
                late_ms: line.late_us as f64 / 1e3,
                outcome: line.outcome,
            });
        }
        Ok(samples)
    }

    /// Those meant to be sent from `from_us` on and before `to_us`.
    pub(crate) fn between(&self, from_us: i64, to_us: i64) -> Samples {
        let within = |sample: &&Sample| sample.intended_us >= from_us && sample.intended_us < to_us;
        let kept = |samples: &Vec<Sample>| samples.iter().filter(within).copied().collect::<Vec<_>>();
        Samples(self.0.iter().map(|(name, samples)| (name.clone(), kept(samples))).collect())
    }

    /// When the first request was meant to be sent, microseconds since the Unix epoch.
    pub(crate) fn first_us(&self) -> Option<i64> {
        self.all().map(|sample| sample.intended_us).min()
    }

    pub(crate) fn endpoints(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Latencies of successes, milliseconds.
    pub(crate) fn latencies_ms(&self, endpoint: &str) -> Vec<f64> {
        let samples = self.0.get(endpoint).map_or(&[][..], Vec::as_slice);
        let successes = samples.iter().filter(|sample| sample.outcome == Outcome::Acknowledged);
        successes.map(|sample| sample.latency_ms).collect()
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.all().filter(|sample| sample.outcome == outcome).count() as u64
    }

    pub(crate) fn count_at(&self, endpoint: &str, outcome: Outcome) -> u64 {
        let samples = self.0.get(endpoint).map_or(&[][..], Vec::as_slice);
        samples.iter().filter(|sample| sample.outcome == outcome).count() as u64
    }

    /// All that were planned.
    pub(crate) fn len(&self) -> u64 {
        self.all().count() as u64
    }

    /// How late all but one in a hundred were sent at most.
    pub(crate) fn late_p99_ms(&self) -> f64 {
        quantile(&mut self.all().map(|sample| sample.late_ms).collect::<Vec<_>>(), 0.99).unwrap_or(0.0)
    }

    pub(crate) fn latency(&self, endpoint: &str) -> Latency {
        latency(&mut self.latencies_ms(endpoint), self.count_at(endpoint, Outcome::Failed))
    }

    fn all(&self) -> impl Iterator<Item = &Sample> {
        self.0.values().flatten()
    }
}

pub(crate) fn latency(latencies_ms: &mut [f64], failed: u64) -> Latency {
    Latency {
        samples: latencies_ms.len() as u64,
        failed,
        p50_ms: quantile(latencies_ms, 0.50),
        p95_ms: quantile(latencies_ms, 0.95),
        p99_ms: quantile(latencies_ms, 0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_load_is_read_and_cut_by_intended_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("samples.jsonl");
        let line = |at: i64, latency: u64, outcome: &str| {
            format!(
                r#"{{"endpoint":"POST /v1/payments","intended_us":{at},"latency_us":{latency},"outcome":"{outcome}","status":201}}"#
            )
        };
        let lines = [
            line(1_000_000, 9_000, "acknowledged"),
            line(2_000_000, 30_000, "acknowledged"),
            line(2_500_000, 70_000, "failed"),
            r#"{"endpoint":"POST /v1/payments","intended_us":2600000,"outcome":"skipped"}"#.to_owned(),
            line(3_000_000, 50_000, "acknowledged"),
        ];
        std::fs::write(&file, lines.join("\n")).expect("written");
        let samples = Samples::read(&file).expect("read");
        assert_eq!((samples.first_us(), samples.len()), (Some(1_000_000), 5));
        let cut = samples.between(2_000_000, 3_000_000);
        assert_eq!(cut.latencies_ms("POST /v1/payments"), [30.0]);
        assert_eq!((cut.count(Outcome::Failed), cut.count(Outcome::Skipped)), (1, 1));
        let latency = samples.latency("POST /v1/payments");
        assert_eq!((latency.samples, latency.failed, latency.p95_ms), (3, 1, Some(50.0)));
        assert!(samples.latencies_ms("GET /nothing").is_empty());
    }
}
