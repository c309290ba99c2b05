//! One module per verb.

pub(crate) mod bench;
pub(crate) mod export;
pub(crate) mod product;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod trace;
