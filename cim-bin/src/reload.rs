//! The configuration of a running process: notices that it changed, judges the new one, applies what can be applied.
//!
//! Changes are found by looking at the files once a second, which also sees a ConfigMap swap its links. The
//! invariant: a configuration with any problem changes nothing.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use cim_core::{Cim, Identity, Neighbours, Registry};
use serde_json::Value;

use crate::diagnostics::LevelSwitch;
use crate::engine;
use crate::exit::chain;
use crate::run::announce_routes;
use crate::settings::{Credentials, Loaded, Request, Settings, load};
use crate::who::Who;

/// What a file looked like: device, inode, size, time of change. `None`: it is not there.
type Look = Option<(u64, u64, u64, i64, i64)>;

/// Sections that a running process can take over.
const LIVE: [&str; 3] = ["routes", "sinks", "log"];

/// The configuration in force and the files it came from.
#[derive(Debug)]
pub struct Reload {
    files: Vec<PathBuf>,
    in_force: Settings,
    credentials: Option<Credentials>,
    looks: Vec<(PathBuf, Look)>,
    level: LevelSwitch,
    who: Who,
    neighbours: Neighbours,
}

impl Reload {
    /// Watches what `loaded` was read from; `files` are the ones of the command line.
    #[must_use]
    pub fn new(
        files: Vec<PathBuf>,
        loaded: Loaded,
        level: LevelSwitch,
        who: Who,
        neighbours: Neighbours,
    ) -> Self {
        let looks = look_at(loaded.files.clone());
        let Loaded { settings: in_force, credentials, .. } = loaded;
        Self { files, in_force, credentials, looks, level, who, neighbours }
    }

    /// Whether there is anything to watch.
    #[must_use]
    pub fn watches(&self) -> bool {
        !self.looks.is_empty()
    }

    /// Whether a file changed since the last look.
    pub fn changed(&mut self) -> bool {
        let looks = look_at(self.looks.iter().map(|(file, _)| file.clone()).collect());
        let changed = looks != self.looks;
        self.looks = looks;
        changed
    }

    /// It is known now who this pod is: sinks that held events back are replaced.
    ///
    /// # Cancel safety
    /// As [`Cim::reload`].
    pub async fn known(&mut self, identity: Identity, cim: &Cim, registry: &Registry) {
        self.who = Who { identity, is_known: true };
        let sinks = engine::sinks(&self.in_force, &self.who, &self.neighbours, registry)
            .map_err(|failure| failure.text);
        let swapped = match sinks {
            Ok(sinks) => cim.reload(sinks, &self.in_force.routes).await.map_err(|error| chain(&error)),
            Err(why) => Err(why),
        };
        if let Err(why) = swapped {
            tracing::error!("events are still held back: {why}");
        }
    }

    /// Loads again. A bad configuration leaves everything as it is and says why.
    ///
    /// # Cancel safety
    /// As [`Cim::reload`].
    pub async fn reload(&mut self, cim: &Cim, registry: &Registry) {
        let kept = "the configuration stays as it was";
        let new = match load(&Request::of_process(self.files.clone()), registry) {
            Ok(new) => new,
            Err(problems) => {
                tracing::error!("{kept}: {problems}");
                return;
            }
        };
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        let waiting = self.waiting(&new);
        let next = Settings {
            routes: new.settings.routes.clone(),
            sinks: new.settings.sinks.clone(),
            log: new.settings.log.clone(),
            ..self.in_force.clone()
        };
        if let Err(why) = self.swap(&next, cim, registry).await {
            tracing::error!("{kept}: {why}");
            return;
        }
        self.in_force = next;
        self.looks = look_at(new.files);
        if waiting.is_empty() {
            tracing::info!("the configuration was read again and is in force");
        } else {
            tracing::warn!(
                "the configuration was read again; changes of {} take effect at the next start",
                waiting.join(", ")
            );
        }
    }

    /// Puts the live sections into force: all of them, or none.
    async fn swap(&self, next: &Settings, cim: &Cim, registry: &Registry) -> Result<(), String> {
        if next.routes != self.in_force.routes || next.sinks != self.in_force.sinks {
            let sinks =
                engine::sinks(next, &self.who, &self.neighbours, registry).map_err(|failure| failure.text)?;
            cim.reload(sinks, &next.routes).await.map_err(|error| chain(&error))?;
            announce_routes(next);
        }
        if next.log.level != self.in_force.log.level {
            self.level.set(next.log.level);
            tracing::info!(level = next.log.level.as_str(), "the log level changed");
        }
        Ok(())
    }

    /// The sections that differ from those in force and that a running process cannot take over.
    fn waiting(&self, new: &Loaded) -> Vec<String> {
        let document = |settings: &Settings| serde_json::to_value(settings).unwrap_or(Value::Null);
        let (before, after) = (document(&self.in_force), document(&new.settings));
        let differs = |name: &str| before.get(name) != after.get(name) && !LIVE.contains(&name);
        let sections = after.as_object().into_iter().flat_map(|sections| sections.keys());
        let mut names: Vec<_> =
            sections.filter(|name| differs(name)).map(|name| format!("[{name}]")).collect();
        if self.in_force.log.format != new.settings.log.format {
            names.push("`format` in [log]".to_owned());
        }
        // Secrets do not show in a document.
        if self.credentials != new.credentials && !names.iter().any(|name| name == "[nats]") {
            names.push("[nats.auth]".to_owned());
        }
        names
    }
}

fn look_at(files: Vec<PathBuf>) -> Vec<(PathBuf, Look)> {
    let look = |file: &PathBuf| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
    };
    files.into_iter().map(|file| (file.clone(), look(&file))).collect()
}
