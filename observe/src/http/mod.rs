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
