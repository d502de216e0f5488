//! What the process says about itself over HTTP: readiness, status document, metrics; registration and event subscriptions.
//!
//! Left out: HTTP. The invariant: a broken sink or backend never makes the pod unready, because restarting the pod or
//! taking it out of service mends nothing; it is told as `degraded`.

use std::sync::Arc;
use std::time::Instant;

use cim_api::{
    Aligning, ApiState, Asking, HttpCounts, Readiness, Registering, RegistrationRequest, SubscriptionCall,
};
use cim_core::configuration::ConfigurationView;
use cim_core::settings::OnFault;
use cim_core::{
    Cim, ClassStatus, Component, ConfigSource, DeliveryState, Health, Identity, MemberStatus, Orchestrator,
    Subscriptions,
};
use cim_nats::ListenerStats;
use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::aligned::Aligned;
use crate::diagnostics::Diagnostics;
use crate::external::ExternalIntake;
use crate::lifecycle::{Keeping, Rules};
use crate::metrics_page::{self, MetricsSwitch};
use crate::own_document::Wishes;
use crate::registration::{self, Engine};
use crate::settings::{LifecycleSettings, LogLevel, RegistrationSettings, Settings};
use crate::subscriptions;

/// The state behind the HTTP servers.
pub struct Face {
    /// The engine.
    pub cim: Cim,
    /// Counts of the listener.
    pub nats: Arc<ListenerStats>,
    /// Where applications connect.
    pub addresses: Vec<std::net::SocketAddr>,
    /// The exporter.
    pub exporter: PrometheusHandle,
    /// Whether `/metrics` tells anything.
    pub metrics: MetricsSwitch,
    /// Clock-aligned metrics.
    pub aligned: Arc<Aligned>,
    /// The configuration of the start; what changes at run time stands beside it.
    pub settings: Settings,
    /// When the process was ready.
    pub started: Instant,
    /// The configuration engine, once it works.
    pub engine: Engine,
    /// Where configuration comes from and results go.
    pub source: Option<Arc<dyn ConfigSource>>,
    /// Takes what the application gives of `cim.json`, where that may be kept in a ConfigMap.
    pub wishes: Option<Wishes>,
    /// Whether the application has registered with this process.
    pub registered: watch::Sender<bool>,
    /// A NATS server that somebody else runs.
    pub external: Option<Arc<dyn ExternalIntake>>,
    /// What a registration is answered with.
    pub answers: watch::Receiver<RegistrationSettings>,
    /// How the process and its pod end.
    pub ends: watch::Receiver<LifecycleSettings>,
    /// Event subscriptions of the application.
    pub subscriptions: Subscriptions,
    /// What runs the pod.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// CIM's own messages.
    pub diagnostics: Diagnostics,
    /// Whom the HTTP servers turned away.
    pub http: Arc<HttpCounts>,
}

impl ApiState for Face {
    fn readiness(&self) -> Vec<Readiness> {
        let status = self.cim.status();
        let nats = status.parts.iter().find(|part| part.name == crate::run::NATS_PART);
        let listening = nats.is_some_and(|part| part.state == "running");
        let mut parts = vec![Readiness {
            name: "nats".to_owned(),
            ready: listening,
            text: if listening { addresses(&self.addresses) } else { "not running".to_owned() },
        }];
        parts.extend(self.external.as_ref().map(|external| {
            let trouble = external.status().trouble;
            let text = trouble.map_or_else(|| "connected".to_owned(), |why| format!("degraded: {why}"));
            Readiness { name: "nats external".to_owned(), ready: true, text }
        }));
        parts.extend(status.classes.iter().map(|class| self.class(class)));
        parts.extend(status.members.iter().map(member));
        parts.push(self.configuration());
        parts.push(self.orchestrator());
        parts.extend(self.aligned.readiness());
        parts.push(self.subscribed());
        parts
    }

