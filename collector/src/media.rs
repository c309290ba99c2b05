//! The two encodings of OTLP and the content types that name them.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use crate::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// By `Content-Type`, whatever its case and parameters.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Encoding, Refusal> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Err(Refusal::UnknownMediaType(String::new()));
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Encoding::Protobuf),
            "application/json" => Ok(Encoding::Json),
            _ => Err(Refusal::UnknownMediaType(text.into_owned())),
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(content_type: &'static str) -> Result<Encoding, Refusal> {
        Encoding::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]))
    }

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert_eq!(of("application/json; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(of("Application/JSON"), Ok(Encoding::Json));
        assert_eq!(of("APPLICATION/X-PROTOBUF ;v=1"), Ok(Encoding::Protobuf));
    }

    #[test]
    fn other_types_and_none_are_refused() {
        assert_eq!(of("text/plain"), Err(Refusal::UnknownMediaType("text/plain".into())));
        assert_eq!(Encoding::of(&HeaderMap::new()), Err(Refusal::UnknownMediaType(String::new())));
    }
}
