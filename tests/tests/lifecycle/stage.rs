//! A program, its application and its files, and the time that its end takes.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cim_tests::application::Manners;
use cim_tests::pod::Pod;
use cim_tests::{Daemon, binary};

/// Logs as text and events go to files.
pub const FILES: &str = "[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n[routes.logs]\nsink = \"files\"\n\
    [routes.events]\nsink = \"files\"\n";

/// Logs go to a receiver that is not there; `lifecycle` are lines of that section.
pub fn to_nobody(lifecycle: &str) -> String {
    let address = cim_bench::server::free_port().unwrap();
    format!(
        "[lifecycle]\n{lifecycle}\n[sinks.agent]\ntype = \"tcp\"\naddress = \"{address}\"\n[routes.logs]\nsink = \"agent\"\n\
         [routes.events]\nsink = \"nowhere\"\n[sinks.nowhere]\ntype = \"null\"\n"
    )
}

/// A registered application and a program that delivers to files; `lifecycle` are lines of that section.
pub fn pod(manners: Manners, lifecycle: &str) -> Pod {
    let pod = Pod::with(manners, &format!("[lifecycle]\n{lifecycle}\n{FILES}"));
    pod.register();
    pod
}

/// No end takes longer than this, whatever the machine does.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Ends it and returns its exit code and how long that took.
pub fn end(daemon: &mut Daemon, signal: &str) -> (Option<i32>, Duration) {
    let asked = Instant::now();
    daemon.signal(signal);
    let code = daemon.ended();
    (code, asked.elapsed())
}

/// How long the last end took by the program's own log, from the signal to the last word. The machine may be slow to bring the
/// one and to notice the other.
pub fn own_time(daemon: &Daemon) -> Duration {
    let stderr = daemon.stderr();
    let of_day = |what: &str| {
        let line =
            stderr.lines().rev().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{stderr}"));
        let time = line.split_once('T').unwrap().1.split_once('Z').unwrap().0;
        time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
    };
    let passed = of_day(" stopped") - of_day(": stopping");
    // Midnight may lie between them.
    Duration::from_secs_f64(passed.rem_euclid(24.0 * 3600.0))
}

/// What the program delivered into a file of its directory `logs`.
pub fn delivered(daemon: &Daemon, file: &str) -> String {
    std::fs::read_to_string(daemon.home().join("logs").join(file)).unwrap_or_default()
}

/// The events that were delivered.
pub fn events(daemon: &Daemon) -> Vec<serde_json::Value> {
    let text = delivered(daemon, "pod-1_ns1_events.jsonl");
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Names of these events.
pub fn names(daemon: &Daemon) -> Vec<String> {
    events(daemon).iter().map(|event| event["eventName"].as_str().unwrap().to_owned()).collect()
}

/// Publishes numbered lines and waits until they are accepted.
pub fn publish(daemon: &Daemon, from: usize, to: usize) {
    let mut wire = daemon.connect();
    for n in from..to {
        wire.publish("LOG", format!("line {n}").as_bytes());
    }
    wire.flush();
}

/// The lines as they were published.
pub fn numbered(to: usize) -> String {
    (0..to).map(|n| format!("line {n}\n")).collect()
}

/// Runs another command of the program with the configuration of a running one.
pub fn command(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_clear().env("CIM_LEGACY_ROOT", daemon.home());
    command.args(arguments).arg("--config").arg(daemon.home().join("cim.toml")).output().unwrap()
}

/// What a command wrote.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
