//! `faultline product faults` and `faultline product fault`.

use std::time::Duration;

use serde::Deserialize;

use super::door::At;
use crate::commands::sql::print;
use crate::up::duration;
use crate::up::faults::{Active, Order};

pub(super) const EXAMPLES: &str = "\
Examples:
  faultline product faults                                what there is, and what one will see
  faultline product fault jobs-stuck --for 30s            jobs stands still for half a minute
  faultline product fault service-down analytics --for 60s
  faultline product fault cpu-hog --end                   over before its time
  faultline sql \"SELECT time, event_name, attributes['fault.name'] FROM logs WHERE event_name LIKE 'faultline.fault.%' ORDER BY time\"";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Fault {
    /// Its name, as `faultline product faults` lists it.
    name: String,
    /// The part it is done to, where there is a choice.
    part: Option<String>,
    /// How long; it ends by itself then, and in any case with `up`.
    #[arg(long = "for", default_value = "60s", value_parser = duration, value_name = "TIME")]
    time: Duration,
    /// End it now.
    #[arg(long, conflicts_with = "time")]
    end: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct List {
    active: Vec<Active>,
    known: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    name: String,
    does: String,
    shows: String,
}

pub(crate) async fn list(at: At) -> anyhow::Result<()> {
    let List { active, known } = at.door()?.get("/faults").await?;
    let mut text = String::new();
    for Known { name, does, shows } in known {
        text.push_str(&format!("{name}\n    {does}\n    shows: {shows}\n"));
    }
    if active.is_empty() {
        text.push_str("\nnone is at work\n");
    }
    for Active { name, target, left_s } in active {
        text.push_str(&format!("\nat work: {name} on the {target}, {left_s} s left\n"));
    }
    print(text.as_bytes())
}

pub(crate) async fn switch(fault: Fault) -> anyhow::Result<()> {
    let door = fault.at.door()?;
    if fault.end {
        let at = fault.part.map(|part| format!("?target={part}")).unwrap_or_default();
        door.delete(&format!("/faults/{}{at}", fault.name)).await?;
        return print(format!("{} is over\n", fault.name).as_bytes());
    }
    let order = Order { name: fault.name, target: fault.part, for_s: fault.time.as_secs() };
    let Active { name, target, left_s } = door.post("/faults", &order).await?;
    print(
        format!("{name} is at work on the {target} for {left_s} s; `faultline product fault {name} --end` ends it\n")
            .as_bytes(),
    )
}
