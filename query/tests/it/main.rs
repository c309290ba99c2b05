//! The query part over real folders: rows written by the store's own writer, questions asked in process and over HTTP.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod fixture;
mod http;
mod limits;
mod promoted;
mod read_only;
mod sql;
mod trace_index;
mod traces;
mod views;
