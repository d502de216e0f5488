//! The feed of subscribed events as a part of the process.
//!
//! Left out: what it does. Invariant: it begins once, when it is known who this pod is, for its place in the feed has that name.

use std::sync::Arc;

use cim_core::subscriptions::FeedState;
use cim_core::{Identity, Registry};

use super::Process;
use crate::settings::Settings;
use crate::subscriptions;

impl Process {
    /// Reads subscribed events from now on, where there is a source of them.
    pub(super) fn follow_events(&self, settings: &Settings, identity: &Identity, registry: &Registry) {
        let known = &self.face.subscriptions;
        if known.view().feed != FeedState::Absent {
            return;
        }
        match subscriptions::source(settings, registry, identity) {
            Ok(Some(source)) => {
                tracing::info!(source = source.name(), topic = %settings.subscriptions.topic, "subscribed events");
                let outlet = Arc::new(self.nats.clone());
                let rules = subscriptions::rules(&settings.subscriptions);
                known.follow(self.cim.supervisor(), source, outlet, self.cim.letters(), rules);
            }
            Ok(None) => {}
            Err(problem) => tracing::error!("subscribed events cannot be read: {problem}"),
        }
    }
}
