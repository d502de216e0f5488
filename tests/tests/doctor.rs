//! `cim doctor` beside real servers: what it says when all is well, and when one thing is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cim_services::{Authority, Etcd, Kubernetes};
use cim_tests::application::{Application, Manners};
use cim_tests::cluster::{ACCOUNT, Berth, PATIENCE};
use cim_tests::{Daemon, Mount, binary, until};
use serde_json::Value;

/// Ports that nobody has to hold.
const PORTS: &str = "nats.listen = \"127.0.0.1:0\"\napi.listen = \"127.0.0.1:0\"\n";

/// What the doctor found.
struct Examined {
    code: i32,
    document: Value,
}

impl Examined {
    /// With the configuration in that file.
    fn file(file: &Path) -> Self {
        let begun = Instant::now();
        let mut command = Command::new(binary());
        command.env_clear().args(["doctor", "--output", "json", "--config"]).arg(file);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
        Self { code: output.status.code().unwrap(), document }
    }

    /// With these settings; `{home}` is the directory.
    fn settings(home: &Path, settings: &str) -> Self {
        let file = home.join("cim.toml");
        std::fs::write(&file, settings.replace("{home}", &home.display().to_string())).unwrap();
        Self::file(&file)
    }

    /// Verdict and text of the one check whose name begins so.
    fn check(&self, name: &str) -> (&str, &str) {
        let checks = self.document["checks"].as_array().unwrap();
        let mut found = checks.iter().filter(|check| check["check"].as_str().unwrap().starts_with(name));
        let check = found.next().unwrap_or_else(|| panic!("no check {name} in {:#}", self.document));
        (check["verdict"].as_str().unwrap(), check["text"].as_str().unwrap())
    }

    /// Nothing fails.
    fn assert_well(&self) {
        assert_eq!(self.code, 0, "{:#}", self.document);
    }

    /// That check fails and says so, and no other does.
    fn assert_fails(&self, name: &str, text: &str) {
        let checks = self.document["checks"].as_array().unwrap();
        let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "fail").collect();
        assert!(self.check(name).1.contains(text), "`{text}` is not said: {:#}", self.document);
        assert_eq!((self.code, self.check(name).0), (1, "fail"), "{:#}", self.document);
        assert!(failed.iter().all(|check| check["check"].as_str().unwrap().starts_with(name)), "{failed:#?}");
        assert!(
            failed.iter().all(|check| check["advice"].is_string()),
            "what to do is not said: {failed:#?}"
        );
    }
}

#[test]
fn beside_a_running_program_all_is_well_and_nothing_is_disturbed() {
    let Some(etcd) = Etcd::single() else { return };
    let app = Application::start(Manners::default());
    let daemon = Daemon::start(&format!(
        "{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\netcd.endpoints = [\"{}\"]\n",
        app.setting(),
        etcd.endpoints()[0]
    ));
    let is_well = || daemon.get("/readyz").is_some_and(|page| !page.contains("degraded"));
    until("the store is watched", is_well);
    let examined = Examined::file(&daemon.home().join("cim.toml"));
    examined.assert_well();
    for port in ["port nats", "port api"] {
        assert_eq!(examined.check(port), ("ok", "is held by a running cim"));
    }
    assert_eq!(examined.check("spool /"), ("ok", "is used by a running cim"));
    assert_eq!(examined.check("source etcd"), ("ok", "answers"));
    assert_eq!(examined.check("host 127.0.0.1").0, "ok");
    let page = daemon.get("/readyz").unwrap();
    assert!(!page.contains("degraded") && page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(app.calls().is_empty());
}

#[test]
fn a_store_that_is_down_is_found_and_said_once_it_is_back_no_more() {
    let Some(etcd) = Etcd::single() else { return };
    let home = tempfile::tempdir().unwrap();
    let app = Application::start(Manners::default());
    let settings = format!(
        "{PORTS}{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\netcd.endpoints = [\"{}\"]\n",
        app.setting(),
        etcd.endpoints()[0]
    );
    etcd.member(0).kill();
    let examined = Examined::settings(home.path(), &settings);
    assert_eq!((examined.code, examined.check("source etcd").0), (1, "fail"), "{:#}", examined.document);
    assert_eq!(
        examined.check(&format!("host {}", etcd.endpoints()[0].trim_start_matches("http://"))).0,
        "fail"
    );
    etcd.member(0).restart();
    Examined::settings(home.path(), &settings).assert_well();
    assert!(!home.path().join("spool").exists(), "it made something");
}

#[test]
fn a_spool_that_cannot_be_written_is_found() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::new(&home.path().join("disk"), "size=8m") else { return };
    let settings =
        format!("{PORTS}spool.dir = \"{{home}}/disk\"\nspool.dead_letters.max_bytes = \"10GiB\"\n");
    let examined = Examined::settings(home.path(), &settings);
    examined.assert_well();
    let (verdict, text) = examined.check("spool room");
    assert!(verdict == "warn" && text.contains("8.0 MiB free"), "{text}");
    // Dead letters, and notifications that were put back: 10 GiB each.
    assert!(text.contains(" 22.0 GiB allowed by the limits"), "{text}");
    assert_eq!(examined.check("spool file system").0, "warn");
    disk.remount("ro");
    Examined::settings(home.path(), &settings)
        .assert_fails("spool /", "cannot be written into: Read-only file system");
    let below = format!("{PORTS}spool.dir = \"{{home}}/disk/below\"\n");
    Examined::settings(home.path(), &below).assert_fails("spool /", "is not there and cannot be made in");
}

