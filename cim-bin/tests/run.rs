//! The program as a process: exit codes, signals, reload, control socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn cim(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim"));
    command.args(arguments).env_clear().current_dir(home).stdin(Stdio::null());
    command
}

/// A running program whose diagnostics go to a file.
struct Running {
    child: Child,
    diagnostics: std::path::PathBuf,
}

impl Running {
    fn start(home: &Path, configuration: &str) -> Self {
        std::fs::write(home.join("cim.toml"), configuration).unwrap();
        let diagnostics = home.join("diagnostics");
        let child = cim(home, &["run", "--config", "cim.toml"])
            .stdout(std::fs::File::create(home.join("output")).unwrap())
            .stderr(std::fs::File::create(&diagnostics).unwrap())
            .spawn()
            .unwrap();
        let running = Self { child, diagnostics };
        running.says(" ready ");
        running
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.diagnostics).unwrap()
    }

    /// Waits until the diagnostics hold that text.
    fn says(&self, text: &str) -> String {
        until(|| self.text().contains(text), &format!("diagnostics with {text:?}"), || self.text());
        self.text()
    }

    fn address(&self, name: &str) -> String {
        let text = self.text();
        let rest = text.split(&format!("{name}=")).nth(1).unwrap();
        rest.trim_start_matches('[').split([' ', ']', ',']).next().unwrap().trim().to_owned()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut ended = None;
        let until_ended = || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        };
        until(until_ended, "the end of the process", String::new);
        (ended.unwrap().code(), self.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(mut happened: impl FnMut() -> bool, what: &str, show: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "no {what} in time\n{}", show());
        std::thread::sleep(Duration::from_millis(10));
    }
}

const PORTS: &str = "[nats]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n";

fn publish(address: &str, subject: &str, payload: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let message =
        format!("CONNECT {{\"name\":\"app\"}}\r\nPUB {subject} {}\r\n{payload}\r\nPING\r\n", payload.len());
    stream.write_all(message.as_bytes()).unwrap();
    let pong = BufReader::new(stream).lines().map(Result::unwrap).find(|line| line == "PONG");
    assert!(pong.is_some());
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Writes beside and renames: a file that is looked at just now is never seen half written.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_published_line_reaches_standard_output_and_the_books() {
    let home = tempfile::tempdir().unwrap();
    let running =
        Running::start(home.path(), &format!("{PORTS}[identity]\nnamespace = \"ns\"\npod = \"p\"\n"));
    assert!(running.text().contains("no spool: level memory"));
    publish(&running.address("nats"), "LOG", "hello");
    let output = || std::fs::read_to_string(home.path().join("output")).unwrap();
    let line = "{\"container_name\":\"app\",\"log\":\"hello\",\"kubernetes\":{\"namespace_name\":\"ns\",\"pod_name\":\"p\"}}\n";
    until(|| output() == line, "the line", output);
    let api = running.address("api");
    assert!(get(&api, "/readyz").starts_with("HTTP/1.1 200 "));
    assert!(get(&api, "/livez").ends_with("ok\n"));
    let delivered = "cim_records_delivered_total{route=\"logs\",sink=\"console\"} 1";
    until(|| get(&api, "/metrics").contains(delivered), "delivery in the books", || get(&api, "/metrics"));
    assert!(get(&api, "/metrics").contains("cim_total_messages_counter{pod=\"p\"} 1\n"));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_taken_port_is_exit_code_2_and_names_address_and_key() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (section, variable) in [("nats", "CIM__NATS__LISTEN"), ("api", "CIM__API__LISTEN")] {
        let other = if section == "nats" { "CIM__API__LISTEN" } else { "CIM__NATS__LISTEN" };
        let output =
            cim(home.path(), &["run"]).env(variable, &address).env(other, "127.0.0.1:0").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
        assert!(text.contains(&format!("`listen` in [{section}], or {variable}")), "{text}");
    }
}

#[test]
fn a_bad_configuration_is_exit_code_2_everywhere() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["run"][..], &["validate"], &["config", "show"], &["dlq", "list"], &["frobnicate"]] {
        let output = cim(home.path(), arguments).env("CIM__NATS__LISTEN", "here").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// What only the two together make wrong is found before a start, and on the fallback as well; off the log route it is no
/// matter.
#[test]
fn a_framing_that_contradicts_the_format_of_its_route_is_found_by_validate() {
    let home = tempfile::tempdir().unwrap();
    let judged = |route: &str| {
        let sinks = "[sinks.agent]\ntype = \"tcp\"\naddress = \"fluent-bit:5170\"\nframing = \"json\"\n";
        std::fs::write(home.path().join("cim.toml"), format!("{sinks}{route}")).unwrap();
        let output = cim(home.path(), &["validate", "--config", "cim.toml"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output))
    };
    for route in ["sink = \"agent\"", "sink = \"console\"\nfallback = \"agent\""] {
        let (code, text) = judged(&format!(
            "[sinks.console]\ntype = \"stdout\"\n[routes.logs]\n{route}\nformat = \"text\"\n[routes.events]\nsink = \"console\"\n"
        ));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("sinks.agent.framing: `json` contradicts `format = \"text\"`"), "{text}");
    }
    let (code, text) = judged(
        "[sinks.console]\ntype = \"stdout\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n[routes.events]\nsink = \"agent\"\n",
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn the_manifest_has_the_rights_that_the_configuration_needs_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let manifest = |settings: &str, more: &[&str]| {
        std::fs::write(home.path().join("cim.toml"), settings).unwrap();
        let output = cim(home.path(), &["manifest", "--rbac", "--config", "cim.toml"]).args(more).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |text: &str| (text.contains("\"delete\""), text.contains("kind: ClusterRole\n"));
    assert_eq!(has(&manifest("", &[])), (true, false));
    assert_eq!(has(&manifest("", &["--node-agents"])), (true, true));
    assert_eq!(has(&manifest("configuration.day_one.on_exhausted = \"hold\"\n", &[])), (false, false));
    let agent =
        "orchestrator.type = \"kubernetes\"\n[sinks.agent]\ntype = \"tcp\"\nnode_agent = { port = 24224 }\n";
    assert_eq!(has(&manifest(agent, &[])), (true, false), "no route uses the sink");
    let used = format!("routes.logs.sink = \"agent\"\n{agent}");
    assert_eq!(has(&manifest(&used, &[])), (true, true));

    assert!(!manifest(agent, &[]).contains("clusterroles\""));
    assert!(manifest(agent, &["--topology-gateway"]).contains("\"clusterroles\""));
    let original = home.path().join("NatsSubFb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cim"), &original).unwrap();
    let output = std::process::Command::new(original)
        .args(["manifest", "--rbac"])
        .env_clear()
        .env("CIM_LEGACY_ROOT", home.path())
        .current_dir(home.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"clusterroles\""), "without common-infra.json the cluster is asked: {text}");

    let nobody = used.replace("\"kubernetes\"", "\"standalone\"");
    std::fs::write(home.path().join("cim.toml"), nobody).unwrap();
    let output = cim(home.path(), &["validate", "--config", "cim.toml"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("sinks.agent.node_agent: needs an orchestrator that knows nodes"), "{text}");
}

#[test]
fn secrets_do_not_show() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["config", "show"][..], &["config", "show", "--output", "json"], &["validate"]] {
        let output = cim(home.path(), arguments).env("CIM__NATS__AUTH__TOKEN", "canary").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(!shown.contains("canary") && shown.len() > 20, "{shown}");
    }
}

