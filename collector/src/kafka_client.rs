//! What every client of Kafka begins with: the brokers, and how they are reached.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

/// What a file may set. Everything else is part of how nothing is lost, or has a setting of ours.
const REACHING: [&str; 8] =
    ["security.", "ssl.", "enable.ssl.", "sasl.", "socket.", "broker.address.", "client.rack", "client.dns.lookup"];

/// `file` is of librdkafka's settings, `key=value` a line, as kcat reads with -F: TLS, SASL, addresses.
pub(crate) fn config(servers: &str, file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("client.id", "faultline")
        .set("reconnect.backoff.max.ms", "1000")
        .set_log_level(RDKafkaLogLevel::Critical); // an outage is logged once, by whoever meets it
    let Some(path) = file else { return Ok(config) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("could not read the settings of the Kafka client from {}", path.display()))?;
    for (key, value) in pairs(&text).with_context(|| path.display().to_string())? {
        config.set(key, value);
    }
    Ok(config)
}

/// The value is never repeated in an error: it may be a secret.
fn pairs(text: &str) -> anyhow::Result<Vec<(&str, &str)>> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(at, line)| pair(line).with_context(|| format!("line {}", at + 1))).collect()
}

fn pair(line: &str) -> anyhow::Result<(&str, &str)> {
    let (key, value) = line.split_once('=').context("it is not key=value")?;
    let (key, value) = (key.trim(), value.trim());
    ensure!(
        REACHING.iter().any(|start| key.starts_with(start)),
        "{key} is not for a file to set; it may hold {}",
        REACHING.map(|start| format!("{start}{}", if start.ends_with('.') { "…" } else { "" })).join(", ")
    );
    if !cfg!(feature = "kafka-tls") && key == "security.protocol" && value.to_ascii_lowercase().ends_with("ssl") {
        bail!(
            "{value} needs TLS, which this build has not for Kafka: build with `--features kafka-tls`, for which OpenSSL is compiled \
             along and perl is needed"
        );
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_how_brokers_are_reached() {
        let text = "# ours\nsecurity.protocol = SASL_PLAINTEXT\n\nsasl.mechanism=PLAIN\nsasl.password=a=b\n";
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("client.properties");
        std::fs::write(&path, text).expect("it can be written");
        let config = config("127.0.0.1:1", Some(&path)).expect("it makes sense");
        let set = |key: &str| config.get(key);
        assert_eq!(
            ["bootstrap.servers", "security.protocol", "sasl.mechanism", "sasl.password"].map(set),
            [Some("127.0.0.1:1"), Some("SASL_PLAINTEXT"), Some("PLAIN"), Some("a=b")]
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line_and_without_secrets() {
        let refused = |text: &str| format!("{:#}", pairs(text).expect_err("it makes no sense"));
        let said = refused("security.protocol=sasl_plaintext\nhush");
        assert!(said.contains("line 2: it is not key=value") && !said.contains("hush"), "{said}");
        let said = refused("acks=0");
        assert!(said.contains("acks is not for a file to set") && said.contains("sasl.…"), "{said}");
        #[cfg(not(feature = "kafka-tls"))]
        assert!(refused("security.protocol=SASL_SSL").contains("--features kafka-tls"));
    }
}
