//! Load generator, checker, ratio benches and kill loop.
//!
//! Owns everything that measures CIM from outside: it starts the `cim` program and `nats-server` as child processes,
//! speaks NATS and HTTP to them with blocking sockets, and verifies what came out. No figure leaves this crate whose run
//! was not verified. Leaves out the product's own code, except where a bench measures a library in process.

pub mod books;
pub mod check;
pub mod clock;
pub mod configuration;
pub mod connection;
pub mod deck;
pub mod error;
pub mod flatbuffer;
pub mod floor;
pub mod http;
pub mod kafka;
pub mod kill;
pub mod ledger;
pub mod noise;
pub mod pace;
pub mod producer;
pub mod ratio;
pub mod server;
pub mod subscriber;

pub use cim_verify::stamp;
pub use error::{BenchError, Result};
