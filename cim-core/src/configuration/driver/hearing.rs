//! What the driver does with news of the source.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::key::status_key;
use super::super::news::News;
use super::super::subscription::{Heard, Subscription};
use super::super::work;
use super::{Driver, GULP};
use crate::contract::ConfigUpdate;

impl Driver {
    pub(super) fn hear(&mut self, heard: Heard) {
        let (mut next, mut room) = (Some(heard), GULP);
        while let Some(heard) = next.take() {
            room -= 1;
            match heard {
                Heard::Update(update) => {
                    self.watching = Some(Ok(()));
                    self.update(update);
                    // What is taken out of the watch is lost unless it is looked at: beyond the gulp it stays there.
                    if room > 0 {
                        next = self.subscription.as_mut().and_then(Subscription::ready);
                    }
                }
                Heard::Cut(error) => {
                    let text = crate::chain(&error);
                    tracing::warn!(kind = error.kind().as_str(), error = %text, "the watch of the configuration ended; it is begun again");
                    self.desk.counts_mut().watch_restarts += 1;
                    self.absent(text);
                    self.ask_for_health();
                }
            }
        }
        self.note();
    }

    fn update(&mut self, update: ConfigUpdate) {
        let now = self.now();
        let is_reset = matches!(update, ConfigUpdate::Reset { .. });
        let at = match &update {
            ConfigUpdate::Put(entry) => entry.revision,
            ConfigUpdate::Reset { revision, .. } | ConfigUpdate::Delete { revision, .. } => *revision,
        };
        let is_lasting = self.plan.source.as_ref().is_some_and(|source| source.has_lasting_revisions());
        if is_reset && is_lasting && self.seen.is_some_and(|seen| at < seen) {
            tracing::warn!(revision = at.0, before = ?self.seen, "the store was set back");
            self.desk.set_back();
        }
        let News { leases, day_one, removed, results, documents } = self.desk.update(update, now);
        if is_reset {
            self.day_one.reset();
        }
        if let Some(revision) = removed {
            self.day_one.removed(revision.as_deref());
        }
        for entry in day_one {
            let is_news = self.seen.is_some_and(|seen| entry.written > seen);
            self.day_one.document(entry, is_news);
        }
        self.seen = Some(at);
        self.caught_up |= is_reset;
        for key in results {
            self.ask_for_result(key, Instant::now());
        }
        if let Some(source) = &self.plan.source {
            for document in documents {
                let key = status_key(&self.plan.identity, &document);
                let now = Instant::now();
                self.questions.push_back(Box::pin(work::story(Arc::clone(source), document, key, now)));
            }
        }
        for question in leases {
            self.ask_for_limit(question);
        }
        self.dirty();
    }
}
