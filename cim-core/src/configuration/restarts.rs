//! How often pods may be replaced for want of a first configuration, counted where all pods of the microservice see it.
//!
//! Owns the note in the store and the decision. Left out: when a restart is wanted, and the restart. A spool directory
//! usually ends with its pod, and the pods of a Deployment have new names each time; so the count is the microservice's.
//! Invariant: within a day no more restarts are granted than the budget has, however many pods ask at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::{ConfigSource, SourceError, SourceErrorKind};

/// Time in which restarts are counted.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the note is tried while other pods write it.
const ATTEMPTS: u32 = 20;

/// What stands in the store (wire contract §4.2).
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    restarts: Vec<Granted>,
}

/// One restart.
#[derive(Debug, Serialize, Deserialize)]
struct Granted {
    /// Name of the pod.
    pod: String,
    /// Milliseconds since the Unix epoch.
    at_ms: u64,
}

/// Forgets restarts of another day. A time that is still to come counts, as clocks of nodes differ, but not one of another
/// day.
pub(crate) fn forget_old<T>(restarts: &mut Vec<T>, now_ms: u64, at_ms: impl Fn(&T) -> u64) {
    let period = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
    restarts.retain(|restart| at_ms(restart).abs_diff(now_ms) < period);
}

/// Takes one restart out of the budget, if one is left. A note that cannot be read is as good as none.
///
/// # Errors
/// The store cannot be asked, or others write the note all the time.
pub(crate) async fn grant(
    source: &dyn ConfigSource,
    key: &str,
    pod: &str,
    budget: usize,
    now_ms: u64,
) -> Result<bool, SourceError> {
    for _ in 0..ATTEMPTS {
        let old = source.read(key).await?;
        let mut note: Note =
            old.as_deref().and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
        forget_old(&mut note.restarts, now_ms, |restart| restart.at_ms);
        if note.restarts.len() >= budget {
            return Ok(false);
        }
        note.restarts.push(Granted { pod: pod.to_owned(), at_ms: now_ms });
        let new = serde_json::to_vec(&note).map_err(|error| {
            SourceError::new(SourceErrorKind::Misconfigured, "cannot note a restart").with_source(error)
        })?;
        if source.swap(key, old.as_deref(), &new).await? {
            return Ok(true);
        }
    }
    Err(SourceError::new(SourceErrorKind::Unavailable, "other pods note their restarts all the time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_counts_for_a_day_whatever_the_clock_of_its_node() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let now = 1_700_000_000_000;
        let mut restarts = vec![now - DAY, now - DAY + 1, now, now + DAY - 1, now + DAY, 0, u64::MAX];
        forget_old(&mut restarts, now, |at| *at);
        assert_eq!(restarts, [now - DAY + 1, now, now + DAY - 1]);
    }
}
