//! What was promised to customers against what happened: the load's ledger against the evidence of whoever did the work.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Between two looks at the evidence while events are still on their way.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The effect that every payment has.
pub(crate) const PROJECTION: &str = "projection";
/// To connect, and between two pieces of an answer: the whole grows with the history.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// One line of the ledger: core said yes to this.
#[derive(Deserialize)]
struct Intent {
    intent: String,
    id: String,
}

/// One line of evidence.
#[derive(Deserialize)]
struct Effect {
    effect: String,
    event_type: String,
    payment_id: Option<String>,
    count: u64,
    /// All arrivals, also those the receiver recognised as repeats.
    deliveries: Option<u64>,
}

/// Who is asked for an effect. Together they have the whole of it: what core did inside its requests it knows itself, what
/// was done from events jobs knows.
pub(crate) struct Witness {
    pub(crate) effect: &'static str,
    /// Base addresses, e.g. `http://127.0.0.1:7001`.
    pub(crate) urls: Vec<String>,
}

/// What was promised, and by whom.
pub(crate) struct Promises<'a> {
    pub(crate) ledger: &'a Path,
    pub(crate) witnesses: &'a [Witness],
    /// For witnesses that want to know who asks.
    pub(crate) operator_token: Option<&'a str>,
}

/// One row of the report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) effect: String,
    pub(crate) event_type: String,
    pub(crate) acknowledged: u64,
    pub(crate) happened: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Deliveries of a webhook or a mail beyond its first, all recognised by their key.
    pub(crate) repeats: u64,
    /// Happened although no customer heard a yes: the answer was lost, not the payment.
    pub(crate) unheard: u64,
}

impl Tally {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

/// Payments that have effects elsewhere.
const EVENT_TYPES: [&str; 3] = ["payment.captured", "payment.refunded", DECLINED];
/// Has no receipt, no mail and no webhook, only its projection.
const DECLINED: &str = "payment.declined";

/// (times it happened, deliveries) by payment, by (effect, type of its event).
pub(crate) type Evidence = HashMap<(String, String), HashMap<String, (u64, u64)>>;

/// Asks until every acknowledged intent has its effects, or until `patience` ends; the last look is the result.
pub(crate) async fn settle(promises: &Promises<'_>, patience: Duration) -> anyhow::Result<Vec<Tally>> {
    let acknowledged = acknowledged(promises.ledger).await?;
    let deadline = Instant::now() + patience;
    loop {
        let tallies = tally(&acknowledged, promises.witnesses, &evidence(promises).await?);
        if tallies.iter().all(|tally| tally.lost == 0) || Instant::now() > deadline {
            return Ok(tallies);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What all witnesses know.
pub(crate) async fn evidence(promises: &Promises<'_>) -> anyhow::Result<Evidence> {
    let client = reqwest::Client::builder()
        .connect_timeout(SILENCE_MAX)
        .read_timeout(SILENCE_MAX)
        .build()
        .context("could not make an HTTP client")?;
    let mut evidence = Evidence::new();
    for witness in promises.witnesses {
        for url in &witness.urls {
            collect(&client, promises, witness.effect, url, &mut evidence).await?;
        }
    }
    Ok(evidence)
}

/// Ids by intent.
async fn acknowledged(ledger: &Path) -> anyhow::Result<HashMap<String, Vec<String>>> {
    let mut ids: HashMap<String, Vec<String>> = HashMap::new();
    let file = match tokio::fs::File::open(ledger).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ids),
        Err(error) => return Err(error).with_context(|| format!("could not read {}", ledger.display())),
    };
    let mut lines = BufReader::new(file).lines();
    while let Some(line) = lines.next_line().await? {
        // A torn last line was never acted upon: the ledger is flushed before the next step depends on it.
        let Ok(intent) = serde_json::from_str::<Intent>(&line) else { continue };
        ids.entry(intent.intent).or_default().push(intent.id);
    }
    Ok(ids)
}

async fn collect(
    client: &reqwest::Client,
    promises: &Promises<'_>,
    wanted: &str,
    url: &str,
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    let mut request = client.get(format!("{url}/internal/effects"));
    if let Some(token) = promises.operator_token {
        request = request.bearer_auth(token);
    }
    let text = request.send().await?.error_for_status()?.text().await?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let effect: Effect = serde_json::from_str(line).with_context(|| format!("{url} answered {line:?}"))?;
        // Each effect is asked of who has it in hand: a webhook of the receiver, not of the sender.
        let Some(id) = effect.payment_id.filter(|_| effect.effect == wanted) else { continue };
        let deliveries = effect.deliveries.unwrap_or(effect.count);
        let seen = evidence.entry((effect.effect, effect.event_type)).or_default().entry(id).or_default();
        seen.0 += effect.count;
        seen.1 += deliveries;
    }
    Ok(())
}

pub(crate) fn tally(
    acknowledged: &HashMap<String, Vec<String>>,
    witnesses: &[Witness],
    evidence: &Evidence,
) -> Vec<Tally> {
    let none = HashMap::new();
    let mut tallies = Vec::new();
    for witness in witnesses {
        for event_type in EVENT_TYPES {
            if event_type == DECLINED && witness.effect != PROJECTION {
                continue;
            }
            let promised = acknowledged.get(event_type).map_or(&[][..], Vec::as_slice);
            let seen = evidence.get(&(witness.effect.to_owned(), event_type.to_owned())).unwrap_or(&none);
            let count = |id: &String| seen.get(id).map_or(0, |(count, _)| *count);
            let happened = seen.values().filter(|(count, _)| *count > 0).count() as u64;
            let lost = promised.iter().filter(|id| count(id) == 0).count() as u64;
            tallies.push(Tally {
                effect: witness.effect.to_owned(),
                event_type: event_type.to_owned(),
                acknowledged: promised.len() as u64,
                happened,
                lost,
                doubled: seen.values().filter(|(count, _)| *count > 1).count() as u64,
                repeats: seen.values().map(|(count, deliveries)| deliveries.saturating_sub(*count)).sum(),
                unheard: happened.saturating_sub(promised.len() as u64 - lost),
            });
        }
    }
    tallies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(promised: &[&str], seen: &[(&str, u64, u64)]) -> Tally {
        let acknowledged =
            HashMap::from([("payment.captured".to_owned(), promised.iter().map(|id| (*id).to_owned()).collect())]);
        let seen = seen.iter().map(|(id, count, deliveries)| ((*id).to_owned(), (*count, *deliveries))).collect();
        let evidence = HashMap::from([(("webhook".to_owned(), "payment.captured".to_owned()), seen)]);
        let witness = Witness { effect: "webhook", urls: Vec::new() };
        tally(&acknowledged, &[witness], &evidence).remove(0)
    }

    #[test]
    fn a_promise_without_an_effect_is_lost() {
        let tally = check(&["a", "b"], &[("a", 1, 1)]);
        assert_eq!((tally.acknowledged, tally.happened, tally.lost, tally.doubled), (2, 1, 1, 0));
        assert!(!tally.is_clean());
    }

    #[test]
    fn an_effect_twice_is_doubled_but_a_recognised_repeat_is_not() {
        assert_eq!(check(&["a"], &[("a", 2, 2)]).doubled, 1);
        let repeat = check(&["a"], &[("a", 1, 3)]);
        assert_eq!((repeat.doubled, repeat.repeats), (0, 2));
    }

    #[test]
    fn an_effect_nobody_was_promised_is_told_apart() {
        assert_eq!(check(&["a"], &[("a", 1, 1), ("b", 1, 1)]).unheard, 1);
    }
}
