//! Keeps a place in the code from flooding the log.
//!
//! Each place may write so many messages in a window of time; the rest is counted, told once per window, and shown as
//! metrics. Left out: levels and forms. The invariants: a message is written or counted; one place never silences another;
//! errors have a bound of their own, far above that of the rest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cim_core::catalog;
use metrics::counter;
use tokio::sync::watch;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The window of time.
const WINDOW: Duration = Duration::from_secs(10);
/// Messages of one place in one window.
const MESSAGES: u64 = 20;
/// Errors of one place in one window.
const ERRORS: u64 = 200;
/// Levels, in the order of their counts.
const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// What each place has said. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Throttle(Arc<Mutex<Places>>);

impl Default for Throttle {
    fn default() -> Self {
        let places = Places { started: Instant::now(), said: HashMap::new(), held_back: [0; LEVELS.len()] };
        Self(Arc::new(Mutex::new(places)))
    }
}

#[derive(Debug)]
struct Places {
    started: Instant,
    /// As many as there are places in the code.
    said: HashMap<Identifier, Said>,
    /// By level, since the start.
    held_back: [u64; LEVELS.len()],
}

#[derive(Debug, Clone, Copy)]
struct Said {
    place: &'static Metadata<'static>,
    /// Number of the window that `written` counts.
    window: u128,
    written: u64,
    /// Not told yet.
    held_back: u64,
}

impl Throttle {
    /// The part that looks at messages.
    pub(super) fn layer(&self) -> ThrottleLayer {
        ThrottleLayer(self.clone())
    }

    /// Whether one more message of that place may be written.
    fn admits(&self, place: &'static Metadata<'static>) -> bool {
        if place.module_path() == Some(module_path!()) {
            // What is said here is bounded by the number of places and of windows.
            return true;
        }
        let mut places = self.lock();
        let Places { started, said, held_back } = &mut *places;
        let window = started.elapsed().as_millis() / WINDOW.as_millis();
        let said = said.entry(place.callsite()).or_insert(Said { place, window, written: 0, held_back: 0 });
        if said.window != window {
            (said.window, said.written) = (window, 0);
        }
        let most = if *place.level() == Level::ERROR { ERRORS } else { MESSAGES };
        if said.written < most {
            said.written += 1;
            return true;
        }
        said.held_back += 1;
        let level = LEVELS.iter().position(|level| level == place.level());
        if let Some(count) = level.and_then(|level| held_back.get_mut(level)) {
            *count += 1;
        }
        false
    }

    /// Says how much was held back since the last time, for each place.
    pub(super) fn tell(&self) {
        let held_back: Vec<_> = {
            let mut places = self.lock();
            let said = places.said.values_mut().filter(|said| said.held_back > 0);
            said.map(|said| (said.place, std::mem::take(&mut said.held_back))).collect()
        };
        for (place, messages) in held_back {
            let file = place.file().unwrap_or_default();
            let line = place.line().unwrap_or_default();
            // Not `level`: in JSON a line has one, its own.
            tracing::warn!(messages, of_level = %place.level(), "held back of {} ({file}:{line})", place.target());
        }
    }

    /// Tells once per window until `stop`, and then for the last time.
    ///
    /// # Cancel safety
    /// May be dropped; what was not told is told later.
    pub(super) async fn tell_until(self, mut stop: watch::Receiver<bool>) {
        let mut windows = tokio::time::interval(WINDOW);
        loop {
            let stopping = tokio::select! {
                _ = windows.tick() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            self.tell();
            if stopping {
                return;
            }
        }
    }

    /// Writes the counts to the `metrics` facade.
    pub(super) fn publish(&self) {
        let held_back = self.lock().held_back;
        for (level, count) in LEVELS.into_iter().zip(held_back) {
            let level = level.as_str().to_ascii_lowercase();
            counter!(catalog::DIAGNOSTICS_SUPPRESSED, "level" => level).absolute(count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The throttle among the layers of the subscriber.
pub(super) struct ThrottleLayer(Throttle);

impl<S: Subscriber> Layer<S> for ThrottleLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tracing_subscriber::layer::SubscriberExt;

    /// Counts what is written, by level.
    #[derive(Clone, Default)]
    struct Written(Arc<[AtomicU64; LEVELS.len()]>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let level = LEVELS.iter().position(|level| level == event.metadata().level()).unwrap();
            self.0[level].fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Written {
        fn take(&self) -> [u64; LEVELS.len()] {
            std::array::from_fn(|level| self.0[level].swap(0, Ordering::Relaxed))
        }
    }

    #[test]
    fn a_place_is_held_back_others_are_not_and_errors_have_a_higher_bound() {
        let _stay = super::super::LEVELS_STAY.lock().unwrap_or_else(PoisonError::into_inner);
        let (throttle, written) = (Throttle::default(), Written::default());
        let subscriber = tracing_subscriber::registry().with(throttle.layer()).with(written.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1000 {
                tracing::warn!("one place");
                tracing::error!("another");
            }
            tracing::warn!("a third");
            assert_eq!(written.take(), [ERRORS, MESSAGES + 1, 0, 0, 0]);
            throttle.tell();
            assert_eq!(written.take(), [0, 2, 0, 0, 0], "told once for each place");
            throttle.tell();
            assert_eq!(written.take(), [0; 5]);
            throttle.lock().started -= WINDOW;
            for _ in 0..1000 {
                tracing::info!("one place");
            }
            assert_eq!(written.take(), [0, 0, MESSAGES, 0, 0]);
        });
        assert_eq!(throttle.lock().held_back, [800, 980, 980, 0, 0]);
    }
}
