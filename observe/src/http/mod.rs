//! HTTP, both ends, by the HTTP semantic conventions.

mod client;
mod server;

pub use client::{Client, Request};
pub use reqwest::{Error, Method, Response, StatusCode};
pub use server::observed;
