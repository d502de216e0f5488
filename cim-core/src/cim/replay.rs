//! Dead letters on their way back into their queues.
//!
//! Invariant: a letter is forgotten only when its queue has it, as safe as its class asks for; in between it may be in both, and a
//! crash at that moment makes a copy, never a hole.

use std::io;

use super::Cim;
use super::heritage::put;
use crate::deadletter::Letter;

/// Most letters in one frame of a queue.
const RUN: usize = 64;

impl Cim {
    /// Hands every dead letter to its queue again, the oldest first, and forgets it. Returns how many. What is refused meanwhile
    /// is not among them.
    ///
    /// # Errors
    /// When the store cannot be read or saved, or a queue has no room: the letters that did not get there are kept.
    pub fn replay_dead_letters(&self) -> io::Result<u64> {
        let Some(store) = self.dead_letters() else { return Ok(0) };
        let mut replayed = 0;
        for run in store.numbered()?.chunk_by(|(_, one), (_, next)| one.class == next.class) {
            for letters in run.chunks(RUN) {
                let [(_, first), ..] = letters else { continue };
                let queue = self.inner.entrance.queue(first.class);
                let records = letters.iter().map(|(_, letter)| Letter::record(letter));
                let Some(()) = put(queue, records) else {
                    let class = super::route_name(first.class);
                    let why = format!(
                        "no room for more {class}; {replayed} letters were put back, the others are kept"
                    );
                    return Err(io::Error::other(why));
                };
                if let [.., (last, _)] = letters {
                    store.forget_through(*last)?;
                }
                replayed += letters.len() as u64;
            }
        }
        Ok(replayed)
    }
}
