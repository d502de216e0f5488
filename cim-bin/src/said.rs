//! What the process says of its routes and of its end.
//!
//! Left out: what it says of its start (`run`). The invariant: the last line tells what was lost, if anything was.

use cim_core::StopReport;

use crate::exit;
use crate::settings::Settings;

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
pub fn end(report: &StopReport) {
    let StopReport { delivered, dead_lettered, held, dropped, overdue } = *report;
    if report.exit_code() == exit::DONE {
        tracing::info!(delivered, dead_lettered, held, "stopped");
    } else {
        tracing::error!(
            delivered,
            dead_lettered,
            held,
            dropped,
            overdue,
            "stopped; records were lost or a part was late"
        );
    }
}
