//! What the configuration engine remembers between runs: one small file in the spool directory.
//!
//! Owns its form and how it is written. Invariants: the file is replaced whole, so it is never half of anything; a file that
//! cannot be read costs a repetition of work, never the start.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::day_one::DayOneState;
use super::key::{DocumentId, MapLevel};
use super::unstored::Unstored;
use crate::contract::{ChangeStatus, Identity, Level};

/// Its name in the spool directory.
pub const FILE: &str = "configuration.json";
/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 20;
const FORMAT: u32 = 1;

/// What the application said when it registered (wire contract §6.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Name of its container; may be empty.
    pub container_name: String,
    /// Id of its container; may be empty.
    pub container_id: String,
}

/// One document whose changes have results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledDocument {
    level: String,
    data_key: String,
    settled: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<ChangeStatus>,
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    format: u32,
    /// `metadata.uid` of the pod it was remembered in; empty when unknown.
    pod_uid: String,
    /// The last registration; `None` before the first.
    pub registration: Option<Registration>,
    /// Containers of different names registered.
    several: bool,
    /// The config server keeps a map for CIM's own document.
    pub own_map: bool,
    /// The last change of the source that was looked at, where that means the same to every process.
    pub seen: Option<u64>,
    /// Highest revision stored per commit key.
    pub marks: BTreeMap<String, i32>,
    /// Value stored last per commit key.
    pub written: BTreeMap<String, i32>,
    documents: Vec<SettledDocument>,
    /// Results of these that are not stored yet.
    pub unstored: Vec<Unstored>,
    /// How far the first configuration of the registered application has come.
    pub day_one: Option<DayOneState>,
    /// Revision of the network function's map.
    pub nf_revision: Option<String>,
    /// The documents as the application has them, as far as they are known.
    pub known: BTreeMap<String, serde_json::Value>,
    /// The same before the last change of each.
    pub before: BTreeMap<String, serde_json::Value>,
    /// The last document of the first configuration that was loaded, as text.
    pub last_good: Option<String>,
    /// When the pod was restarted for want of a first configuration, milliseconds since the Unix epoch.
    pub restarts_ms: Vec<u64>,
}

/// The highest settled revision of each document, with its story.
pub type SettledRevisions = BTreeMap<DocumentId, (i32, Option<ChangeStatus>)>;

impl Memory {
    /// Reads what an earlier run left; empty when there is nothing, or nothing that can be read.
    #[must_use]
    pub fn load(dir: &Path) -> Self {
        let path = dir.join(FILE);
        match read(&path) {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let aside = dir.join(format!("{FILE}.unreadable"));
                tracing::warn!(
                    file = %path.display(), %error, aside = %aside.display(),
                    "what was known of configuration cannot be read; changes that are still valid are handed over again"
                );
                let _ = std::fs::rename(&path, aside);
                Self::default()
            }
        }
    }

    /// What of it holds in the pod of that uid. In another pod of the same name the application is another one, which has
    /// said nothing yet and began with the maps of today; what the last one settled, the store still tells.
    #[must_use]
    pub fn in_pod(self, uid: &str) -> Self {
        let is_another = Identity::are_of_two_pods(&self.pod_uid, uid);
        let here = Self { pod_uid: uid.to_owned(), ..self };
        if !is_another {
            return here;
        }
        let Self { format, pod_uid, own_map, seen, nf_revision, last_good, restarts_ms, .. } = here;
        Self { format, pod_uid, own_map, seen, nf_revision, last_good, restarts_ms, ..Self::default() }
    }

    /// Remembers a registration.
    pub fn register(&mut self, registration: Registration) {
        let name = &registration.container_name;
        let is_another = |before: &Registration| {
            ![name, &before.container_name].iter().any(|name| name.is_empty())
                && before.container_name != *name
        };
        self.several |= self.registration.as_ref().is_some_and(is_another);
        self.registration = Some(registration);
    }

    /// Name of the container that registered; `None` where there were several, or it has none.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        let name = self.registration.as_ref().filter(|_| !self.several)?.container_name.trim();
        (!name.is_empty()).then_some(name)
    }

    /// Replaces the file. It is not forced to the disk: an application waits for this when it registers, and what it is for
    /// (the end of this process) the page cache survives. After a power cut the application registers again, and the store
    /// of the configuration knows the results.
    ///
    /// # Errors
    /// When it cannot be written; the old one is still there.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let mut memory = self.clone();
        memory.format = FORMAT;
        crate::replace_file(&dir.join(FILE), &serde_json::to_vec(&memory)?, Level::Written)
    }

    /// The documents whose changes have results.
    #[must_use]
    pub fn settled(&self) -> SettledRevisions {
        let documents = self.documents.iter().filter_map(|document| {
            let level = MapLevel::parse(&document.level)?;
            let id = DocumentId { level, data_key: document.data_key.clone() };
            Some((id, (document.settled, document.last.clone())))
        });
        documents.collect()
    }

    /// The last changes with a result, one of each document, the latest at the end.
    #[must_use]
    pub fn history(&self, limit: usize) -> Vec<ChangeStatus> {
        let mut history: Vec<_> =
            self.documents.iter().filter_map(|document| document.last.clone()).collect();
        history.sort_by_key(|status| status.settled_ms);
        history.split_off(history.len().saturating_sub(limit))
    }

    /// Remembers them.
    pub fn set_settled(&mut self, settled: SettledRevisions) {
        let documents = settled.into_iter().map(|(document, (settled, last))| SettledDocument {
            level: document.level.as_str().to_owned(),
            data_key: document.data_key,
            settled,
            last,
        });
        self.documents = documents.collect();
    }
}

