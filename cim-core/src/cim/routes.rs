//! From route settings to workers: which sink takes what, and where it goes on after a restart.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use cim_spool::{LossReason, Recovery, Stream};
use cim_wire::Class;

use super::{StartError, route_name};
use crate::contract::{Level, SinkProfile};
use crate::delivery::Outlet;
use crate::registry::{Problem, Sink, suggest};
use crate::settings::{
    ClassSettings, FallbackMode, RouteSettings, RoutesSettings, SinkDurability, SpoolSettings,
};

/// What of the routes does not fit these sinks: one that is not there, does not take the class, or keeps its records less safe
/// than the class accepts them. Nothing is started. Empty when [`Cim::reload`](super::Cim::reload) would take them.
#[must_use]
pub fn check_routes(
    routes: &RoutesSettings,
    spool: &SpoolSettings,
    sinks: &BTreeMap<String, Sink>,
) -> Vec<Problem> {
    match Plan::both(routes, spool, sinks) {
        Err(StartError::Routes(problems)) => problems,
        _ => Vec::new(),
    }
}

/// One route, checked.
pub(super) struct Plan {
    pub class: Class,
    pub members: Vec<(String, Outlet)>,
    pub fallback: Option<(String, Outlet)>,
    pub fallback_after: Duration,
    pub fallback_mode: FallbackMode,
    problems: Vec<Problem>,
}

impl Plan {
    pub(super) fn new(
        class: Class,
        route: &RouteSettings,
        settings: &ClassSettings,
        sinks: &BTreeMap<String, Sink>,
        spool: bool,
    ) -> Self {
        let mut plan = Self {
            class,
            members: Vec::new(),
            fallback: None,
            fallback_after: route.fallback_after.get(),
            fallback_mode: route.fallback_mode,
            problems: Vec::new(),
        };
        let path = format!("routes.{}", route_name(class));
        for name in route.sink.names() {
            if plan.members.iter().any(|(known, _)| known == name) {
                plan.problem(&path, "sink", format!("sink `{name}` is named twice"));
            } else if let Some(outlet) = plan.outlet(&path, "sink", name, sinks) {
                plan.members.push((name.to_owned(), outlet));
            }
        }
        if route.sink.names().is_empty() {
            plan.problem(&path, "sink", "no sink is named".to_owned());
        }
        if let Some(name) = &route.fallback {
            plan.fallback = plan.outlet(&path, "fallback", name, sinks).map(|outlet| (name.clone(), outlet));
        }
        let level = if spool { settings.accept.into() } else { Level::Memory };
        if route.sink_durability == SinkDurability::Class {
            plan.check_durability(&path, level);
        }
        plan
    }

