//! Numbers of payment cards in a text: by length, issuer and check digit (Luhn), written in one piece or in the groups that are
//! printed on cards.
//!
//! One number in ten of the right length and beginning passes by chance, so what stands next to a letter, as in an id in hex,
//! and what follows a decimal point is left alone.

use std::ops::{Range, RangeInclusive};

/// Below this no number is a card's.
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

/// How the digits are grouped where they are not in one piece; longer forms first.
const GROUPED: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// The first digits, up to six of them, and how many follow in all.
const ISSUERS: [(RangeInclusive<u32>, RangeInclusive<usize>); 17] = [
    (400_000..=499_999, 13..=13), // Visa
    (400_000..=499_999, 16..=16),
    (400_000..=499_999, 19..=19),
    (510_000..=559_999, 16..=16), // Mastercard
    (222_100..=272_099, 16..=16),
    (340_000..=349_999, 15..=15), // American Express
    (370_000..=379_999, 15..=15),
    (300_000..=305_999, 14..=19), // Diners Club
    (360_000..=369_999, 14..=19),
    (380_000..=399_999, 14..=19),
    (352_800..=358_999, 16..=19), // JCB
    (601_100..=601_199, 16..=19), // Discover
    (644_000..=659_999, 16..=19),
    (620_000..=629_999, 16..=19), // UnionPay
    (220_000..=220_499, 16..=19), // Mir
    (500_000..=509_999, 13..=19), // Maestro
    (560_000..=589_999, 13..=19),
];

/// Whether a look is worth it: there is a stretch of digits and separators that is long enough. Such a stretch has one of every
/// thirteen bytes, so only these are looked at, and most values have none.
#[inline]
pub(super) fn is_possible(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = |byte: &&u8| byte.is_ascii_digit() || is_separator(**byte);
    let mut at = DIGITS_MIN - 1;
    while let Some(byte) = bytes.get(at) {
        if !fits(&byte) {
            at += DIGITS_MIN;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(fits).count();
        let before = bytes[..at].iter().rev().take(DIGITS_MIN).take_while(fits).count();
        if end - (at - before) >= DIGITS_MIN {
            return true;
        }
        at = end + DIGITS_MIN;
    }
    false
}

/// Where the first card's number from `from` on stands.
pub(super) fn find(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) {
        let end = start + digits(&bytes[start..]);
        if begins(bytes, start)
            && let Some(length) = card(&bytes[start..], end - start)
        {
            return Some(start..start + length);
        }
        at = end;
    }
    None
}

/// The bytes of the card's number that `text` starts with, its first group being so long.
fn card(text: &[u8], first: usize) -> Option<usize> {
    if (DIGITS_MIN..=DIGITS_MAX).contains(&first) {
        return (ends(text, first) && is_card(&text[..first])).then_some(first);
    }
    GROUPED.into_iter().find_map(|groups| {
        let length = grouped(text, groups)?;
        (ends(text, length) && is_card(&text[..length])).then_some(length)
    })
}

/// The length of these groups with one kind of separator between them.
fn grouped(text: &[u8], groups: &[usize]) -> Option<usize> {
    let separator = *text.get(groups[0]).filter(|byte| is_separator(**byte))?;
    let mut at = 0;
    for (nth, group) in groups.iter().enumerate() {
        if nth > 0 {
            (text.get(at) == Some(&separator)).then_some(())?;
            at += 1;
        }
        (digits(text.get(at..)?) == *group).then_some(())?;
        at += group;
    }
    Some(at)
}

/// How many digits it starts with.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_separator(byte: u8) -> bool {
    byte == b' ' || byte == b'-'
}

fn begins(text: &[u8], start: usize) -> bool {
    match text[..start] {
        [.., whole, b'.'] if whole.is_ascii_digit() => false,
        [.., before] => !before.is_ascii_alphanumeric(),
        [] => true,
    }
}

fn ends(text: &[u8], end: usize) -> bool {
    text.get(end).is_none_or(|after| !after.is_ascii_alphanumeric())
}

fn is_card(number: &[u8]) -> bool {
    let digits = || number.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let (length, first) = (digits().count(), digits().take(6).fold(0, |first, digit| first * 10 + digit));
    let issued = ISSUERS.iter().any(|(firsts, lengths)| firsts.contains(&first) && lengths.contains(&length));
    issued && luhn(digits().rev())
}

/// From the last digit on, every second one counts twice, and the sum ends in 0.
fn luhn(digits: impl Iterator<Item = u32>) -> bool {
    let weighed = digits.enumerate().map(|(nth, digit)| match nth % 2 {
        0 => digit,
        _ if digit > 4 => 2 * digit - 9,
        _ => 2 * digit,
    });
    weighed.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(range) = find(text, from) {
            from = range.end;
            found.push(&text[range]);
        }
        assert!(found.is_empty() || is_possible(text), "{text}");
        found
    }

    #[test]
    fn test_numbers_of_the_issuers_are_found_however_they_are_written() {
        for card in [
            "4111111111111111",
            "4222222222222",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "38520000023237",
            "6011111111111117",
            "3530111333300000",
            "6205500000000000004",
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "3782 822463 10005",
            "3056-930902-5904",
        ] {
            for text in [card.to_owned(), format!("card={card};"), format!("12 {card}, 7"), format!("é{card}é")] {
                assert_eq!(found(&text), [card], "{text}");
            }
        }
        assert_eq!(found("4111111111111111 and 5555555555554444").len(), 2);
        assert_eq!(found("1234 4111 1111 1111 1111"), ["4111 1111 1111 1111"], "groups before it do not hide it");
        assert_eq!(found("card_4111111111111111"), ["4111111111111111"]);
        assert_eq!(found("4111111111111111.0"), ["4111111111111111"], "as a double is spelled");
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "4111111111111112",     // the check digit
            "1764000000000000000",  // a time in nanoseconds
            "9111111111111111",     // nobody's
            "411111111111111",      // a digit short
            "04111111111111111111", // too long
            "a4111111111111111",    // part of an id in hex
            "4111111111111111b",
            "0.4111111111111111",  // a fraction
            "4111 1111-1111 1111", // two kinds of separators
            "4111  1111  1111  1111",
            "41111111-1111-1111-1111-111111111111", // a UUID
            "",
            "-",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_megabyte_of_digits_is_walked_once() {
        assert!(found(&"4".repeat(1 << 20)).is_empty());
        assert!(found(&"4111 ".repeat(1 << 18)).is_empty());
    }
}
