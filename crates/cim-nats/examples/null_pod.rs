//! A listener in front of an engine whose sink discards: for measuring by hand.
//!
//! `cargo run --release -p cim-nats --example null_pod -- 127.0.0.1:4333 [spool directory]`

use cim_core::null::NullSink;
use cim_core::{Cim, Sink};
use cim_nats::{Listener, NatsConfig};
use std::error::Error;
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or("an address to listen on")?.parse()?;
    let mut builder = Cim::builder().sink("null", Sink::both(Arc::new(NullSink::new("null"))));
    if let Some(spool) = arguments.next() {
        builder = builder.spool_dir(spool);
    }
    let cim = builder.start()?;
    let listener = Listener::bind(NatsConfig { listen: vec![listen], ..NatsConfig::default() })?;
    let lane = cim.lane();
    tokio::task::spawn_blocking(move || listener.run(lane)).await??;
    Ok(())
}