    /// The plans of both classes.
    pub(super) fn both(
        routes: &RoutesSettings,
        spool: &SpoolSettings,
        sinks: &BTreeMap<String, Sink>,
    ) -> Result<Vec<Self>, StartError> {
        let stored = spool.dir.is_some();
        let plans = vec![
            Self::new(Class::Log, &routes.logs, &spool.logs, sinks, stored),
            Self::new(Class::Event, &routes.events, &spool.events, sinks, stored),
        ];
        let problems: Vec<_> = plans.iter().flat_map(|plan| plan.problems.clone()).collect();
        if problems.is_empty() { Ok(plans) } else { Err(StartError::Routes(problems)) }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Bytes that the sink with the widest window holds beyond the batch that it is at work on.
    pub(super) fn held_by_sinks(&self) -> usize {
        let beyond = |profile: SinkProfile| {
            (profile.max_in_flight.saturating_sub(1)).saturating_mul(profile.max_bytes)
        };
        self.members.iter().map(|(_, outlet)| beyond(outlet.profile())).max().unwrap_or(0)
    }

    fn problem(&mut self, path: &str, key: &str, message: String) {
        self.problems.push(Problem::new(format!("{path}.{key}"), message));
    }

    fn outlet(
        &mut self,
        path: &str,
        key: &str,
        name: &str,
        sinks: &BTreeMap<String, Sink>,
    ) -> Option<Outlet> {
        let Some(sink) = sinks.get(name) else {
            let hint = suggest(name, sinks.keys().map(String::as_str))
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            let known = sinks.keys().cloned().collect::<Vec<_>>().join(", ");
            self.problem(path, key, format!("no sink is called `{name}`{hint} (there are: {known})"));
            return None;
        };
        let outlet = match self.class {
            Class::Log => sink.logs.clone().map(Outlet::Logs),
            Class::Event => sink.events.clone().map(Outlet::Events),
        };
        if outlet.is_none() {
            self.problem(path, key, format!("sink `{name}` does not take {}", route_name(self.class)));
        }
        outlet
    }

    /// A fallback of mode `copy` may promise less: what it got stays held until the sink itself has it.
    fn check_durability(&mut self, path: &str, level: Level) {
        let last = self.fallback.iter().filter(|_| self.fallback_mode == FallbackMode::Final);
        let named = self.members.iter().map(|member| ("sink", member));
        let weak: Vec<_> = named
            .chain(last.map(|fallback| ("fallback", fallback)))
            .filter(|(_, (_, outlet))| !outlet.profile().durability.covers(level))
            .map(|(part, (name, _))| (part, name.clone()))
            .collect();
        for (part, name) in weak {
            let level = level.as_str();
            self.problem(
                path,
                "sink_durability",
                format!(
                    "{part} `{name}` does not make records {level}, the level they are accepted at; \
                     configure it to, or set sink_durability = \"accept\""
                ),
            );
        }
    }
}

/// Says what recovery found, and returns what it lost, for the metrics.
pub(super) fn report_recovery(class: Class, recovery: &Recovery) -> Vec<(Class, &'static str, u64)> {
    for loss in &recovery.lost {
        tracing::warn!(
            class = route_name(class),
            reason = loss_name(loss.reason),
            records = loss.records,
            bytes = loss.bytes,
            "the end of the spool was damaged; records accepted at a lower level may be lost"
        );
    }
    for path in &recovery.set_aside {
        tracing::warn!(class = route_name(class), path = %path.display(), "a foreign segment was set aside");
    }
    recovery.lost.iter().map(|loss| (class, loss_name(loss.reason), loss.records)).collect()
}

fn loss_name(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Damaged => "damaged",
        LossReason::Missing => "missing",
        LossReason::Unreadable => "unreadable",
        LossReason::Shed => "shed",
        LossReason::TornTail => "torn_tail",
        _ => "other",
    }
}

/// Lets sinks that are new to the route go on where the ones that left it stopped, and forgets those.
pub(super) fn adopt_cursors(mut stream: Stream, recovery: &Recovery, names: &[String]) -> Stream {
    let mut left = Vec::new();
    for name in recovery.cursors.iter().filter(|name| !names.contains(name)) {
        match stream.cursor(name) {
            Ok(next) => left.push((name.clone(), next)),
            Err(error) => tracing::warn!(cursor = %name, %error, "a position in the spool cannot be read"),
        }
    }
    let Some(oldest) = left.iter().map(|(_, next)| *next).min() else { return stream };
    for name in names.iter().filter(|name| !recovery.cursors.contains(name)) {
        if stream.cursor(name).is_ok() {
            stream.ack(name, oldest);
        }
    }
    // The new positions must be on disk before the old ones go.
    if let Err(error) = stream.save_cursors(true) {
        tracing::warn!(%error, "cannot save positions in the spool; a restart may repeat records");
    }
    for (name, _) in left {
        tracing::info!(sink = %name, "the sink has left the route; its backlog goes to the sinks of the route");
        if let Err(error) = stream.retire_cursor(&name) {
            tracing::warn!(cursor = %name, %error, "cannot remove an old position from the spool");
        }
    }
    stream
}

/// A number that tells this process from every other one, for queues without a spool.
pub(super) fn random_epoch() -> u64 {
    RandomState::new().build_hasher().finish()
}
