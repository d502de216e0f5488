//! The end of the process, in phases under one deadline.
//!
//! Words of the application, the listener, results, delivery, what is left, closing, and the HTTP server last. Left out: how long
//! each may take (`lifecycle::Ending`). Invariants: what was accepted and is not delivered is in the spool, where there is one;
//! the own pod is never deleted from here.

use std::time::Duration;

use cim_core::{Departure, Left, Registry, StopReport};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::Process;
use super::serve::SERVERS;
use super::signals::{End, Signals};
use super::spilling::{self, Destination};
use crate::lifecycle::{Ending, Keeping, Phase, Rules, last_word};
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
        match cause {
            Cause::Signal(end) => self.farewell(&mut ending, *end, began, signals).await,
            // Only this container ends, and is started again.
            Cause::Died(_) => ending.learned(Some(Departure::Staying)),
        }
        self.nats.stop_accepting();
        self.nats.close();
        self.face.external.iter().for_each(|external| external.leave());
        let kept = ending.keeps();
        if !self.cim.is_storing() {
            ending.stores_nothing();
        }
        let orderly = self.drain(&ending, began);
        let drained = tokio::select! {
            drained = orderly => drained,
            again = signals.end() => {
                tracing::warn!("{} again: leaving now", again.name);
                ending.hurry(began.elapsed());
                self.cim.drain(Duration::ZERO).await
            }
        };
        // Where the next process is near, what the spool has waits for it, whatever the settings name.
        let left = match &reload.in_force().lifecycle.spill {
            Some(_) if !ending.stays() => Left::Everything,
            _ if kept => Left::Unstored,
            _ => Left::Everything,
        };
        let spilled = if drained {
            0
        } else {
            let destination = || self.destination(reload, registry);
            self.spill(left, destination, || ending.time_for(Phase::Spill, began.elapsed())).await
        };
        let mut report = self.cim.close(drained, ending.time_for(Phase::Close, began.elapsed())).await;
        if !kept {
            report.give_up_held();
        }
        self.leave().await;
        said::end(&report, spilled);
        let (code, trouble) = cause.outcome(&report);
        last_word::write(
            &reload.in_force().lifecycle.termination_log,
            &last_word::of(&report, spilled, code, trouble),
        );
        report
    }

    /// What is known at the signal. When a part has died the application is not told.
    fn rules(&self, cause: &Cause, reload: &Reload) -> Rules {
        let end = self.plan.orchestrator.pod_end().now_or_never().and_then(Result::ok);
        let settings = reload.in_force();
        let rules = Rules::of(&settings.lifecycle, end.as_ref(), Keeping::of(&settings.spool));
        match cause {
            Cause::Signal(_) => rules,
            Cause::Died(_) => Rules { call: ShutdownCall::Never, ..rules },
        }
    }

    /// The listener, results and announcements, delivery. Returns whether everything is delivered.
    async fn drain(&self, ending: &Ending, began: Instant) -> bool {
        let time = |phase| ending.time_for(phase, began.elapsed());
        // What the application took until now is noted beside the rest.
        let supervisor = self.cim.supervisor();
        let part = |name| timeout(time(Phase::Listener), supervisor.ended(name));
        let _ =
            tokio::join!(part(super::NATS_PART), part(super::EXTERNAL_PART), self.face.subscriptions.stop());
        configuration::stop(&self.engine.subscribe(), time(Phase::Commits)).await;
        self.cim.drain(time(Phase::Drain)).await
    }

    /// Writes out what is left; returns how many records were written.
    async fn spill(
        &self,
        left: Left,
        destination: impl FnOnce() -> Option<Destination>,
        limit: impl FnOnce() -> Duration,
    ) -> u64 {
        if left == Left::Unstored && !self.cim.has_unstored() {
            return 0;
        }
        match destination() {
            Some(destination) => spilling::all(&self.cim, left, destination, limit()).await,
            None => 0,
        }
    }

    /// Where undelivered records go.
    fn destination(&self, reload: &Reload, registry: &Registry) -> Option<Destination> {
        let name = reload.in_force().lifecycle.destination()?;
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
