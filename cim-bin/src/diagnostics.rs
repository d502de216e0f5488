//! Diagnostics of CIM itself: on standard error, because standard output belongs to a sink.
//!
//! Left out: what is said. The invariant: the level can change while the process runs.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::settings::{LogFormat, LogLevel, LogSettings};

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct LevelSwitch(reload::Handle<LevelFilter, Registry>);

impl LevelSwitch {
    /// Lets through this level and everything more important.
    pub fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then nothing is written at any level.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts writing. A second start in one process (tests) changes nothing.
#[must_use]
pub fn start(settings: &LogSettings) -> LevelSwitch {
    let (level, handle) = reload::Layer::new(filter(settings.level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(level).with(lines).try_init();
    LevelSwitch(handle)
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
