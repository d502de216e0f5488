//! Apache Kafka (KRaft): one broker or several, each a process of its own.
//!
//! Owns the cluster as a test sees it. Left out: how it is started ([`KafkaPlan`]), what one broker can do ([`Broker`]).
//! Invariant: a method that changes the cluster returns when the cluster answers accordingly.

mod admin;
mod broker;
mod group;
mod jars;
mod listener;
mod plan;
mod produce;
mod records;
mod wire;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use admin::Partition;
pub use broker::Broker;
pub use group::{Group, Member};
pub use jars::Version;
pub use listener::Listener;
pub use plan::KafkaPlan;
pub use produce::Outgoing;
pub use records::Record;

use crate::home::Home;
use crate::{Identity, until};

/// Longest wait for a broker: the JVM starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running cluster.
#[derive(Debug)]
pub struct Kafka {
    /// Processes before their directory: fields are dropped in this order.
    brokers: Vec<Broker>,
    home: Arc<Home>,
}

impl Kafka {
    /// One broker of the current version. `None` when Kafka is not installed, after `skipped:` was said.
    #[must_use]
    pub fn single() -> Option<Self> {
        KafkaPlan::new().start()
    }

    /// So many brokers; topics are replicated three times and need two replicas in sync.
    #[must_use]
    pub fn cluster(brokers: usize) -> Option<Self> {
        KafkaPlan::new().brokers(brokers).start()
    }

    /// One broker for all tests of a program, started by the first that asks. Tests use topics of their own, and do not
    /// make this broker fail.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        SHARED.get_or_init(Self::single).as_ref()
    }

    fn new(brokers: Vec<Broker>, home: Arc<Home>) -> Self {
        Self { brokers, home }
    }

    /// Broker number `index`, from 0.
    #[must_use]
    pub fn broker(&self, index: usize) -> &Broker {
        &self.brokers[index]
    }

    /// All brokers.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// Addresses of the plain listeners, as clients want them: `host:port,host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses(Listener::Plain)
    }

    /// Addresses of one kind of listener, as clients want them.
    #[must_use]
    pub fn addresses(&self, listener: Listener) -> String {
        let addresses = self.brokers.iter().map(|broker| broker.address(listener).to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The directory of data, logs and properties.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What the brokers of the TLS listeners show from their next start.
    pub fn set_identity(&self, identity: &Identity) {
        std::fs::write(plan::keystore(&self.home), identity.pem()).expect("the keystore");
    }

    /// Sends SIGKILL to every broker.
    pub fn kill_all(&self) {
        self.brokers.iter().for_each(Broker::kill);
    }

    /// Starts every broker that does not run, and waits until each knows all of them.
    pub fn restart_all(&self) {
        self.brokers.iter().for_each(Broker::launch);
        self.wait_ready();
    }

    /// Waits until every broker knows all of them.
    fn wait_ready(&self) {
        for broker in &self.brokers {
            until(&format!("broker {} knows all brokers", broker.id()), PATIENCE, || {
                broker.assert_runs();
                broker.known_brokers().is_some_and(|known| known.len() == self.brokers.len())
            });
        }
    }
}
