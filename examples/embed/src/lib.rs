//! A service that embeds the engine: it hands over log lines in process and gets durability, batching, retry, books and an
//! orderly end for them. No sidecar, no listener, no configuration file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    Batch, Cim, Component, DeliveryError, LogRecord, LogSink, Sink, SinkProfile, StopReport, async_trait,
};

/// Where this service keeps its lines: any system with a client library would do.
#[derive(Debug, Default)]
pub struct Shelf {
    lines: Mutex<Vec<String>>,
}

impl Shelf {
    /// What has been delivered.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Component for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }
}

#[async_trait]
impl LogSink for Shelf {
    fn profile(&self) -> SinkProfile {
        SinkProfile::default()
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend(batch.iter().map(|record| String::from_utf8_lossy(record.log.text()).into_owned()));
        Ok(())
    }
}

/// Runs the service once: accepts `count` lines into the spool in `dir`, delivers them to `shelf`, and stops.
///
/// # Errors
/// When the engine cannot start or refuses a line.
///
/// # Cancel safety
/// When dropped, accepted lines are still in the spool and are delivered by the next run.
pub async fn run(
    dir: &Path,
    shelf: Arc<Shelf>,
    count: usize,
) -> Result<StopReport, Box<dyn std::error::Error>> {
    let cim = Cim::builder().spool_dir(dir).sink("shelf", Sink::logs(shelf)).start()?;
    let intake = cim.intake();
    for n in 0..count {
        let accepted = intake.log("embed", format!("line {n}").as_bytes()).await?;
        debug_assert_eq!(accepted.level, cim_core::Level::Written);
    }
    Ok(cim.stop(Duration::from_secs(5)).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_accepted_line_is_delivered_once_and_the_stop_report_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::default());
        let report = run(dir.path(), Arc::clone(&shelf), 100).await.unwrap();
        assert_eq!((report.delivered, report.held, report.dropped, report.exit_code()), (100, 0, 0, 0));
        assert_eq!(shelf.lines(), (0..100).map(|n| format!("line {n}")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn two_engines_in_one_process_keep_separate_books() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (Arc::new(Shelf::default()), Arc::new(Shelf::default()));
        let (first, second) =
            tokio::join!(run(one.path(), Arc::clone(&a), 10), run(two.path(), Arc::clone(&b), 20));
        assert_eq!((first.unwrap().delivered, second.unwrap().delivered), (10, 20));
        assert_eq!((a.lines().len(), b.lines().len()), (10, 20));
    }
}
