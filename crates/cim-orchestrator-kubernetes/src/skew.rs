//! How far the clock of the API server is from ours.
//!
//! Owns reading `Date` of an answer, exact to about a second. Left out: what a difference means. Invariant: an answer without a
//! readable date tells nothing.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use k8s_openapi::jiff::fmt::rfc2822;

/// A difference between two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// How large it is.
    pub difference: Duration,
    /// Whether the clock of the server is ahead of ours.
    pub is_ahead: bool,
}

impl Skew {
    /// What the clock of the server says when ours says `now`.
    pub(crate) fn their_time(self, now: SystemTime) -> SystemTime {
        let time =
            if self.is_ahead { now.checked_add(self.difference) } else { now.checked_sub(self.difference) };
        time.unwrap_or(now)
    }
}

/// By an answer that came at `now`.
pub(crate) fn of(headers: &HeaderMap, now: SystemTime) -> Option<Skew> {
    let date = rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?;
    let theirs = SystemTime::from(date.timestamp());
    Some(match theirs.duration_since(now) {
        Ok(difference) => Skew { difference, is_ahead: true },
        Err(earlier) => Skew { difference: earlier.duration(), is_ahead: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_tells_which_clock_is_ahead() {
        let skew = |text: &str, now: u64| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, text.parse().unwrap());
            of(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(now))
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let seconds = Duration::from_secs;
        assert_eq!(skew(date, 784_111_777), Some(Skew { difference: seconds(0), is_ahead: true }));
        assert_eq!(skew(date, 784_111_700), Some(Skew { difference: seconds(77), is_ahead: true }));
        assert_eq!(skew(date, 784_111_797), Some(Skew { difference: seconds(20), is_ahead: false }));
        assert_eq!(skew("yesterday", 0), None);
        assert_eq!(of(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }
}
