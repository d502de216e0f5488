//! The time in the name of a rotated file: UTC `yyyy-MM-ddTHH-mm-ss.SSS` (wire contract §8.3).
//!
//! Owns the text form in both directions; leaves out clocks. Invariant: texts sort like the times they name, and
//! only what [`format()`] writes is read back.

/// Length of a stamp in bytes.
pub(crate) const LENGTH: usize = 23;

/// The last millisecond of the year 9999; later times would need a fifth digit.
const LATEST: u64 = 253_402_300_799_999;

const DAY_MS: u64 = 86_400_000;

/// Writes milliseconds since the Unix epoch as a stamp.
pub(crate) fn format(ms: u64) -> String {
    let ms = ms.min(LATEST);
    let (year, month, day) = date_of(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{milli:03}")
}

/// Reads a stamp; `None` for anything that [`format()`] would not have written.
pub(crate) fn parse(text: &str) -> Option<u64> {
    if text.len() != LENGTH {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let day = days_since_epoch(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let of_day = number(11, 13)? * 3_600_000 + number(14, 16)? * 60_000 + number(17, 19)? * 1_000;
    let ms = day * DAY_MS + of_day + number(20, 23)?;
    (format(ms) == text).then_some(ms)
}

/// Year, month and day of a day number, 1970-01-01 being day 0. Counts in eras of 400 years from March, so that the
/// leap day is the last day of a year.
fn date_of(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The day number of a date from 1970 on; `None` before, and for months and days no calendar has.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(format(0), "1970-01-01T00-00-00.000");
        assert_eq!(format(951_782_399_999), "2000-02-28T23-59-59.999");
        assert_eq!(format(951_782_400_000), "2000-02-29T00-00-00.000");
        assert_eq!(format(1_614_556_800_123), "2021-03-01T00-00-00.123");
        assert_eq!(format(u64::MAX), "9999-12-31T23-59-59.999");
    }

    #[test]
    fn other_texts_are_no_stamps() {
        for text in [
            "",
            "2021-03-01T00-00-00",
            "2021-02-29T00-00-00.000",
            "2021-13-01T00-00-00.000",
            "2021-03-01T24-00-00.000",
            "2021-03-01 00-00-00.000",
            "2021-03-01T00:00:00.000",
            "+021-03-01T00-00-00.000",
            "1969-12-31T00-00-00.000",
            "2021-03-01T00-00-0é.00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0..=LATEST) {
            let text = format(ms);
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(parse(&text), Some(ms));
        }

        #[test]
        fn texts_sort_like_times(a in 0..=LATEST, b in 0..=LATEST) {
            prop_assert_eq!(format(a).cmp(&format(b)), a.cmp(&b));
        }
    }
}
