//! The application's last words: it is told that the pod ends, and listened to until it has ended (wire contract §11).
//!
//! Left out: how long, which `lifecycle::Ending` says. The invariant: logs, events, results and new connections are taken all
//! the while, so nothing that the application says before its farewell is missed.

use std::pin::pin;

use cim_core::configuration::Announcement;
use cim_core::{CallError, Departure, OrchestratorError, chain};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Process;
use super::signals::{End, Signals};
use crate::lifecycle::{Ending, Step, Verdict};

impl Process {
    /// Tells the application, and returns when nobody is waited for any more. `began`: when the signal came.
    pub(super) async fn farewell(
        &self,
        ending: &mut Ending,
        end: End,
        began: Instant,
        signals: &mut Signals,
    ) {
        let mut farewell = self.cim.farewell();
        let mut departure = pin!(self.plan.orchestrator.departure());
        let mut call = pin!(self.plan.application.shutdown());
        let (mut asks, mut calls, mut listens) = (true, true, true);
        loop {
            let step = ending.step(began.elapsed());
            let until = match step {
                Step::Close => return,
                Step::Learn(until) | Step::Call(until) | Step::Wait(until) => began + until,
            };
            tokio::select! {
                known = &mut departure, if asks => {
                    asks = false;
                    ending.learned(departed(known));
                }
                answer = timeout_at(until, &mut call), if calls && matches!(step, Step::Call(_)) => {
                    calls = false;
                    let verdict = verdict(answer.ok());
                    self.announce(verdict, end).await;
                    ending.answered(verdict);
                }
                Ok(()) = farewell.changed(), if listens => {
                    listens = false;
                    tracing::info!(said = ?*farewell.borrow_and_update(), "the application has ended");
                    ending.said_farewell(began.elapsed());
                }
                again = signals.end() => {
                    tracing::warn!("{} again: leaving now", again.name);
                    ending.hurry(began.elapsed());
                }
                () = sleep_until(until) => {}
            }
        }
    }

    /// Raises the event that tells what came of the call; without an answer there is none.
    async fn announce(&self, verdict: Verdict, end: End) {
        let accepted = match verdict {
            Verdict::Accepted | Verdict::Done => true,
            Verdict::Refused => false,
            Verdict::Unanswered => return,
        };
        let configuration = self.engine.borrow().as_ref().map(|(configuration, _)| configuration.clone());
        match configuration {
            Some(configuration) => {
                configuration.announce(Announcement::of_shutdown(accepted, end.text)).await
            }
            None => tracing::warn!(
                "that the application was told is not announced: it is not known who this pod is"
            ),
        }
    }
}

/// What the call came to; `None`: it was cut off.
fn verdict(answer: Option<Result<cim_core::Answer, CallError>>) -> Verdict {
    match &answer {
        Some(Ok(answer)) => {
            tracing::info!(status = answer.status, "the application was told that the pod ends")
        }
        Some(Err(error)) => tracing::info!(%error, "the application was not told that the pod ends"),
        None => tracing::warn!("the application did not say in time whether it ends"),
    }
    Verdict::of(answer.and_then(Result::ok).map(|answer| answer.status))
}

fn departed(known: Result<Option<Departure>, OrchestratorError>) -> Option<Departure> {
    known.unwrap_or_else(|error| {
        tracing::info!(error = %chain(&error), "whether the pod is being deleted is not known");
        None
    })
}
