//! The spool directory of an engine: opening it, its streams, and noticing when it is gone.
//!
//! Invariant: while the directory is locked by this process, every stream in use belongs to it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cim_spool::{
    AsideLimits, AsideUse, OpenError, RealFiles, Recovery, Spool, SpoolOptions, Stream, StreamOptions,
};
use cim_wire::Class;

use super::{StartError, route_name, routes};
use crate::contract::Identity;
use crate::deadletter::{self, DeadLetters, Letters};
use crate::intake::Entrance;
use crate::settings::{ClassSettings, SpoolSettings};

const LOG_SEGMENT: u64 = 16 << 20;
const EVENT_SEGMENT: u64 = 4 << 20;
const LETTER_SEGMENT: u64 = 1 << 20;
/// How long the start waits for the lock of the directory. Neighbours that look for spools of dead pods hold it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How often what was set aside is looked at.
const ASIDE_PERIOD: Duration = Duration::from_secs(60);

pub(crate) struct Storage {
    settings: SpoolSettings,
    /// `<namespace>/<pod>`.
    owner: String,
    spool: Mutex<Option<Spool>>,
    aside: Mutex<Aside>,
}

/// What was set aside, and when to look at it again.
#[derive(Default)]
struct Aside {
    used: AsideUse,
    due: Option<Instant>,
}

impl Storage {
    /// Opens the directory of the settings; without one, nothing.
    pub(super) fn open(settings: SpoolSettings, identity: &Identity) -> Result<Self, StartError> {
        let owner = format!("{}/{}", identity.namespace, identity.pod);
        let this = Self { settings, owner, spool: Mutex::new(None), aside: Mutex::default() };
        if this.is_persistent() {
            let spool = this.open_dir(LOCK_PATIENCE).map_err(|source| this.error(source))?;
            *this.lock() = Some(spool);
        }
        Ok(this)
    }

    pub(super) fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    pub(super) fn class(&self, class: Class) -> &ClassSettings {
        match class {
            Class::Log => &self.settings.logs,
            Class::Event => &self.settings.events,
        }
    }

    /// Whether records outlive the process.
    pub(super) fn is_persistent(&self) -> bool {
        self.settings.dir.is_some()
    }

    /// Number of this spool and boot. After a power loss the last numbers before it may be given again, so the boot is
    /// part of it: a reader that removes repeats by (epoch, sequence) must never meet a number twice.
    pub(super) fn epoch(&self) -> u64 {
        self.lock().as_ref().map_or_else(routes::random_epoch, |spool| spool.epoch() ^ boot())
    }

    pub(super) fn stream(&self, class: Class) -> Result<Option<(Stream, Recovery)>, StartError> {
        let mut spool = self.lock();
        let Some(spool) = spool.as_mut() else { return Ok(None) };
        spool.stream(self.class_options(class)).map(Some).map_err(|source| self.error(source))
    }

    /// The store of dead letters, and that of notifications that were put back.
    pub(super) fn letters(&self) -> Result<Option<Letters>, StartError> {
        let mut spool = self.lock();
        let Some(spool) = spool.as_mut() else { return Ok(None) };
        let mut open = |name| {
            let store =
                spool.stream(self.letter_options(name)).and_then(|(stream, _)| DeadLetters::open(stream));
            store.map(Arc::new).map_err(|source| self.error(source))
        };
        Ok(Some(Letters { dead: open(deadletter::STREAM)?, again: open(deadletter::AGAIN)? }))
    }

    pub(super) fn error(&self, source: OpenError) -> StartError {
        StartError::Spool { dir: self.dir(), source }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.settings.dir.clone().unwrap_or_default()
    }

    fn open_dir(&self, patience: Duration) -> Result<Spool, OpenError> {
        let options = SpoolOptions { patience, ..SpoolOptions::new(self.dir(), self.owner.clone()) };
        let spool = Spool::open(Arc::new(RealFiles), options)?;
        if let Some(aside) = spool.set_aside() {
            tracing::warn!(owner = %aside.owner, path = %aside.path.display(), bytes = aside.bytes,
                "a spool of another pod was set aside; its records are not delivered");
        }
        Ok(spool)
    }

