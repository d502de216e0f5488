//! Diagnostics of CIM itself: on standard error, because standard output belongs to a sink.
//!
//! A message passes `level` (is it important enough), `throttle` (has its place in the code said too much already), then
//! goes to standard error and, if wanted, by `copies` to the log route. Left out: what is said. The invariants: the level
//! can change while the process runs; no place in the code can flood the log; what is held back is counted and told.

mod container;
mod copies;
mod level;
mod line;
mod throttle;

/// Held by tests that need what is written, and by those that change a level: that asks the subscriber of its own thread
/// alone what is wanted, and switches off what others want.
#[cfg(test)]
static LEVELS_STAY: std::sync::Mutex<()> = std::sync::Mutex::new(());

use std::io::IsTerminal;

use cim_core::Cim;
use cim_core::supervisor::OnPanic;
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{LogFormat, LogLevel, LogSettings};
use copies::Copies;
use level::LevelSwitch;
use throttle::Throttle;

/// The diagnostics of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    level: LevelSwitch,
    throttle: Throttle,
    copies: Copies,
}

impl Diagnostics {
    /// Starts writing. A second start in one process (tests) changes nothing.
    #[must_use]
    pub fn start(settings: &LogSettings) -> Self {
        let (level, filter) = LevelSwitch::new(settings.level);
        let (throttle, copies) = (Throttle::default(), Copies::new(settings.copy_to_logs));
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match settings.format {
            LogFormat::Text => lines.with_target(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let registry = tracing_subscriber::registry().with(filter);
        let _ = registry.with(throttle.layer()).with(copies.layer()).with(lines).try_init();
        Self { level, throttle, copies }
    }

    /// Tells from now on what is held back, and brings copies to the log route of this engine, until `stop`. `pod` is its
    /// id, for copies, where that of the own container cannot be found.
    pub fn follow(&self, cim: &Cim, pod: &str, stop: &watch::Receiver<bool>) {
        let (throttle, stopping) = (self.throttle.clone(), stop.clone());
        let tell = move || throttle.clone().tell_until(stopping.clone());
        cim.supervisor().task("diagnostics", OnPanic::Restart, tell);
        self.copies.follow(cim, container::own().unwrap_or_else(|| pod.to_owned()), stop);
    }

    /// Takes over what changed in the settings.
    pub fn change(&self, before: &LogSettings, now: &LogSettings) {
        if before.level != now.level {
            self.set_level(now.level);
        }
        self.copies.set(now.copy_to_logs);
    }

    /// Lets through this level and everything more important. It is said at whichever level lets more through.
    pub fn set_level(&self, level: LogLevel) {
        let before = self.level.get();
        let say = || tracing::info!(from = before.as_str(), to = level.as_str(), "the log level changed");
        if level > before {
            self.level.set(level);
            say();
        } else {
            say();
            self.level.set(level);
        }
    }

    /// The least important level that is written.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level.get()
    }

    /// Writes its counts to the `metrics` facade.
    pub fn publish(&self) {
        self.throttle.publish();
        self.copies.publish();
    }
}
