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

/// What must be accepted before an answer leaves. A connection that never published an event does not wait for the events
/// of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every log up to the mark.
    Logs,
    /// Every log and every event up to the mark.
    All,
}

impl Scope {
    /// The narrower one first: what it holds is older news for the wider one.
    pub(crate) const EACH: [Self; 2] = [Self::Logs, Self::All];

    /// What a message of that class waits for.
    pub(crate) const fn of(class: Class) -> Self {
        match class {
            Class::Log => Self::Logs,
            Class::Event => Self::All,
        }
    }
}

/// The answers of one scope that wait, oldest first.
#[derive(Debug)]
struct Queue<M> {
    fresh: Vec<Answer>,
    waiting: VecDeque<(M, Vec<Answer>)>,
}

impl<M> Queue<M> {
    const fn new() -> Self {
        Self { fresh: Vec::new(), waiting: VecDeque::new() }
    }
}

/// All answers that wait.
#[derive(Debug)]
pub(crate) struct Barriers<M> {
    logs: Queue<M>,
    all: Queue<M>,
}

impl<M: Copy> Barriers<M> {
    pub(crate) const fn new() -> Self {
        Self { logs: Queue::new(), all: Queue::new() }
    }

    const fn queue(&mut self, scope: Scope) -> &mut Queue<M> {
        match scope {
            Scope::Logs => &mut self.logs,
            Scope::All => &mut self.all,
        }
    }

    /// An answer whose mark is that of the next flush.
    pub(crate) fn push(&mut self, scope: Scope, answer: Answer) {
        let fresh = &mut self.queue(scope).fresh;
        if let (Some(Answer::Pong(last, count)), Answer::Pong(key, more)) = (fresh.last_mut(), &answer)
            && last == key
        {
            *count += more;
            return;
        }
        fresh.push(answer);
    }

    pub(crate) const fn has_fresh(&self) -> bool {
        !self.logs.fresh.is_empty() || !self.all.fresh.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_fresh() && self.logs.waiting.is_empty() && self.all.waiting.is_empty()
    }

    /// Ties everything pushed so far to `mark`.
    pub(crate) fn mark(&mut self, mark: M) {
        for scope in Scope::EACH {
            let queue = self.queue(scope);
            if !queue.fresh.is_empty() {
                queue.waiting.push_back((mark, std::mem::take(&mut queue.fresh)));
            }
        }
    }

    /// The oldest answers of the scope, if their mark is accepted.
    pub(crate) fn pop(&mut self, scope: Scope, accepted: impl FnOnce(&M) -> bool) -> Option<Vec<Answer>> {
        let queue = self.queue(scope);
        let (mark, _) = queue.waiting.front()?;
        if accepted(mark) { queue.waiting.pop_front().map(|(_, answers)| answers) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_never_early() {
        let key = |id| Key { slot: 0, id };
        let mut barriers = Barriers::new();
        barriers.push(Scope::Logs, Answer::Pong(key(1), 1));
        barriers.push(Scope::Logs, Answer::Pong(key(1), 1));
        barriers.push(Scope::Logs, Answer::Pong(key(2), 1));
        barriers.mark(5);
        barriers.push(
            Scope::Logs,
            Answer::Ack { reply: b"r"[..].into(), class: Class::Log, number: Number::Known(6) },
        );
        assert!(barriers.has_fresh());
        barriers.mark(6);
        assert_eq!(barriers.pop(Scope::Logs, |mark| *mark <= 4), None);
        assert_eq!(
            barriers.pop(Scope::Logs, |mark| *mark <= 5),
            Some(vec![Answer::Pong(key(1), 2), Answer::Pong(key(2), 1)])
        );
        assert_eq!(barriers.pop(Scope::Logs, |mark| *mark <= 5), None);
        assert_eq!(barriers.pop(Scope::Logs, |mark| *mark <= 6).map(|answers| answers.len()), Some(1));
        assert!(barriers.is_empty());
    }

    #[test]
    fn logs_do_not_wait_for_events() {
        let key = |id| Key { slot: 0, id };
        let mut barriers = Barriers::new();
        barriers.push(Scope::All, Answer::Pong(key(1), 1));
        barriers.push(Scope::Logs, Answer::Pong(key(2), 1));
        barriers.mark(1);
        assert_eq!(barriers.pop(Scope::All, |_| false), None);
        assert_eq!(barriers.pop(Scope::Logs, |_| true), Some(vec![Answer::Pong(key(2), 1)]));
        assert!(!barriers.is_empty());
    }
}
