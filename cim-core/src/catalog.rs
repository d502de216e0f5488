//! Every metric name, once: what it counts, its type and its labels. The reference page is made from this table.
//!
//! Left out: rendering. The engine writes to the `metrics` facade and installs no recorder.

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl MetricKind {
    /// The Prometheus type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name on the metrics page.
    pub name: &'static str,
    /// Type.
    pub kind: MetricKind,
    /// Label names.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! catalog {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// The whole catalog, in the order of the reference page.
        pub const CATALOG: &[Metric] = &[
            $(Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help },)*
        ];
    };
}

/// The name the original gave to broken TCP connections that carried logs (wire contract §10.1). Its one label is `pod`; as
/// there, it appears with the first one.
pub const OLD_TCP_DISCONNECTS: &str = "tcp_disconnect_count";
/// The same for log messages that TCP sinks took.
pub const OLD_SENT_TO_TCP: &str = "Total_msg_sent_to_tcp";
/// The same for log messages that file sinks took.
pub const OLD_WRITTEN_TO_FILES: &str = "Total_msg_write_to_file";
/// What is told about the counters of the original that sinks move.
pub const OLD_OF_SINKS: [(&str, &str); 3] = [
    (OLD_TCP_DISCONNECTS, "Total no of TCP connections that broke while they carried log messages"),
    (OLD_SENT_TO_TCP, "Total no of log messages sent over TCP"),
    (OLD_WRITTEN_TO_FILES, "Total no of log messages written to files"),
];

