//! Lost and doubled: the customers' ledger against the evidence of whoever did the work, arm by arm.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use super::arm::Arm;
use super::lab::Lab;
use super::report::EffectCount;
use crate::up::effects::{self, Evidence, Promises, Tally, Witness};

/// Ids by intent.
pub(crate) type Intents = HashMap<String, Vec<String>>;

#[derive(Deserialize)]
struct Line {
    intent: String,
    id: String,
}

/// What core acknowledged between two ends of the ledger.
pub(crate) fn acknowledged(ledger: &Path, range: &Range<u64>) -> anyhow::Result<Intents> {
    let mut intents = Intents::new();
    if range.is_empty() {
        return Ok(intents);
    }
    let bytes = std::fs::read(ledger).with_context(|| format!("could not read {}", ledger.display()))?;
    let part = bytes.get(range.start as usize..range.end as usize).context("the ledger is shorter than it was")?;
    for line in part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line).context("the ledger holds something else than intents")?;
        intents.entry(line.intent).or_default().push(line.id);
    }
    Ok(intents)
}

/// Everything that was acknowledged in an arm.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) by_arm: BTreeMap<Arm, Intents>,
}

/// What the account comes to.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) effects: Vec<EffectCount>,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) repeats: u64,
}

impl Account {
    pub(crate) fn add(&mut self, arm: Arm, intents: Intents) {
        let all = self.by_arm.entry(arm).or_default();
        for (intent, ids) in intents {
            all.entry(intent).or_default().extend(ids);
        }
    }

    /// Waits until nothing is missing or `patience` ends, then counts.
    pub(crate) async fn settle(&self, lab: &Lab, patience: Duration) -> anyhow::Result<Counted> {
        let witnesses = witnesses(lab)?;
        let ledger = lab.data_dir().join("product/ledger.jsonl");
        let promises = Promises { ledger: &ledger, witnesses: &witnesses, operator_token: None };
        let all = effects::settle(&promises, patience).await?;
        let evidence = effects::evidence(&promises).await?;
        Ok(self.count(&witnesses, &evidence, &all))
    }

    fn count(&self, witnesses: &[Witness], evidence: &Evidence, all: &[Tally]) -> Counted {
        let mut counted = Counted {
            lost: all.iter().map(|tally| tally.lost).sum(),
            doubled: all.iter().map(|tally| tally.doubled).sum(),
            repeats: all.iter().map(|tally| tally.repeats).sum(),
            effects: Vec::new(),
        };
        for (arm, intents) in &self.by_arm {
            for tally in effects::tally(intents, witnesses, &only(evidence, intents)) {
                counted.effects.push(EffectCount {
                    arm: *arm,
                    effect: format!("{} of {}", tally.effect, tally.event_type),
                    acknowledged: tally.acknowledged,
                    happened: tally.happened,
                    lost: tally.lost,
                    doubled: tally.doubled,
                    repeats: tally.repeats,
                });
            }
        }
        counted
    }
}

/// Evidence of these intents alone.
fn only(evidence: &Evidence, intents: &Intents) -> Evidence {
    let mut kept = Evidence::new();
    for (key, seen) in evidence {
        let (_, event_type) = key;
        let ids: HashSet<&String> = intents.get(event_type).into_iter().flatten().collect();
        let seen = seen.iter().filter(|(id, _)| ids.contains(id)).map(|(id, counts)| (id.clone(), *counts));
        kept.insert(key.clone(), seen.collect());
    }
    kept
}

/// Receipts are known to whoever writes them, mails and webhooks to who receives them, projections to analytics.
fn witnesses(lab: &Lab) -> anyhow::Result<Vec<Witness>> {
    let urls = |settings: &[&str]| settings.iter().map(|setting| lab.url(setting)).collect::<anyhow::Result<Vec<_>>>();
    Ok(vec![
        Witness { effect: "receipt", urls: urls(&["core-listen", "jobs-listen"])? },
        Witness { effect: "mail", urls: urls(&["receiver-listen"])? },
        Witness { effect: "webhook", urls: urls(&["receiver-listen"])? },
        Witness { effect: effects::PROJECTION, urls: urls(&["analytics-listen"])? },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_the_ledger_is_its_windows_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = folder.path().join("ledger.jsonl");
        let line = |id: &str| format!(r#"{{"intent":"payment.captured","id":"{id}","seed":1,"customer":0}}{}"#, "\n");
        std::fs::write(&ledger, [line("a"), line("b"), line("c")].concat()).expect("written");
        let length = line("a").len() as u64;
        let middle = acknowledged(&ledger, &(length..2 * length)).expect("read");
        assert_eq!(middle["payment.captured"], ["b"]);
        assert!(acknowledged(&ledger, &(0..0)).expect("nothing to read").is_empty());
        assert!(acknowledged(&ledger, &(0..1_000)).is_err());
    }

    #[test]
    fn each_arm_answers_for_its_own_intents() {
        let intents = |ids: &[&str]| {
            Intents::from([("payment.captured".to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())])
        };
        let mut account = Account::default();
        account.add(Arm::Inline, intents(&["a", "b"]));
        account.add(Arm::Events, intents(&["c"]));
        let seen = [("a", (1, 1)), ("c", (2, 3))].map(|(id, counts)| (id.to_owned(), counts));
        let key = ("mail".to_owned(), "payment.captured".to_owned());
        let evidence = Evidence::from([(key, HashMap::from(seen))]);
        let witnesses = [Witness { effect: "mail", urls: Vec::new() }];
        let counted = account.count(&witnesses, &evidence, &[]);
        let found: Vec<_> = counted
            .effects
            .iter()
            .filter(|count| count.effect == "mail of payment.captured")
            .map(|count| (count.arm, count.acknowledged, count.lost, count.doubled, count.repeats))
            .collect();
        assert_eq!(found, [(Arm::Inline, 2, 1, 0, 0), (Arm::Events, 1, 0, 1, 1)]);
    }
}
