//! Dead letters on their way back into their queues.
//!
//! Invariant: a letter is forgotten only when its queue has it, as safe as its class asks for; in between it may be in both, and a
//! crash at that moment makes a copy, never a hole.

use std::io;

use super::Cim;
use super::heritage::put;
use crate::deadletter::{DeadLetters, Letter, Letters, Origin};

/// Most letters in one frame of a queue.
const RUN: usize = 64;

impl Cim {
    /// Hands every dead letter to its queue or its subscription again, the oldest first, and forgets it. Returns how many. What is
    /// refused meanwhile is not among them.
    ///
    /// # Errors
    /// When the store cannot be read or saved, or a queue has no room: the letters that did not get there are kept.
    pub fn replay_dead_letters(&self) -> io::Result<u64> {
        let Some(Letters { dead, again }) = &self.inner.letters else { return Ok(0) };
        let mut replayed = 0;
        for run in dead.numbered()?.chunk_by(|(_, one), (_, next)| one.origin == next.origin) {
            for letters in run.chunks(RUN) {
                let [(_, first), ..] = letters else { continue };
                let (put, why) = match first.origin {
                    Origin::Queue(class) => {
                        let records = letters.iter().map(|(_, letter)| Letter::record(letter));
                        match put(self.inner.entrance.queue(class), records) {
                            Some(_) => (letters.len(), None),
                            None => (0, Some(format!("no room for more {}", super::route_name(class)))),
                        }
                    }
                    Origin::Subscription => put_beside(again, letters),
                };
                // Also when the next one did not get there: what is forgotten too late comes twice.
                if let Some((last, _)) = letters.iter().take(put).next_back() {
                    dead.forget_through(*last)?;
                    replayed += put as u64;
                }
                if let Some(why) = why {
                    let text = format!("{why}; {replayed} letters were put back, the others are kept");
                    return Err(io::Error::other(text));
                }
            }
        }
        Ok(replayed)
    }
}

/// Puts letters back one by one; returns how many got there, and why the next one did not.
fn put_beside(again: &DeadLetters, letters: &[(u64, Letter)]) -> (usize, Option<String>) {
    for (put, (_, letter)) in letters.iter().enumerate() {
        if let Err(error) = again.put_beside(letter) {
            return (put, Some(format!("no room for more notifications: {error}")));
        }
    }
    (letters.len(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::NullSink;
    use crate::registry::Sink;
    use crate::settings::{ByteSize, SpoolSettings};

    #[tokio::test]
    async fn what_was_put_back_before_the_room_ended_is_not_put_back_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = SpoolSettings { dir: Some(dir.path().to_owned()), ..SpoolSettings::default() };
        spool.dead_letters.max_bytes = ByteSize::bytes(64 << 10);
        let sink = Sink::both(std::sync::Arc::new(NullSink::new("null")));
        let cim = Cim::builder().spool(spool).sink("null", sink).start().unwrap();
        let Letters { dead, again } = cim.letters().unwrap();
        let letter = |seq| Letter::notification("123456", seq, "refused", "no", &[b'x'; 1000]);
        (0..40).for_each(|seq| again.put_beside(&letter(seq)).unwrap());
        (100..140).for_each(|seq| dead.put(&letter(seq), None).unwrap());

        let text = cim.replay_dead_letters().unwrap_err().to_string();
        let (kept, back) = (dead.list().unwrap(), again.len() - 40);
        assert!(text.contains(&format!("; {back} letters were put back")), "{text}");
        assert!(back > 0 && back + kept.len() as u64 == 40, "{back} {}", kept.len());
        assert_eq!(kept.first().map(|letter| letter.seq), Some(100 + back));
    }
}
