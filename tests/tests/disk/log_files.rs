//! What stands in the way of the log files that a sink writes.

use std::path::Path;
use std::process::Command;

use cim_tests::{Daemon, Mount, until};

use crate::{FILES, all_delivered, publish};

#[test]
fn a_read_only_remount_under_the_log_files_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&home.path().join("logs"), "size=16m") else { return };
    mount.remount("ro");
    let daemon = Daemon::start_in(home, FILES, Daemon::spawn);
    publish(&mut daemon.connect(), 0, 300);
    until("the reason", || daemon.get("/readyz").is_some_and(|page| page.contains("read-only")));
    assert!(daemon.metric("cim_records_held") > 299.5);
    mount.remount("rw");
    all_delivered(&daemon, 300);
}

/// What stands in the place of one container's file holds up nobody: neither the other containers nor its own records.
#[test]
fn what_stands_in_the_place_of_a_log_file_holds_up_nobody() {
    let daemon = Daemon::start(FILES);
    let logs = daemon.home().join("logs");
    let file = |container: &str| logs.join(format!("pod-1_ns1_{container}-1.log"));
    std::fs::create_dir_all(file("folder")).unwrap();
    std::os::unix::fs::symlink(daemon.home().join("elsewhere"), file("link")).unwrap();
    assert!(Command::new("mkfifo").arg(file("pipe")).status().unwrap().success());
    let containers = ["folder", "plain", "link", "pipe"];
    let mut wire = daemon.connect();
    let mut publish = |from: usize, to: usize| {
        for n in from..to {
            for name in containers {
                let log =
                    format!("{{\"container_name\":\"{name}\",\"container_id\":\"1\",\"log\":\"line {n}\"}}");
                wire.publish("LOG", log.as_bytes());
            }
        }
        wire.flush();
        until("delivery", || daemon.metric("cim_records_held") < 0.5);
    };
    let expected = |from: usize, to: usize| (from..to).map(|n| format!("line {n}\n")).collect::<String>();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();

    publish(0, 500);
    assert_eq!(read(&file("plain")), expected(0, 500));
    let mut detours = containers.to_vec();
    detours.retain(|name| *name != "plain");
    for name in &detours {
        assert_eq!(read(&logs.join(format!("pod-1_ns1_{name}-1%1.log"))), expected(0, 500), "{name}");
    }
    let page = || daemon.get("/readyz").unwrap();
    until("health to say so", || page().contains("stands in its place; its records go to"));
    assert!(page().starts_with("HTTP/1.1 200"), "that is no reason to take the pod out of service");
    assert!(!daemon.home().join("elsewhere").exists(), "nothing is written through a link");

    for name in &detours {
        std::fs::rename(file(name), daemon.home().join(name)).unwrap();
    }
    publish(500, 600);
    for name in detours {
        assert_eq!(read(&file(name)), expected(500, 600), "{name}");
    }
    assert_eq!(read(&file("plain")), expected(0, 600));
    assert!(daemon.books_balance());
}
