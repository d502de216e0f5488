//! The files of the original as a layer of the configuration (wire contract §1.2, §2).
//!
//! Owns where they are and that they are looked for at all. Left out: their shape (`document`, `infra`) and what they mean here
//! (`layer`). The invariant: where none of them exists, nothing is read and nothing changes.

mod document;
mod infra;
mod layer;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::{Layer, read_commented};
use super::name::ORIGINAL;
use super::place::{Located, Place, Places};

pub use layer::Surroundings;

/// The directory of the original's files, unless `CIM_LEGACY_ROOT` says otherwise.
pub const ROOT: &str = "/";
/// Where CIM's own document is mounted, and where the image has one.
const MOUNTED: &str = "opt/conf/cim.json";
const BUILT_IN: &str = "opt/config/cim.json";
const INFRA: &str = "opt/conf/static/common-infra.json";
/// Directory of log files.
pub const LOGS: &str = "opt/logs";

/// What counts where none of the two is there, as the image of the original has it (wire contract §2.1), with a level of messages
/// that suits what the member does here.
const DEFAULT: &str = include_str!("cim.json");

/// The directory below which the files of the original are looked for.
#[must_use]
pub fn root(variables: &super::Variables) -> PathBuf {
    let given = variables.iter().find(|(name, value)| name == "CIM_LEGACY_ROOT" && !value.is_empty());
    given.map_or_else(|| ROOT.into(), |(_, value)| value.into())
}

/// CIM's own document, `cim.json`, unknown members included.
#[derive(Debug, Clone)]
pub struct CimJson {
    /// The file it came from, or what else it is called in messages.
    pub name: String,
    /// The whole document.
    pub value: Value,
    /// It is part of the image or of the program: a ConfigMap counts before it.
    pub is_built_in: bool,
    places: Places,
}

/// The files of the original, as far as they exist.
#[derive(Debug, Clone)]
pub struct Original {
    /// `cim.json`
    pub document: Option<CimJson>,
    /// `common-infra.json`
    infra: Option<Layer>,
    /// Where that is looked for.
    infra_file: PathBuf,
    /// The service that told it, when no file did.
    gateway: Option<String>,
    /// Directory of log files.
    logs: PathBuf,
    /// What was read.
    pub files: Vec<PathBuf>,
}

impl Original {
    /// Reads what exists below `root`; `None` when there is nothing.
    #[must_use]
    pub fn read(root: &Path) -> (Option<Self>, Vec<Located>) {
        let mut problems = Vec::new();
        let mut original = Self::none(root);
        let mut documents = [(root.join(MOUNTED), false), (root.join(BUILT_IN), true)].into_iter();
        if let Some((file, is_built_in)) = documents.find(|(file, _)| exists(file)) {
            match read_commented(&file) {
                Ok(layer) => original.document = Some(CimJson::of(layer, is_built_in)),
                Err(found) => problems.extend(found),
            }
            original.files.push(file);
        }
        if exists(&original.infra_file) {
            match read_commented(&original.infra_file) {
                Ok(layer) => original.infra = Some(layer),
                Err(found) => problems.extend(found),
            }
            original.files.push(original.infra_file.clone());
        }
        let any = !original.files.is_empty();
        (any.then_some(original), problems)
    }

    /// The same with the document that is part of the program, where there is no file: the ConfigMap and what an application gives
    /// at its registration have something to stand on.
    #[must_use]
    pub fn or_default(mut self) -> Self {
        if self.document.is_none() {
            let value = serde_json::from_str(DEFAULT).unwrap_or_default();
            let mut places = Places::default();
            let name = format!("cim.json of {ORIGINAL}");
            places.note("", Place::Document(name.clone()));
            self.document = Some(CimJson { name, value, is_built_in: true, places });
        }
        self
    }

    /// Reads exactly these files.
    #[must_use]
    pub fn of_files(cim_json: Option<&Path>, common_infra: Option<&Path>) -> (Self, Vec<Located>) {
        let mut problems = Vec::new();
        let mut original = Self::none(Path::new(ROOT));
        let mut read = |file: &Path| read_commented(file).map_err(|found| problems.extend(found)).ok();
        original.document = cim_json.and_then(&mut read).map(|layer| CimJson::of(layer, false));
        original.infra = common_infra.and_then(&mut read);
        (original, problems)
    }

    /// No file at all.
    #[must_use]
    pub fn none(root: &Path) -> Self {
        let (infra_file, logs) = (root.join(INFRA), root.join(LOGS));
        Self { document: None, infra: None, infra_file, gateway: None, logs, files: Vec::new() }
    }

    /// Whether there is nothing that tells where the infrastructure is.
    #[must_use]
    pub fn lacks_infra(&self) -> bool {
        self.infra.is_none() && !exists(&self.infra_file)
    }

    /// The same with what that service told in the place of the file `common-infra.json`.
    #[must_use]
    pub fn with_infra(self, gateway: &str, value: Map<String, Value>) -> Self {
        let name = format!("common-infra.json of {gateway}");
        let mut places = Places::default();
        places.note("", Place::Document(name.clone()));
        Self { infra: Some(Layer { name, value, places }), gateway: Some(gateway.to_owned()), ..self }
    }

    /// The same with another document in the place of the one that was read.
    #[must_use]
    pub fn with_document(self, name: impl Into<String>, value: Value) -> Self {
        Self { document: Some(CimJson::new(name, value)), ..self }
    }
}

impl CimJson {
    /// A document that is called `name` in messages.
    #[must_use]
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value, is_built_in: false, places: Places::default() }
    }

    fn of(layer: Layer, is_built_in: bool) -> Self {
        Self { name: layer.name, value: Value::Object(layer.value), is_built_in, places: layer.places }
    }
}

/// A file that cannot be told to be absent counts as there, so that the reason is told.
fn exists(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}
