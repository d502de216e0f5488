//! What is done ahead of the first record: the client is made and connects, and the cluster is asked for the topic.
//!
//! Without it the first records wait for all of that, and what arrives meanwhile gathers in memory. Left out: telling what does
//! not work, which the probe and the deliveries do.

use std::sync::Arc;
use std::time::Duration;

use cim_core::Class;

use crate::delivery::unavailable;
use crate::sink::KafkaSink;

/// Pause after the first question; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(50);
/// How often a cluster that is not there, or has no such topic, is asked again while there is nothing to deliver.
const LONGEST: Duration = Duration::from_secs(5);

impl KafkaSink {
    /// Asks until the topic of that class is known: at once, which connects, and then while a broker is connected, because a thread
    /// waits for the answer, and the end of the program for the thread.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(crate) async fn get_ready(&self, class: Class) {
        let topic = &self.shared.lane(class).topic;
        let (mut asked, mut pause) = (false, FIRST);
        loop {
            if let Ok(live) = self.client().await
                && (!asked || self.shared.link.is_up())
            {
                asked = true;
                let once = || Err(unavailable("asked again after a pause"));
                if topic.partitions(Arc::clone(&live.client), &self.shared.link, once).await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}