    fn status(&self) -> Value {
        let status = self.cim.status();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "identity": self.identity(),
            "lifecycle": self.lifecycle(),
            "orchestrator": { "type": self.settings.orchestrator.kind, "trouble": self.orchestrator_trouble() },
            "configuration": self.engine.borrow().as_ref().map(|(configuration, _)| configuration.view()),
            "subscriptions": self.subscriptions.view(),
            "nats": { "listen": self.addresses, "connections": self.nats.snapshot().connections },
            "classes": status.classes.iter().map(class_document).collect::<Vec<_>>(),
            "routes": status.members.iter().map(member_document).collect::<Vec<_>>(),
            "memory": { "budget_bytes": self.cim.budget().limit(), "used_bytes": self.cim.budget().used() },
            "dead_letters": status.dead_letters,
            "aligned_metrics": self.aligned.status(),
            "parts": status.parts,
        })
    }

    fn metrics(&self) -> String {
        if !self.metrics.is_on() {
            return String::new();
        }
        self.aligned.publish();
        let counts = self.nats.snapshot();
        let view = self.engine.borrow().as_ref().map(|(configuration, _)| configuration.view());
        if let Some(external) = &self.external {
            metrics_page::publish_external(&external.status());
        }
        let pod = &self.settings.identity.pod;
        self.diagnostics.publish();
        metrics_page::publish_http(&self.http);
        metrics_page::publish_subscriptions(&self.subscriptions.view());
        metrics_page::render(&self.exporter, &self.cim, &counts, view.as_ref(), pod)
    }

    fn aligned(&self, is_scraper: bool) -> Option<Aligning<'_>> {
        self.aligned.page(is_scraper)
    }

    fn register(&self, request: RegistrationRequest) -> Option<Registering<'_>> {
        let engine = self.engine.clone();
        Some(Box::pin(async move {
            let is_first = !*self.registered.borrow();
            let given = self.wishes.as_ref().filter(|_| is_first);
            let answer = registration::register(engine, &self.answers, given, request).await;
            if answer.is_ok() && is_first {
                self.registered.send_replace(true);
            }
            answer
        }))
    }

    fn log_level(&self) -> Option<&'static str> {
        Some(self.diagnostics.level().as_str())
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        LogLevel::parse(level).map(|level| self.diagnostics.set_level(level))
    }

    fn subscriptions(&self, call: SubscriptionCall) -> Option<Asking<'_>> {
        self.has_registered()
            .then(|| Box::pin(subscriptions::answer(&self.subscriptions, call)) as Asking<'_>)
    }
}

impl Face {
    fn identity(&self) -> Value {
        let known = self.engine.borrow().as_ref().map(|(_, identity)| identity.clone());
        let is_known = known.is_some();
        let Identity { namespace, pod, microservice, version, uid, node, .. } =
            known.unwrap_or_else(|| Identity::from(&self.settings.identity));
        let mut document = json!({ "namespace": namespace, "pod": pod, "known": is_known });
        if let (Some(members), true) = (document.as_object_mut(), is_known) {
            let more = [("microservice", microservice), ("version", version), ("uid", uid), ("node", node)];
            members.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
        }
        document
    }

    /// Whether the application registered, with this process or one before it.
    fn has_registered(&self) -> bool {
        let remembered = || self.engine.borrow().as_ref().is_some_and(|(engine, _)| engine.view().registered);
        *self.registered.borrow() || self.subscriptions.view().subscriptions > 0 || remembered()
    }

    /// Events that cannot be read now wait at their source, so that never makes the pod unready.
    fn subscribed(&self) -> Readiness {
        let text = subscriptions::line(&self.subscriptions.view());
        Readiness { name: "subscriptions".to_owned(), ready: true, text }
    }

    /// How this container stands in its pod, and how long its end may take, as far as that is known.
    fn lifecycle(&self) -> Value {
        let end = self.orchestrator.pod_end().now_or_never().and_then(Result::ok);
        let keeping = Keeping::of(&self.settings.spool);
        let rules = Rules::of(&self.ends.borrow(), end.as_ref(), keeping);
        json!({ "sidecar": rules.kind.as_str(), "grace_seconds": rules.grace.as_secs() })
    }

    fn orchestrator_trouble(&self) -> Option<String> {
        trouble(self.orchestrator.as_ref())
    }

    /// What runs the pod is on no way of a record, so its troubles never make the pod unready.
    fn orchestrator(&self) -> Readiness {
        let text = match self.orchestrator_trouble() {
            None => self.settings.orchestrator.kind.clone(),
            Some(trouble) => format!("degraded: {trouble}"),
        };
        Readiness { name: "orchestrator".to_owned(), ready: true, text }
    }

