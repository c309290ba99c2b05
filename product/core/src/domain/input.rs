//! Values that were checked once. Holding one is the proof; each error is a sentence for the person who typed it.
//!
//! Nothing secret or personal implements `Debug` with its content, so none can reach a log by accident.

use std::fmt;

const EMAIL_BYTES_MAX: usize = 254; // RFC 5321's longest path
const PASSWORD_CHARS_MIN: usize = 8; // NIST SP 800-63B
const PASSWORD_BYTES_MAX: usize = 256; // hashing time is the attacker's lever; no honest passphrase is longer
const DISPLAY_NAME_CHARS_MAX: usize = 80;
const BIO_CHARS_MAX: usize = 1_000;
const DESCRIPTION_CHARS_MAX: usize = 200;
const CARD_TOKEN_BYTES_MAX: usize = 128;
const AMOUNT_MINOR_MAX: i64 = 99_999_999; // eight digits, as card schemes have it
const CURRENCIES: [&str; 30] = [
    "AED", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "JPY",
    "KRW", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
];

/// One field that cannot be used, and why. It is in the body or in the query.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct FieldError {
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("#/email"))]
    pointer: Option<String>,
    /// Which one of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameter: Option<&'static str>,
    detail: String,
}

/// Collects what is wrong with each field, so that a person corrects a form once.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors {
    found: Vec<FieldError>,
    in_query: bool,
}

impl FieldErrors {
    /// For the parameters of a query; by default fields are those of a body.
    pub(crate) fn of_query() -> FieldErrors {
        FieldErrors { found: Vec::new(), in_query: true }
    }

    /// The value if it is good; otherwise the complaint is noted.
    pub(crate) fn check<T>(&mut self, field: &'static str, value: Result<T, String>) -> Option<T> {
        let note = |detail| match self.in_query {
            true => self.found.push(FieldError { pointer: None, parameter: Some(field), detail }),
            false => self.found.push(FieldError { pointer: Some(format!("#/{field}")), parameter: None, detail }),
        };
        value.map_err(note).ok()
    }

    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.found
    }
}

/// An address in the one spelling we compare by: trimmed, lower case.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) fn parse(text: Option<String>) -> Result<Email, String> {
        let email = required(text)?.trim().to_lowercase();
        let plausible = email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !domain.starts_with('.')
        });
        if !plausible || email.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("must be an e-mail address".to_owned());
        }
        if email.len() > EMAIL_BYTES_MAX {
            return Err(format!("must be at most {EMAIL_BYTES_MAX} bytes long"));
        }
        Ok(Email(email))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// One that somebody wants to use from now on.
    pub(crate) fn chosen(text: Option<String>) -> Result<Password, String> {
        let password = Self::attempted(text)?;
        if password.0.chars().count() < PASSWORD_CHARS_MIN {
            return Err(format!("must be at least {PASSWORD_CHARS_MIN} characters long"));
        }
        Ok(password)
    }

    /// One that somebody claims to have; rules for new ones do not apply to it.
    pub(crate) fn attempted(text: Option<String>) -> Result<Password, String> {
        let password = required(text)?;
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(format!("must be at most {PASSWORD_BYTES_MAX} bytes long"));
        }
        Ok(Password(password))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The acquirer's name for a card; whoever holds it can charge.
#[derive(Clone)]
pub(crate) struct CardToken(String);

impl CardToken {
    pub(crate) fn parse(text: Option<String>) -> Result<CardToken, String> {
        let token = required(text)?;
        if token.len() > CARD_TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("must be at most {CARD_TOKEN_BYTES_MAX} visible ASCII characters"));
        }
        Ok(CardToken(token))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}
redacted!(Email, Password, CardToken);

/// A positive sum in the smallest unit of a currency we trade in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Money {
    /// In the smallest unit of the currency.
    amount_minor: i64,
    /// ISO 4217.
    currency: &'static str,
}

