//! Start and end of telemetry in a process.

use crate::{Args, Counts};

pub struct Telemetry {}

pub fn init(_service: &str, _args: &Args) -> anyhow::Result<Telemetry> {
    todo!()
}

impl Telemetry {
    pub fn counts(&self) -> Counts {
        todo!()
    }

    pub async fn shutdown(self) -> Counts {
        todo!()
    }
}
