//! The programs under test as child processes: `cim` and `nats-server`.
//!
//! Leaves out what is measured. Invariant: a server listens on 127.0.0.1 only and is gone when its value is dropped.

mod child;
mod cim;
mod nats;
mod ports;

pub use child::{Child, wakeups};
pub use cim::{Cim, CimSpec, ConfigurationSpec, SinkSpec};
pub use nats::NatsServer;
pub use ports::free_port;
