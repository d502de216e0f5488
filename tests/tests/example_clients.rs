//! The applications of `examples/clients` against the running program: what a newcomer copies must work as it stands.
//!
//! `scripts/tools` builds them. Each registers, logs, raises events, takes its first configuration and changes of it, and
//! goes on when CIM is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_services::{Process, free_port};
use cim_tests::{Daemon, skip, tool, until};

/// The languages.
#[derive(Clone, Copy)]
enum Language {
    Go,
    Java,
    Python,
    Rust,
}

impl Language {
    /// Its program and arguments; `None`, after `skipped:` was said, where it could not be built.
    fn command(self) -> Option<Vec<PathBuf>> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/clients");
        let (name, needed, words) = match self {
            Self::Go => ("Go", tool("bin/cim-go-greeter"), vec![tool("bin/cim-go-greeter")]),
            Self::Rust => ("Rust", tool("bin/cim-rust-greeter"), vec![tool("bin/cim-rust-greeter")]),
            Self::Java => {
                let home = tool("java-greeter");
                let path = format!("{0}:{0}/*", home.display());
                let words = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", &path, "Greeter"];
                ("Java", home.join("Greeter.class"), words.map(PathBuf::from).to_vec())
            }
            Self::Python => {
                let words = vec![tool("venv/bin/python"), source.join("python/greeter.py")];
                ("Python", tool("venv/python-greeter"), words)
            }
        };
        if !needed.exists() {
            skip(&format!("the example in {name} is not built (no toolchain or no registry)"));
            return None;
        }
        Some(words)
    }
}

/// The program and the application beside it.
struct Pod {
    daemon: Daemon,
    app: Process,
    port: u16,
}

impl Pod {
    fn start(language: Language) -> Option<Self> {
        let command = language.command()?;
        let port = free_port().unwrap().port();
        let daemon = Daemon::start(&format!(
            "application.url = \"http://localhost:{port}\"\nspool.dir = \"{{home}}/spool\"\n\
             [configuration]\nsource = \"file\"\nfile.dir = \"{{home}}/store\"\nnf_revision = \"0\"\n\
             [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"greeter\"\nversion = \"v1\"\n\
             [sinks.files]\ntype = \"file\"\ndir = \"{{home}}/logs\"\n\
             [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n"
        ));
        put(&daemon, "config/ns1/greeter/0", r#"{"greeter.json":{"greeting":"hello"}}"#);
        let mut arguments = vec![
            format!("NATS_URL=nats://{}", daemon.nats()),
            format!("CIM_URL=http://{}", daemon.api()),
            format!("PORT={port}"),
            "CONTAINER_ID=c1".to_owned(),
        ];
        arguments.extend(command.iter().map(|word| word.to_str().unwrap().to_owned()));
        let log = daemon.home().join("application.log");
        let app = Process::start("the application", Path::new("env"), &arguments, &log);
        Some(Self { daemon, app, port })
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.daemon.home().join(name)).unwrap_or_default()
    }

    /// Polls; says what the application said when that was in vain.
    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(what, condition)));
        assert!(found.is_ok(), "{what}: the application said: {}", self.app.last_words());
    }

    /// Greetings that arrived: their words and numbers.
    fn greetings(&self) -> Vec<(String, u64)> {
        let text = self.file("logs/pod-1_ns1_greeter-c1.log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let words = whole.lines().filter_map(|line| line.rsplit_once("[-]-")?.1.rsplit_once(' '));
        words.filter_map(|(words, number)| Some((words.to_owned(), number.parse().ok()?))).collect()
    }

    fn last_number(&self) -> u64 {
        self.greetings().last().map_or(0, |(_, number)| *number)
    }

    fn greets(&self, words: &str) {
        self.until(words, || self.greetings().iter().any(|(said, _)| said == words));
    }

    fn raised(&self, event: &str) {
        let name = format!("\"eventName\":\"{event}\"");
        self.until(event, || self.file("logs/pod-1_ns1_events.jsonl").contains(&name));
    }

    /// Another greeting is asked for, said, and told to the source as applied.
    fn change(&self, revision: u32, words: &str) {
        let patch = format!(r#"[{{"op":"replace","path":"/greeting","value":"{words}"}}]"#);
        put(&self.daemon, &format!("change-set/ns1/greeter/v1/ms/greeter.json/{revision}"), &patch);
        let result = "store/commit-config/ns1/greeter/v1/ms/pod-1";
        self.until("the result is stored", || self.file(result) == revision.to_string());
        self.greets(words);
    }

    /// Asks the application to end, as CIM does before it ends itself.
    fn shut_down(&mut self) {
        let mut stream = TcpStream::connect(("localhost", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let path = "/api/v1/_operations/shutdown";
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        until("the application ends", || self.app.ended().is_some());
        assert!(self.app.ended().unwrap().success(), "{}", self.app.last_words());
    }
}

/// Writes a key of the source, whole.
fn put(daemon: &Daemon, key: &str, value: &str) {
    let path = daemon.home().join("store").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fresh = path.with_file_name(".fresh");
    std::fs::write(&fresh, value).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

fn works(language: Language) {
    let Some(mut pod) = Pod::start(language) else { return };
    pod.greets("hello");
    pod.raised("Configured");
    pod.raised("Greeted");
    pod.change(1, "good evening");

    let before = pod.last_number();
    pod.daemon.kill_and_restart();
    pod.until("greetings after the restart", || pod.last_number() > before + 1);
    pod.change(2, "good night");

    pod.shut_down();
    pod.raised("ShutdownSuccess");
    pod.until("the last line", || pod.file("logs/pod-1_ns1_greeter-c1.log").contains("[-]-goodbye\n"));
    // What was accepted is there in order; what was in flight at the kill may be there twice.
    let mut next = 1;
    for (words, number) in pod.greetings() {
        assert!(number <= next, "greeting {next} is missing before `{words} {number}`");
        next = next.max(number + 1);
    }
    assert!(pod.daemon.books_balance());
    assert!(pod.daemon.metric("cim_records_refused_total") < 0.5);
    let heard = pod.file("application.log");
    assert!(heard.contains("registered: "), "{heard}");
    if heard.contains("not subscribed: CIM answered 404") {
        let _ = std::io::stderr().write_all(b"\nnote: event subscriptions are not served by this build\n");
    } else {
        assert!(heard.contains("\nsubscribed: "), "{heard}");
    }
}

#[test]
fn the_example_in_go_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(Language::Go);
}

#[test]
fn the_example_in_java_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(Language::Java);
}

#[test]
fn the_example_in_python_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(Language::Python);
}

#[test]
fn the_example_in_rust_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(Language::Rust);
}