#[test]
fn a_changed_file_and_sighup_reload_and_a_bad_file_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(home.path(), PORTS);
    let file = home.path().join("cim.toml");
    replace(&file, &format!("{PORTS}[routes]\nlogs = {{ sink = \"bin\" }}\n[sinks.bin]\ntype = \"null\"\n"));
    running.says("is in force");
    publish(&running.address("nats"), "LOG", "into the bin");
    let delivered = "cim_records_delivered_total{route=\"logs\",sink=\"bin\"} 1";
    let api = running.address("api");
    until(
        || get(&api, "/metrics").contains(delivered),
        "delivery by the new route",
        || get(&api, "/metrics"),
    );

    replace(&file, "[routes.logs]\nsinc = 1\n");
    let text = running.says("the configuration stays as it was");
    assert!(text.contains("cim.toml:2: routes.logs.sinc: unknown key; did you mean `sink`?"), "{text}");

    replace(&file, &format!("{PORTS}[memory]\nbudget = \"32MiB\"\n"));
    running.signal("HUP");
    running.says("changes of [memory] take effect at the next start");
    running.signal("INT");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn dead_letter_commands_work_beside_a_running_process_and_without_one() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(home.path(), &format!("{PORTS}[spool]\ndir = \"spool\"\n"));
    publish(&running.address("nats"), "LOG", "kept");
    let check = |live: bool| {
        for (command, text) in
            [("list", "no dead letters"), ("replay", "0 dead letters"), ("purge", "0 dead letters")]
        {
            let output = cim(home.path(), &["dlq", command, "--config", "cim.toml"]).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{command}, live: {live}: {}", stderr(&output));
            assert!(String::from_utf8_lossy(&output.stdout).contains(text));
        }
        let output = cim(home.path(), &["spool", "check", "spool"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    };
    check(true);
    let second = cim(home.path(), &["run", "--config", "cim.toml"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "one spool, two processes: {}", stderr(&second));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    assert!(!home.path().join("spool/cim.sock").exists());
    check(false);
}
