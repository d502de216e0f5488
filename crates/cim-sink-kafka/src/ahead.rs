//! What is done ahead of the first record: the client is made and connects, and the cluster is asked for the topic.
//!
//! Without it the first records wait for all of that, and what arrives meanwhile gathers in memory. Left out: telling what does
//! not work, which the probe and the deliveries do.

use std::sync::Arc;
use std::time::Duration;

use cim_core::Class;

use crate::delivery::unavailable;
use crate::sink::KafkaSink;
use crate::topic::ANSWER_TIME;

/// Time for the first question, and the pause after it; both double.
const FIRST: Duration = Duration::from_millis(50);
/// Questions that take longer are asked only while a broker is connected: a thread waits for the answer, and the end of the
/// program for the thread.
const SHORT: Duration = Duration::from_millis(500);
/// How often a cluster that is not there, or has no such topic, is asked again while there is nothing to deliver.
const LONGEST: Duration = Duration::from_secs(5);

impl KafkaSink {
    /// Asks until the topic of that class is known.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(crate) async fn get_ready(&self, class: Class) {
        let (topic, link) = (&self.shared.lane(class).topic, &self.shared.link);
        let mut pause = FIRST;
        loop {
            if let Ok(live) = self.client().await
                && (pause < SHORT || link.is_up())
            {
                let once = || Err(unavailable("asked again after a pause"));
                let asked = topic.partitions(Arc::clone(&live.client), link, pause.min(ANSWER_TIME), once);
                if asked.await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}
