//! What a reload changes with a word, without anything being made anew.
//!
//! Left out: sinks, routes and the client of the application (`reload`). The invariant: who holds the other end has what is in force.

use tokio::sync::watch;

use crate::diagnostics::Diagnostics;
use crate::metrics_page::MetricsSwitch;
use crate::settings::{LifecycleSettings, RegistrationSettings, Settings};

/// One end of each; the other ends are with those who act by them.
#[derive(Debug)]
pub struct Switches {
    /// CIM's own messages.
    pub diagnostics: Diagnostics,
    /// What a registration is answered with.
    pub answers: watch::Sender<RegistrationSettings>,
    /// How the process and its pod end.
    pub ends: watch::Sender<LifecycleSettings>,
    /// Whether `/metrics` tells anything.
    pub metrics: MetricsSwitch,
}

impl Switches {
    /// As they stand at the start.
    #[must_use]
    pub fn new(settings: &Settings, diagnostics: Diagnostics) -> Self {
        Self {
            diagnostics,
            answers: watch::Sender::new(settings.registration.clone()),
            ends: watch::Sender::new(settings.lifecycle.clone()),
            metrics: MetricsSwitch::new(settings.metrics.enabled),
        }
    }

    /// Puts them as `next` says.
    pub fn turn(&self, before: &Settings, next: &Settings) {
        self.answers.send_replace(next.registration.clone());
        self.ends.send_replace(next.lifecycle.clone());
        self.diagnostics.change(&before.log, &next.log);
        self.metrics.set(next.metrics.enabled);
    }
}
