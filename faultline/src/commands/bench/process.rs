//! CPU time and memory of a process, from /proc.

use std::fs;

use anyhow::Context;

/// Linux counts the CPU time of a process in hundredths of a second, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time of all threads, seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory, bytes: now, and the most there ever was.
    pub(crate) resident_bytes: u64,
    pub(crate) resident_bytes_peak: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Usage> {
        read(&pid.to_string())
    }

    pub(crate) fn own() -> anyhow::Result<Usage> {
        read("self")
    }
}

fn read(pid: &str) -> anyhow::Result<Usage> {
    let file = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("could not read {path}; is the process running?"))
    };
    let cpu_seconds = cpu_seconds(&file("stat")?).with_context(|| format!("/proc/{pid}/stat has an unknown form"))?;
    let status = file("status")?;
    Ok(Usage {
        cpu_seconds,
        resident_bytes: kib(&status, "VmRSS:") << 10,
        resident_bytes_peak: kib(&status, "VmHWM:") << 10,
    })
}

/// Fields 14 and 15; the second field is the name in parentheses and may itself hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((user + system) as f64 / TICKS_A_SECOND)
}

fn kib(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_ascii_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::own().expect("this process is running");
        assert!(usage.resident_bytes > 0 && usage.resident_bytes_peak >= usage.resident_bytes);
    }
}
