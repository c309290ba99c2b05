//! Who reads the log behind the writer: the sinks, and the metrics made of spans.

use std::sync::Arc;

use store::Writer;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::derive::{self, Deriver};
use crate::sinks::{Account, Pace, Sinks};

pub(crate) struct Readers {
    deriver: Option<Deriver>,
    sinks: Sinks,
}

/// What they say of themselves.
#[derive(Clone, Default)]
pub(crate) struct Reports {
    /// One a reader and signal.
    pub accounts: Vec<Arc<Account>>,
    pub derived: Option<Arc<derive::Counts>>,
}

impl Readers {
    /// Before compaction starts, so that no segment leaves that one of them still needs.
    pub(crate) async fn open(args: &Args, writer: &Writer) -> anyhow::Result<Readers> {
        let pace = Pace::new(&args.sinks);
        let deriver = Deriver::open(&args.derived, pace, writer).await;
        let sinks = Sinks::open(&args.sinks, writer).await?;
        Ok(Readers { deriver, sinks })
    }

    pub(crate) fn reports(&self) -> Reports {
        let mut accounts = self.sinks.accounts();
        accounts.extend(self.deriver.iter().map(|deriver| Arc::clone(&deriver.account)));
        Reports { accounts, derived: self.deriver.as_ref().map(|deriver| Arc::clone(&deriver.counts)) }
    }

    /// Until stopped. What is not done then waits in the log.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Readers { deriver, sinks } = self;
        let deriving = async {
            if let Some(deriver) = deriver {
                deriver.run(stop.clone()).await;
            }
        };
        tokio::join!(sinks.run(stop.clone()), deriving);
    }
}
