//! Runs the sink: 1,000 lines through a channel that holds 64, so that most deliveries are retried.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use cim_core::{Cim, Sink};
use custom_sink::ChannelSink;

const LINES: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, receiver) = sync_channel(64);
    let reader = std::thread::spawn(move || receiver.into_iter().count());
    let cim = Cim::builder().sink("channel", Sink::logs(Arc::new(ChannelSink(sender)))).start()?;
    let intake = cim.intake();
    for n in 0..LINES {
        intake.log("example", format!("line {n}").as_bytes()).await?;
    }
    let report = cim.stop(Duration::from_secs(10)).await;
    drop((intake, cim));
    let seen = reader.join().map_err(|_| "the reader stopped early")?;
    writeln!(
        std::io::stdout(),
        "the reader saw {seen} of {LINES} lines; delivered {}, held {}, dropped {}",
        report.delivered,
        report.held,
        report.dropped
    )?;
    Ok(())
}
