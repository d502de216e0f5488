//! `examples/clients/README.md`, done as it says, with the running program and a real broker: what a newcomer copies must
//! work as it stands.
//!
//! The blocks of that page are run by a shell, whole; only addresses, the topic and the folder for data are others, so that
//! tests may run side by side. Each application registers, logs, raises events, takes its first configuration and changes of it,
//! hears of events of others, goes on when CIM is killed, and ends when CIM is told to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cim_services::{Kafka, Process, free_port, has_program};
use cim_tests::rig::Topics;
use cim_tests::{Daemon, skip, until};

/// The page.
const README: &str = include_str!("../../examples/clients/README.md");
/// Longest wait for an application that has to be built first, with libraries that have to be fetched.
const BUILD: Duration = Duration::from_secs(900);
/// Folder, ports and topic of the page.
const DATA: &str = "/tmp/cim-clients";
const BROKER: &str = "localhost:9092";
const TOPIC: &str = "FMAASEVENTS";

/// The block of the page behind these words, which stand there once.
fn block(words: &str) -> &'static str {
    let (_, rest) = README.split_once(words).unwrap_or_else(|| panic!("the page does not say `{words}`"));
    assert!(!rest.contains(words), "`{words}` stands there twice");
    let (_, block) = rest.split_once("\n```").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    // Behind the name of its language.
    block.split_once('\n').unwrap().1
}

/// A language, as the page names it, and what it needs.
struct Language {
    name: &'static str,
    programs: &'static [&'static str],
}

const PYTHON: Language = Language { name: "Python", programs: &["python3"] };
const GO: Language = Language { name: "Go", programs: &["go"] };
const JAVA: Language = Language { name: "Java", programs: &["java", "javac", "mvn"] };
const RUST: Language = Language { name: "Rust", programs: &["cargo"] };

impl Language {
    /// The words before its block.
    fn words(&self) -> String {
        format!("\n{}:\n", self.name)
    }

    fn can_be_built(&self) -> bool {
        let missing = self.programs.iter().find(|program| !has_program(program));
        if let Some(program) = missing {
            skip(&format!("no {program}: the example in {} cannot be built", self.name));
        }
        missing.is_none()
    }

    /// A copy of the folder of the page, which is built in; it is kept, so that later runs are quick.
    fn folder(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(self.name);
        std::fs::create_dir_all(&folder).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/clients/.");
        // With their times: what was built of them is not built again.
        let copied = Command::new("cp").arg("-Rp").arg(source).arg(&folder).status().unwrap();
        assert!(copied.success());
        folder
    }
}

/// The program, the application beside it, and the broker with the events of others.
struct Pod {
    daemon: Daemon,
    app: Process,
    port: u16,
    kafka: &'static Kafka,
    topic: String,
}

