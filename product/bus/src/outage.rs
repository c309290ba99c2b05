//! An outage is one line in the log, not one for each attempt; attempts are spaced.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Outage {
    /// Who suffers: "relay", "consumer jobs".
    who: String,
    pause: Option<Duration>,
}

impl Outage {
    pub(crate) fn new(who: String) -> Self {
        Self { who, pause: None }
    }

    /// Notes a failure and waits before the next attempt, unless `stop` comes first.
    pub(crate) async fn failed(&mut self, error: &anyhow::Error, stop: &CancellationToken) {
        if self.pause.is_none() {
            warn!("{} is held up: {error:#}", self.who);
        }
        let pause = self.pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.pause = Some(pause);
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    pub(crate) fn over(&mut self) {
        if self.pause.take().is_some() {
            info!("{} is at work again", self.who);
        }
    }
}
