//! Clock-aligned metrics of this process (wire contract §10.3): what was read and waits, and what a reader gets of it.
//!
//! Owns the ring and its numbers. Left out: reading exporters (`collector`), ticks and pages (`cim-aligned`). Invariant: an interval that a
//! scraper has taken waits again, unless the whole answer has left the process.

mod collector;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_aligned::{ANNOTATION, Bucket, Plan, Ring, Source, read_annotation, render};
use cim_api::{AlignedPage, Aligning, Readiness, Receipt};
use cim_app::Security;
use cim_core::budget::Budget;
use cim_core::{Identity, Problem, catalog};
use metrics::{counter, gauge};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::backends;
use crate::settings::MetricsSettings;
pub use collector::start;

/// The pages that wait. Shared.
#[derive(Debug)]
pub struct Aligned {
    /// Most bytes of pages that wait.
    memory: usize,
    budget: Budget,
    /// The configuration says what is aligned; the annotation does not count.
    is_set: bool,
    /// Makes connections to exporters private that speak TLS.
    security: Option<Arc<dyn Security>>,
    plan: watch::Sender<Option<Plan>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Absent while nothing is aligned.
    ring: Option<Ring>,
    /// What is wrong with the annotation.
    trouble: Option<String>,
    /// Ports that were asked.
    ports: BTreeMap<u16, Port>,
    missed: u64,
    served: u64,
}

/// How reading a port is doing.
#[derive(Debug, Default)]
struct Port {
    failed: u64,
    trouble: Option<String>,
}

impl Aligned {
    /// What the configuration asks for; the annotation may ask later.
    ///
    /// # Errors
    /// TLS in a build without it.
    pub fn new(settings: &MetricsSettings, budget: &Budget) -> Result<Arc<Self>, Problem> {
        let aligned = Self {
            memory: usize::try_from(settings.aligned_memory.get()).unwrap_or(usize::MAX),
            budget: budget.clone(),
            is_set: settings.aligned.is_some(),
            security: backends::exporter_security(settings.tls.as_ref())?,
            plan: watch::Sender::new(None),
            state: Mutex::default(),
        };
        // One that cannot be was refused before the start.
        if let Some(Ok(plan)) = settings.aligned.as_ref().map(|aligned| aligned.plan()) {
            aligned.begin(Some(plan));
        }
        Ok(Arc::new(aligned))
    }

    /// It is known who this pod is, and with it its annotation.
    pub fn known(&self, identity: &Identity) {
        if self.is_set {
            return;
        }
        let asked = match identity.mmaas.as_str() {
            "" => Ok(None),
            text => read_annotation(text).and_then(|plan| self.trusted(plan)),
        };
        if let Err(problem) = &asked {
            tracing::warn!("no clock-aligned metrics: {problem}");
        }
        self.state().trouble = asked.as_ref().err().cloned();
        self.begin(asked.unwrap_or_default());
    }

    /// Nothing is read over TLS from whom nobody vouches for.
    fn trusted(&self, plan: Option<Plan>) -> Result<Option<Plan>, String> {
        if plan.as_ref().is_some_and(|plan| plan.is_https) && self.security.is_none() {
            return Err(format!(
                "annotation `{ANNOTATION}` asks for https; name the authority of the exporters in `ca_file` of [metrics.tls]"
            ));
        }
        Ok(plan)
    }

    fn begin(&self, plan: Option<Plan>) {
        if *self.plan.borrow() == plan {
            return;
        }
        if let Some(plan) = &plan {
            tracing::info!(
                ports = ?plan.ports, path = %plan.path, interval = ?plan.interval.span(), retention = plan.retention,
                "clock-aligned metrics are read"
            );
        }
        self.state().ring =
            plan.as_ref().map(|plan| Ring::new(plan.retention, self.memory, self.budget.clone()));
        self.plan.send_replace(plan);
    }

