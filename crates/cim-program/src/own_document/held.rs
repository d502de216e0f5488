//! The document in force together with where it comes from.
//!
//! Owns which of the file and the map counts (wire contract §1.2, §9.4): `/opt/conf/cim.json` before the map, and the map before
//! what the image holds. Pure. The invariant: what the files do not decide is kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lineage::Lineage;
use super::sections;
use crate::settings::{CimJson, Sources};

/// What a document is called in messages that is not, or no longer, that of a file.
const IN_FORCE: &str = "cim.json as changed at run time";
const OF_MAP: &str = "cim.json of the ConfigMap";

/// A document that is held in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Where it stands.
    pub lineage: Lineage,
    /// It is that of the ConfigMap.
    of_map: bool,
}

impl Held {
    /// What counts when the files say that: `None` when there is no document.
    #[must_use]
    pub fn by_files(held: Option<Self>, file: Option<&CimJson>) -> Option<Self> {
        match (held, file) {
            (Some(held), file) if held.of_map && file.is_none_or(|file| file.is_built_in) => Some(held),
            (Some(held), Some(file)) => {
                Some(Self { lineage: held.lineage.seen(file.value.clone()), of_map: false })
            }
            (None, Some(file)) => Some(Self { lineage: Lineage::new(file.value.clone()), of_map: false }),
            (_, None) => None,
        }
    }

    /// What counts when the map says that.
    #[must_use]
    pub fn by_map(held: Option<&Self>, map: Value) -> Self {
        let lineage = match held {
            Some(held) => held.lineage.seen(map),
            None => Lineage::new(map),
        };
        Self { lineage, of_map: true }
    }

    /// The same after a patch.
    ///
    /// # Errors
    /// Why the patch cannot be applied.
    pub fn patched(&self, patch: &[u8]) -> Result<Self, String> {
        Ok(Self { lineage: self.lineage.patched(patch)?, ..*self })
    }

    /// The same after the application gave parts of it at its registration; that of a map counts more.
    #[must_use]
    pub fn given(&self, sections: &Map<String, Value>) -> Self {
        if self.of_map {
            return self.clone();
        }
        Self {
            lineage: self.lineage.changed_to(sections::over(self.lineage.current(), sections)),
            of_map: false,
        }
    }

    /// Whether the sources hold this very document.
    #[must_use]
    pub fn stands_in(&self, sources: &Sources) -> bool {
        sources.document().is_some_and(|file| file.value == *self.lineage.current())
    }

    /// The sources with this document in the place of that of the file.
    #[must_use]
    pub fn over(&self, sources: Sources) -> Sources {
        if self.stands_in(&sources) {
            return sources;
        }
        let name = if self.of_map && !self.lineage.is_patched() { OF_MAP } else { IN_FORCE };
        sources.with_document(name, self.lineage.current().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(number: u32, is_built_in: bool) -> CimJson {
        let mut file = CimJson::new("cim.json", json!({ "a": number }));
        file.is_built_in = is_built_in;
        file
    }

    fn current(held: Option<&Held>) -> Option<Value> {
        held.map(|held| held.lineage.current().clone())
    }

    #[test]
    fn a_mounted_file_counts_before_the_map_and_the_map_before_the_image() {
        let (mounted, built_in) = (file(1, false), file(2, true));
        let of_image = Held::by_files(None, Some(&built_in));
        assert_eq!(current(of_image.as_ref()), Some(json!({"a": 2})));
        let of_map = Held::by_map(of_image.as_ref(), json!({"a": 3}));
        for files in [None, Some(&built_in)] {
            assert_eq!(Held::by_files(Some(of_map.clone()), files), Some(of_map.clone()));
        }
        let mounted = Held::by_files(Some(of_map), Some(&mounted));
        assert_eq!(current(mounted.as_ref()), Some(json!({"a": 1})));
        assert_eq!(Held::by_files(mounted, None), None);
    }

    #[test]
    fn a_map_that_does_not_hold_a_patch_yet_wins_no_more_than_a_file_would() {
        let held = Held::by_map(None, json!({"a": 1}));
        let patched = held.patched(br#"[{"op":"replace","path":"/a","value":2}]"#).unwrap();
        assert_eq!(Held::by_map(Some(&patched), json!({"a": 1})), patched);
        assert_eq!(current(Some(&Held::by_map(Some(&patched), json!({"a": 2})))), Some(json!({"a": 2})));
    }
}
