//! Dead letters on their way back into their queues.
//!
//! Invariant: a letter is forgotten only when its queue has it, as safe as its class asks for; in between it may be in both, and a
//! crash at that moment makes a copy, never a hole.

use std::io;

use super::Cim;
use super::heritage::put;
use crate::deadletter::{Letter, Letters, Origin};

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
                let back = match first.origin {
                    Origin::Queue(class) => {
                        let records = letters.iter().map(|(_, letter)| Letter::record(letter));
                        put(self.inner.entrance.queue(class), records)
                            .ok_or_else(|| format!("no room for more {}", super::route_name(class)))
                    }
                    Origin::Subscription => letters
                        .iter()
                        .try_for_each(|(_, letter)| again.put_beside(letter))
                        .map_err(|error| format!("no room for more notifications: {error}")),
                };
                back.map_err(|why| {
                    io::Error::other(format!("{why}; {replayed} letters were put back, the others are kept"))
                })?;
                if let [.., (last, _)] = letters {
                    dead.forget_through(*last)?;
                }
                replayed += letters.len() as u64;
            }
        }
        Ok(replayed)
    }
}
