//! What the process and its tokio runtime cost, read when metrics are collected.

use std::fs;

use opentelemetry::{KeyValue, global};
use tokio::runtime::Handle;

/// Linux counts CPU time of a process in these, on every architecture we know.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn measure() {
    let meter = global::meter("process");
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("CPU seconds of this process by mode")
        .with_callback(|observer| {
            if let Some((user, system)) = cpu_seconds() {
                observer.observe(user, &[KeyValue::new("cpu.mode", "user")]);
                observer.observe(system, &[KeyValue::new("cpu.mode", "system")]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("process.memory.usage")
        .with_unit("By")
        .with_description("Physical memory in use (resident set)")
        .with_callback(|observer| {
            if let Some(bytes) = resident_bytes() {
                observer.observe(bytes, &[]);
            }
        })
        .build();
    if let Ok(handle) = Handle::try_current() {
        measure_tokio(handle);
    }
}

fn measure_tokio(handle: Handle) {
    let meter = global::meter("tokio");
    let runtime = handle.metrics();
    let workers = runtime.clone();
    meter
        .i64_observable_up_down_counter("tokio.runtime.workers")
        .with_unit("{thread}")
        .with_description("Worker threads of the runtime")
        .with_callback(move |observer| observer.observe(workers.num_workers() as i64, &[]))
        .build();
    let tasks = runtime.clone();
    meter
        .i64_observable_up_down_counter("tokio.runtime.tasks.alive")
        .with_unit("{task}")
        .with_description("Tasks spawned and not yet finished")
        .with_callback(move |observer| observer.observe(tasks.num_alive_tasks() as i64, &[]))
        .build();
    meter
        .i64_observable_up_down_counter("tokio.runtime.queue.depth")
        .with_unit("{task}")
        .with_description("Tasks ready to run that wait in the runtime's global queue")
        .with_callback(move |observer| observer.observe(runtime.global_queue_depth() as i64, &[]))
        .build();
}

/// `utime` and `stime`, fields 14 and 15; counted after the command name, which may hold spaces.
fn cpu_seconds() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_process_uses_memory_and_time() {
        assert!(super::resident_bytes().expect("/proc") > 0);
        assert!(super::cpu_seconds().is_some());
    }
}
