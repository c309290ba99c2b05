//! The processes of the stack and beside it: what each has cost, and on which cores it runs.

use std::collections::{BTreeMap, BTreeSet};

use super::arm::Arm;
use super::machine::Cores;
use super::processes;
use crate::commands::bench::process::Usage;

/// A process whose cost is measured.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// Started by `up`: counted in the memory of the stack.
    pub(crate) in_stack: bool,
}

/// What all processes have cost so far, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Costs {
    pub(crate) cpu_seconds: BTreeMap<String, f64>,
    pub(crate) bytes: BTreeMap<String, u64>,
    pub(crate) in_stack: BTreeSet<String>,
    pub(crate) cores: Vec<processes::CoreTime>,
}

impl Costs {
    /// Busy share of each core since `before`, percent.
    pub(crate) fn busy_pct(&self, before: &Costs) -> Vec<f64> {
        self.cores.iter().zip(&before.cores).map(|(now, before)| now.busy_pct(before)).collect()
    }

    /// CPU time of each process since `before`, seconds. One that was not there then began at none.
    pub(crate) fn used_since(&self, before: &Costs) -> BTreeMap<String, f64> {
        let used = |(name, seconds): (&String, &f64)| {
            (name.clone(), (seconds - before.cpu_seconds.get(name).unwrap_or(&0.0)).max(0.0))
        };
        self.cpu_seconds.iter().map(used).collect()
    }
}

/// Who runs, and where: enough to look after processes while the stack is busy.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) cores: Cores,
    pub(crate) up_pid: u32,
    /// Database and broker that run beside the stack on this machine, by name and port.
    pub(crate) servers: Vec<(&'static str, u16)>,
}

impl Parts {
    /// All processes as they are now: parts of the stack, and the servers it was given.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut found = Vec::new();
        for pid in processes::tree(self.up_pid) {
            if let Some(name) = part_name(&processes::command_line(pid)) {
                found.push(Process { name, pid, in_stack: true });
            }
        }
        for (name, port) in &self.servers {
            let of_server = |pid| Process { name: (*name).to_owned(), pid, in_stack: false };
            found.extend(processes::listener(*port).map(processes::tree).into_iter().flatten().map(of_server));
        }
        found
    }

    pub(crate) fn costs(&self) -> anyhow::Result<Costs> {
        let mut costs = Costs { cores: processes::cores()?, ..Costs::default() };
        for process in self.processes() {
            // It may have ended since it was listed.
            let Ok(usage) = Usage::of(process.pid) else { continue };
            *costs.cpu_seconds.entry(process.name.clone()).or_default() += usage.cpu_seconds;
            *costs.bytes.entry(process.name.clone()).or_default() +=
                processes::proportional_bytes(process.pid).unwrap_or(usage.resident_bytes);
            if process.in_stack {
                costs.in_stack.insert(process.name);
            }
        }
        Ok(costs)
    }

    /// Everybody to the cores of this arm. A hog that a fault started takes from the product.
    pub(crate) fn pin(&self, arm: Arm) -> anyhow::Result<()> {
        for process in self.processes() {
            let name = process.name.as_str();
            let at_work = arm.parts().contains(&name) || name == "hog";
            let cpus = if at_work { self.cores.product(arm) } else { self.cores.others() };
            processes::pin(process.pid, &cpus)?;
        }
        Ok(())
    }
}

/// `faultline product core …` is core, `faultline collector …` is the collector; the parent is `up`.
fn part_name(words: &[String]) -> Option<String> {
    let mut verbs = words.iter().skip(1).filter(|word| !word.starts_with('-'));
    match verbs.next()?.as_str() {
        "product" => verbs.next().cloned(),
        verb => Some(verb.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_how_they_were_started() {
        let name = |line: &str| part_name(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(name("/usr/bin/faultline product core --core-listen=127.0.0.1:27001"), Some("core".to_owned()));
        assert_eq!(name("faultline collector --otlp-grpc=127.0.0.1:24317"), Some("collector".to_owned()));
        assert_eq!(name("faultline --port-offset=20000 up --no-tui"), Some("up".to_owned()));
        assert_eq!(name("faultline"), None);
    }
}
