//! Sink `tcp`: records to fluent-bit and any other TCP receiver (wire contract §8.2, §8.4).
//!
//! | framing | on the wire | `Ok` means |
//! |---|---|---|
//! | `json` | a log line's JSON or an event's JSON (wire contract §7.1), each followed by `\n` | the peer's kernel has taken every byte |
//! | `text` | the payload and `\n`; an event is its JSON | the same |
//! | `forward` | Fluentd Forward protocol, one chunk per batch | the receiver has acknowledged the chunk |
//!
//! Plain TCP has no acknowledgement: what the peer's kernel has taken and its process never read is lost when that
//! process dies, and nobody can tell. `forward` is the framing that loses nothing.
//!
//! | the receiver | what happens |
//! |---|---|
//! | is the agent of the node | it is asked for when a connection is made, never for a record |
//! | is absent | each address of each name is tried once per attempt; the engine repeats with backoff |
//! | goes away between batches | noticed before the next byte is written; the batch goes over a new connection |
//! | goes away in a batch | the records of which not every byte was taken go out whole over a new connection |
//! | stops reading | after `stall_timeout` the connection is reset, and the same applies |
//!
//! So a receiver sees whole records in order; at the end of a connection that broke there may be the beginning of a
//! record, which comes again whole on the next one. There are no probe connections, ever.
//!
//! Left out: retry, batching, counting (the engine's) and TLS itself, which an assembly plugs in through
//! [`SecurityProvider`]. Invariant: what `deliver` does not report has reached what `profile` promises.

mod address;
mod agent;
mod channel;
mod connection;
mod entry;
mod flights;
mod forward;
mod lane;
mod lines;
mod receivers;
mod send_queue;
mod settings;
mod short_timer;
mod sink;
mod wire;

use std::sync::Arc;

use cim_core::{LogFormat, Problem, Sink, SinkContext, SinkKind};

pub use address::Address;
pub use channel::{Channel, NoSecurity, SecureError, Security, SecurityProvider};
pub use settings::{Framing, NodeAgentSettings, TcpSettings, TlsSettings};
pub use sink::TcpSink;

/// The registry entry of a build that gets its TLS from `S`; [`NoSecurity`] for none.
#[must_use]
pub const fn kind<S: SecurityProvider>() -> SinkKind {
    SinkKind {
        name: "tcp",
        summary: "JSON lines, text lines or Fluentd Forward to a TCP receiver",
        schema: || serde_json::Value::from(schemars::schema_for!(TcpSettings)),
        validate: validate::<S>,
        build: build::<S>,
    }
}

fn validate<S: SecurityProvider>(table: &serde_json::Value, format: LogFormat) -> Vec<Problem> {
    match TcpSettings::read(table) {
        Ok(settings) => {
            let mut problems = settings.problems();
            problems.extend(settings.framing_for(format).err());
            problems.extend(settings.tls.and_then(|tls| S::open(&tls).err()));
            problems
        }
        Err(problem) => vec![problem],
    }
}

fn build<S: SecurityProvider>(context: SinkContext, table: &serde_json::Value) -> Result<Sink, Problem> {
    let settings = TcpSettings::read(table)?;
    let security = settings.tls.as_ref().map(S::open).transpose()?;
    Ok(Sink::both(Arc::new(TcpSink::new(&context, &settings, security)?)))
}