catalog! {
    ACCEPTED = "cim_records_accepted_total" Counter ["route", "sink"]
        "Records taken from publishers.";
    RECOVERED = "cim_records_recovered_total" Counter ["route", "sink"]
        "Records found in the spool when the process started.";
    TAKEN_OVER = "cim_records_taken_over_total" Counter ["route", "sink"]
        "Records that waited for sinks that left the route, and wait for this one instead.";
    DELIVERED = "cim_records_delivered_total" Counter ["route", "sink"]
        "Records given to the sink or its fallback.";
    UNACKNOWLEDGED = "cim_records_delivered_unacknowledged_total" Counter ["route", "sink"]
        "Of the delivered records, those given to a sink that never acknowledges.";
    TO_FALLBACK = "cim_records_delivered_fallback_total" Counter ["route", "sink", "fallback"]
        "Of the delivered records of that sink, those that its fallback got instead.";
    DEAD_LETTERED = "cim_records_dead_lettered_total" Counter ["route", "sink"]
        "Records refused by the sink and put into the dead-letter store.";
    DROPPED = "cim_records_dropped_total" Counter ["route", "sink", "reason"]
        "Accepted records given up, by the policy or the damage that cost them.";
    HANDED_OVER = "cim_records_handed_over_total" Counter ["route", "sink"]
        "Records that waited for this sink when it left the route; the sinks that the route has since deliver them.";
    HELD = "cim_records_held" Gauge ["route", "sink"]
        "Records waiting for delivery.";
    REFUSED = "cim_records_refused_total" Counter ["class", "reason"]
        "Messages refused before they were accepted; outside the conservation law.";
    OLDEST = "cim_oldest_undelivered_seconds" Gauge ["route", "sink"]
        "Age of the oldest record that waits for delivery; 0 when none does.";
    DELIVERY_STATE = "cim_delivery_ready" Gauge ["route", "sink"]
        "1 while deliveries succeed, 0 while they are retried, suspended or use the fallback; 1 for a sink that left its route.";
    TCP_DISCONNECTS = "cim_tcp_disconnects_total" Counter ["sink"]
        "Connections of a TCP sink that broke while they carried records.";
    SPOOL_BYTES = "cim_spool_bytes" Gauge ["class"]
        "Bytes stored on disk, or in memory where there is no spool.";
    SPOOL_LEVEL = "cim_accept_level" Gauge ["class", "level"]
        "1 for the level that messages of the class reach now: memory, written or synced.";
    SPOOL_LOST = "cim_spool_lost_records_total" Counter ["class", "reason"]
        "Records lost to damage of the spool.";
    SET_ASIDE_BYTES = "cim_spool_set_aside_bytes" Gauge []
        "Bytes in the spool directory that belong to other pods or cannot be part of this spool.";
    SET_ASIDE_REMOVED = "cim_spool_set_aside_removed_bytes_total" Counter ["reason"]
        "Of these, bytes removed because they were too many or too old.";
    DEAD_POD_BYTES = "cim_spool_dead_pods_bytes" Gauge []
        "Bytes in spools of pods that are gone, in the same directory of logs; looked at every hour.";
    DEAD_POD_REMOVED = "cim_spool_dead_pods_removed_bytes_total" Counter ["reason"]
        "Of these, bytes removed because they were too many or too old.";
    BUDGET_USED = "cim_memory_budget_used_bytes" Gauge []
        "Bytes of the process-wide budget in use.";
    BUDGET_LIMIT = "cim_memory_budget_bytes" Gauge []
        "The process-wide budget.";
    DEAD_LETTERS = "cim_dead_letters" Gauge []
        "Letters in the dead-letter store.";
    DEAD_LETTERS_EVICTED = "cim_dead_letters_evicted_total" Counter []
        "Letters that made room for newer ones.";
    LEFTOVER_FILES = "cim_leftover_files" Gauge []
        "Log files of an earlier sidecar that are not delivered yet.";
    DIAGNOSTICS_SUPPRESSED = "cim_diagnostics_suppressed_total" Counter ["level"]
        "CIM's own messages that were held back, because their place in the code said too much at once.";
    DIAGNOSTICS_COPIES = "cim_diagnostics_copies_total" Counter ["result"]
        "Copies of CIM's own messages for the log route: taken, or dropped for want of room.";
    HTTP_TURNED_AWAY = "cim_http_turned_away_total" Counter ["reason"]
        "HTTP clients turned away: requests above the rate or without the token, idle connections that gave way, failed handshakes.";
    PART_RESTARTS = "cim_part_restarts_total" Counter ["part"]
        "How often a task of the process was started again after a panic.";
    KAFKA_BROKERS = "cim_kafka_brokers_connected" Gauge ["sink"]
        "Brokers a Kafka sink is connected to; it connects to those it needs.";
    KAFKA_REBUILDS = "cim_kafka_producer_rebuilds_total" Counter ["sink"]
        "Producers of a Kafka sink that were replaced, for a refused record, a fatal error or a changed secret.";
    KAFKA_POSSIBLE_DUPLICATES = "cim_kafka_possible_duplicates_total" Counter ["sink"]
        "Records a broker may have although they were sent again or given to a fallback; an upper bound.";
    CONFIG_WATCHING = "cim_config_watching" Gauge []
        "1 while changes of the configuration source arrive, 0 while it cannot be watched.";
    CONFIG_RECEIVED = "cim_config_changes_received_total" Counter []
        "Changes read from the configuration source.";
    CONFIG_CHANGES = "cim_config_changes_total" Counter ["result"]
        "Changes with a result: applied, unused, failed (given up or undone), expired.";
    CONFIG_REVISION = "cim_config_settled_revision" Gauge ["level", "data_key"]
        "Highest revision of a document that has a result.";
    CONFIG_STATE = "cim_config_state" Gauge ["level", "data_key", "state"]
        "1 for the state of the change at work, or of the last one, of a document; 0 for every other state.";
    CONFIG_PENDING = "cim_config_pending_changes" Gauge ["level", "data_key"]
        "Changes of a document that have no result yet.";
    CONFIG_OLDEST = "cim_config_oldest_pending_seconds" Gauge ["level", "data_key"]
        "Age of the oldest change of a document that waits for a result; 0 when none does.";
    CONFIG_DEADLINE = "cim_config_deadline_seconds" Gauge ["level", "data_key"]
        "Time until the change at work must have a result; 0 when none is at work.";
    CONFIG_COMMITS_WAITING = "cim_config_commits_waiting" Gauge []
        "Results that are not stored at the configuration source yet.";
    CONFIG_LOST_COMMITS = "cim_config_commits_lost_total" Counter []
        "Results that could not be stored before the time of their change ran out.";
    CONFIG_IGNORED_RESULTS = "cim_config_results_ignored_total" Counter []
        "Messages on CONFIG that counted for nothing.";
    CONFIG_ODD_KEYS = "cim_config_odd_keys_total" Counter ["reason"]
        "Keys of the configuration source that were left alone: foreign or malformed.";
    CONFIG_WATCH_RESTARTS = "cim_config_watch_restarts_total" Counter []
        "Watches of the configuration source that ended and were begun again.";
    ALIGNED_WAITING = "cim_aligned_intervals" Gauge []
        "Intervals of clock-aligned metrics that wait to be fetched.";
    ALIGNED_BYTES = "cim_aligned_bytes" Gauge []
        "Bytes of the pages in these intervals.";
    ALIGNED_SERVED = "cim_aligned_served_intervals_total" Counter []
        "Intervals that a scraper has fetched.";
    ALIGNED_DROPPED = "cim_aligned_dropped_intervals_total" Counter ["reason"]
        "Intervals that nobody fetched in time: retention, memory.";
    ALIGNED_MISSED = "cim_aligned_missed_ticks_total" Counter []
        "Ticks at which nothing was read, because the clock jumped or the process stood still.";
    ALIGNED_FAILED = "cim_aligned_failed_reads_total" Counter ["port"]
        "Pages of the application that could not be read at a tick.";
    SUBSCRIPTIONS = "cim_subscriptions" Gauge []
        "Event subscriptions of the application.";
    SUBSCRIPTION_READ = "cim_subscription_records_read_total" Counter []
        "Records read from the topic of subscribed events.";
    SUBSCRIPTION_MATCHED = "cim_subscription_records_matched_total" Counter []
        "Of these, records that a subscription asks for.";
    SUBSCRIPTION_LEFT_OUT = "cim_subscription_records_left_out_total" Counter ["reason"]
        "Records left out although they may have been asked for: replay or too_large.";
    SUBSCRIPTION_DELIVERED = "cim_subscription_notifications_total" Counter []
        "Notifications that a connection of the application took.";
    SUBSCRIPTION_PENDING = "cim_subscription_pending" Gauge []
        "Notifications of subscriptions that want answers that are not settled.";
    SUBSCRIPTION_REDELIVERED = "cim_subscription_redeliveries_total" Counter []
        "Notifications that were sent again because the application did not answer, or asked for it.";
    SUBSCRIPTION_DEAD_LETTERS = "cim_subscription_dead_letters_total" Counter ["reason"]
        "Notifications that were given up and became dead letters: terminated, refused or not_answered.";
    SUBSCRIPTION_WAITING = "cim_subscription_waiting_bytes" Gauge []
        "Bytes of notifications that wait for the application; from 4 MiB on nothing is read.";
    SUBSCRIPTION_READING = "cim_subscription_reading" Gauge []
        "1 while records are read as they come, 0 while nobody subscribed, the application does not take them, or they cannot be read.";
    SUBSCRIPTION_FAILURES = "cim_subscription_failures_total" Counter []
        "How often reading the topic of subscribed events failed and was begun again.";
    SUBSCRIPTION_COMMIT_FAILURES = "cim_subscription_commit_failures_total" Counter []
        "Notes of how far the topic was read that were refused; a later one replaces them.";
    NATS_CONNECTIONS = "cim_nats_connections" Gauge []
        "Open client connections of the listener.";
    NATS_CONNECTS = "cim_nats_connections_total" Counter ["result"]
        "Connections accepted or refused by the listener.";
    NATS_MESSAGES_IN = "cim_nats_messages_in_total" Counter ["subject"]
        "Messages published by clients: LOG, EVENT, CONFIG, TEST, other.";
    NATS_BYTES_IN = "cim_nats_bytes_in_total" Counter ["subject"]
        "Payload bytes published by clients.";
    NATS_MESSAGES_OUT = "cim_nats_messages_out_total" Counter []
        "Messages sent to subscribers.";
    NATS_BYTES_OUT = "cim_nats_bytes_out_total" Counter []
        "Payload bytes sent to subscribers.";
    EXTERNAL_CONNECTED = "cim_nats_external_connected" Gauge []
        "1 while messages of the external NATS server arrive, 0 while they cannot.";
    EXTERNAL_LOST = "cim_nats_external_lost_total" Counter []
        "Messages of plain subscriptions of the external NATS server that were lost for want of room.";
    NATS_CLOSED = "cim_nats_closed_total" Counter ["reason"]
        "Connections closed by the listener, by reason.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names: Vec<_> = CATALOG.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for metric in CATALOG {
            assert!(metric.name.starts_with("cim_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{}",
                metric.name
            );
        }
    }
}
