//! What lies in `deploy`: names of metrics that exist, and the root file system of the image, run without a container engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cim_services::has_program;
use cim_tests::{Daemon, binary, skip, until};

/// Largest archive of the root file system without the program. The program itself has its own limit, in its release build.
const MOST_BESIDE_THE_PROGRAM: u64 = 6 << 20;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Names that look like one of ours, in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("cim_")).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let known: BTreeSet<_> = cim_core::catalog::CATALOG.iter().map(|metric| metric.name).collect();
    for file in ["grafana/cim.json", "prometheus/cim.rules.yaml"] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let named = metrics(&text);
        assert!(named.len() > 8, "{file} names {} metrics", named.len());
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names metrics that are not in the catalog: {unknown:?}");
    }
}

#[test]
fn every_alert_of_the_guide_is_a_rule() {
    let guide = std::fs::read_to_string(deploy("../docs/guide/operations.md")).unwrap();
    let section = guide.split("\n## ").find(|section| section.starts_with("What to alert on")).unwrap();
    let rules = std::fs::read_to_string(deploy("prometheus/cim.rules.yaml")).unwrap();
    let missing: Vec<_> = metrics(section).difference(&metrics(&rules)).map(ToString::to_string).collect();
    assert!(missing.is_empty(), "no rule in deploy/prometheus for {missing:?}");
}

#[test]
fn chart_and_component_name_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, lines) in [
        ("helm/cim/Chart.yaml", &["version: ", "appVersion: "][..]),
        ("helm/cim/templates/_cim.tpl", &["  image: {{ $cim.image | default \"cim:"]),
        ("kustomize/component/sidecar.yaml", &["        image: cim:"]),
    ] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        for start in lines {
            let line = text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
            assert!(
                line.starts_with(version),
                "{file}: `{start}{line}` names another version than {version}"
            );
        }
    }
}

/// A root file system with the program of the tests; `None`, after `skipped:` was said, where it cannot be run.
fn root_fs(home: &Path, arguments: &[&str]) -> Option<PathBuf> {
    if !rustix::process::getuid().is_root() {
        skip("the image is not run: a root file system of its own needs root");
        return None;
    }
    if !has_program("unshare") || !has_program("chroot") || !has_program("ldd") {
        skip("the image is not run: unshare, chroot or ldd is missing");
        return None;
    }
    let root = home.join("root");
    let made = Command::new(deploy("rootfs")).args(arguments).arg(binary()).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(root)
}

