//! The settings of the terminal UI.

use std::time::Duration;

/// Where the terminal UI asks, how often, and how far back it looks at first.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// URL of the query node; everything on the screen is SQL sent there
    #[arg(long, env = "FAULTLINE_QUERY_URL", default_value = "http://127.0.0.1:7317")]
    pub query_url: String,

    /// Time between two refreshes of the screen in front, e.g. 500ms, 2s: short enough to feel live, long enough that polling stays cheap
    #[arg(long, env = "FAULTLINE_REFRESH", default_value = "2s", value_parser = duration)]
    pub refresh: Duration,

    /// How far back the screens look at first, e.g. 30s, 5m, 1h, 7d; `t` changes it while running
    #[arg(long, env = "FAULTLINE_WINDOW", default_value = "5m", value_parser = duration)]
    pub window: Duration,
}

/// Reads `250ms`, `5s`, `15m`, `1h` or `7d`; zero is refused.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("expected a whole number and a unit, for example 500ms, 2s, 5m, 1h or 7d".to_owned()),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    match ms {
        Some(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err(format!("`{text}` is not a usable time; try 2s or 5m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "5", "m", "0s", "-1s", "1 week", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
