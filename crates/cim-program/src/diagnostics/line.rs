//! A message as text, in the form of the original (wire contract §8.7): `[INFO] : 2026-11-22T22:12:36.823713788 -> [parts]`.
//!
//! Left out: where it goes. The invariant: a message is one line, whatever is in it.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Longest line, in bytes; the rest of a longer one is cut.
const LONGEST: usize = 8 << 10;

/// The line of an event.
pub(super) fn of(event: &Event<'_>, at: SystemTime) -> String {
    let mut parts = Parts::default();
    event.record(&mut parts);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let level = level(*event.metadata().level());
    let mut line = format!("[{level}] : {} -> [{}{}]", utc(since), parts.message, parts.fields);
    if line.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push_str("…]");
    }
    line
}

/// The words of the original.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "ALL",
    }
}

#[derive(Default)]
struct Parts {
    message: String,
    fields: String,
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = if field.name() == "message" { &mut self.message } else { &mut self.fields };
        if field.name() != "message" {
            let _ = write!(text, " {}=", field.name());
        }
        let _ = write!(OneLine(text), "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes control characters as their escapes.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

/// `yyyy-MM-ddTHH:mm:ss.nnnnnnnnn`, for a time since 1970.
fn utc(since: Duration) -> String {
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}")
}

/// Year, month and day of a day since 1970: years that begin in March, in cycles of 400.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let at = UNIX_EPOCH + Duration::new(1_795_385_556, 823_713_788);
            self.0.lock().unwrap().push(of(event, at));
        }
    }

    #[test]
    fn lines_have_the_recorded_form_and_stay_one_line() {
        let _stay = super::super::LEVELS_STAY.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = Lines::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), || {
            tracing::info!("Subscribing to TEST topic");
            tracing::warn!(name = "a\nb", code = 7, "two\r\nlines");
            tracing::error!("{}", "ä".repeat(10_000));
        });
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines[0], "[INFO] : 2026-11-22T22:12:36.823713788 -> [Subscribing to TEST topic]");
        assert_eq!(
            lines[1],
            "[WARNING] : 2026-11-22T22:12:36.823713788 -> [two\\r\\nlines name=a\\nb code=7]"
        );
        assert!(lines[2].len() < LONGEST + 8 && lines[2].ends_with("ä…]"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
        ] {
            assert_eq!(utc(Duration::from_secs(seconds)), format!("{text}.000000000"));
        }
    }
}
