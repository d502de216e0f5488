//! The metrics that kept the names of the original program (wire contract §10.1, §10.2), as its text, byte for byte.
//!
//! Rendered from plain numbers, because the exporter of the metrics facade would store every size until it is
//! scraped. Left out: where the numbers come from. The invariant: a family appears only after its first update.

use cim_exposition::{Kind, Page};

/// Upper bounds of `cim_nats_<S>_message_size`, without `+Inf`.
pub const SIZE_BOUNDS: [u64; 20] = [
    0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 6000, 6500, 7000, 7500, 8000, 8500,
    9000, 9500,
];

/// Numbers of one subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubjectMetrics {
    /// `EVENT`, `LOG`, `CONFIG` or `TEST`; a dot becomes `_` in the names.
    pub subject: String,
    /// Messages received.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Messages per size: at most `SIZE_BOUNDS[i]` and above the bound before it. Larger ones are in `messages` only.
    pub sizes: [u64; SIZE_BOUNDS.len()],
    /// Milliseconds between the time in the last message and its arrival; only `EVENT` has it, once one had a time.
    pub latency_ms: Option<i64>,
}

/// Everything with an old name that logs and events move.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LegacyMetrics {
    /// Value of the one label, `pod`.
    pub pod: String,
    /// Log messages received.
    pub log_messages: u64,
    /// Their payload bytes.
    pub log_bytes: u64,
    /// Payload bytes of the last one.
    pub last_log_bytes: u64,
    /// Per subject.
    pub subjects: Vec<SubjectMetrics>,
    /// Of configuration.
    pub configuration: ConfigurationMetrics,
}

/// Everything with an old name that configuration moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the metrics; wire contract §10.1 describes them")]
pub struct ConfigurationMetrics {
    pub push_attempts: u64,
    pub push_successes: u64,
    pub push_failures: u64,
    pub commit_failures: u64,
    pub results: u64,
    pub results_success: u64,
    pub results_unused: u64,
    pub results_failure: u64,
}

impl LegacyMetrics {
    /// The exposition text, families sorted by name.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = OldPage { pod: &self.pod, page: Page::new() };
        if self.log_messages > 0 {
            // It never moved in the original; here it tells what its name says.
            page.counter("Total_msg_count", "Total no of log messages received", self.log_messages);
        }
        page.configuration(&self.configuration);
        let mut subjects: Vec<_> = self.subjects.iter().filter(|subject| subject.messages > 0).collect();
        subjects.sort_by(|a, b| a.subject.cmp(&b.subject));
        subjects.into_iter().for_each(|subject| page.subject(subject));
        if self.log_messages > 0 {
            page.single("cim_packet_size", "packetSize", Kind::Gauge, float(self.last_log_bytes));
            page.counter("cim_total_bytes_counter", "Total no of bytes recieved", self.log_bytes);
            page.counter("cim_total_messages_counter", "Total no of messages recieved", self.log_messages);
        }
        page.page.into_text()
    }
}

struct OldPage<'p> {
    pod: &'p str,
    page: Page,
}

impl OldPage<'_> {
    fn single(&mut self, name: &str, help: &str, kind: Kind, value: f64) {
        self.page.family(name, help, kind);
        self.page.sample(name, [("pod", self.pod)], value, None);
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) {
        self.single(name, help, Kind::Counter, float(count));
    }

    fn configuration(&mut self, counts: &ConfigurationMetrics) {
        let families = [
            (
                "cim_commit_config_push_failure_total",
                "Total no of config commit push failures",
                counts.commit_failures,
            ),
            ("cim_config_push_attempt_total", "Total no of config push attempts", counts.push_attempts),
            ("cim_config_push_failure_total", "Total no of config push failures", counts.push_failures),
            ("cim_config_push_success_total", "Total no of config push successes", counts.push_successes),
            ("cim_config_resp_failure_total", "Total no of config failures reported", counts.results_failure),
            ("cim_config_resp_received_total", "Total no of config responses received", counts.results),
            (
                "cim_config_resp_success_total",
                "Total no of config successes reported",
                counts.results_success,
            ),
            ("cim_config_resp_unused_total", "Total no of unused configs reported", counts.results_unused),
        ];
        for (name, help, count) in families.into_iter().filter(|(_, _, count)| *count > 0) {
            self.counter(name, help, count);
        }
    }

    fn subject(&mut self, subject: &SubjectMetrics) {
        let topic = &subject.subject;
        let stem = format!("cim_nats_{}", topic.replace('.', "_"));
        if let Some(latency) = subject.latency_ms {
            let help = format!("Latency to process messages for topic {topic}");
            #[allow(clippy::cast_precision_loss, reason = "the original keeps these numbers as floats")]
            self.single(&format!("{stem}_latency"), &help, Kind::Gauge, latency as f64);
        }
        let help = format!("Count of number of messages for topic {topic}");
        self.counter(&format!("{stem}_message_count"), &help, subject.messages);
        self.sizes(&format!("{stem}_message_size"), subject);
    }

    fn sizes(&mut self, name: &str, subject: &SubjectMetrics) {
        let pod = ("pod", self.pod);
        self.page.family(name, &format!("Message size for topic {}", subject.subject), Kind::Histogram);
        let bucket = format!("{name}_bucket");
        let mut below = 0u64;
        for (bound, count) in SIZE_BOUNDS.iter().zip(&subject.sizes) {
            below = below.saturating_add(*count);
            self.page.sample(&bucket, [pod, ("le", &bound.to_string())], float(below), None);
        }
        self.page.sample(&bucket, [pod, ("le", "+Inf")], float(subject.messages), None);
        self.page.sample(&format!("{name}_sum"), [pod], float(subject.bytes), None);
        self.page.sample(&format!("{name}_count"), [pod], float(subject.messages), None);
    }
}

#[allow(clippy::cast_precision_loss, reason = "the original keeps these numbers as floats")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_before_its_first_update() {
        let idle = LegacyMetrics {
            pod: "p".into(),
            subjects: vec![SubjectMetrics { subject: "LOG".into(), ..SubjectMetrics::default() }],
            ..LegacyMetrics::default()
        };
        assert_eq!(idle.render(), "");
    }

    #[test]
    fn hostile_pod_names_stay_inside_their_quotes() {
        let page = LegacyMetrics { pod: "a\"}\n\\".into(), log_messages: 1, ..LegacyMetrics::default() };
        assert!(page.render().contains("cim_packet_size{pod=\"a\\\"}\\n\\\\\"} 0\n"));
    }
}
