//! What starting under the name of the original changes (wire contract §1, §6): the defaults its pods rely on.
//!
//! Pure, but for looking whether the directory of logs is there. Left out: the files of the original (`original`). The
//! invariant: everything here is a default below what the operator says, and each value tells that it comes from the name.

use std::ffi::OsStr;
use std::path::Path;

use cim_core::Registry;
use serde_json::{Value, json};

use super::document::Layer;
use super::environment::{Variables, put};
use super::original::LOGS;
use super::path;
use super::place::{Place, Places};

/// The name of the original program.
pub const ORIGINAL: &str = "NatsSubFb";
/// Directory of the spools of all pods of a node, in the directory of logs: such pods mount nothing else that lasts.
pub const SPOOLS: &str = ".cim";

/// Whether a program that was called so is to behave as the original.
#[must_use]
pub fn is_original(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(ORIGINAL))
}

/// The defaults of the name.
#[must_use]
pub fn layer(variables: &Variables, registry: &Registry) -> Layer {
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
    let in_cluster =
        variables.iter().any(|(name, value)| name == "KUBERNETES_SERVICE_HOST" && !value.is_empty());
    if in_cluster && registry.orchestrators().find("kubernetes", "").is_ok() {
        set("orchestrator", "type", json!("kubernetes"));
    }
    layer
}

/// Where the spool is when nobody says: in the directory of logs, one for each pod.
pub fn complete(merged: &mut Value, places: &mut Places, root: &Path) {
    let logs = root.join(LOGS);
    if merged.pointer("/spool/dir").is_some_and(|dir| !dir.is_null()) {
        return;
    }
    if !logs.is_dir() {
        // Nothing was left where nothing is, and without a spool nothing can be taken.
        if let Some(leftovers) = merged.get_mut("leftovers").and_then(Value::as_object_mut) {
            leftovers.remove("dir");
        }
        return;
    }
    let name = |member: &str| merged.pointer(&format!("/identity/{member}")).and_then(Value::as_str);
    let (Some(namespace), Some(pod)) = (name("namespace"), name("pod")) else { return };
    let dir = logs.join(SPOOLS).join(format!("{namespace}_{pod}"));
    if let Some(spool) = merged.get_mut("spool").and_then(Value::as_object_mut) {
        spool.insert("dir".to_owned(), json!(dir));
        places.note("spool.dir", Place::Name(ORIGINAL));
    }
}
