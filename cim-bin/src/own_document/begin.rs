//! What is in force at a start: what the files say, and what changed `cim.json` since they were written.
//!
//! Left out: changes of a running process (`reload`). The invariant: what is remembered never keeps a process from starting that
//! could start with the files alone.

use cim_core::Registry;

use super::lineage::Lineage;
use super::memory;
use crate::settings::{Loaded, Problems, Request, Sources};

/// What a document is called in messages that is no longer that of the file.
pub const CHANGED: &str = "cim.json as changed at run time";

/// A configuration, and what it was made of.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The configuration.
    pub loaded: Loaded,
    /// What it was made of.
    pub sources: Sources,
    /// Where `cim.json` stands; `None` when there is none.
    pub lineage: Option<Lineage>,
}

/// Loads what a start would put into force.
///
/// # Errors
/// [`Problems`], all of them.
pub fn begin(request: &Request, registry: &Registry) -> Result<InForce, Problems> {
    let sources = Sources::read(request);
    let loaded = sources.load(registry)?;
    let Some(document) = sources.document() else {
        return Ok(InForce { loaded, sources, lineage: None });
    };
    let file = document.value.clone();
    let remembered = loaded.settings.spool.dir.as_deref().and_then(memory::load);
    let lineage = match remembered {
        Some(remembered) => remembered.seen(file.clone()),
        None => Lineage::new(file.clone()),
    };
    if !lineage.is_patched() {
        return Ok(InForce { loaded, sources, lineage: Some(lineage) });
    }
    let changed = sources.clone().with_document(CHANGED, lineage.current().clone());
    match changed.load(registry) {
        Ok(loaded) => Ok(InForce { loaded, sources: changed, lineage: Some(lineage) }),
        Err(problems) => {
            tracing::warn!("the file counts, because {CHANGED} does not fit any more: {problems}");
            Ok(InForce { loaded, sources, lineage: Some(Lineage::new(file)) })
        }
    }
}
