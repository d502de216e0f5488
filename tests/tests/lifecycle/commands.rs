//! `cim drain` and `cim wait` beside a running program.

use std::time::{Duration, Instant};

use cim_tests::application::{Application, Manners};
use cim_tests::{Daemon, until};

use crate::stage::{FILES, command, delivered, numbered, publish, said};

#[test]
fn drain_waits_until_what_was_accepted_is_delivered_and_says_when_it_is_not() {
    let settings = FILES.replace("{home}/logs", "/proc/stuck");
    let mut daemon = Daemon::start(&format!("spool.dir = \"{{home}}/spool\"\n{settings}"));
    publish(&daemon, 0, 100);
    let asked = Instant::now();
    let output = command(&daemon, &["drain", "--timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("100 records still wait") && asked.elapsed() < Duration::from_secs(5));
    daemon.edit("/proc/stuck", &daemon.home().join("logs").display().to_string());
    let output = command(&daemon, &["drain", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("\"drained\": true"), "{}", said(&output));
    assert_eq!(delivered(&daemon, "pod-1_ns1_wire-.log"), numbered(100));
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let output = command(&daemon, &["drain"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no cim runs"), "{}", said(&output));
}

#[test]
fn wait_ends_when_the_application_neither_listens_nor_is_connected() {
    let app = Application::start(Manners::default());
    let daemon = Daemon::start(&format!("{}spool.dir = \"{{home}}/spool\"\n{FILES}", app.setting()));
    let wire = daemon.connect();
    let waits = |time: &str| command(&daemon, &["wait", "--timeout", time]).status.code();
    assert_eq!(waits("100ms"), Some(3), "it listens");
    drop(app);
    assert_eq!(waits("100ms"), Some(3), "it is connected");
    drop(wire);
    until("the end of the connection", || waits("1s") == Some(0));
}

#[test]
fn without_a_spool_wait_asks_over_the_api_and_what_nobody_tells_is_no_end() {
    let app = Application::start(Manners::default());
    let mut daemon = Daemon::start(&format!("{}api.socket = \"{{home}}/api.sock\"\n{FILES}", app.setting()));
    drop(app);
    let wire = daemon.connect();
    let wait = |daemon: &Daemon, time: &str| command(daemon, &["wait", "--timeout", time]);
    let output = wait(&daemon, "100ms");
    assert_eq!(output.status.code(), Some(3), "it is connected: {}", said(&output));
    assert!(said(&output).contains("still there"), "{}", said(&output));
    drop(wire);
    until("the end of the connection", || wait(&daemon, "1s").status.code() == Some(0));
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None);
    let output = wait(&daemon, "100ms");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is not known after 100ms: no cim answers at"), "{}", said(&output));
}
