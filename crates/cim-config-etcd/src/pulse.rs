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
    /// Longest wait for an answer.
    longest: Duration,
    /// The first question since the last sign of life.
    asked: Option<Instant>,
    answers: bool,
}

impl Pulse {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, asked: None, answers: false }
    }

    /// A question for progress is sent. Silence counts from here, not from the last sign of life: when this process was
    /// frozen itself, nobody was asked.
    pub(crate) fn asking(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// Anything was heard.
    pub(crate) fn heard(&mut self) {
        self.asked = None;
    }

    /// A question for progress was answered.
    pub(crate) fn answered(&mut self) {
        self.answers = true;
        self.heard();
    }

    /// When the silence becomes too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + self.longest)
    }

    /// What the silence means now.
    pub(crate) fn silence(&self, now: Instant) -> Option<Silence> {
        let is_long = self.deadline().is_some_and(|deadline| now >= deadline);
        is_long.then_some(if self.answers { Silence::Dead } else { Silence::Unclear })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn a_server_that_stops_answering_is_dead_and_one_that_never_did_is_asked_otherwise() {
        let start = Instant::now();
        let mut pulse = Pulse::new(LONGEST);
        assert_eq!(pulse.silence(start + LONGEST * 9), None, "nobody was asked");
        pulse.asking(start);
        pulse.asking(start + LONGEST / 2);
        assert_eq!(pulse.silence(start + LONGEST / 2), None);
        assert_eq!(pulse.silence(start + LONGEST), Some(Silence::Unclear));
        pulse.answered();
        assert_eq!(pulse.silence(start + LONGEST), None);
        pulse.asking(start + LONGEST);
        pulse.heard();
        assert_eq!(pulse.deadline(), None);
        pulse.asking(start + LONGEST);
        assert_eq!(pulse.silence(start + LONGEST * 2), Some(Silence::Dead));
    }
}
