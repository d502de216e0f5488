//! The end of the process, in stages.
//!
//! No new messages, then deliver or keep what is there, close, and the HTTP server last. Left out: signals. Invariant: what
//! was accepted and is not delivered is in the spool, where there is one.

use std::time::Duration;

use cim_api::Limits;
use cim_core::StopReport;
use tokio::time::timeout;

use super::Process;
use super::signals::Signals;
use crate::{configuration, control, said};

/// Time to hand on what clients sent before the end.
const CLOSE_TIME: Duration = Duration::from_secs(3);
/// Time for delivery at the end when the rest is safe in a spool.
const DRAIN_WITH_SPOOL: Duration = Duration::from_secs(5);
/// Time for delivery at the end when the rest would be lost: the usual 30 s of a pod, minus a margin.
const DRAIN_WITHOUT_SPOOL: Duration = Duration::from_secs(25);

impl Process {
    /// Stops in stages. A second signal cuts the waiting: what is left goes to the spool at once.
    pub(super) async fn stop(self, signals: &mut Signals) -> StopReport {
        let drain = if self.has_spool { DRAIN_WITH_SPOOL } else { DRAIN_WITHOUT_SPOOL };
        let Self { cim, nats, nats_ended, stop_http, face, engine, .. } = self;
        nats.stop_accepting();
        nats.close();
        let orderly = async {
            // What the application took until now is noted beside the rest.
            let _ = tokio::join!(timeout(CLOSE_TIME, nats_ended), face.subscriptions.stop());
            configuration::stop(&engine.subscribe()).await;
            cim.stop(drain).await
        };
        let report = tokio::select! {
            report = orderly => report,
            name = signals.end() => {
                tracing::warn!("{name} again: leaving now");
                cim.stop(Duration::ZERO).await
            }
        };
        let _ = stop_http.send(true);
        let _ = timeout(Limits::default().drain_time, cim.supervisor().all_ended()).await;
        let control = face.settings.spool.dir.as_deref().map(control::path);
        for socket in control.iter().chain(&face.settings.api.socket) {
            let _ = std::fs::remove_file(socket);
        }
        said::end(&report);
        report
    }
}
