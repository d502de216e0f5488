//! What `cim manifest --file` makes of manifests, and what it says when it cannot.
//!
//! Each `tests/golden/manifest/*.txt` holds arguments, a file and the outcome; those without an error are also validated by
//! a real API server (`tests/tests/kubernetes/manifests.rs`). `CIM_UPDATE_GOLDEN=1 cargo test -p cim-bin --test manifest`
//! rewrites the outcomes; review the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod recorded;

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit code, standard output and standard error of `cim manifest --file -` with that input.
fn run(arguments: &str, input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cim"))
        .args(["manifest", "--file", "-"])
        .args(arguments.split_whitespace())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn outcome(case: &str) -> String {
    let case = case.strip_prefix("--- arguments\n").expect("a case begins with its arguments");
    let (arguments, file) = case.split_once("\n--- file\n").expect("a case has a file");
    let (code, text, complaint) = run(arguments, file);
    if code != Some(0) {
        return format!("exit code {}\n{complaint}", code.unwrap());
    }
    let (code, again, complaint) = run(arguments, &text);
    assert_eq!((code, again.as_str()), (Some(0), text.as_str()), "a second time: {complaint}");
    text
}

#[test]
fn manifests_are_as_recorded_and_a_second_time_changes_nothing() {
    recorded::as_recorded("manifest", 12, outcome);
}

#[test]
fn the_other_place_is_a_move_and_the_way_back_leads_back() {
    let file = "kind: Pod\nspec:\n  containers:\n  - name: app\n    image: app\n";
    let (_, native, _) = run("--native", file);
    let (_, classic, _) = run("--classic", &native);
    assert!(!classic.contains("initContainers") && !classic.contains("restartPolicy"), "{classic}");
    assert_eq!(classic.matches("name: cim\n").count(), 1, "{classic}");
    let (_, again, _) = run("--native", &classic);
    let members = |text: &str| -> Vec<String> {
        let mut lines: Vec<_> =
            text.lines().map(|line| line.trim_start_matches([' ', '-']).to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(members(&again), members(&native));
}

#[test]
fn a_spool_ends_with_the_pod_unless_its_volume_is_a_claim() {
    let pod = |volumes: &str| {
        format!("kind: Pod\nspec:\n  containers:\n  - name: app\n    image: app\n  volumes: [{volumes}]\n")
    };
    let says = |text: &str, value: &str| {
        text.contains(&format!("- name: CIM__SPOOL__EPHEMERAL\n      value: \"{value}\"\n"))
    };
    let (_, own, _) = run("--native", &pod(""));
    assert!(says(&own, "true"), "{own}");
    let (_, memory, _) = run("--native", &pod("{name: cim-spool, emptyDir: {medium: Memory}}"));
    assert!(says(&memory, "true"), "{memory}");
    let (_, claim, _) = run("--native", &pod("{name: cim-spool, persistentVolumeClaim: {claimName: c}}"));
    assert!(says(&claim, "false"), "{claim}");
    // A volume that is changed later is told as it is then.
    let changed =
        own.replace("emptyDir:\n      sizeLimit: 2Gi", "persistentVolumeClaim:\n      claimName: c");
    assert_ne!(changed, own);
    let (_, changed, _) = run("--native", &changed);
    assert!(says(&changed, "false"), "{changed}");
}
