//! Who wants which subject: the trie of all subscriptions of all connections, with wildcards and queue groups.
//!
//! Owns subject → subscription ids. Leaves out what a subscription is and who it belongs to. Invariants: a lookup
//! visits each node at most once and never recurses; a node without subscription and without children does not exist;
//! `generation` changes whenever an answer may change.

use crate::subject;
use std::collections::HashMap;
use std::sync::Arc;

/// Names a subscription; the owner of the table of subscriptions gives it out.
pub(crate) type SubscriptionId = u32;

type NodeId = u32;
const ROOT: NodeId = 0;

/// The subscriptions that a message on one subject concerns.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Matches {
    /// Each of these gets the message.
    pub every: Vec<SubscriptionId>,
    /// By queue name: one member of each group gets the message.
    pub groups: Vec<(Box<[u8]>, Vec<SubscriptionId>)>,
}

impl Matches {
    /// True when nobody wants the message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.every.is_empty() && self.groups.is_empty()
    }
}

#[derive(Debug, Default)]
struct Node {
    parent: NodeId,
    token: Box<[u8]>,
    literal: HashMap<Box<[u8]>, NodeId>,
    star: Option<NodeId>,
    tail: Option<NodeId>,
    every: Vec<SubscriptionId>,
    groups: Vec<(Box<[u8]>, Vec<SubscriptionId>)>,
}

impl Node {
    fn is_bare(&self) -> bool {
        self.literal.is_empty()
            && self.star.is_none()
            && self.tail.is_none()
            && self.every.is_empty()
            && self.groups.is_empty()
    }
}

/// Answers kept at most; more distinct subjects than this start over.
const CACHED: usize = 4096;
/// Subscription ids in all kept answers together.
const CACHED_IDS: usize = 65_536;
/// Longer subjects are looked up every time, in bytes.
const CACHED_SUBJECT: usize = 256;

/// The trie.
#[derive(Debug)]
pub(crate) struct Interest {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    generation: u64,
    cache: HashMap<Box<[u8]>, Arc<Matches>>,
    cached_ids: usize,
    nothing: Arc<Matches>,
    len: usize,
}

impl Default for Interest {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
            generation: 1,
            cache: HashMap::new(),
            cached_ids: 0,
            nothing: Arc::default(),
            len: 0,
        }
    }
}

impl Interest {
    /// Changes whenever the answer of [`Interest::matches`] may have changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Number of subscriptions.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a count for the metrics")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription. `pattern` must be valid ([`subject::is_pattern`]).
    pub fn insert(&mut self, pattern: &[u8], queue: Option<&[u8]>, id: SubscriptionId) {
        let mut at = ROOT;
        for token in subject::tokens(pattern) {
            at = self.child(at, token).unwrap_or_else(|| self.grow(at, token));
        }
        if let Some(node) = self.nodes.get_mut(at as usize) {
            match queue {
                None => node.every.push(id),
                Some(queue) => match node.groups.iter_mut().find(|(name, _)| **name == *queue) {
                    Some((_, members)) => members.push(id),
                    None => node.groups.push((queue.into(), vec![id])),
                },
            }
        }
        self.len += 1;
        self.changed();
    }

    /// Takes a subscription out again, with the pattern and queue it was added with.
    pub fn remove(&mut self, pattern: &[u8], queue: Option<&[u8]>, id: SubscriptionId) {
        let mut at = ROOT;
        for token in subject::tokens(pattern) {
            match self.child(at, token) {
                Some(next) => at = next,
                None => return,
            }
        }
        let Some(node) = self.nodes.get_mut(at as usize) else { return };
        let before = node.every.len() + node.groups.iter().map(|(_, members)| members.len()).sum::<usize>();
        match queue {
            None => node.every.retain(|other| *other != id),
            Some(queue) => {
                for (_, members) in node.groups.iter_mut().filter(|(name, _)| **name == *queue) {
                    members.retain(|other| *other != id);
                }
                node.groups.retain(|(_, members)| !members.is_empty());
            }
        }
        let after = node.every.len() + node.groups.iter().map(|(_, members)| members.len()).sum::<usize>();
        self.len -= before - after;
        self.prune(at);
        self.changed();
    }

    /// Who gets a message on `subject`. A subject that is no literal concerns nobody.
    pub fn matches(&mut self, subject: &[u8]) -> Arc<Matches> {
        if self.len == 0 {
            return Arc::clone(&self.nothing);
        }
        if let Some(found) = self.cache.get(subject) {
            return Arc::clone(found);
        }
        let found = self.lookup(subject);
        let found = if found.is_empty() { Arc::clone(&self.nothing) } else { Arc::new(found) };
        let ids = found.every.len() + found.groups.iter().map(|(_, members)| members.len()).sum::<usize>();
        if subject.len() <= CACHED_SUBJECT && ids <= CACHED_IDS {
            if self.cache.len() >= CACHED || self.cached_ids + ids > CACHED_IDS {
                self.forget_answers();
            }
            self.cached_ids += ids;
            self.cache.insert(subject.into(), Arc::clone(&found));
        }
        found
    }

    fn lookup(&self, subject: &[u8]) -> Matches {
        let mut matches = Matches::default();
        if !subject::is_literal(subject) {
            return matches;
        }
        let mut level = vec![ROOT];
        for token in subject::tokens(subject) {
            let mut next = Vec::with_capacity(level.len());
            for node in level.iter().filter_map(|id| self.nodes.get(*id as usize)) {
                if let Some(tail) = node.tail {
                    self.collect(tail, &mut matches);
                }
                next.extend(node.literal.get(token).copied());
                next.extend(node.star);
            }
            level = next;
        }
        for id in level {
            self.collect(id, &mut matches);
        }
        matches
    }

