//! What is in force at a start: what the files say, and what changed `cim.json` since they were written.
//!
//! Left out: changes of a running process (`reload`). The invariant: what is remembered never keeps a process from starting that
//! could start with the files alone.

use cim_core::Registry;

use super::held::Held;
use super::memory;
use crate::infra;
use crate::settings::{Infra, Loaded, Problems, Request, Sources};

/// A configuration, and what it was made of.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The configuration.
    pub loaded: Loaded,
    /// What it was made of.
    pub sources: Sources,
    /// What an earlier run was told in the place of `common-infra.json`.
    pub infra: Option<Infra>,
    /// CIM's own document; `None` when there is none.
    pub own: Option<Held>,
    /// The document is that of the image, none is mounted: that of a ConfigMap may count.
    pub may_have_map: bool,
}

/// Loads what a start would put into force.
///
/// # Errors
/// [`Problems`], all of them.
pub fn begin(request: &Request, registry: &Registry) -> Result<InForce, Problems> {
    let (sources, loaded, infra) = with_infra(Sources::read(request), registry)?;
    let may_have_map = sources.document().is_some_and(|document| document.is_built_in);
    let remembered = loaded.settings.spool.dir.as_deref().and_then(memory::load);
    let Some(own) = Held::by_files(remembered, sources.document()) else {
        return Ok(InForce { loaded, sources, infra, own: None, may_have_map });
    };
    if own.stands_in(&sources) {
        return Ok(InForce { loaded, sources, infra, own: Some(own), may_have_map });
    }
    let changed = own.over(sources.clone());
    match changed.load(registry) {
        Ok(loaded) => Ok(InForce { loaded, sources: changed, infra, own: Some(own), may_have_map }),
        Err(problems) => {
            tracing::warn!("the files count, because what was in force does not fit any more: {problems}");
            let own = Held::by_files(None, sources.document());
            Ok(InForce { loaded, sources, infra, own, may_have_map })
        }
    }
}

/// With what an earlier run was told of the infrastructure, where no file tells.
fn with_infra(sources: Sources, registry: &Registry) -> Result<(Sources, Loaded, Option<Infra>), Problems> {
    let loaded = sources.load(registry)?;
    let remembered = loaded.settings.spool.dir.as_deref().filter(|_| sources.lack_infra());
    let Some(told) = remembered.and_then(infra::remembered) else { return Ok((sources, loaded, None)) };
    let with = sources.clone().with_infra(&told);
    match with.load(registry) {
        Ok(loaded) => Ok((with, loaded, Some(told))),
        Err(problems) => {
            tracing::warn!(
                "what an earlier run was told of the infrastructure does not fit any more: {problems}"
            );
            Ok((sources, loaded, None))
        }
    }
}
