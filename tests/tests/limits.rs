//! The program where the system gives little: descriptors, file size, memory, processor, threads, rights, and a wall clock
//! that jumps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::net::TcpStream;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cim_testkit::null_broker::NullBroker;
use cim_tests::{Daemon, binary, skip, until};

const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

/// A control group of its own with one limit; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(controller: &str, settings: &[(&str, &str)]) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let parent = Path::new("/sys/fs/cgroup").join(controller);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("cim-test-{}-{controller}-{count}", std::process::id()));
        let group = Self(dir);
        let made = std::fs::create_dir(&group.0).and_then(|()| {
            settings.iter().try_for_each(|(name, value)| std::fs::write(group.0.join(name), value))
        });
        if let Err(error) = made {
            skip(&format!("no control group {controller} can be made here (needs root): {error}"));
            return None;
        }
        Some(group)
    }

    /// Starts the program inside.
    fn start(&self, settings: &str) -> Daemon {
        let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        Daemon::start_in(tempfile::tempdir().unwrap(), settings, |home| {
            Daemon::spawn_under(home, &["/bin/sh", "-c", &enter, "sh"])
        })
    }

    fn value(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group goes when its last process is reaped, which may be a moment later.
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.0.exists() && std::fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

fn publish(daemon: &Daemon, from: usize, to: usize) {
    let mut wire = daemon.connect();
    for n in from..to {
        wire.publish("LOG", format!("line {n}").as_bytes());
    }
    wire.flush();
}

/// Everything up to `to` is delivered, in order and once.
fn delivered(daemon: &Daemon, to: usize) {
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap();
    let expected: Vec<_> = (0..to).map(|n| format!("line {n}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn without_descriptors_connections_wait_and_those_that_are_open_are_served() {
    let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), FILES, |home| {
        Daemon::spawn_under(home, &["prlimit", "--nofile=64"])
    });
    publish(&daemon, 0, 10);
    let mut wire = daemon.connect();
    let waiting: Vec<_> = (0..200).map(|_| TcpStream::connect(daemon.nats()).unwrap()).collect();
    for n in 10..110 {
        wire.publish("LOG", format!("line {n}").as_bytes());
        wire.flush();
    }
    drop(waiting);
    until("room for others", || daemon.metric("cim_nats_connections") < 1.5);
    // Served again, and the API with them.
    publish(&daemon, 110, 120);
    delivered(&daemon, 120);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_of_the_disk_and_no_death() {
    let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), FILES, |home| {
        Daemon::spawn_under(home, &["prlimit", "--fsize=262144"])
    });
    // More than the spool may write into one segment; the file sink stays below the limit.
    let (mut wire, padding) = (daemon.connect(), "x".repeat(100));
    for part in 0..20 {
        for n in 0..100 {
            wire.publish("LOG", format!("line {} {padding}", part * 100 + n).as_bytes());
        }
        wire.flush();
    }
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap();
    let expected: Vec<_> = (0..2000).map(|n| format!("line {n} {padding}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_thousand_clients_and_a_dead_sink_fit_into_64_mebibytes() {
    let Some(group) = Group::new("memory", &[("memory.limit_in_bytes", "67108864")]) else { return };
    let daemon = group.start(&FILES.replace("{home}/logs", "/proc/stuck"));
    let mut clients: Vec<_> = (0..1000).map(|_| daemon.connect()).collect();
    let line = "x".repeat(1000);
    for client in &mut clients {
        for _ in 0..100 {
            client.publish("LOG", line.as_bytes());
        }
    }
    clients.iter_mut().for_each(cim_tests::Wire::flush);
    assert!((daemon.metric("cim_records_accepted_total") - 100_000.0).abs() < 0.5);
    assert!(daemon.books_balance());
    let killed = group.value("memory.oom_control");
    assert!(killed.contains("oom_kill 0"), "{killed}");
}

#[test]
fn a_twentieth_of_a_processor_is_slow_and_loses_nothing() {
    let Some(group) = Group::new("cpu", &[("cpu.cfs_period_us", "100000")]) else { return };
    let daemon = group.start(FILES);
    std::fs::write(group.0.join("cpu.cfs_quota_us"), "5000").unwrap();
    let asked = Instant::now();
    publish(&daemon, 0, 5000);
    assert!(asked.elapsed() < Duration::from_secs(5), "PONG took {:?}", asked.elapsed());
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    std::fs::write(group.0.join("cpu.cfs_quota_us"), "-1").unwrap();
    delivered(&daemon, 5000);
}

#[test]
fn without_threads_the_start_fails_and_says_why() {
    let Some(group) = Group::new("pids", &[("pids.max", "1")]) else { return };
    let home = tempfile::tempdir().unwrap();
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let output = Command::new("/bin/sh")
        .args(["-c", &enter, "sh"])
        .arg(binary())
        .arg("run")
        .env_clear()
        .env("CIM__NATS__LISTEN", "127.0.0.1:0")
        .env("CIM__API__LISTEN", "127.0.0.1:0")
        .current_dir(home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("thread"), "{text}");
}

#[test]
fn a_thread_that_the_system_does_not_give_at_first_is_asked_for_again() {
    let Some(group) = Group::new("pids", &[]) else { return };
    let broker = NullBroker::start(&[("LOGS", 1), ("EVENT", 1)]).unwrap();
    let daemon = group.start(
        "spool.dir = \"{home}/spool\"\n[sinks.broker]\ntype = \"null\"\n[routes.logs]\nsink = \"broker\"\n\
         [routes.events]\nsink = \"broker\"\n",
    );
    std::fs::write(group.0.join("pids.max"), group.value("pids.current")).unwrap();
    // The sink that comes with it is the first that needs a thread.
    let kafka = format!("type = \"kafka\"\nbrokers = [\"{}\"]", broker.address());
    daemon.reload("type = \"null\"", &kafka);
    publish(&daemon, 0, 100);
    until("the status page to tell of the thread", || {
        daemon
            .get("/statusz")
            .is_some_and(|page| page.contains("cannot start the thread of the kafka client"))
    });
    std::fs::write(group.0.join("pids.max"), "max").unwrap();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    assert!((daemon.metric("cim_records_delivered_total") - 100.0).abs() < 0.5);
}

#[test]
fn an_ordinary_user_without_home_writes_the_spool_and_the_logs_only() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The folder of the build may be closed to others. Another process copies: what this one has open for writing, a child
    // that a neighbour starts just then has open as well, and nobody can run it.
    let program = home.path().join("cim");
    assert!(Command::new("cp").arg(binary()).arg(&program).status().unwrap().success());
    for dir in ["spool", "logs"] {
        std::fs::create_dir(home.path().join(dir)).unwrap();
        if chown(home.path().join(dir), Some(65534), Some(65534)).is_err() {
            return skip("the user cannot be changed here (needs root)");
        }
    }
    let ids = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "env"];
    let daemon =
        Daemon::start_in(home, FILES, |home| Daemon::spawn_program_under(home, &home.join("cim"), &ids));
    publish(&daemon, 0, 100);
    delivered(&daemon, 100);
    let outside: Vec<_> = std::fs::read_dir(daemon.home()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 6, "more than configuration, program, output, spool and logs: {outside:?}");
}