fn read(path: &Path) -> io::Result<Memory> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is larger than 64 MiB"));
    }
    let memory: Memory = serde_json::from_slice(&std::fs::read(path)?)?;
    if memory.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known here", memory.format)));
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Memory::load(dir.path()), Memory::default());
        let mut memory = Memory { nf_revision: Some("0".to_owned()), ..Memory::default() };
        let id = DocumentId { level: MapLevel::Nf, data_key: "app.json".to_owned() };
        memory.set_settled(BTreeMap::from([(id.clone(), (7, None))]));
        memory.save(dir.path()).unwrap();
        let read = Memory::load(dir.path());
        assert_eq!(read.settled().get(&id), Some(&(7, None)));
        assert_eq!(read.nf_revision.as_deref(), Some("0"));
    }

    #[test]
    fn what_the_application_said_holds_for_its_own_pod_only() {
        let registration = Some(Registration::default());
        let day_one = Some(DayOneState::Configured);
        let memory = Memory { registration, day_one, ..Memory::default() }.in_pod("u-1");
        assert_eq!(memory.clone().in_pod("u-1"), memory);
        assert_eq!(memory.clone().in_pod("").registration, memory.registration, "nobody tells the uid");
        let other = memory.in_pod("u-2");
        assert_eq!((&other.registration, &other.day_one), (&None, &None));
        assert_eq!(other, Memory::default().in_pod("u-2"));
    }

    #[test]
    fn the_only_container_that_registered_is_told_from_several() {
        let named = |name: &str| Registration { container_name: name.to_owned(), ..Registration::default() };
        let mut memory = Memory::default().in_pod("uid-1");
        assert_eq!(memory.container(), None);
        memory.register(named(""));
        assert_eq!(memory.container(), None, "it has no name");
        memory.register(named("app"));
        memory.register(named("app"));
        assert_eq!(memory.container(), Some("app"), "an application that was restarted registers again");
        memory.register(named("other"));
        memory.register(named("app"));
        assert_eq!(memory.container(), None);
        assert_eq!(memory.clone().in_pod("uid-1").container(), None, "a restarted sidecar remembers it");
        let mut next = memory.in_pod("uid-2");
        next.register(named("app"));
        assert_eq!(next.container(), Some("app"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["", "{", "[]", r#"{"format":2}"#, r#"{"format":1,"marks":7}"#] {
            std::fs::write(dir.path().join(FILE), content).unwrap();
            assert_eq!(Memory::load(dir.path()), Memory::default(), "{content}");
            assert!(!dir.path().join(FILE).exists(), "{content}");
        }
    }
}