    /// A source that cannot be reached never makes the pod unready: the configuration it has is still in force. Nor does a file
    /// that cannot be written.
    fn configuration(&self) -> Readiness {
        let view = self.engine.borrow().as_ref().map(|(configuration, _)| configuration.view());
        let text = match &view {
            None => "degraded: it is not known yet who this pod is; events are held".to_owned(),
            Some(view) => match (view.watching, &view.trouble) {
                (None, _) => "no source".to_owned(),
                (Some(true), _) => self.watching(view),
                (Some(false), trouble) => {
                    format!("degraded: not watching: {}", trouble.as_deref().unwrap_or("no reason is known"))
                }
            },
        };
        let text = match view.and_then(|view| view.unsaved) {
            None => text,
            Some(why) => {
                let rest = text.trim_start_matches("degraded: ");
                format!(
                    "degraded: registration and results are in memory only, a restart forgets them: {why}; {rest}"
                )
            }
        };
        Readiness { name: "configuration".to_owned(), ready: true, text }
    }

    /// A store that tells changes may take no results: one over its quota, for example.
    fn watching(&self, view: &ConfigurationView) -> String {
        let waiting = view.commits_waiting;
        match self.source.as_deref().filter(|_| waiting > 0).and_then(trouble) {
            None => format!("watching; {} documents changed", view.documents.len()),
            Some(trouble) => {
                format!("degraded: watching, but results are not stored ({waiting} wait): {trouble}")
            }
        }
    }

    fn class(&self, class: &ClassStatus) -> Readiness {
        let (level, wanted) = (class.level.as_str(), class.configured.as_str());
        let below = class.level < class.configured;
        let text = match &class.fault {
            Some(fault) => format!("degraded: accepts at level {level} instead of {wanted}: {fault}"),
            None if class.full => format!("full: publishers are held back; accepts at level {level}"),
            None => format!("accepts at level {level}"),
        };
        let strict = self.settings.spool.on_fault == OnFault::Strict;
        Readiness { name: format!("spool {}", class.class), ready: !(below && strict), text }
    }
}

/// What a component tells from memory; one that would have to ask is not waited for.
fn trouble<C: Component + ?Sized>(component: &C) -> Option<String> {
    match component.probe().now_or_never()? {
        Health::Ready => None,
        Health::Degraded(trouble) => Some(trouble),
    }
}

fn addresses(addresses: &[std::net::SocketAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!("listening on {}", list.join(", "))
}

fn member(member: &MemberStatus) -> Readiness {
    let delivery = &member.delivery;
    let error = delivery.last_error.as_deref().unwrap_or("no error text");
    let kind = delivery.last_kind.unwrap_or("no kind");
    let held = member.books.held;
    let text = match delivery.state {
        DeliveryState::Ready => match &member.trouble {
            Some(trouble) => format!("degraded: delivering, but {trouble}; {held} held"),
            None => format!("delivering; {held} held"),
        },
        DeliveryState::Retrying => {
            format!("degraded: retrying ({kind}, {}): {error}; {held} held", delivery.attempts)
        }
        DeliveryState::Suspended => {
            format!("degraded: refused ({kind}), retried slowly: {error}; {held} held")
        }
        DeliveryState::Fallback => format!("degraded: using the fallback: {error}; {held} held"),
    };
    Readiness { name: format!("route {} to {}", member.route, member.sink), ready: true, text }
}

fn class_document(class: &ClassStatus) -> Value {
    json!({
        "class": class.class,
        "level": class.level.as_str(),
        "configured_level": class.configured.as_str(),
        "bytes": class.bytes,
        "full": class.full,
        "fault": class.fault,
    })
}

fn member_document(member: &MemberStatus) -> Value {
    let books = &member.books;
    json!({
        "route": member.route,
        "sink": member.sink,
        "delivery": member.delivery,
        "trouble": member.trouble,
        "books": {
            "accepted": books.accepted,
            "recovered": books.recovered,
            "taken_over": books.taken_over,
            "delivered": books.delivered,
            "dead_lettered": books.dead_lettered,
            "dropped": books.dropped_total(),
            "held": books.held,
        },
    })
}
