//! Configuration source `etcd`: an etcd cluster, v3 protocol (wire contract §4).
//!
//! | what happens | what a watch does |
//! |---|---|
//! | it begins without a revision | everything in the scope at one revision, then the changes after it |
//! | it begins with a revision | the keys are compared with what was handed out before; then the changes after it |
//! | the history was compacted, the store was set back, another cluster answers | everything again, in the same stream |
//! | the member dies, has no leader, freezes, is cut off | ends with `Unavailable`; the next watch goes to another member |
//! | the watch lost a change without a word | noticed within a minute: everything again |
//!
//! What the errors of etcd mean is told by a table in `failure.rs`. Signs of life: the server is asked for the progress of
//! the watch every 5 s; one that has answered before and says nothing for 10 s after a question is dead. A server that does not know the question
//! (before 3.4) is judged by HTTP/2 pings and by whether it can read keys. Without changes, the traffic beside that is one
//! reading of keys per minute.
//!
//! Bounds: values of a scope that have more than 64 MiB together are an error; what a watch that catches up holds to put it
//! in order is 64 MiB at most.
//!
//! Left out: beginning a watch again, and repeating reports, which the engine does for every source. Invariants: what is
//! handed out is in the order of revisions, and each change once; a result is never replaced by that of an earlier
//! revision. Nothing is spawned: a watch lives in its stream.

mod audit;
mod condition;
mod connector;
mod endpoint;
mod failure;
mod ledger;
mod link;
mod listing;
mod pace;
mod pulse;
mod ranges;
mod report;
mod security;
mod session;
mod settings;
mod settling;
mod shared;
mod source;
mod watch;

use cim_core::Problem;

pub use pace::Pace;
pub use settings::EtcdSettings;
pub use source::EtcdSource;

/// Value of `source` under `[configuration]`.
pub const NAME: &str = "etcd";

/// JSON Schema of the table `[configuration.etcd]`.
#[must_use]
pub fn schema() -> serde_json::Value {
    serde_json::Value::from(schemars::schema_for!(EtcdSettings))
}

/// What is wrong with the table `[configuration.etcd]`. Paths are relative to it.
#[must_use]
pub fn validate(table: &serde_json::Value) -> Vec<Problem> {
    match EtcdSettings::read(table) {
        Ok(settings) => settings.problems(),
        Err(problem) => vec![problem],
    }
}
