//! When what is remembered is written, and who waits for that.
//!
//! Owns the turns: one save at a time, and after one that failed the next in growing pauses. Left out: what is written (`store`).
//! The invariant: who waits is told after the next save, also after one that failed: it goes on with what is in memory, and nobody
//! could do more about it.

use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::key::DocumentId;
use crate::Pauses;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Who waits until it is saved.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Applications that registered.
    pub registrations: Vec<oneshot::Sender<()>>,
    /// Documents whose last result is stored, or given up: the next change of each waits.
    pub documents: Vec<DocumentId>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.documents.is_empty()
    }
}

/// The saves of one engine.
#[derive(Debug)]
pub(super) struct Saving {
    is_due: bool,
    is_under_way: bool,
    /// Why the last one failed.
    trouble: Option<String>,
    pauses: Pauses,
    again_at: Option<Instant>,
    /// Who waits for the next one.
    pub next: Waiting,
    /// Who waits for the one under way.
    this: Waiting,
}

impl Saving {
    pub(super) fn new() -> Self {
        Self {
            is_due: false,
            is_under_way: false,
            trouble: None,
            pauses: Pauses::new(FIRST_PAUSE, LONGEST_PAUSE),
            again_at: None,
            next: Waiting::default(),
            this: Waiting::default(),
        }
    }

    /// Something is not in the file.
    pub(super) fn due(&mut self) {
        self.is_due = true;
    }

    /// The same, and it is not to wait for the end of a pause.
    pub(super) fn urgent(&mut self) {
        self.is_due = true;
        self.again_at = None;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Why what is remembered is in memory only, if it is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// When a save that failed is tried again.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// Whether one may begin now. Those that wait do not wait for the end of a pause.
    pub(super) fn is_turn(&self, now: Instant) -> bool {
        !self.is_under_way && (self.again_at.is_none_or(|at| at <= now) || !self.next.is_empty())
    }

    /// Begins one. Returns whether there is anything to write; [`Saving::ended`] follows either way.
    pub(super) fn begin(&mut self) -> bool {
        // Who comes while this is being written is not in it, and waits for the next time.
        self.this = std::mem::take(&mut self.next);
        self.again_at = None;
        self.is_under_way = true;
        std::mem::take(&mut self.is_due) || !self.this.registrations.is_empty()
    }

    /// It has ended. Returns who waited for it, and whether the trouble is another one than before.
    pub(super) fn ended(&mut self, outcome: io::Result<()>, now: Instant) -> (Waiting, bool) {
        self.is_under_way = false;
        let trouble = outcome.err().map(|error| error.to_string());
        if trouble.is_some() {
            self.is_due = true;
            self.again_at = Some(now + self.pauses.take());
        } else {
            self.pauses.reset();
        }
        let is_news = self.trouble != trouble;
        self.trouble = trouble;
        if is_news {
            self.tell();
        }
        (std::mem::take(&mut self.this), is_news)
    }

    fn tell(&self) {
        match self.trouble() {
            Some(error) => tracing::error!(
                error,
                "the registration of the application and what is known of its configuration cannot be saved; it is tried again. A \
                 process that starts before that finds the file of before: it hands changes over again, and one that knew of no \
                 registration waits for it"
            ),
            None => tracing::info!("what is known of the application is saved again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    #[test]
    fn a_save_that_fails_is_repeated_in_growing_pauses_until_one_works() {
        let (mut saving, mut now) = (Saving::new(), Instant::now());
        saving.due();
        for pause_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert!(saving.is_turn(now) && saving.begin());
            assert!(!saving.is_turn(now), "one at a time");
            let _ = saving.ended(full(), now);
            assert!(saving.trouble().is_some());
            let next = now + Duration::from_millis(pause_ms);
            assert_eq!(saving.again_at(), Some(next));
            saving.due();
            assert!(!saving.is_turn(next - Duration::from_millis(1)), "more to save does not end the pause");
            now = next;
        }
        assert!(saving.begin());
        let _ = saving.ended(Ok(()), now);
        assert_eq!((saving.trouble(), saving.again_at()), (None, None));
        assert!(saving.is_turn(now) && !saving.begin(), "nothing is left to write");
    }

    #[test]
    fn who_waits_and_what_is_said_only_once_do_not_wait_for_the_end_of_a_pause() {
        let (mut saving, now) = (Saving::new(), Instant::now());
        saving.due();
        assert!(saving.begin());
        let _ = saving.ended(full(), now);
        assert!(!saving.is_turn(now));
        let (done, mut told) = oneshot::channel();
        saving.next.registrations.push(done);
        assert!(saving.is_turn(now) && saving.begin());
        let (waited, is_news) = saving.ended(full(), now);
        assert!(!is_news, "the same trouble is told once");
        assert_eq!(waited.registrations.len(), 1);
        waited.registrations.into_iter().for_each(|done| done.send(()).unwrap_or_default());
        assert!(told.try_recv().is_ok());
        assert!(!saving.is_turn(now));
        saving.urgent();
        assert!(saving.is_turn(now));
    }
}