    fn collect(&self, id: NodeId, matches: &mut Matches) {
        if let Some(node) = self.nodes.get(id as usize) {
            matches.every.extend_from_slice(&node.every);
            for (name, members) in &node.groups {
                match matches.groups.iter_mut().find(|(other, _)| other == name) {
                    Some((_, merged)) => merged.extend_from_slice(members),
                    None => matches.groups.push((name.clone(), members.clone())),
                }
            }
        }
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.forget_answers();
    }

    fn forget_answers(&mut self) {
        self.cache.clear();
        self.cached_ids = 0;
    }

    fn child(&self, at: NodeId, token: &[u8]) -> Option<NodeId> {
        let node = self.nodes.get(at as usize)?;
        match token {
            b"*" => node.star,
            b">" => node.tail,
            _ => node.literal.get(token).copied(),
        }
    }

    fn grow(&mut self, parent: NodeId, token: &[u8]) -> NodeId {
        let node = Node { parent, token: token.into(), ..Node::default() };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.nodes.push(Node::default());
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(slot) = self.nodes.get_mut(id as usize) {
            *slot = node;
        }
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            match token {
                b"*" => parent.star = Some(id),
                b">" => parent.tail = Some(id),
                _ => {
                    parent.literal.insert(token.into(), id);
                }
            }
        }
        id
    }

    /// Removes `id` and its ancestors while they hold nothing.
    fn prune(&mut self, mut id: NodeId) {
        while id != ROOT {
            let Some(node) = self.nodes.get_mut(id as usize) else { return };
            if !node.is_bare() {
                return;
            }
            let Node { parent, token, .. } = std::mem::take(node);
            self.free.push(id);
            if let Some(node) = self.nodes.get_mut(parent as usize) {
                match &*token {
                    b"*" => node.star = None,
                    b">" => node.tail = None,
                    _ => {
                        node.literal.remove(&token);
                    }
                }
            }
            id = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: token by token.
    fn naive(pattern: &str, subject: &str) -> bool {
        let mut pattern = pattern.split('.');
        let mut subject = subject.split('.');
        loop {
            match (pattern.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let token = prop_oneof![3 => "[ab]", 1 => Just("*".to_owned())];
        (prop::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
    }

    fn literal() -> impl Strategy<Value = String> {
        prop::collection::vec("[abc]", 1..5).prop_map(|tokens| tokens.join("."))
    }

    proptest! {
        #[test]
        fn equals_the_naive_matcher(
            subscriptions in prop::collection::vec((pattern(), prop::option::of("[qr]"), any::<bool>()), 0..20),
            subjects in prop::collection::vec(literal(), 1..10),
        ) {
            let mut interest = Interest::default();
            for (id, (pattern, queue, _)) in subscriptions.iter().enumerate() {
                interest.insert(pattern.as_bytes(), queue.as_ref().map(String::as_bytes), id as u32);
                interest.matches(subjects[0].as_bytes());
            }
            for (id, (pattern, queue, _)) in subscriptions.iter().enumerate().filter(|(_, (.., gone))| *gone) {
                interest.remove(pattern.as_bytes(), queue.as_ref().map(String::as_bytes), id as u32);
            }
            let live: Vec<_> = subscriptions.iter().enumerate().filter(|(_, (.., gone))| !gone).collect();
            prop_assert_eq!(interest.len(), live.len());
            for subject in &subjects {
                let found = interest.matches(subject.as_bytes());
                let mut every = found.every.clone();
                every.sort_unstable();
                let expected: Vec<u32> = live.iter()
                    .filter(|(_, (pattern, queue, _))| queue.is_none() && naive(pattern, subject))
                    .map(|(id, _)| *id as u32).collect();
                prop_assert_eq!(every, expected);
                let mut members: Vec<u32> = found.groups.iter().flat_map(|(_, members)| members).copied().collect();
                members.sort_unstable();
                let expected: Vec<u32> = live.iter()
                    .filter(|(_, (pattern, queue, _))| queue.is_some() && naive(pattern, subject))
                    .map(|(id, _)| *id as u32).collect();
                prop_assert_eq!(members, expected);
            }
            for (id, (pattern, queue, _)) in live {
                interest.remove(pattern.as_bytes(), queue.as_ref().map(String::as_bytes), id as u32);
            }
            prop_assert!(interest.nodes[0].is_bare() && interest.len() == 0);
            prop_assert_eq!(interest.free.len() + 1, interest.nodes.len());
        }
    }

    #[test]
    fn thousands_of_tokens_do_not_recurse() {
        let deep = vec!["a"; 2_000].join(".");
        let mut interest = Interest::default();
        interest.insert(deep.as_bytes(), None, 7);
        interest.insert(vec!["*"; 2_000].join(".").as_bytes(), None, 8);
        assert_eq!(interest.matches(deep.as_bytes()).every.len(), 2);
        interest.remove(deep.as_bytes(), None, 7);
        assert_eq!(interest.matches(deep.as_bytes()).every, [8]);
    }

    #[test]
    fn a_group_on_two_patterns_is_one_group() {
        let mut interest = Interest::default();
        interest.insert(b"a.*", Some(b"q"), 1);
        interest.insert(b"a.b", Some(b"q"), 2);
        assert_eq!(
            interest.matches(b"a.b").groups,
            [(b"q"[..].into(), vec![2, 1])],
            "by name, as nats-server"
        );
        assert!(interest.matches(b"a.*").is_empty(), "a wildcard in a publish reaches nobody");
    }
}
