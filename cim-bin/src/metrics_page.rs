//! The text of `/metrics`: the engine's books, the listener's counts, and the old names.
//!
//! Owns the one recorder of the process. Left out: names, which stand in the catalog. The invariant: counts are
//! written as absolute values when somebody reads them, never per message.

use cim_api::{LegacyMetrics, SIZE_BOUNDS, SubjectMetrics};
use cim_core::Cim;
use cim_core::catalog::{self, CATALOG, MetricKind};
use cim_core::intake::ClassTotals;
use cim_nats::{ListenerCounts, ROUTES};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Installs the recorder of the process and describes every metric.
#[must_use]
pub fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // A second one in the same process (tests) keeps the first.
    let _ = metrics::set_global_recorder(recorder);
    for metric in CATALOG {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    handle
}

/// The whole page.
#[must_use]
pub fn render(handle: &PrometheusHandle, cim: &Cim, nats: &ListenerCounts, pod: &str) -> String {
    cim.publish_metrics();
    publish(nats);
    let mut page = handle.render();
    page.push_str(&legacy(cim, pod).render());
    page
}

fn publish(counts: &ListenerCounts) {
    gauge!(catalog::NATS_CONNECTIONS).set(as_f64(counts.connections));
    counter!(catalog::NATS_CONNECTS, "result" => "accepted").absolute(counts.accepted);
    counter!(catalog::NATS_CONNECTS, "result" => "refused").absolute(counts.refused);
    for (subject, received) in ROUTES.into_iter().zip(&counts.received) {
        counter!(catalog::NATS_MESSAGES_IN, "subject" => subject).absolute(received.messages);
        counter!(catalog::NATS_BYTES_IN, "subject" => subject).absolute(received.bytes);
    }
    counter!(catalog::NATS_MESSAGES_OUT).absolute(counts.sent_messages);
    counter!(catalog::NATS_BYTES_OUT).absolute(counts.sent_bytes);
    for (reason, count) in [
        ("protocol_error", counts.faults.iter().sum()),
        ("slow_consumer", counts.slow_consumers),
        ("auth", counts.auth_failures),
        ("backpressure", counts.backpressure_closes),
        ("broken_frame", counts.broken_frames),
        ("stale", counts.stale),
    ] {
        counter!(catalog::NATS_CLOSED, "reason" => reason).absolute(count);
    }
}

fn legacy(cim: &Cim, pod: &str) -> LegacyMetrics {
    let counts = cim.counts();
    let logs = counts.logs.totals();
    let subjects = [
        ("CONFIG", &counts.config),
        ("EVENT", &counts.events),
        ("LOG", &counts.logs),
        ("TEST", &counts.test),
    ];
    LegacyMetrics {
        pod: pod.to_owned(),
        log_messages: logs.messages,
        log_bytes: logs.bytes,
        last_log_bytes: logs.last_size,
        subjects: subjects
            .into_iter()
            .map(|(subject, counts)| of_subject(subject, &counts.totals()))
            .collect(),
    }
}

/// The totals have one bucket more than the old histogram: what is larger than its last bound.
fn of_subject(subject: &str, totals: &ClassTotals) -> SubjectMetrics {
    let mut sizes = [0; SIZE_BOUNDS.len()];
    for (size, count) in sizes.iter_mut().zip(&totals.sizes) {
        *size = *count;
    }
    SubjectMetrics {
        subject: subject.to_owned(),
        messages: totals.messages,
        bytes: totals.bytes,
        sizes,
        latency_ms: totals.latency_ms,
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point; counts stay far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
