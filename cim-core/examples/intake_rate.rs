//! How fast one lane takes LOG messages: verified, spooled and delivered to sink `null`.
//!
//! `cargo run --release -p cim-core --example intake_rate -- [DIR]`: with a directory, a spool is used.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a stopwatch prints its reading")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_core::intake::{Class, Offer, Offered};
use cim_core::null::NullSink;
use cim_core::{Cim, Sink};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1);
    for size in [128, 1024, 8192] {
        let mut builder = Cim::builder().sink("null", Sink::both(Arc::new(NullSink::new("null"))));
        if let Some(dir) = &dir {
            builder = builder.spool_dir(dir);
        }
        let cim = builder.start()?;
        let mut lane = cim.lane();
        let publisher = std::thread::spawn(move || {
            let line = vec![b'x'; size];
            let mut payload = Vec::new();
            cim_wire::Log { payload: Some(line.into()), ..cim_wire::Log::default() }
                .encode_flatbuffer(&mut payload);
            let offer =
                Offer { class: Class::Log, headers: None, source: b"app", payload: &payload, own: false };
            let start = Instant::now();
            let mut taken = 0_u64;
            while start.elapsed() < Duration::from_secs(3) {
                for _ in 0..1000 {
                    taken += u64::from(lane.offer(&offer, false) == Offered::Taken);
                }
                lane.flush();
            }
            (taken, start.elapsed())
        });
        while !publisher.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (taken, elapsed) = publisher.join().map_err(|_| "the publisher panicked")?;
        let report = cim.stop(Duration::from_secs(10)).await;
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = taken as f64 / elapsed.as_secs_f64();
        println!(
            "{size:5} B: {rate:10.0} messages/s; delivered {}, dropped {}",
            report.delivered, report.dropped
        );
    }
    Ok(())
}
