//! The level of diagnostics: what is written now, and how it changes.
//!
//! Left out: who may change it. The invariants: what is told is what is in force; libraries never say more than `info`,
//! because what they tell of a connection below that may hold secrets of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Registry, reload};

use crate::settings::LogLevel;

/// How the names of our crates begin.
const OWN: &str = "cim";

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub(super) struct LevelSwitch {
    filter: reload::Handle<Targets, Registry>,
    now: Arc<AtomicU8>,
}

impl LevelSwitch {
    /// A switch, and the filter that it moves.
    pub(super) fn new(level: LogLevel) -> (Self, reload::Layer<Targets, Registry>) {
        let (layer, handle) = reload::Layer::new(filter(level));
        (Self { filter: handle, now: Arc::new(AtomicU8::new(level as u8)) }, layer)
    }

    /// Lets through this level and everything more important.
    pub(super) fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then nothing is written at any level.
        let _ = self.filter.reload(filter(level));
        self.now.store(level as u8, Ordering::Relaxed);
    }

    /// The level in force.
    pub(super) fn get(&self) -> LogLevel {
        let now = self.now.load(Ordering::Relaxed);
        LogLevel::ALL.into_iter().find(|level| *level as u8 == now).unwrap_or_default()
    }
}

fn filter(level: LogLevel) -> Targets {
    Targets::new().with_default(of(level.min(LogLevel::Info))).with_target(OWN, of(level))
}

fn of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::PoisonError;
    use tracing::Level;

    #[test]
    fn libraries_say_less_than_we_do() {
        let all = filter(LogLevel::Trace);
        assert!(all.would_enable("cim_nats::event_loop", &Level::TRACE));
        assert!(all.would_enable("h2::codec", &Level::INFO) && !all.would_enable("h2::codec", &Level::DEBUG));
        let few = filter(LogLevel::Error);
        assert!(!few.would_enable("cim_nats", &Level::WARN) && !few.would_enable("h2", &Level::WARN));
        assert!(few.would_enable("cim_nats", &Level::ERROR) && few.would_enable("h2", &Level::ERROR));
    }

    #[test]
    fn what_is_set_is_told() {
        let _stay = super::super::LEVELS_STAY.lock().unwrap_or_else(PoisonError::into_inner);
        let (switch, _layer) = LevelSwitch::new(LogLevel::Info);
        for level in LogLevel::ALL {
            switch.set(level);
            assert_eq!(switch.get(), level);
        }
    }
}
