//! The machine, and who gets which of its cores.

use std::fs;

use super::arm::Arm;
use super::report::{Machine, Pin};

/// Cores that we may use, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores(Vec<usize>);

impl Cores {
    /// Those this process may use.
    pub(crate) fn available() -> Cores {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
        Cores(parse(list.trim()))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The first; in the arm of the hardware upgrade the first two.
    pub(crate) fn product(&self, arm: Arm) -> Vec<usize> {
        self.0.iter().copied().take(arm.cores()).collect()
    }

    /// One for each of several instances, around.
    pub(crate) fn of_instance(&self, number: usize) -> Vec<usize> {
        self.0.iter().copied().cycle().skip(number).take(1).collect()
    }

    /// Everybody else: all but the product's first, and but its second when there are enough.
    pub(crate) fn others(&self) -> Vec<usize> {
        let taken = match self.0.len() {
            0 | 1 => 0,
            2 => 1,
            _ => 2,
        };
        self.0[taken..].to_vec()
    }

    /// Whether the product's only core is nobody else's.
    pub(crate) fn are_apart(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether the hardware upgrade is one core more that is nobody else's.
    pub(crate) fn upgrade_is_apart(&self) -> bool {
        self.0.len() > 2
    }

    pub(crate) fn pins(&self) -> Vec<Pin> {
        let pin = |what: &str, cores: Vec<usize>| Pin { what: what.to_owned(), cores: list(&cores) };
        vec![
            pin(
                "the product: core and its database server; jobs, analytics and broker in the arms that use them",
                self.product(Arm::Inline),
            ),
            pin("core and its database server in inline-2-cores", self.product(Arm::InlineTwoCores)),
            pin(
                "load, stubs (acquirer, mail and webhook receiver), collector, query node, supervisor, and parts that the arm does not use",
                self.others(),
            ),
        ]
    }
}

pub(crate) fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// `0-2,5`
fn parse(list: &str) -> Vec<usize> {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    });
    ranges.flatten().collect()
}

pub(crate) fn describe(cores: &Cores) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        cores: cores.count(),
        memory_bytes: kib << 10,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_has_its_core_and_the_rest_has_another() {
        let two = Cores(vec![0, 1]);
        assert_eq!(
            (two.product(Arm::Events), two.product(Arm::InlineTwoCores), two.others()),
            (vec![0], vec![0, 1], vec![1])
        );
        assert!(two.are_apart() && !two.upgrade_is_apart());
        let four = Cores(vec![0, 1, 2, 3]);
        assert_eq!((four.product(Arm::InlineTwoCores), four.others()), (vec![0, 1], vec![2, 3]));
        assert!(four.upgrade_is_apart());
        let one = Cores(vec![3]);
        assert_eq!((one.product(Arm::InlineTwoCores), one.others(), one.are_apart()), (vec![3], vec![3], false));
    }

    #[test]
    fn lists_of_cores_are_read_as_linux_writes_them() {
        assert_eq!(parse("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse("0"), [0]);
        assert!(Cores::available().count() >= 1);
    }
}
