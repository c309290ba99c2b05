//! Receipts: one HTML page for each payment and occasion.
//!
//! The name follows from the payment and the content from the event alone, so writing a receipt again leaves exactly
//! what was there.

use uuid::Uuid;

use crate::event::{Occasion, Payment};

/// The name of its file.
pub(crate) fn name(payment: Uuid, occasion: Occasion) -> String {
    format!("{payment}.{}.html", occasion.name())
}

/// The page, the same bytes for the same payment and occasion.
pub(crate) fn render(payment: &Payment, occasion: Occasion) -> String {
    let (title, verb) = match occasion {
        Occasion::Captured => ("Receipt", "Paid"),
        Occasion::Refunded => ("Refund", "Refunded"),
    };
    let amount = escape(&amount(payment.amount_minor, &payment.currency));
    let description = escape(&payment.description);
    let created = payment.created_at.strftime("%-d %B %Y, %H:%M UTC");
    let id = payment.payment_id;
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>{title} {id}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; color: #1c1e21 }}
h1 {{ font-size: 1.25rem; border-bottom: 2px solid; padding-bottom: .5rem }}
dl {{ display: grid; grid-template-columns: 9rem 1fr; gap: .5rem }}
dt {{ color: #666b73 }}
dd {{ margin: 0; overflow-wrap: anywhere }}
.amount {{ font-size: 1.5rem; font-variant-numeric: tabular-nums }}
@media print {{ body {{ margin: 0 }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<dl>
<dt>{verb}</dt><dd class=\"amount\">{amount}</dd>
<dt>For</dt><dd>{description}</dd>
<dt>Payment</dt><dd>{id}</dd>
<dt>Made on</dt><dd>{created}</dd>
</dl>
</body>
</html>
"
    )
}

/// "12.50 EUR": minor units by the currency's own count of decimals (ISO 4217).
pub(crate) fn amount(minor: i64, currency: &str) -> String {
    let decimals = match currency {
        "JPY" | "KRW" | "CLP" | "ISK" | "VND" => 0,
        "BHD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    if decimals == 0 {
        return format!("{minor} {currency}");
    }
    let unit = 10_u64.pow(decimals);
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, part) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    format!("{sign}{whole}.{part:0width$} {currency}", width = decimals as usize)
}

/// Text as it may stand in an element or a quoted attribute. Characters that HTML forbids become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            character if character.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check_text(text: &str, expected: Expect) {
        expected.assert_eq(&escape(text));
    }

    fn check_amount(minor: i64, currency: &str, expected: Expect) {
        expected.assert_eq(&amount(minor, currency));
    }

    #[test]
    fn text_cannot_leave_its_element_or_attribute() {
        check_text(
            "<script>alert('x')</script> & \"more\"",
            expect!["&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;"],
        );
        check_text("&lt; stays what was typed", expect!["&amp;lt; stays what was typed"]);
        check_text("nul \0 and bell \u{7}", expect!["nul \u{fffd} and bell \u{fffd}"]);
        check_text("Größe 27 – ✓", expect!["Größe 27 – ✓"]);
    }

    #[test]
    fn amounts_follow_the_currency() {
        check_amount(1250, "EUR", expect!["12.50 EUR"]);
        check_amount(5, "USD", expect!["0.05 USD"]);
        check_amount(1250, "JPY", expect!["1250 JPY"]);
        check_amount(1250, "KWD", expect!["1.250 KWD"]);
        check_amount(-1250, "EUR", expect!["-12.50 EUR"]);
        check_amount(i64::MIN, "EUR", expect!["-92233720368547758.08 EUR"]);
    }
}
