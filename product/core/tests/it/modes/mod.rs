//! Jobs and reports in three modes, with everything around core running in this process.

mod dual;
mod inline;
mod stack;
mod switching;
