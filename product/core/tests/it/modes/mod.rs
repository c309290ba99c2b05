//! Jobs and reports in three modes, with everything around core running in this process, or killed in one of its own.

mod dual;
mod inline;
mod kills;
mod stack;
mod switching;
