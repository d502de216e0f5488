//! The applications of `examples/clients` against the running program: what a newcomer copies must work as it stands.
//!
//! `scripts/tools` builds them. Each registers, logs, raises events, takes its first configuration and changes of it, hears of
//! events of others from a real broker, goes on when CIM is killed, and ends when CIM is told to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::{Path, PathBuf};

use cim_services::{Kafka, Outgoing, Process, free_port};
use cim_tests::rig::Topics;
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

/// The program, the application beside it, and the broker with the events of others.
struct Pod {
    daemon: Daemon,
    app: Process,
    kafka: &'static Kafka,
    topic: String,
}

impl Pod {
    fn start(language: Language) -> Option<Self> {
        let (command, kafka) = (language.command()?, Kafka::shared()?);
        let topic = Topics::unused().events;
        kafka.create_topic(&topic, 1);
        let port = free_port().unwrap().port();
        let daemon = Daemon::start(&format!(
            "application.url = \"http://localhost:{port}\"\nspool.dir = \"{{home}}/spool\"\n\
             [configuration]\nsource = \"file\"\nfile.dir = \"{{home}}/store\"\nnf_revision = \"0\"\n\
             [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"greeter\"\nversion = \"v1\"\n\
             [sinks.files]\ntype = \"file\"\ndir = \"{{home}}/logs\"\n\
             [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n\
             [sinks.broker]\ntype = \"kafka\"\nbrokers = [\"{}\"]\n\
             [subscriptions]\ntopic = \"{topic}\"\ngroup = \"{topic}\"\n\
             [lifecycle]\ntermination_log = \"{{home}}/last-word\"\n",
            kafka.bootstrap(),
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
        Some(Self { daemon, app, kafka, topic })
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

    /// The application prints a line.
    fn says(&self, line: &str) {
        self.until(line, || self.file("application.log").lines().any(|said| said == line));
    }

    /// An event of another is told to the application, which asked for events of that name; one of another name is not.
    fn notify(&self, text: &str) {
        let record = |name, value: &str| {
            let headers = [("localEventName", name), ("localNfID", "other-1"), ("replay", "false")];
            Outgoing::new(&headers, value.as_bytes())
        };
        self.kafka.produce(&self.topic, &[record("Ignored", "not asked for"), record("Greeted", text)]);
        self.says(&format!("notified: {text}"));
    }

    /// CIM is told to end: it tells the application, takes its last words, and both are gone.
    fn end(&mut self) {
        std::fs::write(self.daemon.home().join("last-word"), "").unwrap();
        self.daemon.signal("TERM");
        assert_eq!(self.daemon.ended(), Some(0), "{}", self.daemon.stderr());
        until("the application ends", || self.app.ended().is_some());
        assert!(self.app.ended().unwrap().success(), "{}", self.app.last_words());
        let word = self.daemon.last_word();
        for left_over in ["held", "dropped", "dead_letters", "spilled"] {
            assert_eq!(word[left_over], 0, "{word}");
        }
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
    pod.until("the subscription", || pod.file("application.log").contains("\nsubscribed: "));
    pod.notify("before the kill");

    let before = pod.last_number();
    pod.daemon.kill_and_restart();
    pod.until("greetings after the restart", || pod.last_number() > before + 1);
    pod.change(2, "good night");
    pod.notify("after the kill");
    assert!(pod.daemon.books_balance());
    assert!(pod.daemon.metric("cim_records_refused_total") < 0.5);

    pod.end();
    pod.raised("ShutdownSuccess");
    assert!(pod.file("logs/pod-1_ns1_greeter-c1.log").ends_with("[-]-goodbye\n"));
    // What was accepted is there in order; what was in flight at the kill may be there twice.
    let mut next = 1;
    for (words, number) in pod.greetings() {
        assert!(number <= next, "greeting {next} is missing before `{words} {number}`");
        next = next.max(number + 1);
    }
    let heard = pod.file("application.log");
    assert!(heard.contains("registered: "), "{heard}");
    assert!(!heard.contains("not asked for"), "{heard}");
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
