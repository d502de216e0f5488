//! Answers that mean "accepted": PONG and the acknowledgement of a publish with a reply subject.
//!
//! Owns their order. Leaves out who accepts. Invariant: answers leave in the order they were asked for, none before
//! its mark is accepted.

use crate::client::Key;
use cim_wire::Class;
use std::collections::VecDeque;

/// An answer that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PONGs for one connection.
    Pong(Key, u32),
    /// Acknowledgement of one message: its sequence number, or for a message that had none yet, how many of its class
    /// were taken up to it.
    Ack { reply: Box<[u8]>, class: Class, number: Number },
    /// Why a message was refused.
    Refusal { reply: Box<[u8]>, body: Box<[u8]> },
}

/// The sequence number of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// Given by the engine.
    Known(u64),
    /// The message is this one of those taken; the engine had no room to number it.
    Taken(u64),
}

/// All answers that wait, oldest first.
#[derive(Debug)]
pub(crate) struct Barriers<M> {
    fresh: Vec<Answer>,
    waiting: VecDeque<(M, Vec<Answer>)>,
}

impl<M: Copy> Barriers<M> {
    pub(crate) const fn new() -> Self {
        Self { fresh: Vec::new(), waiting: VecDeque::new() }
    }

    /// An answer whose mark is that of the next flush.
    pub(crate) fn push(&mut self, answer: Answer) {
        if let (Some(Answer::Pong(last, count)), Answer::Pong(key, more)) = (self.fresh.last_mut(), &answer)
            && last == key
        {
            *count += more;
            return;
        }
        self.fresh.push(answer);
    }

    pub(crate) const fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// Ties everything pushed so far to `mark`.
    pub(crate) fn mark(&mut self, mark: M) {
        if !self.fresh.is_empty() {
            self.waiting.push_back((mark, std::mem::take(&mut self.fresh)));
        }
    }

    /// The oldest answers, if their mark is accepted.
    pub(crate) fn pop(&mut self, accepted: impl FnOnce(&M) -> bool) -> Option<Vec<Answer>> {
        let (mark, _) = self.waiting.front()?;
        if accepted(mark) { self.waiting.pop_front().map(|(_, answers)| answers) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_never_early() {
        let key = |id| Key { slot: 0, id };
        let mut barriers = Barriers::new();
        barriers.push(Answer::Pong(key(1), 1));
        barriers.push(Answer::Pong(key(1), 1));
        barriers.push(Answer::Pong(key(2), 1));
        barriers.mark(5);
        barriers.push(Answer::Ack { reply: b"r"[..].into(), class: Class::Log, number: Number::Known(6) });
        assert!(barriers.has_fresh());
        barriers.mark(6);
        assert_eq!(barriers.pop(|mark| *mark <= 4), None);
        assert_eq!(
            barriers.pop(|mark| *mark <= 5),
            Some(vec![Answer::Pong(key(1), 2), Answer::Pong(key(2), 1)])
        );
        assert_eq!(barriers.pop(|mark| *mark <= 5), None);
        assert_eq!(barriers.pop(|mark| *mark <= 6).map(|answers| answers.len()), Some(1));
        assert!(barriers.is_empty());
    }
}
