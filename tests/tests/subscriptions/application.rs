//! The program with a topic of events, and an application that subscribes: on NATS first, then over HTTP.

use cim_services::kafka::Group;
use cim_services::{Kafka, Outgoing};
use cim_testkit::notification_headers;
use cim_tests::rig::{Topics, settings};
use cim_tests::{Daemon, until};
use serde_json::Value;

/// Where subscriptions are.
pub const PATH: &str = "/api/v1/_operations/event/subscriptions";

/// A program, and the topic of its events.
pub struct Stage {
    pub daemon: Daemon,
    pub topic: String,
}

impl Stage {
    /// With a topic of one partition, as in the product; the application has registered.
    pub fn start(kafka: &Kafka) -> Self {
        Self::start_with(kafka, "", &[])
    }

    /// The same with more keys of `[subscriptions]`, and a topic with a configuration of its own.
    pub fn start_with(kafka: &Kafka, more: &str, configuration: &[(&str, &str)]) -> Self {
        let topics = Topics::unused();
        let topic = format!("fmaas-{}", topics.events);
        kafka.create_topic(&topics.events, 1);
        kafka.create_topic(&topics.logs, 1);
        kafka.create_topic_with(&topic, 1, configuration);
        let sinks = settings(&kafka.bootstrap(), &topics, "");
        // A group for each test: they share a broker.
        let pod = format!("[identity]\nnamespace = \"ns1\"\npod = \"{topic}\"\n");
        let daemon = Daemon::start(&format!("{sinks}[subscriptions]\ntopic = \"{topic}\"\n{more}{pod}"));
        assert!(daemon.register().starts_with("HTTP/1.1 200"));
        Self { daemon, topic }
    }

    /// Subscribes; returns the id once events are read.
    pub fn subscribe(&self, filter: &str) -> String {
        let id = self.create(filter);
        self.wait_for("reading");
        id
    }

    /// Subscribes.
    pub fn create(&self, filter: &str) -> String {
        let answer = self.daemon.call("POST", PATH, filter.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        json(&answer)["subscriptionId"].as_str().unwrap().to_owned()
    }

    /// Waits until the feed is in that state.
    pub fn wait_for(&self, state: &str) {
        cim_services::until(
            &format!("the feed to be {state}: {}", self.status()),
            std::time::Duration::from_secs(40),
            || self.status()["feed"] == state,
        );
    }

    /// The group in which it reads, which is called after its pod.
    pub fn group(&self, kafka: &Kafka) -> Group {
        kafka.group(&self.topic, &self.topic)
    }

    /// What the status page says.
    pub fn status(&self) -> Value {
        json(&self.daemon.get("/statusz").unwrap())["subscriptions"].clone()
    }

    /// Waits until so many records were read in the life of the process.
    pub fn wait_read(&self, records: u64) {
        until("records to be read", || {
            self.daemon.metric("cim_subscription_records_read_total") >= records as f64
        });
    }
}

/// The body of an answer.
pub fn json(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}")).1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A record as the fault management writes it.
pub fn event(name: &str, value: &str) -> Outgoing {
    Outgoing::new(&notification_headers(name), value.as_bytes())
}

/// So many of one name, numbered.
pub fn events(name: &str, numbers: std::ops::Range<usize>) -> Vec<Outgoing> {
    numbers.map(|number| event(name, &number.to_string())).collect()
}
