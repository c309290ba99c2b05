//! Settings of the OTLP sink.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::http::{HeaderName, HeaderValue};
use store::Portion;

use crate::sinks::requests::Size;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Another OTLP receiver that gets all telemetry too, such as http://127.0.0.1:14317; none when not set
    #[arg(long, env = "FAULTLINE_OTLP_OUT_URL")]
    pub otlp_out_url: Option<String>,

    /// What is spoken there. http is protobuf to that address with /v1/traces and so on behind it, and passes through any proxy
    #[arg(long, env = "FAULTLINE_OTLP_OUT_PROTOCOL", value_enum, default_value_t = Protocol::Grpc)]
    pub otlp_out_protocol: Protocol,

    /// Header fields of each request, name=value separated by commas, for tokens
    #[arg(long, env = "FAULTLINE_OTLP_OUT_HEADERS", hide_env_values = true)]
    pub otlp_out_headers: Option<String>,

    /// Of requests; gzip is what every receiver knows
    #[arg(long, env = "FAULTLINE_OTLP_OUT_COMPRESSION", value_enum, default_value_t = Compression::Gzip)]
    pub otlp_out_compression: Compression,

    /// Spans, records or points of one request; what the batch processors of other collectors send
    #[arg(long, env = "FAULTLINE_OTLP_OUT_ROWS_MAX", default_value_t = 8192)]
    pub otlp_out_rows_max: usize,

    /// Bytes of one request before compression; below the 4 MiB that many gRPC servers accept
    #[arg(long, env = "FAULTLINE_OTLP_OUT_BYTES_MAX", default_value_t = 3 << 20)]
    pub otlp_out_bytes_max: usize,

    /// Wait this long for a request to fill, milliseconds; as other collectors do
    #[arg(long, env = "FAULTLINE_OTLP_OUT_WAIT_MAX_MS", default_value_t = 200)]
    pub otlp_out_wait_max_ms: u64,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    None,
}

/// Bytes of the log read at once; requests are cut from what they hold.
const BYTES_MAX: u64 = 4 << 20;

impl Args {
    pub(super) fn size(&self) -> Size {
        Size { rows_max: self.otlp_out_rows_max, bytes_max: self.otlp_out_bytes_max }
    }

    pub(super) fn portion(&self) -> Portion {
        let rows = self.otlp_out_rows_max as u64;
        let wait_max = Duration::from_millis(self.otlp_out_wait_max_ms);
        Portion { rows_min: rows, wait_max, rows_max: rows, bytes_max: BYTES_MAX }
    }

    pub(super) fn headers(&self) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
        let entries = self.otlp_out_headers.iter().flat_map(|text| text.split(','));
        let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(header).collect()
    }
}

/// The value is never repeated in an error: it may be a secret.
fn header(entry: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let Some((name, value)) = entry.split_once('=') else { bail!("a header of --otlp-out-headers is not name=value") };
    let name = name.trim();
    let value =
        HeaderValue::from_str(value.trim()).with_context(|| format!("the value of header {name} is not text"))?;
    let parsed = name.to_lowercase().parse::<HeaderName>();
    Ok((parsed.with_context(|| format!("{name:?} is no name of a header"))?, value))
}

#[cfg(test)]
mod tests {
    use crate::sinks::args::test_args;

    #[test]
    fn headers_are_pairs_and_values_stay_secret() {
        let headers = |text: &str| test_args(&["--otlp-out-headers", text]).otlp.headers();
        let found = headers("X-Token=a=b, tenant=shop,").expect("two pairs");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(found, [("x-token", &b"a=b"[..]), ("tenant", b"shop")]);
        let error = format!("{:#}", headers("token=se\u{1}cret").expect_err("a control character"));
        assert!(error.contains("token") && !error.contains("cret"), "{error}");
        assert!(headers("secret").is_err() && test_args(&[]).otlp.headers().expect("none").is_empty());
    }
}
