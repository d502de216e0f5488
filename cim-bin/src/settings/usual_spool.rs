//! The spool of a pod that is configured by the files of the original and mounts nothing new: `/opt/logs/.cim/<namespace>_<pod>`.
//!
//! Such a pod has one place that outlives its containers, the directory of its logs. Left out: opening it. The invariants: a
//! directory that somebody gives counts; where the directory of logs is not there or cannot be written, there is no spool.

use std::path::Path;

use rustix::fs::{Access, access};
use serde_json::{Value, json};

use super::name::ORIGINAL;
use super::place::{Place, Places};

/// Below the directory of logs; no name of a log file fits it.
const HOME: &str = ".cim";

/// Fills in the directory unless somebody gave one. `logs` is the directory of logs, where there are files of the original or
/// its name; without a spool what it left there cannot be taken.
pub fn complete(merged: &mut Value, places: &mut Places, logs: Option<&Path>, as_original: bool) {
    fill(merged, places, logs, as_original);
    let has_spool = merged.pointer("/spool/dir").is_some_and(|dir| !dir.is_null());
    if let Some(leftovers) = merged.get_mut("leftovers").and_then(Value::as_object_mut)
        && !has_spool
        && leftovers.get("dir").is_some_and(|dir| logs.is_some_and(|logs| *dir == json!(logs)))
    {
        leftovers.remove("dir");
    }
}

fn fill(merged: &mut Value, places: &mut Places, logs: Option<&Path>, as_original: bool) {
    let Some(logs) = logs.filter(|logs| access(*logs, Access::WRITE_OK | Access::EXEC_OK).is_ok()) else {
        return;
    };
    let name = |key: &str| {
        let name = merged.pointer(&format!("/identity/{key}"))?.as_str()?;
        (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
    };
    let (Some(namespace), Some(pod)) = (name("namespace"), name("pod")) else { return };
    let Some(sections) = merged.as_object_mut() else { return };
    let spool = sections.entry("spool").or_insert_with(|| json!({}));
    let Some(spool) = spool.as_object_mut().filter(|spool| spool.get("dir").is_none_or(Value::is_null))
    else {
        return;
    };
    let dir = logs.join(HOME).join(format!("{namespace}_{pod}"));
    spool.insert("dir".to_owned(), json!(dir));
    let files = || Place::Document("files of the original".to_owned());
    places.note("spool.dir", if as_original { Place::Name(ORIGINAL) } else { files() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(mut merged: Value, logs: Option<&Path>) -> Value {
        complete(&mut merged, &mut Places::default(), logs, false);
        merged["spool"]["dir"].clone()
    }

    #[test]
    fn the_directory_of_logs_holds_the_spool_unless_one_is_given() {
        let home = tempfile::tempdir().unwrap();
        let logs = Some(home.path());
        let identity = json!({ "namespace": "ns1", "pod": "pod-1" });
        let usual = json!(home.path().join(".cim/ns1_pod-1"));
        assert_eq!(completed(json!({ "identity": identity }), logs), usual);
        let limited = json!({ "identity": identity, "spool": { "logs": { "max_bytes": "1MiB" } } });
        assert_eq!(completed(limited, logs), usual);
        let given = json!({ "identity": identity, "spool": { "dir": "/given" } });
        assert_eq!(completed(given, logs), "/given");
        assert_eq!(completed(json!({ "identity": identity }), None), Value::Null);
        assert_eq!(completed(json!({ "identity": identity }), Some(Path::new("/not/there"))), Value::Null);
        let odd = json!({ "identity": { "namespace": "a/b", "pod": "p" } });
        assert_eq!(completed(odd, logs), Value::Null);
    }
}
