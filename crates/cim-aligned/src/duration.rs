//! Spans of time as Go programs write them: `15s`, `1m30s`, `1.5h`.
//!
//! Left out: signs, because nothing here goes back in time.

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits after a point that count: enough for a nanosecond of an hour.
const MOST_DIGITS: usize = 18;

/// The span in nanoseconds; `None` when it is none, or longer than 584 years.
pub(crate) fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (part, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && part.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        sum = sum.checked_add(whole.checked_mul(unit)?)?.checked_add(fraction(part, unit))?;
        rest = after;
    }
    Some(sum)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// That part of a unit; what is below a nanosecond is cut off.
fn fraction(digits: &str, unit: u64) -> u64 {
    let digits = digits.get(..MOST_DIGITS).unwrap_or(digits);
    let parts = digits.parse().unwrap_or(0u128) * u128::from(unit);
    let whole = 10u128.pow(u32::try_from(digits.len()).unwrap_or_default());
    u64::try_from(parts / whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_reads_them() {
        const SECOND: u64 = 1_000_000_000;
        for (text, expected) in [
            ("0", 0),
            ("15s", 15 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1h0m0s", 3_600 * SECOND),
            ("1.5h", 5_400 * SECOND),
            ("500ms", SECOND / 2),
            (".5s", SECOND / 2),
            ("1.s", SECOND),
            ("+5s", 5 * SECOND),
            ("1h15m30.918273645s", 4_530_918_273_645),
            ("3us", 3_000),
            ("3µs", 3_000),
        ] {
            assert_eq!(nanoseconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "abc",
            "15",
            "s",
            ".s",
            "1d",
            "-5s",
            "1 s",
            " 1s",
            "1s ",
            "99999999999h",
            "1.5.5s",
            "٣s",
            "1é",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
