//! Logs over TCP that are not taken any more, told to the world by an event (wire contract §7.4).
//!
//! Owns the memory of what was told. Left out: noticing, which is the delivery's. The invariant: one event for each
//! outage, and none for another kind of sink.

use std::collections::BTreeMap;

use cim_core::configuration::Announcement;
use cim_core::{Cim, MemberStatus};

use crate::registration::Engine;
use crate::settings::Settings;

/// How many outages of each sink were told.
#[derive(Debug, Default)]
pub struct LostReceivers(BTreeMap<String, u64>);

impl LostReceivers {
    /// Whether a route takes logs to a TCP receiver.
    #[must_use]
    pub fn watches(settings: &Settings) -> bool {
        settings.routes.logs.sink.names().into_iter().any(|sink| is(settings, sink, "tcp"))
    }

    /// Looks at the routes, and announces every receiver that was lost since the last look.
    ///
    /// # Cancel safety
    /// When dropped, an announcement may be left out.
    pub async fn look(&mut self, cim: &Cim, settings: &Settings, engine: &Engine) {
        if !Self::watches(settings) {
            return;
        }
        let configuration = engine.borrow().as_ref().map(|(configuration, _)| configuration.clone());
        // Before it is known who the pod is nobody could tell whose event it is.
        let Some(configuration) = configuration else { return };
        for announcement in self.news(&cim.status().members, settings) {
            configuration.announce(announcement).await;
        }
    }

    fn news(&mut self, members: &[MemberStatus], settings: &Settings) -> Vec<Announcement> {
        let mut news = Vec::new();
        for member in
            members.iter().filter(|member| member.route == "logs" && is(settings, &member.sink, "tcp"))
        {
            let told = self.0.entry(member.sink.clone()).or_default();
            if std::mem::replace(told, member.delivery.outages) < member.delivery.outages {
                let to_file = member.fallback.as_ref().is_some_and(|sink| is(settings, sink, "file"));
                let action = if to_file { "CIM writing logs to the file" } else { "CIM holding logs back" };
                news.push(Announcement::of_lost_receiver(action));
            }
        }
        news
    }
}

fn is(settings: &Settings, sink: &str, kind: &str) -> bool {
    settings.sinks.get(sink).is_some_and(|table| table.kind == kind)
}
