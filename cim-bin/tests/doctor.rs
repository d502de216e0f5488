//! What `cim doctor` prints, and its exit code, where no server is needed.
//!
//! Each `tests/golden/doctor/*.txt` holds files and the outcome; `$TAKEN` is an address where something else listens, `$FREE`
//! one that is free. `CIM_UPDATE_GOLDEN=1 cargo test -p cim-bin --test doctor` rewrites the outcomes; review the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod recorded;

use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use cim_testkit::HeldPort;

fn cim(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim"));
    command.args(arguments).env_clear().current_dir(home).output().unwrap()
}

/// What the case leads to: exit code and standard output; columns depend on the length of addresses and are not kept.
fn outcome(inputs: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = HeldPort::new().unwrap();
    let free = nobody.address().to_string();
    let address = taken.local_addr().unwrap().to_string();
    for block in inputs.split("--- ").skip(1) {
        let (name, content) = block.split_once('\n').unwrap();
        let content = content.replace("$TAKEN", &address).replace("$FREE", &free);
        std::fs::write(home.path().join(name), content).unwrap();
    }
    // Whoever connects is told nothing.
    std::thread::spawn(move || taken.incoming().flatten().for_each(drop));
    let output = cim(home.path(), &["doctor", "--config", "cim.toml"]);
    let mut text = format!("exit code {}\n", output.status.code().unwrap());
    let found = String::from_utf8(output.stdout).unwrap();
    for line in found.replace(&address, "$TAKEN").replace(&free, "$FREE").lines() {
        writeln!(text, "{}", line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
    }
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    text.replace(&format!("{}/", home.path().display()), "")
}

#[test]
fn findings_are_as_recorded() {
    recorded::as_recorded("doctor", 5, outcome);
}

#[test]
fn programs_get_one_document_and_no_secret_shows() {
    let home = tempfile::tempdir().unwrap();
    let settings = "nats.listen = \"127.0.0.1:0\"\napi.listen = \"127.0.0.1:0\"\n\
        [nats.auth]\ntoken = \"canary-1\"\n\
        [configuration]\nsource = \"etcd\"\netcd.endpoints = [\"http://127.0.0.1:1\"]\netcd.user = \"root\"\netcd.password = \"canary-2\"\n";
    std::fs::write(home.path().join("cim.toml"), settings).unwrap();
    for form in ["json", "text"] {
        let output = cim(home.path(), &["doctor", "--config", "cim.toml", "--output", form]);
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("source etcd"), "{text}");
        if form == "json" {
            assert!(text.contains("\"verdict\": \"fail\"") && text.contains("\"advice\":"), "{text}");
        }
    }
}
