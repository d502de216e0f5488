//! The level of diagnostics: what is written now, and how it changes.
//!
//! Left out: who may change it. The invariant: what is told is what is in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{Registry, reload};

use crate::settings::LogLevel;

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub(super) struct LevelSwitch {
    filter: reload::Handle<LevelFilter, Registry>,
    now: Arc<AtomicU8>,
}

impl LevelSwitch {
    /// A switch, and the filter that it moves.
    pub(super) fn new(level: LogLevel) -> (Self, reload::Layer<LevelFilter, Registry>) {
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

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
