//! `cim-bench null-broker`: the null broker for producers in other processes, until it is stopped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;

use cim_bench::{BenchError, Result};
use cim_testkit::null_broker::NullBroker;

/// Time between two lines of counts.
const REPORT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct NullBrokerArguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Topics with their partitions.
    #[arg(long, value_name = "NAME=PARTITIONS", value_parser = topic, default_values = ["LOGS=10", "EVENT=5"])]
    topic: Vec<(String, usize)>,
    /// Seconds to run; without it until it is stopped.
    #[arg(long)]
    seconds: Option<u64>,
}

fn topic(text: &str) -> std::result::Result<(String, usize), String> {
    let (name, partitions) = text.split_once('=').ok_or("expected NAME=PARTITIONS")?;
    Ok((name.to_owned(), partitions.parse().map_err(|_| format!("{partitions:?} is no number"))?))
}

impl NullBrokerArguments {
    pub fn run(self) -> Result<bool> {
        let topics: Vec<_> = self.topic.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let broker = NullBroker::start_at(self.listen, &topics)
            .map_err(BenchError::io(format!("listen on {}", self.listen)))?;
        println!("listening on {}", broker.address());
        let (start, mut shown) = (Instant::now(), String::new());
        while self.seconds.is_none_or(|seconds| start.elapsed().as_secs() < seconds) {
            std::thread::sleep(REPORT);
            let count = |name: &str| -> i64 { broker.end_offsets(name).iter().sum() };
            let counts: Vec<_> = topics.iter().map(|(name, _)| format!("{name} {}", count(name))).collect();
            let line = counts.join(", ");
            if line != shown {
                println!("{line}");
                shown = line;
            }
        }
        Ok(true)
    }
}
