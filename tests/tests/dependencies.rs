//! The direction of the arrows between crates, and what the engine may not depend on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that backends and adapters may build on.
const FOUNDATION: [&str; 4] = ["cim-core", "cim-wire", "cim-spool", "cim-exposition"];
/// Crates that the tests of every crate may use.
const TEST_SUPPORT: [&str; 2] = ["cim-testkit", "cim-services"];
/// Crates that may know every other one. The examples are none: they show what a crate of one's own needs.
const ASSEMBLIES: [&str; 4] = ["cim-bin", "cim-program", "cim-tests", "cim-bench"];
/// The files that call what has no safe wrapper, each for one thing: a topic that is found once for a batch, a client that is to
/// send at once, headers that it takes over, what a broker may have of a record, bytes not yet confirmed, memory given back, a vector unit.
const UNSAFE: [&str; 7] = [
    "crates/cim-sink-kafka/src/destination.rs",
    "crates/cim-sink-kafka/src/flush.rs",
    "crates/cim-sink-kafka/src/header_list.rs",
    "crates/cim-sink-kafka/src/stored.rs",
    "crates/cim-sink-tcp/src/send_queue.rs",
    "crates/cim-program/src/unused_memory.rs",
    "crates/cim-wire/src/plain.rs",
];

#[test]
fn arrows_point_to_the_foundation_only() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let names: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        if ASSEMBLIES.contains(&package.name.as_str()) {
            continue;
        }
        for dependency in &package.dependencies {
            let for_tests = dependency.kind == DependencyKind::Development
                || TEST_SUPPORT.contains(&package.name.as_str());
            let inside = names.contains(&dependency.name);
            let allowed = FOUNDATION.contains(&dependency.name.as_str())
                || (for_tests && TEST_SUPPORT.contains(&dependency.name.as_str()));
            if inside && !allowed {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point the wrong way: {wrong:?}");
}

#[test]
fn the_foundation_is_layered() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let inner = |name: &str| -> Vec<String> {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap();
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        normal.map(|d| d.name.clone()).filter(|name| name.starts_with("cim-")).collect()
    };
    assert_eq!(inner("cim-wire"), Vec::<String>::new());
    assert_eq!(inner("cim-spool"), Vec::<String>::new());
    assert_eq!(inner("cim-exposition"), Vec::<String>::new());
    assert_eq!(inner("cim-core"), ["cim-spool", "cim-wire"]);
}

#[test]
fn no_network_client_stands_below_the_engine() {
    let metadata = MetadataCommand::new().other_options(vec!["--locked".into()]).exec().unwrap();
    let resolve = metadata.resolve.unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let name: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
    let core = metadata.packages.iter().find(|package| package.name.as_str() == "cim-core").unwrap();
    let (mut open, mut seen) = (vec![&core.id], BTreeSet::new());
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let normal = nodes[id]
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
        open.extend(normal.map(|dep| &dep.pkg));
    }
    let below: BTreeSet<_> = seen.iter().map(|id| name[*id].as_str()).collect();
    for client in [
        "hyper",
        "reqwest",
        "async-nats",
        "rdkafka",
        "etcd-client",
        "kube",
        "tonic",
        "rustls",
        "h2",
        "cim-nats",
    ] {
        assert!(!below.contains(client), "cim-core depends on {client}");
    }
}

#[test]
fn features_are_decided_in_one_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cim-program/src");
    let mut open = vec![root];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("backends.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("cfg(feature"), "{} decides about a feature", path.display());
        }
    }
}

#[test]
fn every_crate_keeps_to_the_lints_and_unsafe_code_stands_in_known_files() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let root = std::fs::read_to_string(metadata.workspace_root.join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"deny\""), "the lints of the workspace allow unsafe code");
    let mut open = Vec::new();
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has lints of its own", package.name);
        let folder = package.manifest_path.parent().unwrap();
        open.extend(["src", "tests", "examples"].map(|part| folder.join(part).into_std_path_buf()));
    }
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let allows = text.contains(concat!("allow(", "unsafe_code"));
            let is_known = UNSAFE.iter().any(|known| path.ends_with(known));
            assert!(!allows || is_known, "{} allows unsafe code", path.display());
        }
    }
}
