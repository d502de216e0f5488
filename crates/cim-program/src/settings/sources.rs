//! What a configuration is made of, as it was read.
//!
//! Owns reading each file once. Left out: what the values add up to (`load`). The invariant: with another document of CIM's own
//! everything else is exactly what it was, so that a file that was broken meanwhile spoils no change of that document.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::{Layer, read};
use super::environment::{Variables, gives};
use super::load::Request;
use super::original::{CimJson, Original, ROOT};
use super::place::Located;

/// Where the infrastructure is, as a service told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infra {
    /// The service, `host:port`.
    pub gateway: String,
    /// What it told: the members of `common-infra.json`.
    pub document: Map<String, Value>,
}

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
        let original = if as_original {
            let none = || Original::none(root.as_deref().unwrap_or(Path::new(ROOT)));
            Some(original.unwrap_or_else(none).or_default())
        } else {
            original
        };
        Self { environment, host, root, as_original, original, layers, problems, files }
    }

    /// Whether everything that is there could be read.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether a service is to be asked where the infrastructure is, as the original does without the file (wire contract §2.3).
    #[must_use]
    pub fn lack_infra(&self) -> bool {
        self.as_original && self.original.as_ref().is_some_and(Original::lacks_infra)
    }

    /// The same with what that service told, unless there is the file by now.
    #[must_use]
    pub fn with_infra(self, told: &Infra) -> Self {
        if !self.lack_infra() {
            return self;
        }
        let with = |original: Original| original.with_infra(&told.gateway, told.document.clone());
        Self { original: self.original.map(with), ..self }
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
