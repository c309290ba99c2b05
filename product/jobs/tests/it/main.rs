//! Receipts and webhooks with real files, a real database and real sockets.

mod effects;
mod stack;
