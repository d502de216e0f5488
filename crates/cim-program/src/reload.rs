//! The configuration of a running process: notices that it changed, judges the new one, applies what can be applied.
//!
//! Changes are found by looking at the files once a second, which also sees a ConfigMap swap its links. The
//! invariant: a configuration with any problem changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use cim_core::configuration::{OwnChange, Plan};
use cim_core::{Cim, Identity, Neighbours, Problem, Registry, Sink};
use serde_json::Value;

use crate::application::{self, CurrentApplication};
use crate::exit::chain;
use crate::look::{Look, look};
use crate::own_document::{self, Held, InForce, Wish};
use crate::settings::{Credentials, Infra, Loaded, MetricsSettings, Problems, Request, Settings, Sources};
use crate::switches::Switches;
use crate::who::Who;
use crate::{configuration, engine, said};

/// Before the reason why nothing changes.
const KEPT: &str = "the configuration stays as it was";

/// Why a configuration is not put into force.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// It is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// A running process cannot take it over.
    #[error("{0}")]
    Swap(String),
}

impl Refusal {
    /// For a reader who gets one line, and knows what was changed.
    fn in_one_line(&self) -> String {
        match self {
            Self::Problems(problems) => {
                let lines: Vec<_> =
                    problems.list().iter().map(|located| located.problem.to_string()).collect();
                lines.join("; ")
            }
            Self::Swap(why) => why.replace('\n', "; "),
        }
    }
}

/// The configuration in force and what it came from.
#[derive(Debug)]
pub struct Reload {
    files: Vec<PathBuf>,
    sources: Sources,
    in_force: Settings,
    credentials: Option<Credentials>,
    /// CIM's own document; `None` when there is none.
    own: Option<Held>,
    /// It is that of a file which nothing replaces: neither the ConfigMap nor what the image or the program has.
    is_mounted: bool,
    /// What a service told in the place of `common-infra.json`.
    infra: Option<Infra>,
    /// Nothing watches a source of configuration yet: another one may be chosen.
    may_choose_source: bool,
    looks: Vec<(PathBuf, Look)>,
    switches: Switches,
    application: Arc<CurrentApplication>,
    who: Who,
    neighbours: Neighbours,
}

