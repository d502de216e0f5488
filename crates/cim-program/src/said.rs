//! What the process says of its start and of its end.
//!
//! Left out: the log itself (`diagnostics`). The invariant: the last line tells what was lost, if anything was.

use std::net::SocketAddr;

use cim_core::StopReport;

use crate::exit;
use crate::settings::{Loaded, Settings};
use crate::who::Who;

/// Where the HTTP servers really listen; the configuration may say port 0.
pub struct HttpAddresses {
    /// The API.
    pub api: Vec<SocketAddr>,
    /// Probes and metrics.
    pub health: Option<SocketAddr>,
}

/// What was chosen, and where the process listens.
pub fn start(loaded: &Loaded, who: &Who, nats: &[SocketAddr], http: &HttpAddresses) {
    let settings = &loaded.settings;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match &settings.spool.dir {
        Some(dir) => tracing::info!(
            dir = %dir.display(),
            logs = cim_core::contract::Level::from(settings.spool.logs.accept).as_str(),
            events = cim_core::contract::Level::from(settings.spool.events.accept).as_str(),
            "spool"
        ),
        None => tracing::warn!(
            "no spool: level memory; what is not delivered is lost when the process ends (set `dir` in [spool])"
        ),
    }
    routes(settings);
    let identity = &who.identity;
    tracing::info!(namespace = %identity.namespace, pod = %identity.pod, known = who.is_known, "identity");
    tracing::info!(
        source = %settings.configuration.source,
        application = %settings.application.url,
        orchestrator = %settings.orchestrator.kind,
        "configuration"
    );
    let HttpAddresses { api, health } = http;
    tracing::info!(
        nats = ?nats,
        api = ?api,
        health = health.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
}

/// Says which sinks each route has.
pub fn routes(settings: &Settings) {
    for (name, route) in [("logs", &settings.routes.logs), ("events", &settings.routes.events)] {
        let kinds: Vec<_> = route
            .sink
            .names()
            .into_iter()
            .map(|sink| match settings.sinks.get(sink) {
                Some(table) if table.kind != sink => format!("{sink} ({})", table.kind),
                _ => sink.to_owned(),
            })
            .collect();
        tracing::info!(sinks = kinds.join(", "), fallback = route.fallback.as_deref(), "route {name}");
    }
}

/// The last word: what was delivered, what waits, what is lost.
/// `spilled`: records that were written out because they could not be delivered.
pub fn end(report: &StopReport, spilled: u64) {
    let StopReport { delivered, dead_lettered, held, dropped, overdue } = *report;
    if report.exit_code() == exit::DONE {
        tracing::info!(delivered, dead_lettered, held, spilled, "stopped");
    } else {
        tracing::error!(
            delivered,
            dead_lettered,
            held,
            dropped,
            spilled,
            overdue,
            "stopped; records were lost or a part was late"
        );
    }
}
