//! Topics, groups, rights and users.
//!
//! Owns the words of `admin.py`, which speaks to the cluster with a client that is not ours. Invariant: a method returns
//! when the cluster answers accordingly, and fails the test when it refuses.

use std::process::Command;

use serde_json::{Value, json};

use super::{Group, Kafka};
use crate::tool;

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: usize,
    /// Index of the broker that leads it, as [`Kafka::broker`] takes it; `None` when nobody does.
    pub leader: Option<usize>,
    /// How many replicas are in sync.
    pub in_sync: usize,
}

impl Kafka {
    /// Makes a topic, replicated on up to three brokers.
    pub fn create_topic(&self, name: &str, partitions: usize) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Makes a topic with a configuration of its own.
    pub fn create_topic_with(&self, name: &str, partitions: usize, configuration: &[(&str, &str)]) {
        let replicas = self.brokers.len().min(3);
        let config = object(configuration);
        self.admin(json!({"do": "create", "topic": name, "partitions": partitions, "replicas": replicas, "config": config}));
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) {
        self.admin(json!({"do": "delete", "topic": name}));
    }

    /// Removes the records of its first partition below that offset.
    pub fn truncate_topic(&self, name: &str, before: u64) {
        self.admin(json!({"do": "truncate", "topic": name, "before": before}));
    }

    /// Gives a topic more partitions.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        self.admin(json!({"do": "grow", "topic": name, "partitions": partitions}));
    }

    /// Changes settings of a topic.
    pub fn alter_topic(&self, name: &str, configuration: &[(&str, &str)]) {
        self.admin(json!({"do": "alter", "topic": name, "config": object(configuration)}));
    }

    /// Where the partitions of a topic stand.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        let answer = self.admin(json!({"do": "describe", "topic": topic}));
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let partition = |value: &Value| Partition {
            number: number(&value["partition"]).expect("a number"),
            leader: number(&value["leader"]).map(|id| id - 1),
            in_sync: number(&value["in_sync"]).expect("a number"),
        };
        answer.as_array().expect("a list of partitions").iter().map(partition).collect()
    }

    /// How a group of consumers is doing, and how far it has read a topic.
    #[must_use]
    pub fn group(&self, group: &str, topic: &str) -> Group {
        let answer = self.admin(json!({"do": "group", "group": group, "topic": topic}));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| answer[name].as_array().expect("a list").iter();
        Group {
            state: text(&answer["state"]),
            strategy: text(&answer["strategy"]),
            members: list("members").map(text).collect(),
            committed: list("committed").map(Value::as_u64).collect(),
        }
    }

    /// Allows a user an operation (`write`, `describe`, `idempotent_write` …) on a topic.
    pub fn allow(&self, user: &str, operation: &str, topic: &str) {
        self.admin(json!({"do": "allow", "user": user, "operation": operation, "topic": topic}));
    }

    /// Takes back what [`Kafka::allow`] allowed.
    pub fn forbid(&self, user: &str, operation: &str, topic: &str) {
        self.admin(json!({"do": "forbid", "user": user, "operation": operation, "topic": topic}));
    }

    /// Makes a user for SCRAM-SHA-256 and SCRAM-SHA-512, or changes the password of one.
    pub fn set_scram_user(&self, user: &str, password: &str) {
        self.admin(json!({"do": "scram", "user": user, "password": password}));
    }

    /// Lets every client produce so many bytes per second and no more, or takes that back. With the program of Kafka: the other
    /// client cannot ask for it.
    pub fn limit_producers(&self, bytes_per_second: Option<u32>) {
        let change = bytes_per_second.map_or_else(
            || ["--delete-config".to_owned(), "producer_byte_rate".to_owned()],
            |rate| ["--add-config".to_owned(), format!("producer_byte_rate={rate}")],
        );
        let mut command = Command::new("java");
        command.args(super::Version::Current.class_path()).arg("kafka.admin.ConfigCommand");
        command.args(["--bootstrap-server", &self.bootstrap(), "--alter"]).args(change);
        command.args(["--entity-type", "clients", "--entity-default"]);
        let output = command.output().expect("java runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn admin(&self, request: Value) -> Value {
        // The script itself and not its path: checkouts may share what was built.
        let script = include_str!("../../admin.py");
        let mut command = Command::new(tool("venv/bin/python"));
        command.args(["-c", script]).arg(self.bootstrap()).arg(request.to_string());
        let output = command.output().expect("python runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{request}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

fn object(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
