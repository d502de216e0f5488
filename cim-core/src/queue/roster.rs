//! Which sinks a route has: who comes, who leaves, and what becomes of their positions and books.
//!
//! Left out: when that happens (`cim::generation`). Invariants: the law of the books holds for a sink that left, which holds
//! nothing any more; what waited for it is taken over by every sink that comes, and a sink that returns goes on in the books it
//! had, because counters never go back.

use cim_spool::{OpenError, Stream};

use super::member::Member;
use super::state::State;
use crate::books::Books;

impl State {
    /// Changes the sinks of the route.
    pub(crate) fn set_members(&mut self, names: &[String]) -> Result<(), OpenError> {
        let leaving = self.members.iter().filter(|member| !names.contains(&member.name));
        let from = leaving.map(|member| member.next).min().unwrap_or(self.next_seq);
        if let Some(stream) = &mut self.stream {
            for name in names {
                stream.cursor(name)?;
            }
        }
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            if let Some(at) = self.members.iter().position(|member| member.name == *name) {
                members.push(self.members.swap_remove(at));
                continue;
            }
            if let Some(stream) = &mut self.stream {
                stream.ack(name, from);
            }
            let before = self.departed.iter().position(|member| member.name == *name);
            let mut books = before.map_or_else(Books::default, |at| self.departed.swap_remove(at).books);
            books.taken_over += self.next_seq - from;
            members.push(Member { name: name.clone(), next: from, books });
        }
        let left = std::mem::replace(&mut self.members, members);
        if let Some(stream) = &mut self.stream {
            retire(stream, &left);
        }
        for mut member in left {
            member.books.handed_over += self.next_seq - member.next;
            member.next = self.next_seq;
            self.departed.push(member);
        }
        self.trim_tail();
        Ok(())
    }

    /// The books of every sink by name: those that the route has, then those that left it.
    pub(crate) fn books(&self) -> Vec<(String, Books)> {
        let open =
            |member: &Member| Books { held: self.next_seq.saturating_sub(member.next), ..member.books };
        let present = self.members.iter().map(|member| (member.name.clone(), open(member)));
        present.chain(self.departed.iter().map(|member| (member.name.clone(), member.books))).collect()
    }
}

/// Removes the positions of sinks that left; those of the sinks that stay are on disk before.
fn retire(stream: &mut Stream, left: &[Member]) {
    if let Err(error) = stream.save_cursors(true) {
        tracing::warn!(%error, "cannot save positions in the spool; a restart may repeat records");
    }
    for member in left {
        if let Err(error) = stream.retire_cursor(&member.name) {
            tracing::warn!(cursor = %member.name, %error, "cannot remove an old position from the spool");
        }
    }
}
