//! `faultline product parts`.

use serde::Deserialize;

use super::door::At;
use crate::commands::sql::print;

#[derive(Deserialize)]
struct Part {
    part: String,
    state: String,
    addresses: Vec<String>,
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    pid: Option<u32>,
    version: String,
}

pub(crate) async fn show(at: At) -> anyhow::Result<()> {
    let parts: Vec<Part> = at.door()?.get("/parts").await?;
    let mut text = String::new();
    for Part { part, state, addresses, instances } in parts {
        let pid = |pid: Option<u32>| pid.map_or("between two lives".to_owned(), |pid| format!("pid {pid}"));
        let instances: Vec<_> = instances.iter().map(|one| format!("{} {}", pid(one.pid), one.version)).collect();
        text.push_str(&format!("{part:<15} {state:<15} {:<32} {}\n", addresses.join(" "), instances.join(", ")));
    }
    print(text.as_bytes())
}
