//! `cim-bench floor`: what the machine can do at best.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use cim_bench::deck::Traffic;
use cim_bench::ratio::{KafkaRig, Rig};
use cim_bench::{Result, floor};

#[derive(Debug, Args)]
pub struct Floor {
    /// Directory for the writing floors.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Seconds per floor.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

impl Floor {
    pub fn run(self) -> Result<bool> {
        let time = Duration::from_secs(self.seconds);
        let rig = Rig {
            cim: PathBuf::new(),
            nats: PathBuf::new(),
            dir: self.dir.clone(),
            slice: time,
            pairs: 1,
            kafka: KafkaRig::default(),
        };
        for payload in [128, 1024, 8192] {
            let rate = rig.pump_rate(&Traffic::Log, payload)?;
            println!("generator to pump, {payload} B: {rate:.0} msg/s");
        }
        println!("file system: {}", rig.file_system());
        for record in [128, 1024, 8192] {
            let speed = floor::copy_sum_write(&self.dir, record, time)?;
            println!("copy {record} B + CRC32C + write 256 KiB: {:.3} GB/s", speed / 1e9);
        }
        println!("write 256 KiB: {:.3} GB/s", floor::write_loop(&self.dir, time)? / 1e9);
        println!("TCP round trips: {:.0}/s", floor::ping_pong(time)?);
        Ok(true)
    }
}
