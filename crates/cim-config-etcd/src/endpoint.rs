//! One member of the cluster, and which of several is used.
//!
//! Owns reading the texts and the order of trying. Left out: connections. Invariant: after a failure another member is
//! chosen, if there is one.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// Reads a URL, or `host:port`, which is `https://` where there are authorities to trust.
    pub(crate) fn read(text: &str, secure: bool) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no endpoint; write http://host:port, https://host:port or host:port");
        let (scheme, place) = match text.trim().split_once("://") {
            Some((scheme @ ("http" | "https"), place)) => (scheme, place),
            Some(_) => return Err(wrong()),
            None => (if secure { "https" } else { "http" }, text.trim()),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let odd =
            |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#') || (c == ':' && !bracketed);
        if host.is_empty() || host.contains(odd) || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self(format!("{scheme}://{host}:{port}")))
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }

    /// Whether connections to it use TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The members and the one that is used now.
#[derive(Debug)]
pub(crate) struct Rotation {
    members: Vec<Endpoint>,
    at: AtomicUsize,
}

impl Rotation {
    /// Begins with any of them: the pods of a cluster shall not all sit on the first member.
    pub(crate) fn new(members: Vec<Endpoint>) -> Self {
        let chance = usize::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
        Self { members, at: AtomicUsize::new(chance) }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The member to use; `None` when there is none at all.
    pub(crate) fn current(&self) -> Option<&Endpoint> {
        let at = self.at.load(Ordering::Relaxed).checked_rem(self.members.len())?;
        self.members.get(at)
    }

    /// That member failed.
    pub(crate) fn failed(&self, member: &Endpoint) {
        // Of several calls that fail at the same time, one moves on.
        if self.current() == Some(member) {
            self.at.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_bare_addresses_are_read() {
        for (text, secure, url) in [
            ("http://a:2379", true, "http://a:2379"),
            ("https://a:2379/", false, "https://a:2379"),
            ("10.0.0.1:2379", false, "http://10.0.0.1:2379"),
            (" etcd.infra:2379 ", true, "https://etcd.infra:2379"),
            ("[::1]:2379", false, "http://[::1]:2379"),
        ] {
            assert_eq!(Endpoint::read(text, secure).unwrap().url(), url);
        }
        for text in
            ["", "a", "a:", ":1", "ftp://a:1", "a:70000", "::1:2379", "http://u@a:1", "http://a:1/x", "a b:1"]
        {
            assert!(Endpoint::read(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn after_a_failure_another_member_is_chosen() {
        let members: Vec<_> = ["a:1", "b:1"].map(|text| Endpoint::read(text, false).unwrap()).into();
        let rotation = Rotation::new(members);
        let first = rotation.current().unwrap().clone();
        rotation.failed(&first);
        assert_ne!(rotation.current(), Some(&first));
        rotation.failed(&first);
        assert_ne!(rotation.current(), Some(&first), "a second word on the same failure changes nothing");
        assert_eq!(Rotation::new(Vec::new()).current(), None);
    }
}
