//! Groups of consumers, as the broker knows them, and members of them that are not ours.
//!
//! Owns the words of `member.py`. Left out: the questions themselves ([`Kafka::group`] asks through `admin.py`). Invariant: a
//! member is gone when it is dropped, without having left its group.

use std::path::PathBuf;
use std::time::Duration;

use crate::home::Home;
use crate::process::Process;
use crate::tool;

use super::Kafka;

/// A group, as the broker tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `STABLE`, `EMPTY`, `PREPARING_REBALANCING` …
    pub state: String,
    /// How partitions are shared out: `range`, `cooperative-sticky` …
    pub strategy: String,
    /// What each member is called that keeps its place over a restart; the others are empty texts.
    pub members: Vec<String>,
    /// For each partition of the topic the offset that is read next; `None` where nothing was committed.
    pub committed: Vec<Option<u64>>,
}

/// A member of a group that is not ours.
#[derive(Debug)]
pub struct Member {
    process: Process,
    log: PathBuf,
    /// Kept until the process has ended.
    _home: Home,
}

impl Member {
    /// Joins; partitions are shared out by that strategy.
    #[must_use]
    pub fn join(kafka: &Kafka, group: &str, topic: &str, strategy: &str) -> Self {
        let home = Home::new();
        let log = home.path().join("log");
        let brokers = kafka.bootstrap();
        let arguments = ["-c", include_str!("../../member.py"), &brokers, group, topic, strategy];
        let arguments = arguments.map(str::to_owned);
        let process = Process::start("member of a group", &tool("venv/bin/python"), &arguments, &log);
        Self { process, log, _home: home }
    }

    /// Partitions that it was given, over its whole life.
    #[must_use]
    pub fn assigned(&self) -> usize {
        self.lines("assigned ").filter_map(|count| count.parse::<usize>().ok()).sum()
    }

    /// The values of the records it has read and committed.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        self.lines("value ").collect()
    }

    fn lines(&self, prefix: &'static str) -> impl Iterator<Item = String> + use<> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix(prefix).map(str::to_owned)).collect();
        lines.into_iter()
    }

    /// Leaves the group; what it read in its life.
    #[must_use]
    pub fn leave(mut self) -> Vec<String> {
        self.process.terminate(Duration::from_secs(20));
        self.values()
    }

    /// Dies without a word; what it read in its life.
    #[must_use]
    pub fn kill(mut self) -> Vec<String> {
        self.process.kill();
        self.values()
    }
}
