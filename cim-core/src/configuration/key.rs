//! The keys of the store, read strictly (wire contract §4.1).
//!
//! Owns the grammar. Left out: what is done about a key. The invariant: a key that is not exactly of this pod's
//! microservice and version is never a [`ChangeKey`], whatever bytes it holds.

use crate::contract::Identity;

/// The document that is CIM's own (wire contract §4.3).
pub const OWN_DOCUMENT: &str = "cim.json";

/// Which map of the config server a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapLevel {
    /// The microservice's own.
    Ms,
    /// That of the network function.
    Nf,
}

impl MapLevel {
    /// As it stands in keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Nf => "nf",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "ms" => Some(Self::Ms),
            "nf" => Some(Self::Nf),
            _ => None,
        }
    }
}

/// A document and the map it belongs to: what is changed one step after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// The map.
    pub level: MapLevel,
    /// Name of the document, for example `app.json`.
    pub data_key: String,
}

impl std::fmt::Display for DocumentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.level.as_str(), self.data_key)
    }
}

/// The key of a change: `change-set/<ns>/<microservice>/<version>/<level>/<document>/<revision>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeKey {
    /// The key as stored.
    pub text: String,
    /// What it changes.
    pub document: DocumentId,
    /// Its revision, above zero.
    pub revision: i32,
}

/// What a key of the scope is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A change for this pod.
    Change(ChangeKey),
    /// A first configuration, with its revision if the key has one (wire contract §4.5).
    DayOne(Option<String>),
    /// Meant for somebody else: another namespace, microservice or version.
    Foreign,
    /// Not a key of the contract; the text says why.
    Malformed(&'static str),
}

impl Key {
    /// Reads a key as the pod of that identity sees it.
    #[must_use]
    pub fn parse(key: &[u8], identity: &Identity) -> Self {
        let Ok(text) = std::str::from_utf8(key) else { return Self::Malformed("not UTF-8") };
        let parts: Vec<&str> = text.splitn(9, '/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            return Self::Malformed("an empty part");
        }
        match parts.as_slice() {
            ["config", namespace, microservice, rest @ ..] => {
                if *namespace != identity.namespace || *microservice != identity.microservice {
                    return Self::Foreign;
                }
                match rest {
                    [] => Self::DayOne(None),
                    [revision] => Self::DayOne(Some((*revision).to_owned())),
                    _ => Self::Malformed("too many parts"),
                }
            }
            ["change-set", namespace, microservice, rest @ ..] => {
                if *namespace != identity.namespace || *microservice != identity.microservice {
                    return Self::Foreign;
                }
                change(text, rest, &identity.version)
            }
            _ => Self::Malformed("an unknown kind of key"),
        }
    }
}

fn change(text: &str, rest: &[&str], own_version: &str) -> Key {
    let (level, data_key, revision) = match rest {
        [version, ..] if *version != own_version => return Key::Foreign,
        [_, level, data_key, revision] => (level, data_key, revision),
        [_, _, _, _, ..] => return Key::Malformed("too many parts"),
        _ => return Key::Malformed("too few parts"),
    };
    let Some(level) = MapLevel::parse(level) else { return Key::Malformed("the level is neither ms nor nf") };
    // The config server reads results as a number of 32 bits.
    let revision = match revision.parse::<i32>() {
        Ok(number) if number > 0 && !revision.starts_with('+') => number,
        _ => return Key::Malformed("the revision is not a number from 1 to 2147483647"),
    };
    let document = DocumentId { level, data_key: (*data_key).to_owned() };
    Key::Change(ChangeKey { text: text.to_owned(), document, revision })
}

/// Key of a result (wire contract §4.2). `own`: the change was one of CIM's own document, kept in a map of its own.
#[must_use]
pub fn commit_key(identity: &Identity, level: MapLevel, own: bool) -> String {
    let Identity { namespace, microservice, version, pod, .. } = identity;
    let own = if own { "cim/" } else { "" };
    format!("commit-config/{namespace}/{microservice}/{version}/{}/{own}{pod}", level.as_str())
}

