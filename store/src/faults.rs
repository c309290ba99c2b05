//! Places where a test can make the disk fail or the process die. Nothing of it is left outside tests.

#[cfg(not(test))]
use std::io;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateSegment,
    WriteFrame,
    SyncFrame,
    Answer,
    WriteManifest,
    RenameManifest,
    SyncManifest,
    WriteFile,
    RenameFile,
    SwapFiles,
    ReadSegment,
    WriteMerged,
    SwapMerged,
    Expire,
    DeleteFile,
    ForgetFiles,
    SaveCursor,
    SaveRepeats,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    plan: std::sync::Arc<std::sync::Mutex<Option<plan::Plan>>>,
}

impl Faults {
    #[cfg(not(test))]
    #[inline]
    pub(crate) fn at(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod plan {
    use std::io::{self, Write};
    use std::time::Duration;

    use super::{Faults, Step};

    impl Step {
        pub(crate) const ALL: [Step; 18] = [
            Step::CreateSegment,
            Step::WriteFrame,
            Step::SyncFrame,
            Step::Answer,
            Step::WriteManifest,
            Step::RenameManifest,
            Step::SyncManifest,
            Step::WriteFile,
            Step::RenameFile,
            Step::SwapFiles,
            Step::ReadSegment,
            Step::WriteMerged,
            Step::SwapMerged,
            Step::Expire,
            Step::DeleteFile,
            Step::ForgetFiles,
            Step::SaveCursor,
            Step::SaveRepeats,
        ];
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Act {
        /// The operation returns an error.
        Fail,
        /// The disk has no room for it.
        Fill,
        /// The code is wrong.
        Panic,
        /// The process says so on stdout and waits to be killed.
        Park,
    }

    #[derive(Debug)]
    pub(crate) struct Plan {
        step: Step,
        /// How many times the step passes before.
        passes: usize,
        act: Act,
    }

    impl Faults {
        pub(crate) fn set(&self, step: Step, passes: usize, act: Act) {
            *crate::lock(&self.plan) = Some(Plan { step, passes, act });
        }

        /// Whether what was planned has not happened yet.
        pub(crate) fn pending(&self) -> bool {
            crate::lock(&self.plan).is_some()
        }

        pub(crate) fn at(&self, step: Step) -> io::Result<()> {
            let mut plan = crate::lock(&self.plan);
            match plan.as_mut() {
                Some(due) if due.step == step && due.passes == 0 => {}
                Some(due) if due.step == step => {
                    due.passes -= 1;
                    return Ok(());
                }
                _ => return Ok(()),
            }
            let act = plan.take().map(|plan| plan.act);
            drop(plan);
            if let Some(Act::Panic) = act {
                panic!("planned panic at {step:?}");
            }
            if let Some(Act::Park) = act {
                // Whoever planned this reads along; when nobody does any more, end.
                loop {
                    let mut out = io::stdout().lock();
                    writeln!(out, "\nparked {step:?}").and_then(|()| out.flush())?;
                    drop(out);
                    std::thread::park_timeout(Duration::from_secs(1));
                }
            }
            if let Some(Act::Fill) = act {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Err(io::Error::other(format!("planned failure of {step:?}")))
        }
    }
}
