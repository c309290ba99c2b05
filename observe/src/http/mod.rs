//! HTTP, both ends, by the HTTP semantic conventions.

mod client;
mod listen;
mod operators;
mod serve;
mod server;

pub use client::{Client, Request};
pub use listen::listen;
pub use operators::operators_only;
pub use reqwest::{Error, Method, Response, StatusCode};
pub use serve::serve;
pub use server::observed;

/// The conventions' boundaries for durations, in seconds.
const DURATION_BOUNDARIES_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Methods anybody may send, reduced to those that are known: names of spans have few values.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
