//! What a configuration is made of, as it was read.
//!
//! Owns reading each file once. Left out: what the values add up to (`load`). The invariant: with another document of CIM's own
//! everything else is exactly what it was, so that a file that was broken meanwhile spoils no change of that document.

use std::path::PathBuf;

use serde_json::Value;

use super::document::{Layer, read};
use super::environment::{Variables, gives};
use super::load::Request;
use super::original::{CimJson, Original};
use super::place::Located;

/// What a configuration is made of.
#[derive(Debug, Clone)]
pub struct Sources {
    pub(super) environment: Variables,
    pub(super) host: Option<String>,
    pub(super) root: Option<PathBuf>,
    pub(super) as_original: bool,
    pub(super) original: Option<Original>,
    /// The files of the operator, in their order.
    pub(super) layers: Vec<Layer>,
    /// Why some of them could not be read.
    pub(super) problems: Vec<Located>,
    /// The names of all files.
    pub(super) files: Vec<PathBuf>,
}

impl Sources {
    /// Reads everything. What cannot be read is a problem of the load.
    #[must_use]
    pub fn read(request: &Request) -> Self {
        let (original, mut problems) = request.root.as_deref().map(Original::read).unwrap_or_default();
        let mut layers = Vec::new();
        for file in &request.files {
            match read(file) {
                Ok(layer) => layers.push(layer),
                Err(found) => problems.extend(found),
            }
        }
        let mut files = request.files.clone();
        files.extend(original.iter().flat_map(|original| original.files.clone()));
        let Request { environment, host, root, as_original, .. } = request.clone();
        Self { environment, host, root, as_original, original, layers, problems, files }
    }

    /// Whether everything that is there could be read.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.problems.is_empty()
    }

    /// CIM's own document, if there is one.
    #[must_use]
    pub fn document(&self) -> Option<&CimJson> {
        self.original.as_ref()?.document.as_ref()
    }

    /// The same with another document of CIM's own, which is called `name` in messages.
    #[must_use]
    pub fn with_document(mut self, name: impl Into<String>, value: Value) -> Self {
        let root = self.root.clone().unwrap_or_default();
        let original = self.original.take().unwrap_or_else(|| Original::none(&root));
        Self { original: Some(original.with_document(name, value)), ..self }
    }

    /// Whether the operator gives a value at that path.
    pub(super) fn operator_gives(&self, keys: &[&str]) -> bool {
        let gives_it = |layer: &Layer| {
            let Some((first, rest)) = keys.split_first() else { return false };
            rest.iter()
                .try_fold(layer.value.get(*first), |value, key| Some(value?.get(*key)))
                .flatten()
                .is_some()
        };
        self.layers.iter().any(gives_it) || gives(&self.environment, keys)
    }
}