/// Key of the note that counts restarts of a microservice's pods. No pod has a name that begins with an underscore.
#[must_use]
pub(crate) fn restarts_key(identity: &Identity) -> String {
    format!("cim-status/{}/{}/_restarts", identity.namespace, identity.microservice)
}

/// Name of the ConfigMap in which the config server keeps CIM's own document for a service (wire contract §9.4).
#[must_use]
pub fn own_map_name(service: &str, version: &str) -> String {
    format!("{service}-cim-{version}-mgmt-cfg")
}

/// Key of the story of a document's last change, outside of what the config server reads.
#[must_use]
pub fn status_key(identity: &Identity, document: &DocumentId) -> String {
    let Identity { namespace, microservice, pod, .. } = identity;
    format!("cim-status/{namespace}/{microservice}/{pod}/{}", document.data_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity {
            namespace: "ns".to_owned(),
            pod: "p".to_owned(),
            microservice: "amf".to_owned(),
            version: "v0".to_owned(),
            ..Identity::default()
        }
    }

    #[test]
    fn keys_of_the_contract_are_read() {
        let parsed = Key::parse(b"change-set/ns/amf/v0/nf/app.json/7", &identity());
        let document = DocumentId { level: MapLevel::Nf, data_key: "app.json".to_owned() };
        let text = "change-set/ns/amf/v0/nf/app.json/7".to_owned();
        assert_eq!(parsed, Key::Change(ChangeKey { text, document: document.clone(), revision: 7 }));
        assert_eq!(Key::parse(b"config/ns/amf", &identity()), Key::DayOne(None));
        assert_eq!(Key::parse(b"config/ns/amf/0", &identity()), Key::DayOne(Some("0".to_owned())));
        assert_eq!(commit_key(&identity(), MapLevel::Ms, false), "commit-config/ns/amf/v0/ms/p");
        assert_eq!(commit_key(&identity(), MapLevel::Ms, true), "commit-config/ns/amf/v0/ms/cim/p");
        assert_eq!(status_key(&identity(), &document), "cim-status/ns/amf/p/app.json");
    }

    #[test]
    fn keys_of_others_are_foreign() {
        for key in [
            "change-set/other/amf/v0/ms/app.json/7",
            "change-set/ns/amfgw/v0/ms/cim.json/7",
            "change-set/ns/amf/v9/ms/cim.json/7",
            "change-set/ns/amf/v9",
            "config/ns/amfgw/0",
            "config/other/amf",
        ] {
            assert_eq!(Key::parse(key.as_bytes(), &identity()), Key::Foreign, "{key}");
        }
    }

    #[test]
    fn a_pod_without_a_microservice_takes_no_key_at_all() {
        let nobody = Identity { microservice: String::new(), ..identity() };
        for key in [
            "change-set/ns//v0/ms/cim.json/7",
            "change-set/ns/amf/v0/ms/cim.json/7",
            "config/ns/amf/0",
            "config/ns/",
        ] {
            let parsed = Key::parse(key.as_bytes(), &nobody);
            assert!(matches!(parsed, Key::Foreign | Key::Malformed(_)), "{key}: {parsed:?}");
        }
    }

    #[test]
    fn everything_else_is_malformed() {
        for key in [
            "",
            "change-set",
            "change-set/ns",
            "change-set/ns/amf/v0/ms/app.json",
            "change-set/ns/amf/v0/ms/app.json/7/8",
            "change-set/ns/amf/v0/ms//7",
            "change-set/ns/amf/v0/ms/../7",
            "change-set/ns/amf/v0/pod/app.json/7",
            "change-set/ns/amf/v0/ms/app.json/seven",
            "change-set/ns/amf/v0/ms/app.json/-1",
            "change-set/ns/amf/v0/ms/app.json/+7",
            "change-set/ns/amf/v0/ms/app.json/0",
            "change-set/ns/amf/v0/ms/app.json/2147483648",
            "config/ns/amf/0/1",
            "something/ns/amf",
        ] {
            assert!(matches!(Key::parse(key.as_bytes(), &identity()), Key::Malformed(_)), "{key}");
        }
        assert!(matches!(Key::parse(b"change-set/ns/amf/\xff", &identity()), Key::Malformed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(key: Vec<u8>) {
            let _ = Key::parse(&key, &identity());
        }
    }
}