    fn class_options(&self, class: Class) -> StreamOptions {
        let settings = self.class(class);
        let segment = if class == Class::Log { LOG_SEGMENT } else { EVENT_SEGMENT };
        StreamOptions {
            cursor_sync: class == Class::Event,
            max_age: settings.max_age.map(crate::settings::Period::get),
            ..StreamOptions::new(route_name(class), segment, settings.max_bytes.get())
        }
    }

    fn letter_options(&self, name: &'static str) -> StreamOptions {
        StreamOptions::new(name, LETTER_SEGMENT, self.settings.dead_letters.max_bytes.get())
    }

    /// Looks whether the directory is still there. When it was deleted or unmounted, a new spool is made in its place, and
    /// takes what memory still holds.
    pub(super) fn check(&self, entrance: &Entrance, letters: Option<&Letters>) {
        let mut spool = self.lock();
        match spool.as_ref() {
            Some(spool) if spool.is_present() => return,
            Some(_) => {
                tracing::error!(dir = %self.dir().display(), "the spool directory is gone; records are in memory only");
                *spool = None;
                entrance.logs.detach("the spool directory is gone");
                entrance.events.detach("the spool directory is gone");
            }
            None => {}
        }
        match self.reopen(entrance, letters) {
            Ok(opened) => {
                tracing::warn!(dir = %self.dir().display(), "a new spool was made; records are stored again");
                *spool = Some(opened);
            }
            Err(error) => tracing::debug!(%error, "the spool cannot be made again yet"),
        }
    }

    /// Bytes set aside, as last looked at, and what was removed of them since the start.
    pub(super) fn set_aside(&self) -> AsideUse {
        self.aside().used
    }

    /// Now and then removes what was set aside beyond its limits.
    pub(super) fn bound_set_aside(&self, now: Instant) {
        let mut aside = self.aside();
        if aside.due.is_some_and(|due| now < due) {
            return;
        }
        aside.due = Some(now + ASIDE_PERIOD);
        let settings = &self.settings.set_aside;
        let limits = AsideLimits {
            max_bytes: settings.max_bytes.get(),
            max_age: Some(settings.max_age.get()).filter(|age| !age.is_zero()),
        };
        match self.lock().as_ref().map(|spool| spool.bound_set_aside(limits, crate::clock::now())) {
            Some(Ok(used)) => {
                if used.too_old + used.too_many > 0 {
                    tracing::warn!(dir = %self.dir().display(), too_old = used.too_old, too_many = used.too_many,
                        kept = used.bytes, "bytes that were set aside in the spool directory were removed");
                }
                aside.used = AsideUse {
                    bytes: used.bytes,
                    too_old: aside.used.too_old + used.too_old,
                    too_many: aside.used.too_many + used.too_many,
                };
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot bound what was set aside in the spool directory")
            }
            None => {}
        }
    }

    fn reopen(&self, entrance: &Entrance, letters: Option<&Letters>) -> Result<Spool, OpenError> {
        let mut spool = self.open_dir(Duration::ZERO)?;
        for class in [Class::Log, Class::Event] {
            let (stream, _) = spool.stream(self.class_options(class))?;
            entrance.queue(class).attach(stream)?;
        }
        if let Some(letters) = letters {
            letters.dead.replace(spool.stream(self.letter_options(deadletter::STREAM))?.0)?;
            letters.again.replace(spool.stream(self.letter_options(deadletter::AGAIN))?.0)?;
        }
        Ok(spool)
    }

    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that changes with every boot of the machine; 0 where the kernel does not say.
fn boot() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.bytes()
        .filter_map(|byte| char::from(byte).to_digit(16))
        .fold(0, |sum, digit| sum.rotate_left(4) ^ u64::from(digit))
}
