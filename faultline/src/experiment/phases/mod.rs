//! The parts of an experiment. Each measures its windows, then adds what it found to the report.

pub(crate) mod claims;
pub(crate) mod faults;
pub(crate) mod knee;
pub(crate) mod rollback;
pub(crate) mod rounds;
pub(crate) mod scaling;
pub(crate) mod work;
