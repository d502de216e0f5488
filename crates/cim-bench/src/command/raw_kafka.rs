//! `cim-bench raw-kafka`: the yardstick of the Kafka benches in a process of its own, so that its CPU time can be told.

use std::path::PathBuf;

use clap::Args;

use cim_bench::kafka::RawPlan;
use cim_bench::{BenchError, Result};

#[derive(Debug, Args)]
pub struct RawKafka {
    /// The plan, as JSON.
    plan: PathBuf,
}

impl RawKafka {
    pub fn run(self) -> Result<bool> {
        let text =
            std::fs::read(&self.plan).map_err(BenchError::io(format!("read {}", self.plan.display())))?;
        let invalid = |error: serde_json::Error| BenchError::Invalid(error.to_string());
        let plan: RawPlan = serde_json::from_slice(&text).map_err(invalid)?;
        println!("{}", serde_json::to_string(&plan.run()?).map_err(invalid)?);
        Ok(true)
    }
}