    /// The page of what waits; `None` while nothing is aligned. A scraper takes it away, others look at it.
    #[must_use]
    pub fn page(self: &Arc<Self>, is_scraper: bool) -> Option<Aligning<'static>> {
        let mut state = self.state();
        let ring = state.ring.as_mut()?;
        let buckets = if is_scraper { ring.take() } else { ring.seen() };
        let taken =
            Taken { from: Arc::clone(self), buckets: if is_scraper { buckets.clone() } else { Vec::new() } };
        Some(Box::pin(async move {
            // Beside the loop, because hours of metrics may have to be put into order.
            let made = tokio::task::spawn_blocking(move || render(&buckets, env!("CARGO_PKG_VERSION")));
            match made.await {
                Ok(text) => AlignedPage { text, receipt: Some(Receipt::new(move || taken.arrived())) },
                Err(error) => {
                    tracing::error!(%error, "the page of clock-aligned metrics cannot be made");
                    AlignedPage { text: String::new(), receipt: None }
                }
            }
        }))
    }

    fn keep(&self, tick_ms: u64, sources: Vec<Source>) {
        if let (Some(ring), false) = (self.state().ring.as_mut(), sources.is_empty()) {
            ring.put(tick_ms, sources);
        }
    }

    fn missed(&self, ticks: u64) {
        self.state().missed += ticks;
    }

    /// What came of reading a port; said once, and when it changes.
    fn note(&self, port: u16, outcome: Result<(), String>) {
        let mut state = self.state();
        let known = state.ports.entry(port).or_default();
        match &outcome {
            Err(why) => {
                known.failed += 1;
                if known.trouble.is_none() {
                    tracing::warn!(port, "metrics of the application cannot be read: {why}");
                }
            }
            Ok(()) if known.trouble.is_some() => {
                tracing::info!(port, "metrics of the application are read again")
            }
            Ok(()) => {}
        }
        known.trouble = outcome.err();
    }

    /// Writes the numbers to the recorder.
    pub fn publish(&self) {
        let state = self.state();
        let Some(ring) = &state.ring else { return };
        gauge!(catalog::ALIGNED_WAITING).set(as_f64(ring.len()));
        gauge!(catalog::ALIGNED_BYTES).set(as_f64(ring.bytes()));
        counter!(catalog::ALIGNED_SERVED).absolute(state.served);
        counter!(catalog::ALIGNED_DROPPED, "reason" => "retention").absolute(ring.dropped().retention);
        counter!(catalog::ALIGNED_DROPPED, "reason" => "memory").absolute(ring.dropped().memory);
        counter!(catalog::ALIGNED_MISSED).absolute(state.missed);
        for (port, known) in &state.ports {
            counter!(catalog::ALIGNED_FAILED, "port" => port.to_string()).absolute(known.failed);
        }
    }

    /// For `/statusz`; `null` when nobody asks for aligned metrics.
    #[must_use]
    pub fn status(&self) -> Value {
        let (plan, state) = (self.plan.borrow().clone(), self.state());
        let trouble = state.told_trouble();
        let (Some(plan), Some(ring)) = (plan, &state.ring) else {
            return trouble.map_or(Value::Null, |trouble| json!({ "trouble": trouble }));
        };
        let dropped = ring.dropped();
        json!({
            "ports": plan.ports,
            "path": plan.path,
            "interval_ms": plan.interval.ms(),
            "retention": plan.retention,
            "waiting": ring.len(),
            "waiting_bytes": ring.bytes(),
            "served": state.served,
            "dropped": { "retention": dropped.retention, "memory": dropped.memory },
            "missed_ticks": state.missed,
            "trouble": trouble,
        })
    }

    /// For `/readyz`: told, and never a reason to take the pod out of service.
    #[must_use]
    pub fn readiness(&self) -> Option<Readiness> {
        let state = self.state();
        let text = match (state.told_trouble(), &state.ring) {
            (Some(trouble), _) => format!("degraded: {trouble}"),
            (None, Some(ring)) => format!("{} intervals wait", ring.len()),
            (None, None) => return None,
        };
        Some(Readiness { name: "clock-aligned metrics".to_owned(), ready: true, text })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn told_trouble(&self) -> Option<String> {
        let of_port =
            |(port, known): (&u16, &Port)| Some(format!("port {port}: {}", known.trouble.as_ref()?));
        self.trouble.clone().or_else(|| self.ports.iter().find_map(of_port))
    }
}

/// Intervals on their way to a scraper.
#[derive(Debug)]
struct Taken {
    from: Arc<Aligned>,
    buckets: Vec<Arc<Bucket>>,
}

impl Taken {
    fn arrived(mut self) {
        self.from.state().served += self.buckets.len() as u64;
        self.buckets.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.buckets);
        if let (Some(ring), false) = (self.from.state().ring.as_mut(), taken.is_empty()) {
            ring.give_back(taken);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point; counts stay far below 2^53")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(settings: &str) -> Arc<Aligned> {
        Aligned::new(&serde_json::from_str(settings).unwrap(), &Budget::new(1 << 20)).unwrap()
    }

    fn read(aligned: &Aligned, tick_ms: u64) {
        aligned.keep(tick_ms, vec![Source { port: 1, text: "x 1\n".to_owned() }]);
    }

    fn pod(annotation: &str) -> Identity {
        Identity { mmaas: annotation.to_owned(), ..Identity::default() }
    }

    #[tokio::test]
    async fn what_a_scraper_took_and_did_not_get_waits_again() {
        let aligned = aligned(r#"{"aligned":{}}"#);
        read(&aligned, 1_000);
        let page = aligned.page(true).unwrap().await;
        assert!(page.text.contains("x{aligned_ts=\"1\""), "{}", page.text);
        assert_eq!(aligned.status()["waiting"], 0);
        drop(page);
        assert_eq!(
            (aligned.status()["waiting"].clone(), aligned.status()["served"].clone()),
            (1.into(), 0.into())
        );
        // Dropped before it was even made.
        drop(aligned.page(true).unwrap());
        assert_eq!(aligned.status()["waiting"], 1);
    }

    #[test]
    fn the_annotation_counts_once_the_pod_is_known_and_not_against_the_configuration() {
        let free = aligned("{}");
        assert!(free.page(false).is_none() && free.readiness().is_none());
        free.known(&pod("zz"));
        assert!(free.page(false).is_none());
        assert!(free.readiness().unwrap().text.starts_with("degraded: annotation"));
        free.known(&pod(r#"{"scrape":"true","measurementInterval":"15s","maxRetention":"2"}"#));
        assert!(free.page(false).is_some());
        assert_eq!(free.status()["interval_ms"], 15_000);
        free.known(&pod(""));
        assert!(free.page(false).is_none() && free.readiness().is_none());
        let set = aligned(r#"{"aligned":{"interval":"1m"}}"#);
        set.known(&pod("zz"));
        assert_eq!(
            (set.status()["interval_ms"].clone(), set.status()["trouble"].clone()),
            (60_000.into(), Value::Null)
        );
    }
}
