//! Whether a watch is alive.
//!
//! Owns the judgement from what was heard when. Pure. Left out: asking. Invariant: progress answers are signs of life and
//! nothing else; a server that never gave one is not given up for its silence.

use std::time::Duration;

use tokio::time::Instant;

/// What a silence that has become too long means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The server answered before and does not any more.
    Dead,
    /// The server may not know the question: something else has to be asked.
    Unclear,
}

/// Signs of life of one watch.
#[derive(Debug)]
pub(crate) struct Pulse {
    longest: Duration,
    heard: Instant,
    answers: bool,
}

impl Pulse {
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self { longest, heard: now, answers: false }
    }

    /// Anything was heard.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A question for progress was answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answers = true;
        self.heard(now);
    }

    /// When the silence becomes too long.
    pub(crate) fn deadline(&self) -> Instant {
        self.heard + self.longest
    }

    /// What the silence means now.
    pub(crate) fn silence(&self, now: Instant) -> Option<Silence> {
        (now >= self.deadline()).then_some(if self.answers { Silence::Dead } else { Silence::Unclear })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(15);

    #[test]
    fn a_server_that_stops_answering_is_dead_and_one_that_never_did_is_asked_otherwise() {
        let start = Instant::now();
        let mut pulse = Pulse::new(LONGEST, start);
        assert_eq!(pulse.silence(start + LONGEST / 2), None);
        assert_eq!(pulse.silence(start + LONGEST), Some(Silence::Unclear));
        pulse.heard(start + LONGEST);
        assert_eq!(pulse.silence(start + LONGEST * 3 / 2), None);
        pulse.answered(start + LONGEST * 2);
        assert_eq!(pulse.silence(start + LONGEST * 2), None);
        assert_eq!(pulse.silence(start + LONGEST * 3), Some(Silence::Dead));
    }
}