impl Reload {
    /// Watches what was read; `files` are the ones of the command line.
    #[must_use]
    pub fn new(
        files: Vec<PathBuf>,
        in_force: InForce,
        switches: Switches,
        application: Arc<CurrentApplication>,
        who: Who,
        neighbours: Neighbours,
    ) -> Self {
        let InForce { loaded, sources, infra, own, may_have_map } = in_force;
        let is_mounted = own.is_some() && !may_have_map;
        let looks = look_at(loaded.files);
        let (in_force, credentials) = (loaded.settings, loaded.credentials);
        let may_choose_source = infra.is_none() && sources.lack_infra();
        Self {
            files,
            sources,
            in_force,
            credentials,
            own,
            is_mounted,
            infra,
            may_choose_source,
            looks,
            switches,
            application,
            who,
            neighbours,
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn in_force(&self) -> &Settings {
        &self.in_force
    }

    /// A sink of the settings in force, for text, apart from those that routes use.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn spare_sink(&self, name: &str, registry: &Registry) -> Result<Sink, Problem> {
        engine::spare(&self.in_force, name, &self.who, &self.neighbours, registry)
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

    /// A service told where the infrastructure is. Once a source of configuration is watched, another one waits for the next
    /// start.
    ///
    /// # Cancel safety
    /// As [`Cim::reload`].
    pub async fn learn(&mut self, infra: Infra, cim: &Cim, registry: &Registry) {
        if self.infra.as_ref() == Some(&infra) {
            return;
        }
        let sources = Sources::read(&Request::of_process(self.files.clone())).with_infra(&infra);
        let own = self.own_by(&sources).or_else(|| self.own.clone());
        let sources = own.iter().fold(sources, |sources, own| own.over(sources));
        match self.enforce(sources, own, cim, registry).await {
            Ok(()) => {
                tracing::info!(
                    service = infra.gateway,
                    "where the infrastructure is was told and is in force"
                );
                self.infra = Some(infra);
            }
            Err(refusal) => tracing::error!(service = infra.gateway, "{KEPT}: {refusal}"),
        }
    }

    /// What the configuration engine does with the settings in force, for the pod and the document of `before`.
    ///
    /// # Errors
    /// What is wrong with the sections it comes from.
    pub fn plan(&self, registry: &Registry, before: &Plan) -> Result<Plan, Problem> {
        let (orchestrator, application) = (Arc::clone(&before.orchestrator), Arc::clone(&self.application));
        let identity = before.identity.clone();
        let plan = configuration::plan(&self.in_force, registry, identity, orchestrator, application)?;
        Ok(Plan { own: before.own.clone(), ..plan })
    }

    /// A source of configuration is watched from now on.
    pub fn source_is_chosen(&mut self) {
        self.may_choose_source = false;
    }

    /// CIM's own document when the files say that; `None` when its file is gone.
    fn own_by(&self, sources: &Sources) -> Option<Held> {
        let file = sources.document().filter(|file| !(self.is_mounted && file.is_built_in));
        Held::by_files(self.own.clone(), file)
    }

    /// Loads again. A bad configuration leaves everything as it is and says why.
    ///
    /// # Cancel safety
    /// As [`Cim::reload`].
    pub async fn reload(&mut self, cim: &Cim, registry: &Registry) {
        let sources = Sources::read(&Request::of_process(self.files.clone()));
        let sources = self.infra.iter().fold(sources, Sources::with_infra);
        let own = self.own_by(&sources);
        if own.is_none() && self.own.is_some() && sources.are_read() {
            tracing::error!("{KEPT}: the file of cim.json is gone; put it back");
            return;
        }
        let sources = own.iter().fold(sources, |sources, own| own.over(sources));
        match self.enforce(sources, own, cim, registry).await {
            Ok(()) => tracing::info!("the configuration was read again and is in force"),
            Err(refusal) => tracing::error!("{KEPT}: {refusal}"),
        }
    }

    /// Does what is asked about CIM's own document.
    ///
    /// # Cancel safety
    /// As [`Cim::reload`].
    pub async fn fulfil(&mut self, wish: Wish, cim: &Cim, registry: &Registry) {
        match wish {
            Wish::Change { patch, done } => {
                let _ = done.send(self.change(&patch, cim, registry).await);
            }
            Wish::Current(tell) => {
                let _ = tell.send(self.own.as_ref().map(|own| own.lineage.current().clone()));
            }
            Wish::Map(document) => {
                let own = Held::by_map(self.own.as_ref(), document);
                self.adopt(own, "cim.json of the ConfigMap is in force", cim, registry).await;
            }
            Wish::Given(sections) => {
                if let Some(own) = self
                    .own
                    .as_ref()
                    .map(|own| own.given(&sections))
                    .filter(|own| Some(own) != self.own.as_ref())
                {
                    self.adopt(own, "cim.json as the application gave it is in force", cim, registry).await;
                }
            }
        }
    }

    /// Puts another document of CIM's own into force.
    async fn adopt(&mut self, own: Held, done: &str, cim: &Cim, registry: &Registry) {
        let sources = own.over(self.sources.clone());
        match self.enforce(sources, Some(own), cim, registry).await {
            Ok(()) => tracing::info!("{done}"),
            Err(why) => tracing::error!("{KEPT}: {why}"),
        }
    }

    /// Changes CIM's own document (wire contract §4.3).
    async fn change(&mut self, patch: &[u8], cim: &Cim, registry: &Registry) -> Result<OwnChange, String> {
        let Some(own) = &self.own else { return Ok(OwnChange::Unused) };
        let next = own.patched(patch)?;
        if next != *own {
            let sources = next.over(self.sources.clone());
            let enforced = self.enforce(sources, Some(next), cim, registry).await;
            enforced.map_err(|refusal| refusal.in_one_line())?;
            tracing::info!("the changed cim.json is in force");
        }
        Ok(OwnChange::InForce)
    }

    /// Puts what was read into force and remembers it.
    async fn enforce(
        &mut self,
        sources: Sources,
        own: Option<Held>,
        cim: &Cim,
        registry: &Registry,
    ) -> Result<(), Refusal> {
        let new = sources.load(registry)?;
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        let mut next = Settings {
            routes: new.settings.routes.clone(),
            sinks: new.settings.sinks.clone(),
            application: new.settings.application.clone(),
            registration: new.settings.registration.clone(),
            lifecycle: new.settings.lifecycle.clone(),
            log: new.settings.log.clone(),
            metrics: MetricsSettings {
                enabled: new.settings.metrics.enabled,
                ..self.in_force.metrics.clone()
            },
            ..self.in_force.clone()
        };
        if self.may_choose_source {
            next.configuration.clone_from(&new.settings.configuration);
        }
        let waiting = self.waiting(&next, &new);
        self.swap(&next, cim, registry).await.map_err(Refusal::Swap)?;
        self.in_force = next;
        self.sources = sources;
        self.watch(new.files);
        if !waiting.is_empty() {
            tracing::warn!("changes of {} take effect at the next start", waiting.join(", "));
        }
        if own != self.own {
            self.own = own;
            self.remember().await;
        }
        Ok(())
    }

    /// Watches these files. One that was looked at before is not looked at now: it may have changed since it was read.
    fn watch(&mut self, files: Vec<PathBuf>) {
        let looks = look_at(files).into_iter().map(|(file, now)| {
            let before = self.looks.iter().find(|(known, _)| *known == file);
            before.cloned().unwrap_or((file, now))
        });
        self.looks = looks.collect();
    }

    /// Remembers which document is in force, for the next start.
    ///
    /// # Cancel safety
    /// When dropped, it is remembered nevertheless.
    pub async fn remember(&self) {
        let (Some(spool), Some(own)) = (self.in_force.spool.dir.clone(), self.own.clone()) else { return };
        let saved = tokio::task::spawn_blocking(move || own_document::save(&spool, &own)).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::error!(%error, "which cim.json is in force cannot be saved; the next start begins with its file");
        }
    }

    /// Puts the live sections into force: all of them, or none.
    async fn swap(&self, next: &Settings, cim: &Cim, registry: &Registry) -> Result<(), String> {
        let client = application::client(&next.application).map_err(|problem| problem.to_string())?;
        if next.routes != self.in_force.routes || next.sinks != self.in_force.sinks {
            let sinks =
                engine::sinks(next, &self.who, &self.neighbours, registry).map_err(|failure| failure.text)?;
            cim.reload(sinks, &next.routes).await.map_err(|error| chain(&error))?;
            said::routes(next);
        }
        if next.application != self.in_force.application {
            self.application.replace(client).await;
            tracing::info!(application = %next.application.url, "the application is called there from now on");
        }
        self.switches.turn(&self.in_force, next);
        Ok(())
    }

    /// The sections that a running process cannot take over: those in which `next` is not what was read.
    fn waiting(&self, next: &Settings, new: &Loaded) -> Vec<String> {
        let document = |settings: &Settings| serde_json::to_value(settings).unwrap_or(Value::Null);
        let (before, after) = (document(next), document(&new.settings));
        let differs = |name: &str| before.get(name) != after.get(name);
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
    files.into_iter().map(|file| (file.clone(), look(&file))).collect()
}
