//! What starting under the name of the original changes (wire contract §1, §6): the defaults its pods rely on.
//!
//! Pure. Left out: the files of the original (`original`), and which spool a pod has (`usual_spool`). The
//! invariant: everything here is a default below what the operator says, and each value tells that it comes from the name.

use std::ffi::OsStr;
use std::path::Path;

use cim_core::Registry;
use serde_json::{Value, json};

use super::document::Layer;
use super::environment::{Variables, put};
use super::place::Place;
use super::{original, path};

/// The name of the original program.
pub const ORIGINAL: &str = "NatsSubFb";

/// Whether a program that was called so is to behave as the original.
#[must_use]
pub fn is_original(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(ORIGINAL))
}

/// The defaults of the name, with files below `root`.
#[must_use]
pub fn layer(variables: &Variables, root: Option<&Path>, registry: &Registry) -> Layer {
    let mut layer = Layer { name: ORIGINAL.to_owned(), ..Layer::default() };
    let mut set = |section: &str, key: &str, value: Value| {
        layer.places.note(path::member(section, key), Place::Name(ORIGINAL));
        put(&mut layer.value, &[section, key], value);
    };
    // Probes, scrapers and other pods come to the address of the pod, and find the paths of the original only.
    set("api", "listen", json!(["0.0.0.0:6060", "[::]:6060"]));
    set("api", "paths", json!("contract"));
    // Clients as old as these read the greeting with regular expressions, and know no message headers.
    set("nats", "headers", json!(false));
    set("nats", "flatbuffers_only", json!(true));
    // What network functions were written for; give others in [registration].
    set("registration", "apigw_username", json!("admin"));
    set("registration", "apigw_password", json!("admin"));
    // Such a pod has one place that outlives its containers.
    if let Some(root) = root {
        set("spool", "shared_dir", json!(root.join(original::LOGS)));
    }
    let in_cluster =
        variables.iter().any(|(name, value)| name == "KUBERNETES_SERVICE_HOST" && !value.is_empty());
    if in_cluster && registry.orchestrators().find("kubernetes", "").is_ok() {
        set("orchestrator", "type", json!("kubernetes"));
    }
    layer
}
