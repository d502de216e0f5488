//! What a kill loop is to do.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where records go while CIM is being killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KillSink {
    /// Counted and discarded, answered after 2 ms like by a broker near by; the spool is the witness.
    Null,
    /// Files, read by the checker at the end.
    File,
    /// A pipe on standard output that nobody reads until the last kill, then the checker.
    Stalled,
}

impl KillSink {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::File => "file",
            Self::Stalled => "stalled",
        }
    }
}

/// A kill loop.
#[derive(Debug, Clone)]
pub struct KillPlan {
    /// The `cim` program.
    pub binary: PathBuf,
    /// Directory for spool, files and configuration of the run.
    pub dir: PathBuf,
    /// How often to kill.
    pub kills: u32,
    /// Logs per second at least, all producers together.
    pub rate_log: u64,
    /// Events per second at least, all producers together.
    pub rate_event: u64,
    /// Connections that publish logs.
    pub log_producers: u32,
    /// Connections that publish events.
    pub event_producers: u32,
    /// Payload bytes of a message.
    pub payload: usize,
    /// Where records go.
    pub sink: KillSink,
    /// Time from ready to the kill, milliseconds, smallest and largest.
    pub delay_ms: (u64, u64),
    /// Before the kill one producer publishes as fast as CIM reads, for that long, milliseconds, smallest and largest;
    /// then the kill follows the next acceptance at once. Zero: no surge, and the kill comes at the random moment. At the
    /// plain rate a quick sink has mostly just caught up, and the kill would meet an empty spool.
    pub surge_ms: (u64, u64),
    /// Bytes that may be in flight between spool and sink: a replay after a kill reaches back this far at most.
    pub window_bytes: u64,
    /// Seed of the delays; also the number of the run in every stamp.
    pub seed: u64,
}

impl KillPlan {
    /// The loop of the tests: 20,000 logs and 200 events per second over six connections, kills 5 to 500 ms after
    /// ready, five batches of 1 MiB plus 1 MiB of cursor lag in flight.
    #[must_use]
    pub fn new(binary: &Path, dir: &Path, kills: u32, sink: KillSink, seed: u64) -> Self {
        Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            kills,
            rate_log: 20_000,
            rate_event: 200,
            log_producers: 4,
            event_producers: 2,
            payload: 200,
            sink,
            delay_ms: (5, 500),
            // The others hold enough as they are.
            surge_ms: if sink == KillSink::File { (2, 8) } else { (0, 0) },
            window_bytes: 6 * 1024 * 1024,
            seed,
        }
    }

    /// Messages of one source that fit into the window.
    #[must_use]
    pub fn window_messages(&self) -> u64 {
        self.window_bytes / (self.payload as u64).max(1)
    }

    /// Number of the run in the stamps.
    #[must_use]
    pub fn run(&self) -> u32 {
        (self.seed as u32).max(1)
    }
}