#[test]
fn a_cluster_is_well_with_its_manifest_and_a_right_that_is_missing_is_named() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let home = tempfile::tempdir().unwrap();
    let settings = format!("{PORTS}{}", berth.settings());
    let examined = Examined::settings(home.path(), &settings);
    examined.assert_well();
    let (verdict, text) = examined.check("orchestrator kubernetes");
    assert!(verdict == "ok" && text.ends_with("/pod-1 is of microservice shop"), "{text}");
    assert_eq!(examined.check("right delete pods"), ("ok", "is granted"));
    let (verdict, text) = examined.check("clock");
    assert!(verdict == "ok" && text.contains("the API server's"), "{text}");

    berth.namespace.kubectl(&[
        "patch",
        "role",
        ACCOUNT,
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/rules/1"}]"#,
    ]);
    let namespace = berth.namespace.name();
    let user = format!("--as=system:serviceaccount:{namespace}:{ACCOUNT}");
    cim_services::until("the right is gone", PATIENCE, || {
        kubernetes.try_kubectl(&["-n", namespace, "auth", "can-i", "delete", "pods", &user]).is_err()
    });
    Examined::settings(home.path(), &settings).assert_fails("right delete pods", "is missing");
    // Who does not restart needs no such right.
    let hold = format!("{settings}[configuration.day_one]\non_exhausted = \"hold\"\n");
    Examined::settings(home.path(), &hold).assert_well();
}

#[test]
fn a_pod_that_is_not_known_to_the_cluster_is_found() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let home = tempfile::tempdir().unwrap();
    Examined::settings(home.path(), &format!("{PORTS}{}", berth.settings()))
        .assert_fails("orchestrator kubernetes", "it does not exist");
}

#[test]
fn certificates_tell_how_long_they_are_valid() {
    let home = tempfile::tempdir().unwrap();
    let Some(authority) = Authority::new(&home.path().join("ca")) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = |days: i32| {
        let own = authority.issue(&format!("cim{days}"), days);
        format!(
            "{PORTS}routes.logs.sink = \"agent\"\nroutes.events.sink = \"agent\"\n[sinks.agent]\ntype = \"tcp\"\naddress = \"{}\"\n\
             tls = {{ ca_file = \"{}\", client_cert_file = \"{}\", client_key_file = \"{}\" }}\n",
            listener.local_addr().unwrap(),
            authority.certificate().display(),
            own.certificate.display(),
            own.key.display()
        )
    };
    let examined = Examined::settings(home.path(), &settings(90));
    examined.assert_well();
    let name = "file sinks.agent.tls.client_cert_file";
    assert_eq!(examined.check(name), ("ok", "CN=cim90 is valid for 89 more days"));
    assert_eq!(
        examined.check("file sinks.agent.tls.ca_file"),
        ("ok", "CN=authority is valid for 29 more days")
    );
    assert_eq!(examined.check("file sinks.agent.tls.client_key_file"), ("ok", "can be read"));
    assert_eq!(Examined::settings(home.path(), &settings(3)).check(name).0, "warn");
    std::fs::remove_file(home.path().join("ca/cim90.key")).unwrap();
    let settings = settings(90).replace("cim90.key", "absent.key");
    Examined::settings(home.path(), &settings)
        .assert_fails("file sinks.agent.tls.client_key_file", "cannot be read");
}
