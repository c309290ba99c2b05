//! Other processes as Linux shows them: who descends from whom, who listens where, what they cost, where they may run.

use std::collections::HashMap;
use std::fs;
use std::io;

use anyhow::Context;

/// Threads may be started while we move those there are; they inherit, so a second pass that finds nothing new is the last.
const PASSES_MAX: usize = 10;
/// /proc/net/tcp's word for a listening socket.
const LISTENING: &str = "0A";

/// All processes below this one, itself included.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in numbers("/proc") {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied());
        next += 1;
    }
    found
}

/// The words it was started with; empty when it is gone.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// Who listens on this port of this machine; of several (a parent handed it down) the oldest.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds = |pid: &u32| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    };
    (!sockets.is_empty()).then(|| numbers("/proc").into_iter().filter(holds).min()).flatten()
}

fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| fields.len() > 9 && fields[1].ends_with(&suffix) && fields[3] == LISTENING)
        .map(|fields| fields[9].to_owned())
        .collect()
}

/// Pages of its own, and its share of those it has with others, bytes.
pub(crate) fn proportional_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// What each core has done since the machine started, hundredths of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoreTime {
    busy: u64,
    all: u64,
}

impl CoreTime {
    /// Percent of the time since `before`.
    pub(crate) fn busy_pct(&self, before: &CoreTime) -> f64 {
        100.0 * (self.busy - before.busy) as f64 / (self.all - before.all).max(1) as f64
    }
}

pub(crate) fn cores() -> anyhow::Result<Vec<CoreTime>> {
    let stat = fs::read_to_string("/proc/stat").context("could not read /proc/stat")?;
    Ok(stat.lines().filter_map(core_time).collect())
}

fn core_time(line: &str) -> Option<CoreTime> {
    let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
    // The first line, the sum of all, has no number.
    (!line.starts_with("cpu ")).then(|| fields.next())??;
    let times: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are contained in the first two.
    let all = times.iter().take(8).sum::<u64>();
    let idle = times.get(3)? + times.get(4)?;
    Some(CoreTime { busy: all - idle, all })
}

/// Moves a process with all its threads to these cores, now and for what it starts later. One that has ended is no error.
pub(crate) fn pin(pid: u32, cores: &[usize]) -> anyhow::Result<()> {
    let mut pinned = Vec::new();
    for _ in 0..PASSES_MAX {
        let threads = numbers(&format!("/proc/{pid}/task"));
        let fresh: Vec<u32> = threads.into_iter().filter(|thread| !pinned.contains(thread)).collect();
        if fresh.is_empty() {
            break;
        }
        for thread in fresh {
            match set_affinity(thread, cores) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(error).with_context(|| format!("could not move process {pid} to cores {cores:?}"));
                }
                _ => pinned.push(thread),
            }
        }
    }
    Ok(())
}

#[allow(unsafe_code)]
fn set_affinity(thread: u32, cores: &[usize]) -> io::Result<()> {
    // SAFETY: a zeroed cpu_set_t is the empty set; CPU_SET checks its index against the set's size; the kernel reads as
    // many bytes as it is told the set has.
    let outcome = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(thread as libc::pid_t, size_of::<libc::cpu_set_t>(), &set)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Entries of a folder that are numbers.
fn numbers(folder: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_listener_and_knows_its_child() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        assert_eq!(listener(port), Some(std::process::id()));
        drop(socket);
        assert_eq!(listener(port), None);

        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        assert!(tree(std::process::id()).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().expect("ends with its input");
    }

    #[test]
    fn a_moved_process_may_run_only_there() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        pin(child.id(), &[0]).expect("core 0 exists");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        assert!(status.lines().any(|line| line == "Cpus_allowed_list:\t0"), "{status}");
        drop(child.stdin.take());
        child.wait().expect("ends with its input");
    }

    #[test]
    fn the_sum_of_all_cores_is_no_core() {
        assert!(core_time("cpu  10 0 10 80 0 0 0 0 0 0").is_none());
        assert!(core_time("intr 5").is_none());
        let before = core_time("cpu1 10 0 10 80 0 0 0 0 0 0").expect("a core");
        let after = core_time("cpu1 20 5 20 140 5 5 5 0 0 0").expect("a core");
        assert_eq!((before.busy, before.all, after.busy, after.all), (20, 100, 55, 200));
        assert_eq!(after.busy_pct(&before), 35.0);
        assert!(!cores().expect("Linux").is_empty());
    }
}
