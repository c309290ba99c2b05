//! How OTLP's enums are spelled in label columns: the name of a known number, the number itself otherwise.

use std::borrow::Cow;

pub(crate) const SPAN_KINDS: &[&str] = &["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
pub(crate) const STATUS_CODES: &[&str] = &["Unset", "Ok", "Error"];
pub(crate) const TEMPORALITIES: &[&str] = &["Unspecified", "Delta", "Cumulative"];

pub(crate) fn spell(names: &[&'static str], number: i32) -> Cow<'static, str> {
    match usize::try_from(number).ok().and_then(|index| names.get(index)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

/// The number of a spelling; 0, which OTLP reserves for "unspecified", when it is none.
pub(crate) fn number(names: &[&str], label: &str) -> i32 {
    match names.iter().position(|name| *name == label) {
        Some(index) => index as i32,
        None => label.parse().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_numbers_come_back() {
        for value in [-1, 0, 1, 5, 6, i32::MAX, i32::MIN] {
            assert_eq!(number(SPAN_KINDS, &spell(SPAN_KINDS, value)), value);
        }
        assert_eq!(spell(SPAN_KINDS, 2), "Server");
        assert_eq!(spell(STATUS_CODES, 9), "9");
    }
}
