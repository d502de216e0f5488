//! The end of the process, in phases under one deadline.
//!
//! Words of the application, the listener, results, delivery, what is left, closing, and the HTTP server last. Left out: how long
//! each may take (`lifecycle::Ending`). Invariants: what was accepted and is not delivered is in the spool, where there is one;
//! the own pod is never deleted from here.

use std::time::Duration;

use cim_core::{Registry, StopReport};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::Process;
use super::serve::SERVERS;
use super::signals::{End, Signals};
use super::spilling::{self, Destination};
use crate::lifecycle::{Ending, Phase, Rules, last_word};
use crate::reload::Reload;
use crate::settings::{SPILL_STDOUT, ShutdownCall};
use crate::{configuration, control, said};

/// Time for the servers of the process to let go.
const SERVERS_TIME: Duration = Duration::from_millis(500);

/// Why the process ends.
pub(super) enum Cause {
    /// It was told to.
    Signal(End),
    /// A part that it cannot work without has died.
    Died(String),
}

impl Process {
    /// Stops in phases. A second signal cuts the waiting: what is left goes to the spool at once.
    pub(super) async fn stop(
        self,
        cause: &Cause,
        signals: &mut Signals,
        reload: &Reload,
        registry: &Registry,
    ) -> StopReport {
        let began = Instant::now();
        let mut ending = Ending::new(self.rules(cause, reload));
        if let Cause::Signal(end) = cause {
            self.farewell(&mut ending, *end, began, signals).await;
        }
        self.nats.stop_accepting();
        self.nats.close();
        let stays = ending.stays();
        let orderly = self.drain(&ending, began);
        let drained = tokio::select! {
            drained = orderly => drained,
            again = signals.end() => {
                tracing::warn!("{} again: leaving now", again.name);
                ending.hurry(began.elapsed());
                self.cim.drain(Duration::ZERO).await
            }
        };
        let spilled = match self.destination(reload, registry) {
            // What is left waits for the next process, which is near.
            Some(_) if stays && self.has_spool => 0,
            Some(destination) if !drained => {
                spilling::all(&self.cim, destination, ending.time_for(Phase::Spill, began.elapsed())).await
            }
            _ => 0,
        };
        let report = self.cim.close(drained, ending.time_for(Phase::Close, began.elapsed())).await;
        self.leave().await;
        said::end(&report, spilled);
        let (code, trouble) = cause.outcome(&report);
        last_word::write(
            &reload.in_force().lifecycle.termination_log,
            &last_word::of(&report, spilled, code, trouble),
        );
        report
    }

    /// What is known at the signal. When a part has died only this container ends, so the application is not told.
    fn rules(&self, cause: &Cause, reload: &Reload) -> Rules {
        let end = self.plan.orchestrator.pod_end().now_or_never().and_then(Result::ok);
        let rules = Rules::of(&reload.in_force().lifecycle, end.as_ref(), self.has_spool);
        match cause {
            Cause::Signal(_) => rules,
            Cause::Died(_) => Rules { call: ShutdownCall::Never, ..rules },
        }
    }

    /// The listener, results and announcements, delivery. Returns whether everything is delivered.
    async fn drain(&self, ending: &Ending, began: Instant) -> bool {
        let time = |phase| ending.time_for(phase, began.elapsed());
        // What the application took until now is noted beside the rest.
        let listener = timeout(time(Phase::Listener), self.cim.supervisor().ended(super::NATS_PART));
        let _ = tokio::join!(listener, self.face.subscriptions.stop());
        configuration::stop(&self.engine.subscribe(), time(Phase::Commits)).await;
        self.cim.drain(time(Phase::Drain)).await
    }

    /// Where undelivered records go.
    fn destination(&self, reload: &Reload, registry: &Registry) -> Option<Destination> {
        let name = reload.in_force().lifecycle.spill(self.has_spool)?;
        if name == SPILL_STDOUT {
            return Some(Destination::Stdout);
        }
        match reload.spare_sink(name, registry) {
            Ok(sink) => sink.logs.map(Destination::Sink),
            Err(problem) => {
                tracing::error!(%problem, "undelivered records cannot be written out");
                None
            }
        }
    }

    /// The servers go last, for probes and people look until the end.
    async fn leave(&self) {
        let _ = self.stop_http.send(true);
        let ended = async {
            for server in SERVERS {
                self.cim.supervisor().ended(server).await;
            }
        };
        let _ = timeout(SERVERS_TIME, ended).await;
        let control = self.face.settings.spool.dir.as_deref().map(control::path);
        for socket in control.iter().chain(&self.face.settings.api.socket) {
            let _ = std::fs::remove_file(socket);
        }
    }
}

impl Cause {
    /// Exit code, and what went wrong.
    fn outcome(&self, report: &StopReport) -> (u8, Option<&str>) {
        match self {
            Self::Signal(_) => (report.exit_code(), None),
            Self::Died(what) => (crate::exit::FAILED, Some(what)),
        }
    }
}
