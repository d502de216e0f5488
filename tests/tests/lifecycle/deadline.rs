//! The end against the clock: nothing to do, targets that are dead, and signals that come early.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cim_tests::{Daemon, binary, until};

use crate::stage::{FILES, LONGEST, end, own_time, publish, to_nobody};

/// An end without anything to do.
const QUICK: Duration = Duration::from_millis(50);
/// How many ends are looked at where none of them is quick.
const TRIES: usize = 20;

#[test]
fn with_empty_queues_the_process_is_gone_at_once() {
    let mut times: Vec<Duration> = Vec::new();
    // The machine is shared: what the program can do shows in the best of them, once the machine lets it.
    while times.len() < 5 || times.len() < TRIES && times[0] > QUICK {
        let mut daemon = Daemon::start(&format!("spool.dir = \"{{home}}/spool\"\n{FILES}"));
        publish(&daemon, 0, 100);
        until("delivery", || daemon.metric("cim_records_held") < 0.5);
        let (code, took) = end(&mut daemon, "TERM");
        assert_eq!(code, Some(0), "{}", daemon.stderr());
        times.push(took);
        times.sort();
    }
    println!("SIGTERM to exit with empty queues: {times:?}");
    assert!(times[0] <= QUICK, "{times:?}");
}

#[test]
fn a_dead_receiver_is_waited_for_no_longer_than_it_is_said_and_the_rest_is_held() {
    let settings = format!(
        "spool.dir = \"{{home}}/spool\"\n{}",
        to_nobody("drain = \"500ms\"\ntermination_log = \"{home}/last-word\"")
    );
    let mut daemon = Daemon::start(&settings);
    std::fs::write(daemon.home().join("last-word"), "").unwrap();
    publish(&daemon, 0, 100);
    let (code, took) = end(&mut daemon, "TERM");
    assert_eq!(code, Some(0), "{}", daemon.stderr());
    // It would be five seconds if nothing were said.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let word = daemon.last_word();
    assert_eq!(
        (&word["exit_code"], &word["held"], &word["dropped"], &word["spilled"], &word["overdue"]),
        (&0.into(), &100.into(), &0.into(), &0.into(), &false.into()),
        "{word}"
    );
}

#[test]
fn without_a_spool_a_dead_receiver_costs_the_grace_and_what_is_left_is_told_and_written_out() {
    let mut daemon = Daemon::start(&to_nobody("grace = \"4s\"\ntermination_log = \"{home}/last-word\""));
    std::fs::write(daemon.home().join("last-word"), "").unwrap();
    publish(&daemon, 0, 100);
    let (code, took) = end(&mut daemon, "TERM");
    assert_eq!(code, Some(3), "{}", daemon.stderr());
    let own = own_time(&daemon);
    assert!(own < Duration::from_secs(4) && took < LONGEST, "{own:?} of {took:?}");
    let word = daemon.last_word();
    assert_eq!(
        (&word["exit_code"], &word["dropped"], &word["spilled"]),
        (&3.into(), &100.into(), &100.into())
    );
    assert_eq!(daemon.stdout().lines().filter(|line| line.starts_with("cim-spill1 L ")).count(), 100);
}

#[test]
fn a_spool_that_ends_with_the_pod_is_as_none_and_serves_a_restart_nevertheless() {
    let settings = format!(
        "spool = {{ dir = \"{{home}}/spool\", ephemeral = true }}\n{}",
        to_nobody("grace = \"4s\"\ndrain = \"100ms\"\ntermination_log = \"{home}/last-word\"")
    );
    let mut daemon = Daemon::start(&settings);
    std::fs::write(daemon.home().join("last-word"), "").unwrap();
    publish(&daemon, 0, 100);
    let (code, took) = end(&mut daemon, "TERM");
    assert_eq!(code, Some(3), "{}", daemon.stderr());
    assert!(took > Duration::from_secs(1), "delivery has what the grace leaves: {took:?}");
    let own = own_time(&daemon);
    assert!(own < Duration::from_secs(4) && took < LONGEST, "{own:?} of {took:?}");
    let word = daemon.last_word();
    assert_eq!(
        (&word["held"], &word["dropped"], &word["spilled"]),
        (&0.into(), &100.into(), &100.into()),
        "{word}"
    );
    assert_eq!(daemon.stdout().lines().filter(|line| line.starts_with("cim-spill1 L ")).count(), 100);
    daemon.start_again();
    assert_eq!(daemon.metric("cim_records_held"), 100.0);
}

#[test]
fn a_dead_broker_is_waited_for_no_longer_than_it_is_said() {
    let broker = cim_bench::server::free_port().unwrap();
    let settings = format!(
        "spool.dir = \"{{home}}/spool\"\n[lifecycle]\ndrain = \"500ms\"\n[sinks.broker]\ntype = \"kafka\"\nbrokers = [\"{broker}\"]\n\
         [routes.logs]\nsink = \"broker\"\n[routes.events]\nsink = \"broker\"\n"
    );
    let mut daemon = Daemon::start(&settings);
    publish(&daemon, 0, 100);
    let (code, took) = end(&mut daemon, "TERM");
    assert_eq!(code, Some(0), "{}", daemon.stderr());
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(daemon.stderr().contains("held=100"), "{}", daemon.stderr());
}

#[test]
fn the_status_page_tells_the_grace_that_is_in_force() {
    let daemon = Daemon::start(&format!("[lifecycle]\ngrace = \"7s\"\n{FILES}"));
    let tells = |seconds: u64| {
        daemon.get("/statusz").is_some_and(|page| page.contains(&format!("\"grace_seconds\": {seconds}")))
    };
    assert!(tells(7));
    daemon.edit("\"7s\"", "\"9s\"");
    daemon.signal("HUP");
    until("the grace of the reload", || tells(9));
}

/// Whether a signal of that number is caught by the process.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    let home = tempfile::tempdir().unwrap();
    // The program reads its configuration for as long as nobody writes it.
    let config = home.path().join("cim.toml");
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let mut command = Command::new(binary());
    command.env_clear().env("CIM_LEGACY_ROOT", home.path()).args(["run", "--config"]).arg(&config);
    let stderr = std::fs::File::create(home.path().join("stderr")).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    until("the handler", || catches(child.id(), 15));
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let text = format!(
        "nats.listen = \"127.0.0.1:0\"\napi.listen = \"127.0.0.1:0\"\nspool.dir = \"{0}/spool\"\n\
         identity = {{ namespace = \"ns1\", pod = \"pod-1\" }}\n",
        home.path().display()
    );
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&config).unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    let asked = Instant::now();
    let mut code = None;
    until("the end", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    let stderr = std::fs::read_to_string(home.path().join("stderr")).unwrap();
    assert_eq!(code.unwrap().code(), Some(0), "{stderr}");
    assert!(asked.elapsed() < Duration::from_secs(5) && stderr.contains("stopped"), "{stderr}");
}
