//! The result as a table for people and as one JSON object for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::process::Usage;
use super::template::Template;
use super::verify::Stored;
use super::workers::Outcome;
use super::{Args, Kind, Protocol, Rate};

#[derive(Serialize)]
pub(crate) struct Report {
    endpoint: String,
    protocol: &'static str,
    signal: &'static str,
    /// Records a second that were asked for; null for as many as possible.
    rate: Option<f64>,
    connections: u32,
    in_flight: u32,
    batch: u32,
    item_bytes: f64,
    seconds: f64,
    accepted: u64,
    accepted_per_second: f64,
    rejected: u64,
    requests: u64,
    refused_requests: u64,
    error_requests: u64,
    /// What was said with refusals and errors, and how often.
    reasons: BTreeMap<String, u64>,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    target: Option<Cost>,
    client: Cost,
    pub(crate) stored: Option<Stored>,
}

/// What a process spent during the run.
#[derive(Serialize)]
struct Cost {
    cpu_seconds: f64,
    cores: f64,
    cpu_us_per_item: Option<f64>,
    resident_bytes: u64,
    resident_bytes_peak: u64,
}

impl Report {
    pub(crate) fn new(
        args: &Args,
        template: &Template,
        outcome: &Outcome,
        before: (Option<Usage>, Usage),
        after: (Option<Usage>, Usage),
    ) -> Report {
        let seconds = outcome.elapsed.as_secs_f64();
        let cost = |before: Usage, after: Usage| {
            let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
            Cost {
                cpu_seconds,
                cores: cpu_seconds / seconds,
                cpu_us_per_item: (outcome.accepted > 0).then(|| cpu_seconds * 1e6 / outcome.accepted as f64),
                resident_bytes: after.resident_bytes,
                resident_bytes_peak: after.resident_bytes_peak,
            }
        };
        Report {
            endpoint: args.endpoint().to_owned(),
            protocol: match args.protocol {
                Protocol::Grpc => "grpc",
                Protocol::Http => "http",
            },
            signal: match args.signal {
                Kind::Traces => "traces",
                Kind::Logs => "logs",
                Kind::Metrics => "metrics",
            },
            rate: match args.rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            },
            connections: args.connections,
            in_flight: args.in_flight,
            batch: args.batch,
            item_bytes: template.item_bytes(),
            seconds,
            accepted: outcome.accepted,
            accepted_per_second: outcome.accepted as f64 / seconds,
            rejected: outcome.rejected,
            requests: outcome.requests,
            refused_requests: outcome.refused,
            error_requests: outcome.errors,
            reasons: outcome.sentences.clone(),
            p50_ms: outcome.latency.quantile(0.5).as_secs_f64() * 1e3,
            p99_ms: outcome.latency.quantile(0.99).as_secs_f64() * 1e3,
            max_ms: outcome.latency.max().as_secs_f64() * 1e3,
            target: before.0.zip(after.0).map(|(before, after)| cost(before, after)),
            client: cost(before.1, after.1),
            stored: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, rate) =
            (self.signal, self.rate.map_or("max".to_owned(), |rate| format!("{}/s", grouped(rate as u64))));
        writeln!(f, "{what} over {} to {}, rate {rate}", self.protocol, self.endpoint)?;
        writeln!(
            f,
            "{} connections with {} requests each, {} records of {:.0} B a request, {:.1} s",
            self.connections, self.in_flight, self.batch, self.item_bytes, self.seconds
        )?;
        writeln!(f)?;
        let megabytes = self.accepted_per_second * self.item_bytes / 1e6;
        let per_second = grouped(self.accepted_per_second as u64);
        line(f, "accepted", format!("{} records, {per_second}/s, {megabytes:.1} MB/s", grouped(self.accepted)))?;
        line(
            f,
            "answered",
            format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", self.p50_ms, self.p99_ms, self.max_ms),
        )?;
        line(f, "rejected", format!("{} records", grouped(self.rejected)))?;
        line(f, "refused", format!("{} of {} requests", grouped(self.refused_requests), grouped(self.requests)))?;
        line(f, "errors", format!("{} requests", grouped(self.error_requests)))?;
        for (sentence, times) in &self.reasons {
            line(f, "", format!("{times} x {sentence}"))?;
        }
        if let Some(target) = &self.target {
            line(f, "target", target.to_string())?;
        }
        line(f, "client", self.client.to_string())?;
        if let Some(stored) = &self.stored {
            line(f, "stored", format!("{} rows, {} distinct ids", grouped(stored.rows), grouped(stored.distinct)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s CPU, {:.2} cores", self.cpu_seconds, self.cores)?;
        if let Some(cpu) = self.cpu_us_per_item {
            write!(f, ", {cpu:.3} us a record")?;
        }
        write!(f, ", {} MiB resident, {} at most", self.resident_bytes >> 20, self.resident_bytes_peak >> 20)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: String) -> fmt::Result {
    writeln!(f, "{name:<9} {value}")
}

/// Thousands apart: 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 12_345, 1_234_567].map(grouped), ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
