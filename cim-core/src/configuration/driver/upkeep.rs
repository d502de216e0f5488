//! What the driver does now and then: renew the view, save what is to be remembered, and end.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::super::unstored::Unstored;
use super::super::view::{ConfigurationView, DocumentView, UnstoredView};
use super::super::work::Done;
use super::Driver;
use super::saving::Waiting;

/// How often the view is renewed and the file is saved, when there is a reason.
const UPKEEP: Duration = Duration::from_millis(250);
/// Time for results that are on their way when the engine ends.
const LAST_COMMITS: Duration = Duration::from_secs(2);

impl Driver {
    /// Something changed that can be seen.
    pub(super) fn note(&mut self) {
        self.upkeep_at.get_or_insert_with(|| Instant::now() + UPKEEP);
    }

    /// Something changed that has to be remembered.
    pub(super) fn dirty(&mut self) {
        self.saving.due();
        self.note();
    }

    /// Something changed that is said only once, and has to be remembered before anything can happen to this process.
    pub(super) fn urgent(&mut self) {
        self.saving.urgent();
        self.upkeep_at = Some(Instant::now());
    }

    /// When there is something to renew or to save; not while a save is under way.
    pub(super) fn next_upkeep(&self) -> Option<Instant> {
        let next = [self.upkeep_at, self.saving.again_at()].into_iter().flatten().min();
        next.filter(|_| !self.saving.is_under_way())
    }

    pub(super) fn upkeep(&mut self) {
        self.upkeep_at = None;
        self.show();
        if self.saving.is_turn(Instant::now()) {
            self.save();
        }
    }

    pub(super) fn show(&self) {
        let now = self.now();
        let left = |at: Duration| at.saturating_sub(now.mono).as_secs_f64();
        let since = |ms: u64| Duration::from_millis(now.wall_ms.saturating_sub(ms)).as_secs_f64();
        let documents = self.desk.documents().filter_map(|(_, lane)| {
            Some(DocumentView {
                change: lane.status()?.clone(),
                settled_revision: lane.settled(),
                pending: lane.pending(),
                oldest_pending_seconds: lane.waiting_since().map(since),
                deadline_left_seconds: lane.deadline().map(left),
            })
        });
        let unstored = self.commits.reports().filter_map(|report| {
            let status = &report.settled.as_ref()?.status;
            Some(UnstoredView {
                data_key: status.data_key.clone(),
                level: status.level.clone(),
                revision: status.revision,
                left_seconds: report.until.map(left),
            })
        });
        let view = ConfigurationView {
            renewed: Some(Instant::now()),
            watching: self.watching.as_ref().map(Result::is_ok),
            trouble: self.watching.as_ref().and_then(|watching| watching.as_ref().err().cloned()),
            registered: self.desk.is_ready(),
            day_one: Some(self.day_one.state()),
            day_one_reason: self.day_one.reason().map(ToOwned::to_owned),
            unsaved: self.saving.trouble().map(ToOwned::to_owned),
            commits_waiting: self.commits.waiting(),
            unstored: unstored.collect(),
            documents: documents.collect(),
            history: self.history.iter().cloned().collect(),
            counts: *self.desk.counts(),
        };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    pub(super) fn save(&mut self) {
        let is_needed = self.saving.begin();
        let Some(dir) = self.plan.dir.clone().filter(|_| is_needed) else {
            return self.was_saved(Ok(()));
        };
        self.remember();
        let memory = self.memory.clone();
        let write = tokio::task::spawn_blocking(move || memory.save(&dir));
        self.work.push(Box::pin(async move {
            Done::Saved(write.await.unwrap_or_else(|error| Err(std::io::Error::other(error))))
        }));
    }

    fn remember(&mut self) {
        self.memory.set_settled(self.desk.settled());
        self.memory.marks = self.commits.marks().clone();
        self.memory.written = self.commits.written().clone();
        self.memory.unstored = self.commits.reports().filter_map(Unstored::of).collect();
        self.memory.own_map = self.desk.own_map() == Some(true);
        self.memory.seen = self.seen.map(|seen| seen.0);
        self.documents.remember(&mut self.memory);
        self.memory.day_one = Some(self.day_one.state());
        self.memory.nf_revision = self.day_one.wanted().map(ToOwned::to_owned);
    }

    pub(super) fn was_saved(&mut self, outcome: std::io::Result<()>) {
        let (Waiting { registrations, documents }, is_news) = self.saving.ended(outcome, Instant::now());
        if is_news {
            // Before anybody is told: who asks then sees that it is in memory only.
            self.show();
        }
        for done in registrations {
            let _ = done.send(());
        }
        for document in documents {
            self.desk.stored(&document);
        }
    }

    /// Stores and announces what is on its way, as far as that can be done soon, and saves.
    pub(super) async fn stop(&mut self) {
        let until = Instant::now() + LAST_COMMITS;
        // Taken before the end was asked for: what they say is still stored.
        while let Ok(signal) = self.signals.try_recv() {
            self.signal(signal);
        }
        let is_open = |this: &Self| {
            // A save that is under way would put an older file in the place of the last one.
            let stores = this.commits.waiting() > 0 && this.plan.source.is_some();
            this.announcing > 0 || this.saving.is_under_way() || stores
        };
        while is_open(self) && Instant::now() < until {
            self.turn();
            let wake = self.wake().min(until);
            tokio::select! {
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
                () = sleep_until(wake) => {}
            }
        }
        self.remember();
        if let Some(dir) = &self.plan.dir
            && let Err(error) = self.memory.save(dir)
        {
            tracing::error!(
                %error,
                "the registration of the application and what is known of its configuration cannot be saved; the next process \
                 begins with what was saved before"
            );
        }
        if let Some(source) = &self.plan.source
            && let Err(error) = source.close().await
        {
            tracing::warn!(%error, "the source of configuration did not close cleanly");
        }
    }
}
