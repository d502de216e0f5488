//! Every error text of the configuration, as an operator sees it.
//!
//! Each `tests/golden/*.txt` holds the files and variables of one case and the text they lead to. After a wanted
//! change, `CIM_UPDATE_GOLDEN=1 cargo test -p cim-bin --test golden` rewrites the texts; review the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod recorded;

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cim_core::{LogFormat, Problem, Registry, Sink, SinkContext, SinkKind};
use cim_program::settings::{Request, load};
use serde_json::{Value, json};

/// Makes an input that is no plain text: `directory`, `closed` (nobody may read it), `hex`, `repeat` (a number, and the text that
/// comes so many times).
fn make(how: &str, file: &Path, text: &str) {
    match how {
        "directory" => std::fs::create_dir(file).unwrap(),
        "hex" => {
            let byte = |digits| u8::from_str_radix(digits, 16).unwrap();
            std::fs::write(file, text.split_whitespace().map(byte).collect::<Vec<_>>()).unwrap();
        }
        "repeat" => {
            let (count, text) = text.trim().split_once(' ').unwrap();
            std::fs::write(file, text.repeat(count.parse().unwrap())).unwrap();
        }
        "closed" => {
            std::fs::write(file, text).unwrap();
            std::fs::set_permissions(file, Permissions::from_mode(0o000)).unwrap();
        }
        how => panic!("`{how}` is no way to make a file"),
    }
}

/// The inputs of a case by name, cut at lines that begin with `--- `.
fn inputs(text: &str) -> Vec<(String, String)> {
    let mut inputs: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("--- ") {
            Some(name) => inputs.push((name.trim().to_owned(), String::new())),
            None => inputs.last_mut().expect("a case begins with a `--- ` line").1.push_str(line),
        }
    }
    inputs
}

/// Puts the files of a case into a folder, and says what is to be loaded.
fn prepared(case: &str, folder: &Path) -> Request {
    let mut request = Request::default();
    for (name, text) in &inputs(case) {
        if name == "environment" {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            request.environment = pairs.map(|(name, value)| (name.into(), value.into())).collect();
            continue;
        }
        let (how, name) = name.split_once(' ').map_or((None, name.as_str()), |(how, name)| (Some(how), name));
        let file = folder.join(name);
        if name.starts_with("opt/") {
            request.root = Some(folder.to_owned());
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        match how {
            Some(how) => make(how, &file, text),
            None => std::fs::write(&file, text.replace("$DIR", folder.to_str().unwrap())).unwrap(),
        }
        if name.starts_with("cim") {
            request.files.push(file);
        }
    }
    request
}

/// What the case leads to, with the folder of the run taken out of the paths.
fn outcome(case: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let request = prepared(case, folder.path());
    let mut text = String::new();
    match load(&request, &registry()) {
        Ok(loaded) => {
            writeln!(text, "{:#}", loaded.masked(&registry())).unwrap();
            for warning in &loaded.warnings {
                writeln!(text, "warning: {warning}").unwrap();
            }
        }
        Err(problems) => writeln!(text, "{problems}").unwrap(),
    }
    text.replace(&format!("{}/", folder.path().display()), "")
}

/// Kinds with every sort of member, so that the texts do not depend on the features of the build.
fn registry() -> Registry {
    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "dir": { "type": "string" },
                "max_size": { "type": ["string", "integer"], "format": "bytes" },
                "max_files": { "type": "integer", "minimum": 1, "maximum": 1000 },
                "password": { "type": "string", "writeOnly": true },
            },
            "required": ["dir"],
            "additionalProperties": false,
        })
    }
    fn validate(members: &Value, _: LogFormat) -> Vec<Problem> {
        let absolute = members["dir"].as_str().is_some_and(|dir| dir.starts_with('/'));
        if absolute { Vec::new() } else { vec![Problem::new("dir", "must be an absolute path")] }
    }
    fn build(_: SinkContext, _: &Value) -> Result<Sink, Problem> {
        Ok(Sink::default())
    }
    let mut registry = Registry::new();
    registry
        .sink(SinkKind { name: "file", summary: "files", schema, validate, build })
        .sink(SinkKind { name: "stdout", ..cim_core::null::KIND })
        .compiled_out("tcp", "sink-tcp");
    registry
}

#[test]
fn texts_are_as_recorded() {
    recorded::as_recorded("", 10, outcome);
}

/// As [`outcome`], in a thread that may not read everything: the administrator would be refused nothing.
fn outcome_without_rights(case: &str) -> String {
    let judge = || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_res_uid(None, rustix::thread::Uid::from_raw(65_534), None).unwrap();
        }
        outcome(case)
    };
    std::thread::scope(|scope| scope.spawn(judge).join().unwrap())
}

#[test]
fn a_broken_cim_json_is_told_with_its_place_and_what_to_do() {
    recorded::as_recorded("cim_json", 50, outcome_without_rights);
}

/// What the program says at its start under the old name, and that it ends with 2.
fn outcome_of_the_program(case: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let _ = prepared(case, folder.path());
    let infra = folder.path().join("opt/conf/static/common-infra.json");
    if !infra.exists() {
        // Without it a service is asked, and the files are not to blame for what is missing.
        std::fs::create_dir_all(infra.parent().unwrap()).unwrap();
        std::fs::write(infra, "{}").unwrap();
    }
    let program = folder.path().join("NatsSubFb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cim"), &program).unwrap();
    let mut command = Command::new(&program);
    command.env_clear().env("CIM_LEGACY_ROOT", folder.path()).stdin(Stdio::null());
    command.env("CIM__NATS__LISTEN", "127.0.0.1:0").env("CIM__API__LISTEN", "127.0.0.1:0");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            return format!("it did not end\n{case}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", folder.path().display()), "");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    match (output.status.code(), output.stdout.is_empty()) {
        (Some(2), true) => said.to_owned(),
        (code, _) => format!("exit code {code:?}\n{said}{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn under_the_old_name_the_start_ends_with_2_and_that_text() {
    #[allow(clippy::disallowed_methods, reason = "the documented switch of this test")]
    if std::env::var_os("CIM_UPDATE_GOLDEN").is_some() {
        // The texts are those of the test above.
        return;
    }
    recorded::as_recorded("cim_json", 50, |case| {
        // The administrator may read a closed file.
        if case.starts_with("--- closed") && rustix::process::geteuid().is_root() {
            return outcome_without_rights(case);
        }
        outcome_of_the_program(case)
    });
}
