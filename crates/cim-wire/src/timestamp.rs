//! RFC 3339 times.
//!
//! Owns their reading into milliseconds; leaves out clocks and time zones by name. Invariant: only a complete,
//! valid time is accepted.

/// Milliseconds since 1970-01-01 UTC of `text`, such as `2021-03-31T09:08:43.5+02:00`. Digits beyond
/// milliseconds are cut; a leap second counts as the second before it plus one.
pub(crate) fn millis_since_epoch(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4)?;
    separator(&mut rest, b"-")?;
    let month = number(&mut rest, 2).filter(|month| (1..=12).contains(month))?;
    separator(&mut rest, b"-")?;
    let day = number(&mut rest, 2).filter(|day| (1..=days_in(year, month)).contains(day))?;
    separator(&mut rest, b"Tt ")?;
    let hour = number(&mut rest, 2).filter(|hour| *hour < 24)?;
    separator(&mut rest, b":")?;
    let minute = number(&mut rest, 2).filter(|minute| *minute < 60)?;
    separator(&mut rest, b":")?;
    let second = number(&mut rest, 2).filter(|second| *second <= 60)?;
    let millis = fraction(&mut rest)?;
    let zone = zone_minutes(&mut rest)?;
    if !rest.is_empty() {
        return None;
    }
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - zone;
    Some((minutes * 60 + second) * 1000 + millis)
}

/// Takes exactly `digits` decimal digits.
fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    head.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(*digit - b'0')))
}

/// Takes one byte out of `allowed`.
fn separator(rest: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    allowed.contains(first).then_some(*first)
}

/// Takes an optional fraction of a second.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some(0) };
    let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let (digits, tail) = digits.split_at_checked(count).filter(|_| count > 0)?;
    *rest = tail;
    let digits = digits.iter().map(|digit| i64::from(*digit - b'0')).chain(std::iter::repeat(0));
    Some(digits.take(3).fold(0, |sum, digit| sum * 10 + digit))
}

/// Takes `Z` or an offset, in minutes east of UTC.
fn zone_minutes(rest: &mut &[u8]) -> Option<i64> {
    let sign = match separator(rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = number(rest, 2).filter(|hours| *hours < 24)?;
    separator(rest, b":")?;
    let minutes = number(rest, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 60 + minutes))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::millis_since_epoch;

    #[test]
    fn valid_times() {
        assert_eq!(millis_since_epoch("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis_since_epoch("2021-03-31T09:08:43Z"), Some(1_617_181_723_000));
        assert_eq!(millis_since_epoch("2021-03-31t11:08:43.1239+02:00"), Some(1_617_181_723_123));
        assert_eq!(millis_since_epoch("2024-02-29T23:59:59.5-00:30"), Some(1_709_252_999_500));
        assert_eq!(millis_since_epoch("1969-12-31T23:59:59.9Z"), Some(-100));
        assert_eq!(millis_since_epoch("2000-03-01T00:00:00Z"), Some(951_868_800_000));
        assert_eq!(millis_since_epoch("0000-01-01T00:00:00Z"), Some(-62_167_219_200_000));
    }

    #[test]
    fn invalid_times() {
        for text in [
            "",
            "2021",
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-00-01T00:00:00Z",
            "2021-01-01T24:00:00Z",
            "2021-01-01T00:60:00Z",
            "2021-01-01T00:00:61Z",
            "2021-01-01T00:00:00",
            "2021-01-01T00:00:00.Z",
            "2021-01-01T00:00:00Zx",
            "2021-01-01T00:00:00+2:00",
            "+021-01-01T00:00:00Z",
            "2021-01-01T00:00:00é",
        ] {
            assert_eq!(millis_since_epoch(text), None, "{text}");
        }
    }
}