/// `words` in the root file system, which is read-only but for an empty directory where the spool is, as that user.
fn inside(root: &Path, user: &str, environment: &[&str], words: &[&str]) -> Command {
    let script = "mount --bind $0 $0 && mount -o remount,bind,ro $0 && \
        mount -t tmpfs -o mode=0777 spool $0/var/lib/cim && mount -t proc proc $0/proc && \
        user=$1 && shift && exec chroot --userspec=$user $0 \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(root).arg(user).args(words);
    command.env_clear().env("PATH", "/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command.envs(environment.iter().map(|pair| pair.split_once('=').expect("NAME=VALUE")));
    command
}

/// Size of the archive of a directory.
fn archive(root: &Path, more: &[&str]) -> u64 {
    let output =
        Command::new("tar").args(["-C", root.to_str().unwrap(), "-cf", "-"]).args(more).arg(".").output();
    output.unwrap().stdout.len() as u64
}

#[test]
fn the_image_works_as_nobody_with_a_root_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let Some(root) = root_fs(home.path(), &[]) else { return };
    assert!(!root.join("bin/bash").exists() && !root.join("bin/sh").exists(), "a shell is in the image");
    let beside = archive(&root, &["--exclude=./opt/bin/cim"]);
    let note = format!("\nnote: the image is {} bytes as an archive\n", archive(&root, &[]));
    std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes()).unwrap();
    assert!(beside <= MOST_BESIDE_THE_PROGRAM, "{beside} bytes beside the program");

    let daemon = Daemon::start_in(home, "spool.dir = \"/var/lib/cim\"\n", |home| -> Child {
        std::fs::copy(home.join("cim.toml"), home.join("root/etc/cim/cim.toml")).unwrap();
        let output = |name: &str| File::create(home.join(name)).unwrap();
        let mut command =
            inside(&root, "65534:65534", &["CIM_CONFIG=/etc/cim/cim.toml"], &["/opt/bin/cim", "run"]);
        command.stdout(output("stdout")).stderr(output("stderr")).spawn().unwrap()
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    let mut wire = daemon.connect();
    wire.publish("LOG", b"from a small image");
    wire.flush();
    until("the line", || daemon.stdout().contains("\"log\":\"from a small image\""));
    assert!(
        daemon.metric("cim_accept_level{class=\"logs\",level=\"written\"}") > 0.5,
        "not written to the volume"
    );
    assert!(daemon.books_balance());
}

#[test]
fn the_image_with_a_shell_starts_the_program_by_its_old_command_line() {
    let home = tempfile::tempdir().unwrap();
    let Some(root) = root_fs(home.path(), &["--shell"]) else { return };
    // The words of the charts, and an argument so that it ends.
    let output = inside(&root, "0:0", &[], &["/bin/bash", "-c", "NatsSubFb --version"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("cim "), "{text}{output:?}");
}

/// The process that runs as number 1 of a name space of its own below `unshare`.
fn first_inside(unshare: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_pod_of_the_original_runs_in_the_image_at_its_own_paths_and_ends_by_the_signal_of_the_kubelet() {
    let home = tempfile::tempdir().unwrap();
    let Some(root) = root_fs(home.path(), &["--shell"]) else { return };
    let document = r#"{"cimConfig":{"lmaas":{"logging_mode":"FILE","flush_timeout":5}}}"#;
    std::fs::write(root.join("opt/conf/cim.json"), document).unwrap();
    std::fs::write(root.join("opt/conf/static/common-infra.json"), r#"{"log_format":"json"}"#).unwrap();
    std::fs::create_dir(home.path().join("logs")).unwrap();
    let pod = [("K8S_NAMESPACE", "ns1"), ("K8S_POD_ID", "pod-1")];
    let mut daemon = Daemon::start_as_original_by(home, &pod, |home, variables| {
        // The root of the image may be written, like that of the charts; `/opt/logs` is a directory of the node.
        let script = "mount --bind $1 $0/opt/logs && mount -t proc proc $0/proc && exec chroot $0 /bin/bash -c NatsSubFb";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", script]).arg(&root).arg(home.join("logs")).stdin(Stdio::null()).env_clear();
        command.env("PATH", "/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin").envs(variables.iter().cloned());
        let output = |name: &str| File::create(home.join(name)).unwrap();
        command.stdout(output("stdout")).stderr(output("stderr")).spawn().unwrap()
    });
    let first = first_inside(daemon.pid()).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    assert!(status.starts_with("Name:\tNatsSubFb\n"), "the shell is still there: {status}");
    let numbers = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert!(numbers.ends_with("\t1"), "{numbers}");

    let mut wire = daemon.connect();
    let log = cim_wire::Log {
        container_id: b"c1"[..].into(),
        container_name: b"app"[..].into(),
        payload: Some(b"one line"[..].into()),
    };
    let mut bytes = Vec::new();
    log.encode_flatbuffer(&mut bytes);
    wire.publish("LOG", &bytes);
    wire.flush();
    let file = daemon.home().join("logs/pod-1_ns1_app-c1.log");
    until("the line", || std::fs::read_to_string(&file).is_ok_and(|text| text == "one line\n"));
    assert!(daemon.home().join("logs/.cim/ns1_pod-1").is_dir(), "{}", daemon.stderr());

    let killed = Command::new("kill").args(["-TERM", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    until("the end", || daemon.ended().is_some());
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
}
