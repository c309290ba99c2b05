//! Who reads the log behind the writer: the sinks, the metrics made of spans, and tail sampling, which goes before the sinks.

use std::sync::Arc;

use store::Writer;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::derive::{self, Deriver};
use crate::sampling::{self, Sampler};
use crate::sinks::{Account, Sinks};

pub(crate) struct Readers {
    sampler: Option<Sampler>,
    deriver: Option<Deriver>,
    sinks: Sinks,
}

/// What they say of themselves.
#[derive(Clone, Default)]
pub(crate) struct Reports {
    /// One a reader and signal.
    pub accounts: Vec<Arc<Account>>,
    pub derived: Option<Arc<derive::Counts>>,
    pub sampling: Option<Arc<sampling::Counts>>,
}

impl Readers {
    /// Before compaction starts, so that no segment leaves that one of them still needs.
    pub(crate) async fn open(args: &Args, writer: &Writer) -> anyhow::Result<Readers> {
        let sampler = Sampler::open(&args.sampling, args.sinks.pace(), writer).await?;
        let deriver = Deriver::open(&args.derived, args.sinks.pace(), writer).await;
        let sinks = Sinks::open(&args.sinks, writer, sampler.as_ref()).await?;
        Ok(Readers { sampler, deriver, sinks })
    }

    pub(crate) fn reports(&self) -> Reports {
        let mut accounts = self.sinks.accounts();
        accounts.extend(self.sampler.iter().map(|sampler| Arc::clone(&sampler.account)));
        accounts.extend(self.deriver.iter().map(|deriver| Arc::clone(&deriver.account)));
        Reports {
            accounts,
            derived: self.deriver.as_ref().map(|deriver| Arc::clone(&deriver.counts)),
            sampling: self.sampler.as_ref().map(|sampler| Arc::clone(&sampler.counts)),
        }
    }

    /// Until stopped. What is not done then waits in the log.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Readers { sampler, deriver, sinks } = self;
        let sampling = async {
            if let Some(sampler) = sampler {
                sampler.run(stop.clone()).await;
            }
        };
        let deriving = async {
            if let Some(deriver) = deriver {
                deriver.run(stop.clone()).await;
            }
        };
        tokio::join!(sinks.run(stop.clone()), sampling, deriving);
    }
}
