//! The query part over real folders: rows written by the store's own writer, questions asked in process and over HTTP.

mod fixture;
mod http;
mod limits;
mod read_only;
mod sql;
mod traces;
mod views;