impl Pod {
    fn start(language: &Language) -> Option<Self> {
        let kafka = Kafka::shared().filter(|_| language.can_be_built())?;
        let topic = Topics::unused().events;
        kafka.create_topic(&topic, 1);
        let port = free_port().unwrap().port();
        let settings = include_str!("../../examples/clients/cim.toml").replace(DATA, "{home}");
        let broker = block("as one more sink in `cim.toml`").replace(BROKER, &kafka.bootstrap());
        let settings = format!(
            "{}{broker}\n[subscriptions]\ntopic = \"{topic}\"\ngroup = \"{topic}\"\n\
             [lifecycle]\ntermination_log = \"{{home}}/last-word\"\n",
            settings.replace("localhost:9999", &format!("localhost:{port}")),
        );
        let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), &settings, |home| {
            let script = block("CIM, in this folder").replace(DATA, &home.display().to_string());
            Daemon::shell(home, &script.replace("\ncim run", "\nexec cim run")).spawn().unwrap()
        });
        let arguments = [
            format!("--chdir={}", language.folder().display()),
            // Each is built in a folder of its own, whatever this test was built in, and sooner without symbols.
            "--unset=CARGO_TARGET_DIR".to_owned(),
            "CARGO_PROFILE_DEV_DEBUG=0".to_owned(),
            format!("NATS_URL=nats://{}", daemon.nats()),
            format!("CIM_URL=http://{}", daemon.api()),
            format!("PORT={port}"),
            "CONTAINER_ID=c1".to_owned(),
            "sh".to_owned(),
            "-ec".to_owned(),
            block(&language.words()).to_owned(),
        ];
        let log = daemon.home().join("application.log");
        let app = Process::start("the application", Path::new("env"), &arguments, &log);
        let mut pod = Self { daemon, app, port, kafka, topic };
        pod.wait_built();
        Some(pod)
    }

    /// Waits until the application is built and has registered.
    fn wait_built(&mut self) {
        cim_services::until("the application is built", BUILD, || {
            let ended = self.app.ended();
            assert!(ended.is_none(), "{ended:?}: {}", self.app.last_words());
            self.file("application.log").contains("registered: ")
        });
    }

    /// What a block of the page says, with `more` replaced in it.
    fn run(&self, words: &str, more: &[(&str, &str)]) -> String {
        let data = self.daemon.home().display().to_string();
        let (broker, port) = (self.kafka.bootstrap(), format!("localhost:{}", self.port));
        let own: [(&str, &str); 4] =
            [(DATA, &data), (BROKER, &broker), (TOPIC, &self.topic), ("localhost:9999", &port)];
        let replaced = |script: String, (from, to): &(&str, &str)| script.replace(from, to);
        let script = own.iter().chain(more).fold(block(words).to_owned(), replaced);
        let mut shell = Daemon::shell(self.daemon.home(), &script);
        let output = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
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
        let text = self.file(LOGS);
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
        self.until(event, || self.file(EVENTS).contains(&name));
    }

    /// Another greeting is asked for, said, and told to the source as applied.
    fn change(&self, revision: u32, words: &str) {
        let said = self.run("A change of the configuration", &[("good evening", words)]);
        assert!(said.contains("application  registered"), "{said}");
        let result = format!("store/commit-config/demo/greeter/v0/ms/{POD}");
        self.until("the result is stored", || self.file(&result) == revision.to_string());
        self.greets(words);
    }

    /// An event of another is told to the application, which asked for events of that name.
    fn notify(&self, text: &str) {
        self.run("and an event of another", &[(HELLO, text)]);
        let line = format!("notified: {text}");
        self.until(&line, || self.file("application.log").lines().any(|said| said == line));
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

/// The pod of `cim.toml`, and what it delivers.
const POD: &str = "demo-0";
const LOGS: &str = "logs/demo-0_demo_greeter-c1.log";
const EVENTS: &str = "logs/demo-0_demo_events.jsonl";
/// What the page has another say.
const HELLO: &str = "hello from another";

fn works(language: &Language) {
    let Some(mut pod) = Pod::start(language) else { return };
    pod.greets("hello");
    pod.raised("Configured");
    pod.raised("Greeted");
    pod.change(1, "good evening");
    pod.until("the subscription", || pod.file("application.log").contains("\nsubscribed: "));
    pod.notify(HELLO);

    let before = pod.last_number();
    pod.daemon.kill_and_restart();
    pod.until("greetings after the restart", || pod.last_number() > before + 1);
    pod.change(2, "good night");
    pod.notify("hello again");
    assert!(pod.daemon.books_balance());
    assert!(pod.daemon.metric("cim_records_refused_total") < 0.5);

    pod.end();
    pod.raised("ShutdownSuccess");
    assert!(pod.file(LOGS).ends_with("[-]-goodbye\n"));
    // What was accepted is there in order; what was in flight at the kill may be there twice.
    let mut next = 1;
    for (words, number) in pod.greetings() {
        assert!(number <= next, "greeting {next} is missing before `{words} {number}`");
        next = next.max(number + 1);
    }
}

#[test]
fn every_block_of_the_page_is_run_by_these_tests() {
    let languages = [PYTHON, GO, JAVA, RUST].map(|language| block(&language.words()));
    let others =
        ["CIM, in this folder", "as one more sink", "A change of the configuration", "and an event of"];
    let run: std::collections::BTreeSet<&str> = languages.into_iter().chain(others.map(block)).collect();
    assert_eq!(run.len(), 8, "two are one");
    assert_eq!(README.matches("\n```").count(), 2 * run.len());
}

#[test]
fn the_example_in_go_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(&GO);
}

#[test]
fn the_example_in_java_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(&JAVA);
}

#[test]
fn the_example_in_python_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(&PYTHON);
}

#[test]
fn the_example_in_rust_works_beside_cim_and_goes_on_when_it_is_killed() {
    works(&RUST);
}
