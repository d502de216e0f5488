//! Real servers for tests and benches: started on free ports, with data in a directory that goes away, stopped by process.
//!
//! ```ignore
//! let Some(kafka) = Kafka::single() else { return }; // has said `skipped: why`
//! kafka.create_topic("LOGS", 10);
//! kafka.broker(0).kill();
//! kafka.broker(0).restart();
//! let records = kafka.records("LOGS"); // read by kcat
//! ```
//!
//! Owns how a server is got, started, made to fail, asked and ended. Left out: what a test expects, and the program under
//! test. Invariant: no server outlives the test program, however that ends, and a signal goes to a process number that this
//! crate started, to nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "test code: a failed step is the failure, and the environment says where the tools are"
)]

mod certificate;
pub mod etcd;
mod home;
pub mod kafka;
pub mod kubernetes;
mod nats;
mod nats_accounts;
mod ports;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use certificate::{Authority, Identity};
pub use etcd::{Etcd, EtcdPlan, EtcdVersion};
pub use home::Home;
pub use kafka::{Broker, Kafka, KafkaPlan, Outgoing, Record, Version};
pub use kubernetes::Kubernetes;
pub use nats::NatsServer;
pub use nats_accounts::NatsAccounts;
pub use ports::free_port;
pub use process::Process;

/// A file in the folder of installed tools: `CIM_CACHE`, else `~/.cache/cim`. `scripts/tools` fills it.
#[must_use]
pub fn tool(path: &str) -> PathBuf {
    let cache = std::env::var_os("CIM_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/cim"),
        PathBuf::from,
    );
    cache.join(path)
}

/// Whether a program is on the search path.
#[must_use]
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Polls until the condition holds, at most `patience` long.
pub fn until(what: &str, patience: Duration, condition: impl FnMut() -> bool) {
    assert!(comes_true(patience, condition), "not within {patience:?}: {what}");
}

/// The same for who has more to say when it does not: whether the condition held in time.
#[must_use]
pub fn comes_true(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
