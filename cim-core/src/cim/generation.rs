//! The sinks and workers of one configuration. A reload replaces the whole generation.
//!
//! Invariant: at most one generation delivers; the positions in the queues pass from one to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::routes::Plan;
use super::{Cim, Inner, RouteMember, StartError, route_name};
use crate::contract::Component;
use crate::deadletter::DeadLetters;
use crate::delivery::{Condition, Fallback, InlineTask, Phase, Worker};
use crate::intake::Entrance;
use crate::registry::Sink;
use crate::settings::RoutesSettings;
use crate::supervisor::{OnPanic, Supervisor};

/// How long a reload waits for batches in flight before it drops them (they are delivered again, marked).
const LANDING_TIME: Duration = Duration::from_secs(2);
/// How long workers that were told to drop everything may take for it: only a disk that does not answer holds them up.
const STOP_TIME: Duration = Duration::from_secs(2);
const CLOSE_TIME: Duration = Duration::from_secs(2);

pub(crate) struct Generation {
    pub members: Vec<RouteMember>,
    pub components: Vec<Arc<dyn Component>>,
    pub workers: Supervisor,
    pub phase: watch::Sender<Phase>,
}

impl Generation {
    /// Starts a worker per route member.
    pub(super) fn start(
        plans: Vec<Plan>,
        sinks: &BTreeMap<String, Sink>,
        entrance: &Entrance,
        dead_letters: Option<&Arc<DeadLetters>>,
    ) -> Self {
        let mut generation = Self {
            members: Vec::new(),
            components: sinks.values().filter_map(component).collect(),
            workers: Supervisor::new(Handle::current()),
            phase: watch::Sender::new(Phase::Running),
        };
        for plan in plans {
            generation.start_route(plan, entrance, dead_letters);
        }
        generation
    }

    fn start_route(&mut self, plan: Plan, entrance: &Entrance, dead_letters: Option<&Arc<DeadLetters>>) {
        let queue = Arc::clone(entrance.queue(plan.class));
        queue.leave_memory(plan.held_by_sinks());
        let several = plan.members.len() > 1;
        for (index, (sink, outlet)) in plan.members.into_iter().enumerate() {
            let route = route_name(plan.class);
            let label = if several { format!("{route}/{sink}") } else { route.to_owned() };
            let condition = Arc::new(Condition::new());
            let (queue, fallback) = (Arc::clone(&queue), plan.fallback.clone());
            let (after, mode) = (plan.fallback_after, plan.fallback_mode);
            let (dead_letters, phase) = (dead_letters.cloned(), self.phase.subscribe());
            let may_run_here = outlet.profile().inline
                && fallback.as_ref().is_none_or(|(_, outlet)| outlet.profile().inline);
            let stand_in = fallback.as_ref().map(|(name, _)| name.clone());
            let (shared, name) = (Arc::clone(&condition), format!("delivery {label}"));
            // What exists before this start may have been delivered already.
            let seen_before = *queue.watch().borrow();
            self.workers.task(name, OnPanic::Restart, move || {
                let worker = Worker {
                    queue: Arc::clone(&queue),
                    member: index,
                    label: label.clone(),
                    outlet: outlet.clone(),
                    fallback: fallback.clone().map(|(_, outlet)| Fallback { outlet, after, mode }),
                    dead_letters: dead_letters.clone(),
                    condition: Arc::clone(&shared),
                    phase: phase.clone(),
                    primary_due: None,
                    seen_before,
                    copied_to: 0,
                };
                InlineTask::new(worker.run(), may_run_here)
            });
            self.members.push(RouteMember { class: plan.class, sink, fallback: stand_in, condition });
        }
    }

    /// Ends the workers now.
    pub(super) fn stop(&self) {
        let _ = self.phase.send_replace(Phase::Stop);
    }
}

fn component(sink: &Sink) -> Option<Arc<dyn Component>> {
    match (&sink.logs, &sink.events) {
        (Some(logs), _) => Some(Arc::clone(logs) as Arc<dyn Component>),
        (None, Some(events)) => Some(Arc::clone(events) as Arc<dyn Component>),
        (None, None) => None,
    }
}

/// Closes all of them at the same time.
pub(super) async fn close_all(components: &[Arc<dyn Component>], within: Duration) {
    let closing = components.iter().map(|component| async move {
        match tokio::time::timeout(within, component.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(part = component.name(), error = %error, "a part did not close cleanly");
            }
            Err(_) => tracing::warn!(part = component.name(), "a part did not close in time"),
        }
    });
    futures_util::future::join_all(closing).await;
}

impl Inner {
    pub(super) fn generation(&self) -> MutexGuard<'_, Generation> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cim {
    /// Replaces all sinks and routes. Intake goes on; each sink of the new routes goes on where the old ones stopped.
    ///
    /// # Errors
    /// [`StartError::Routes`] when the new routes and sinks do not fit; then nothing has changed. [`StartError::Busy`] when
    /// delivery to the old ones does not end; then nothing is delivered until the next call.
    ///
    /// # Cancel safety
    /// When dropped, delivery may be stopped until the next call.
    pub async fn reload(
        &self,
        sinks: BTreeMap<String, Sink>,
        routes: &RoutesSettings,
    ) -> Result<(), StartError> {
        let inner = &self.inner;
        let plans = Plan::both(routes, inner.storage.settings(), &sinks)?;
        let (workers, old) = {
            let generation = inner.generation();
            let _ = generation.phase.send_replace(Phase::Landing);
            (generation.workers.clone(), generation.components.clone())
        };
        if tokio::time::timeout(LANDING_TIME, workers.all_ended()).await.is_err() {
            inner.generation().stop();
            // Two generations must never deliver at the same time, so there is no going on without them.
            let ended = tokio::time::timeout(STOP_TIME, workers.all_ended()).await;
            ended.map_err(|_| StartError::Busy { waited: LANDING_TIME + STOP_TIME })?;
        }
        for plan in &plans {
            let queue = inner.entrance.queue(plan.class);
            let names = plan.names();
            queue.set_members(&names).map_err(|source| inner.storage.error(source))?;
            let (route, from) = (route_name(plan.class), queue.settled());
            tracing::info!(route, sinks = names.join(", "), from, "the route goes on at this sequence");
        }
        // First the old ones: what a client library still holds must not reach the reader beside the new delivery.
        close_all(&old, CLOSE_TIME).await;
        let next = Generation::start(
            plans,
            &sinks,
            &inner.entrance,
            inner.letters.as_ref().map(|letters| &letters.dead),
        );
        *inner.generation() = next;
        Ok(())
    }
}
