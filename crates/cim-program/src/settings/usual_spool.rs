//! The spool of a pod that names none and has a directory which it shares: `<shared_dir>/.cim/<namespace>_<pod>`.
//!
//! A pod of the original that mounts nothing new has one place that outlives its containers, the directory of its logs. Left
//! out: opening it. The invariants: a directory that somebody gives counts; where the shared directory is not there or cannot
//! be written, there is no spool.

use std::path::Path;

use rustix::fs::{Access, access};
use serde_json::{Value, json};

use super::place::{Place, Places};

/// Below the shared directory; no name of a log file fits it.
const HOME: &str = ".cim";

/// Fills in the directory unless somebody gave one. Without a spool what an earlier sidecar left beside it cannot be taken.
pub fn complete(merged: &mut Value, places: &mut Places) {
    let Some(shared) = merged.pointer("/spool/shared_dir").and_then(Value::as_str).map(str::to_owned) else {
        return;
    };
    fill(merged, places, Path::new(&shared));
    let has_spool = merged.pointer("/spool/dir").is_some_and(|dir| !dir.is_null());
    if let Some(leftovers) = merged.get_mut("leftovers").and_then(Value::as_object_mut)
        && !has_spool
        && leftovers.get("dir").is_some_and(|dir| *dir == shared)
    {
        leftovers.remove("dir");
    }
}

fn fill(merged: &mut Value, places: &mut Places, shared: &Path) {
    if access(shared, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return;
    }
    let name = |key: &str| {
        let name = merged.pointer(&format!("/identity/{key}"))?.as_str()?;
        (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
    };
    let (Some(namespace), Some(pod)) = (name("namespace"), name("pod")) else { return };
    let spool = merged.get_mut("spool").and_then(Value::as_object_mut);
    let Some(spool) = spool.filter(|spool| spool.get("dir").is_none_or(Value::is_null)) else { return };
    spool.insert("dir".to_owned(), json!(shared.join(HOME).join(format!("{namespace}_{pod}"))));
    let from = format!("spool.shared_dir of {}", places.of_value("spool.shared_dir"));
    places.note("spool.dir", Place::Document(from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(mut merged: Value, shared: Option<&Path>) -> Value {
        if let Some(shared) = shared {
            merged["spool"]["shared_dir"] = json!(shared);
        }
        complete(&mut merged, &mut Places::default());
        merged["spool"]["dir"].clone()
    }

    #[test]
    fn the_directory_of_logs_holds_the_spool_unless_one_is_given() {
        let home = tempfile::tempdir().unwrap();
        let shared = Some(home.path());
        let identity = json!({ "namespace": "ns1", "pod": "pod-1" });
        let usual = json!(home.path().join(".cim/ns1_pod-1"));
        assert_eq!(completed(json!({ "identity": identity }), shared), usual);
        let limited = json!({ "identity": identity, "spool": { "logs": { "max_bytes": "1MiB" } } });
        assert_eq!(completed(limited, shared), usual);
        let given = json!({ "identity": identity, "spool": { "dir": "/given" } });
        assert_eq!(completed(given, shared), "/given");
        assert_eq!(completed(json!({ "identity": identity }), None), Value::Null);
        assert_eq!(completed(json!({ "identity": identity }), Some(Path::new("/not/there"))), Value::Null);
        let odd = json!({ "identity": { "namespace": "a/b", "pod": "p" } });
        assert_eq!(completed(odd, shared), Value::Null);
    }

    #[test]
    fn without_a_spool_nothing_that_was_left_beside_it_is_taken() {
        let left = |shared: &str| {
            let mut merged =
                json!({ "spool": { "shared_dir": shared }, "leftovers": { "dir": "/not/there" } });
            complete(&mut merged, &mut Places::default());
            merged["leftovers"]["dir"].clone()
        };
        assert_eq!(left("/not/there"), Value::Null);
        assert_eq!(left("/nor/this"), "/not/there");
    }
}