impl Money {
    pub(crate) fn new(amount_minor: i64, currency: &'static str) -> Money {
        Money { amount_minor, currency }
    }

    pub(crate) fn amount_minor(&self) -> i64 {
        self.amount_minor
    }

    /// ISO 4217, one of a closed set: it may be an attribute of a metric.
    pub(crate) fn currency(&self) -> &'static str {
        self.currency
    }
}

pub(crate) fn amount_minor(amount: Option<i64>) -> Result<i64, String> {
    match amount {
        None => Err("is required".to_owned()),
        Some(amount) if (1..=AMOUNT_MINOR_MAX).contains(&amount) => Ok(amount),
        Some(_) => Err(format!("must be between 1 and {AMOUNT_MINOR_MAX} minor units")),
    }
}

pub(crate) fn currency(text: Option<String>) -> Result<&'static str, String> {
    let text = required(text)?;
    known_currency(&text).ok_or_else(|| format!("must be one of {}", CURRENCIES.join(", ")))
}

pub(crate) fn known_currency(text: &str) -> Option<&'static str> {
    CURRENCIES.into_iter().find(|currency| *currency == text)
}

pub(crate) fn display_name(text: Option<String>) -> Result<String, String> {
    line(required(text)?, DISPLAY_NAME_CHARS_MAX)
}

pub(crate) fn description(text: Option<String>) -> Result<String, String> {
    line(text.unwrap_or_default(), DESCRIPTION_CHARS_MAX)
}

/// Free text; line breaks are welcome, other control characters are not.
pub(crate) fn bio(text: Option<String>) -> Result<String, String> {
    let text = text.unwrap_or_default();
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err("must not contain control characters".to_owned());
    }
    at_most(text, BIO_CHARS_MAX)
}

fn line(text: String, chars_max: usize) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    at_most(text.trim().to_owned(), chars_max)
}

fn at_most(text: String, chars_max: usize) -> Result<String, String> {
    if text.chars().count() > chars_max {
        return Err(format!("must be at most {chars_max} characters long"));
    }
    Ok(text)
}

fn required(text: Option<String>) -> Result<String, String> {
    match text {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err("is required".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_address_has_one_spelling() {
        let email = Email::parse(some("  Ada@Example.ORG ")).unwrap();
        assert_eq!(email.as_str(), "ada@example.org");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in ["", " ", "ada", "@example.org", "ada@", "a b@c.d", "a@b@c", "a@\u{0}b"] {
            assert!(Email::parse(some(text)).is_err(), "{text:?}");
        }
        assert!(Email::parse(None).is_err());
    }

    #[test]
    fn secrets_do_not_print() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Email::parse(some("ada@example.org")).unwrap(),
            Password::chosen(some("correct horse")).unwrap(),
            CardToken::parse(some("tok_4242")).unwrap(),
        );
        assert_eq!(shown, "Email(…) Password(…) CardToken(…)");
    }

    #[test]
    fn sums_are_positive_and_bounded() {
        assert_eq!(amount_minor(Some(1)), Ok(1));
        for amount in [None, Some(0), Some(-5), Some(AMOUNT_MINOR_MAX + 1), Some(i64::MIN)] {
            assert!(amount_minor(amount).is_err(), "{amount:?}");
        }
    }

    #[test]
    fn currencies_are_a_closed_set() {
        assert!(CURRENCIES.is_sorted());
        assert_eq!(currency(some("EUR")), Ok("EUR"));
        assert!(currency(some("eur")).is_err());
        assert!(currency(some("XXX")).is_err());
    }

    #[test]
    fn every_complaint_of_a_form_is_collected() {
        let mut errors = FieldErrors::default();
        errors.check("email", Email::parse(None));
        errors.check("display_name", display_name(some("Ada")));
        errors.check("bio", bio(some("\u{7}")));
        let fields: Vec<_> = errors.into_vec().into_iter().filter_map(|error| error.pointer).collect();
        assert_eq!(fields, ["#/email", "#/bio"]);
    }
}
