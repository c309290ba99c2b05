//! Which CPUs a part may use: `--pin core=0,jobs=0,load=1`.

use std::str::FromStr;

use clap::ValueEnum;

use super::part::Part;

/// CPUs by number, as `taskset` counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(Vec<usize>);

/// `core=0`, `jobs=0-1`, `load=1+3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) part: Part,
    pub(crate) cpus: Cpus,
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Pin, String> {
        let (part, cpus) = text.split_once('=').ok_or(format!("{text:?} names no CPU; write core=0 or core=0-1"))?;
        let known = || Part::value_variants().iter().map(|part| part.name()).collect::<Vec<_>>().join(", ");
        let part = Part::from_str(part, true).map_err(|_| format!("{part:?} is no part; there are {}", known()))?;
        Ok(Pin { part, cpus: cpus.parse()? })
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Cpus, String> {
        let wrong = || format!("{text:?} are no CPUs; write 0, 0-3 or 0+2");
        let mut cpus = Vec::new();
        for range in text.split('+') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu < CPUS_MAX).ok_or_else(wrong);
            cpus.extend(number(first)?..=number(last)?);
        }
        if cpus.is_empty() { Err(wrong()) } else { Ok(Cpus(cpus)) }
    }
}

impl Cpus {
    pub(crate) fn mask(&self) -> Mask {
        Mask::of(&self.0)
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{CPUS_MAX, Mask};

#[cfg(target_os = "linux")]
mod linux {
    /// What one mask of the kernel's interface holds.
    pub(crate) const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

    /// CPUs as the kernel takes them: made before fork, used after it.
    pub(crate) struct Mask(libc::cpu_set_t);

    #[allow(unsafe_code)]
    impl Mask {
        pub(super) fn of(cpus: &[usize]) -> Mask {
            // SAFETY: a `cpu_set_t` is an array of integers, for which zeros are a value; CPU_SET stays in it below CPUS_MAX.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
                Mask(set)
            }
        }

        /// 0: the caller itself. A system call and nothing else.
        pub(crate) fn apply(&self, pid: libc::pid_t) -> std::io::Result<()> {
            // SAFETY: the pointer is to a set of the size that is given.
            let done = unsafe { libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), &self.0) };
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{CPUS_MAX, Mask};

/// Only Linux lets a process choose its CPUs.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    pub(crate) const CPUS_MAX: usize = 1024;

    pub(crate) struct Mask;

    impl Mask {
        pub(super) fn of(_cpus: &[usize]) -> Mask {
            Mask
        }

        pub(crate) fn apply(&self, _pid: i32) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_and_its_cpus_are_one_word() {
        let pin: Pin = "core=0-2+5".parse().expect("a pin");
        assert_eq!((pin.part, pin.cpus), (Part::Core, Cpus(vec![0, 1, 2, 5])));
        for wrong in ["core", "core=", "core=x", "core=3-1", "nobody=1", "core=99999"] {
            wrong.parse::<Pin>().expect_err(wrong);
        }
    }
}
