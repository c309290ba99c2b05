//! Projections in a real database, read over real sockets.

mod projections;
mod stack;