/// Builds the library that shifts the wall clock of a program by the nanoseconds that a file holds.
fn clock_shim(home: &Path) -> Option<PathBuf> {
    let library = home.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shims/clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    if built.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    skip("no C compiler: the wall clock of the program cannot be shifted");
    None
}

#[test]
fn a_wall_clock_that_jumps_loses_and_delays_nothing() {
    let home = tempfile::tempdir().unwrap();
    let Some(library) = clock_shim(home.path()) else { return };
    let offset = home.path().join("offset");
    std::fs::write(&offset, [0; 8]).unwrap();
    let preload = format!("LD_PRELOAD={}", library.display());
    let file = format!("CIM_TEST_CLOCK={}", offset.display());
    let daemon = Daemon::start_in(home, FILES, |home| Daemon::spawn_under(home, &["env", &preload, &file]));
    let hour = 3_600_000_000_000i64;
    let file = std::fs::OpenOptions::new().write(true).open(&offset).unwrap();
    let mut wire = daemon.connect();
    // Ahead, back behind the start, to the first day of 1970, and to the present again.
    for (part, shift) in [0, hour, -hour, -497_000 * hour, 0].into_iter().enumerate() {
        file.write_all_at(&shift.to_ne_bytes(), 0).unwrap();
        let asked = Instant::now();
        for n in part * 100..(part + 1) * 100 {
            wire.publish("LOG", format!("line {n}").as_bytes());
        }
        wire.flush();
        until("delivery", || daemon.metric("cim_records_held") < 0.5);
        assert!(asked.elapsed() < Duration::from_secs(5), "shifted by {shift} ns: {:?}", asked.elapsed());
    }
    let first = std::fs::read_to_string(daemon.home().join("stderr")).unwrap();
    assert!(!first.contains("ERROR"), "{first}");
    delivered(&daemon, 500);
}
