//! The text of `/metrics`: the engine's books, the listener's counts, the old names, and the process.
//!
//! Owns the one recorder of the process. Left out: names, which stand in the catalog. The invariant: counts are
//! written as absolute values when somebody reads them, never per message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_api::{ConfigurationMetrics, HttpCounts, LegacyMetrics, SIZE_BOUNDS, SubjectMetrics, Turned};
use cim_core::catalog::{self, CATALOG, MetricKind};
use cim_core::configuration::ConfigurationView;
use cim_core::intake::ClassTotals;
use cim_core::subscriptions::{FeedState, SubscriptionsView};
use cim_core::{ChangeState, Cim};
use cim_nats::{ListenerCounts, ROUTES};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::process_metrics;

/// Whether the page tells anything (`enable_kpi` of the original, wire contract §2.1). Cheap to clone.
#[derive(Debug, Clone)]
pub struct MetricsSwitch(Arc<AtomicBool>);

impl MetricsSwitch {
    /// A switch in that position.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_on)))
    }

    /// Counting goes on in either position.
    pub fn set(&self, is_on: bool) {
        self.0.store(is_on, Ordering::Relaxed);
    }

    /// Its position.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

use crate::external::ExternalStatus;

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
    for (name, help) in catalog::OLD_OF_SINKS {
        describe_counter!(name, help);
    }
    handle
}

/// The whole page.
#[must_use]
pub fn render(
    handle: &PrometheusHandle,
    cim: &Cim,
    nats: &ListenerCounts,
    configuration: Option<&ConfigurationView>,
    pod: &str,
) -> String {
    cim.publish_metrics();
    publish(nats);
    if let Some(view) = configuration {
        publish_configuration(view);
    }
    let mut page = handle.render();
    let mut legacy = legacy(cim, pod);
    legacy.configuration = configuration.map(old_counts).unwrap_or_default();
    page.push_str(&legacy.render());
    page.push_str(&process_metrics::render());
    page
}

/// Whom the HTTP servers turned away.
pub fn publish_http(counts: &HttpCounts) {
    for reason in Turned::ALL {
        counter!(catalog::HTTP_TURNED_AWAY, "reason" => reason.as_str()).absolute(counts.get(reason));
    }
}

/// Publishes the counts of event subscriptions.
pub fn publish_subscriptions(view: &SubscriptionsView) {
    gauge!(catalog::SUBSCRIPTIONS).set(as_f64(view.subscriptions as u64));
    counter!(catalog::SUBSCRIPTION_READ).absolute(view.read);
    counter!(catalog::SUBSCRIPTION_MATCHED).absolute(view.matched);
    counter!(catalog::SUBSCRIPTION_LEFT_OUT, "reason" => "replay").absolute(view.replayed);
    counter!(catalog::SUBSCRIPTION_LEFT_OUT, "reason" => "too_large").absolute(view.too_large);
    counter!(catalog::SUBSCRIPTION_DELIVERED).absolute(view.delivered);
    let pending = view.acknowledged.values().map(|tally| tally.pending).sum();
    gauge!(catalog::SUBSCRIPTION_PENDING).set(as_f64(pending));
    gauge!(catalog::SUBSCRIPTION_WAITING).set(as_f64(view.waiting_bytes));
    let is_reading = view.feed == FeedState::Reading && view.trouble.is_none();
    gauge!(catalog::SUBSCRIPTION_READING).set(f64::from(u8::from(is_reading)));
    counter!(catalog::SUBSCRIPTION_FAILURES).absolute(view.failures);
}

fn publish_configuration(view: &ConfigurationView) {
    let counts = &view.counts;
    for (result, count) in [
        ("applied", counts.applied),
        ("unused", counts.unused),
        ("failed", counts.failed),
        ("expired", counts.expired),
    ] {
        counter!(catalog::CONFIG_CHANGES, "result" => result).absolute(count);
    }
    counter!(catalog::CONFIG_RECEIVED).absolute(counts.received);
    counter!(catalog::CONFIG_IGNORED_RESULTS).absolute(counts.results_ignored);
    counter!(catalog::CONFIG_WATCH_RESTARTS).absolute(counts.watch_restarts);
    counter!(catalog::CONFIG_LOST_COMMITS).absolute(counts.commit_failures);
    counter!(catalog::CONFIG_ODD_KEYS, "reason" => "foreign").absolute(counts.foreign_keys);
    counter!(catalog::CONFIG_ODD_KEYS, "reason" => "malformed").absolute(counts.malformed_keys);
    gauge!(catalog::CONFIG_COMMITS_WAITING).set(as_f64(view.commits_waiting as u64));
    if let Some(watching) = view.watching {
        gauge!(catalog::CONFIG_WATCHING).set(f64::from(u8::from(watching)));
    }
    for document in &view.documents {
        let (level, data_key) = (document.change.level.clone(), document.change.data_key.clone());
        for state in ChangeState::ALL {
            let labels = [
                ("level", level.clone()),
                ("data_key", data_key.clone()),
                ("state", state.as_str().to_owned()),
            ];
            gauge!(catalog::CONFIG_STATE, &labels).set(f64::from(u8::from(document.change.state == state)));
        }
        let labels = [("level", level), ("data_key", data_key)];
        gauge!(catalog::CONFIG_REVISION, &labels).set(f64::from(document.settled_revision));
        gauge!(catalog::CONFIG_PENDING, &labels).set(as_f64(document.pending as u64));
        gauge!(catalog::CONFIG_OLDEST, &labels).set(document.oldest_pending_seconds.unwrap_or_default());
        gauge!(catalog::CONFIG_DEADLINE, &labels).set(document.deadline_left_seconds.unwrap_or_default());
    }
}

/// The counters that kept their old names, in the order of the old page.
fn old_counts(view: &ConfigurationView) -> ConfigurationMetrics {
    let counts = &view.counts;
    ConfigurationMetrics {
        push_attempts: counts.push_attempts,
        push_successes: counts.push_successes,
        push_failures: counts.push_failures,
        commit_failures: counts.commit_failures,
        results: counts.results_received,
        results_success: counts.applied,
        results_unused: counts.unused,
        results_failure: counts.failed,
    }
}

/// Of the NATS server that somebody else runs.
pub fn publish_external(status: &ExternalStatus) {
    gauge!(catalog::EXTERNAL_CONNECTED).set(f64::from(u8::from(status.trouble.is_none())));
    counter!(catalog::EXTERNAL_LOST).absolute(status.lost);
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
        configuration: ConfigurationMetrics::default(),
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
