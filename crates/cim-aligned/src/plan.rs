//! What is read, how often, and how much of it is kept.
//!
//! Owns the limits. Left out: where the values come from.

use std::time::Duration;

/// Most ports that are read.
pub const MOST_PORTS: usize = 32;
/// Most intervals that are kept.
pub const MOST_INTERVALS: usize = 1_000;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Time between two ticks: from one second to one day, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(u64);

impl Interval {
    /// That span.
    ///
    /// # Errors
    /// What is wrong with it, to stand after its name.
    pub fn new(span: Duration) -> Result<Self, &'static str> {
        if !(SHORTEST..=LONGEST).contains(&span) {
            return Err("must be from 1s to 24h");
        }
        if !span.subsec_nanos().is_multiple_of(1_000_000) {
            return Err("must be a whole number of milliseconds");
        }
        u64::try_from(span.as_millis()).map(Self).map_err(|_| "must be from 1s to 24h")
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The span.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// What is aligned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Ports of the application, each once.
    pub ports: Vec<u16>,
    /// Where on each of them the page is.
    pub path: String,
    /// They speak TLS.
    pub is_https: bool,
    /// Time between two ticks.
    pub interval: Interval,
    /// Intervals that are kept until they are fetched, from 1 to [`MOST_INTERVALS`].
    pub retention: usize,
}

impl Plan {
    /// A plan within the limits.
    ///
    /// # Errors
    /// The member that is wrong, and what is wrong with it.
    pub fn new(
        ports: &[u16],
        path: &str,
        interval: Interval,
        retention: usize,
    ) -> Result<Self, (&'static str, String)> {
        let mut unique: Vec<u16> = Vec::new();
        for port in ports {
            if *port == 0 {
                return Err(("ports", "must be from 1 to 65535".to_owned()));
            }
            if !unique.contains(port) {
                unique.push(*port);
            }
        }
        if unique.len() > MOST_PORTS {
            return Err(("ports", format!("are {}; at most {MOST_PORTS} are read", unique.len())));
        }
        let is_clean = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path.starts_with('/') || !is_clean {
            return Err(("path", "must begin with `/` and hold no blank, no `#` and ASCII only".to_owned()));
        }
        if !(1..=MOST_INTERVALS).contains(&retention) {
            return Err(("retention", format!("must be from 1 to {MOST_INTERVALS}")));
        }
        Ok(Self { ports: unique, path: path.to_owned(), is_https: false, interval, retention })
    }

    /// The same; `is_https`: over TLS.
    #[must_use]
    pub fn over(self, is_https: bool) -> Self {
        Self { is_https, ..self }
    }
}
