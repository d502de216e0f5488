//! `cim run`, from settings to exit code.
//!
//! Ports first, because applications wait for them; then the engine; then everything is served until a signal comes;
//! then the end, in stages: no new messages, deliver or keep what is there, close, and the HTTP server last.

mod ending;
mod farewell;
mod serve;
mod signals;
mod spilling;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_api::Face as Paths;
use cim_core::configuration::Plan;
use cim_core::supervisor::OnPanic;
use cim_core::{Cim, Configuration, Identity, Neighbours, Registry};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::interval;

use crate::application::CurrentApplication;
use crate::control::Served;
use crate::exit::{self, Failure, chain};
use crate::face::Face;
use crate::listeners::Listeners;
use crate::lost_receivers::LostReceivers;
use crate::own_document::{Map, Wish, Wishes, begin};
use crate::reload::Reload;
use crate::said::{self, HttpAddresses};
use crate::settings::{Loaded, Request};
use crate::who::{self, Who};
use crate::{backends, configuration, diagnostics, engine, limits, listeners, metrics_page, own_document};
use ending::Cause;
use serve::{serve_control, serve_http, serve_nats};
use signals::Signals;

/// Name of the listener thread on the status page.
pub const NATS_PART: &str = "nats listener";
/// Names of the servers there, in the order in which they are told to end.
const SERVERS: [&str; 3] = ["http api", "http health", "control socket"];
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until a signal or a failure; returns the exit code.
///
/// # Errors
/// [`Failure`] when the process cannot start, or lost a part it cannot work without.
pub fn run(files: Vec<PathBuf>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::cannot_start(format!("cannot start the runtime: {error}")))?;
    // Before anything that takes time: a signal during the start ends the process in order, too.
    let signals = {
        let _within = runtime.enter();
        Signals::new().map_err(|error| Failure::cannot_start(chain(&error)))?
    };
    let registry = backends::registry();
    let in_force = begin(&Request::of_process(files.clone()), &registry).map_err(Failure::cannot_start)?;
    let loaded = in_force.loaded.clone();
    let level = diagnostics::start(&loaded.settings.log);
    let open = listeners::open(&loaded)?;
    runtime.block_on(async {
        limits::survive_file_size_limit().map_err(|error| Failure::cannot_start(chain(&error)))?;
        let settings = &loaded.settings;
        let wrong = |problem: cim_core::Problem| Failure::cannot_start(problem.to_string());
        let orchestrator = configuration::orchestrator(settings, &registry).map_err(wrong)?;
        let given = Identity::from(&settings.identity);
        let who = who::at_once(orchestrator.as_ref(), &given, settings.spool.dir.as_deref());
        let neighbours = Neighbours::of(Arc::clone(&orchestrator));
        let application = Arc::new(CurrentApplication::new(&settings.application).map_err(wrong)?);
        let identity = who.identity.clone();
        let mut plan =
            configuration::plan(settings, &registry, identity, orchestrator, Arc::clone(&application))
                .map_err(wrong)?;
        let (wishes, wished) = own_document::wishes();
        plan.own = Some(Arc::new(wishes.clone()));
        let cim = engine::start(settings, &who, &neighbours, &registry)?;
        let is_clustered = settings.orchestrator.kind != cim_core::standalone::KIND.name;
        let wishes = (in_force.may_have_map && is_clustered).then_some(wishes);
        let process = Process::start(cim, open, &loaded, plan, &who, wishes.clone())?;
        said::start(&loaded, &who, &process.face.addresses, &process.http);
        wishes.into_iter().for_each(|wishes| process.follow_map(wishes));
        let reload = Reload::new(files, in_force, level, application, who, neighbours);
        reload.remember().await;
        process.work(signals, reload, wished, &registry).await
    })
}

/// Everything that runs.
struct Process {
    cim: Cim,
    face: Arc<Face>,
    nats: cim_nats::ListenerControl,
    stop_http: watch::Sender<bool>,
    http: HttpAddresses,
    has_spool: bool,
    plan: Plan,
    engine: watch::Sender<Option<(Configuration, Identity)>>,
    /// Tells who this pod is, if that was not known at the start or turns out to be wrong.
    identity: Option<oneshot::Receiver<Identity>>,
}

impl Process {
    /// Starts serving the open ports.
    fn start(
        cim: Cim,
        open: Listeners,
        loaded: &Loaded,
        plan: Plan,
        who: &Who,
        wishes: Option<Wishes>,
    ) -> Result<Self, Failure> {
        let settings = loaded.settings.clone();
        let has_spool = settings.spool.dir.is_some();
        let (nats, stats, addresses) = (open.nats.control(), open.nats.stats(), open.nats.local_addrs());
        // First, for applications wait: the clock inside the recorder takes milliseconds to calibrate itself.
        serve_nats(&cim, open.nats)?;
        let engine = watch::Sender::new(None);
        if who.is_known {
            configuration::start(&engine, &cim, plan.clone());
        }
        let identity = who::ask(cim.supervisor(), &plan.orchestrator, who);
        let face = Arc::new(Face {
            cim: cim.clone(),
            nats: stats,
            addresses,
            exporter: metrics_page::install(),
            settings,
            started: Instant::now(),
            engine: engine.subscribe(),
            wishes,
            registered: watch::Sender::new(false),
            orchestrator: Arc::clone(&plan.orchestrator),
        });
        let http = HttpAddresses {
            api: open.api.local_addr().ok(),
            health: open.health.as_ref().and_then(|health| health.local_addr().ok()),
        };
        let (stop_http, stopping) = watch::channel(false);
        let [api, health_part, control] = SERVERS;
        serve_http(&cim, api, &open.api, Paths::Full, &face, &stopping);
        if let Some(health) = &open.health {
            serve_http(&cim, health_part, health, Paths::Probes, &face, &stopping);
        }
        if let Some(dir) = &loaded.settings.spool.dir {
            let served =
                Served { cim: cim.clone(), engine: engine.subscribe(), nats: Arc::clone(&face.nats) };
            serve_control(&cim, control, dir, &served, &stopping);
        }
        let identity = Some(identity);
        Ok(Self { cim, face, nats, stop_http, http, has_spool, plan, engine, identity })
    }

    /// Works until a signal asks for the end or an essential part dies.
    async fn work(
        mut self,
        mut signals: Signals,
        mut reload: Reload,
        mut wished: mpsc::Receiver<Wish>,
        registry: &Registry,
    ) -> Result<u8, Failure> {
        let mut look = interval(LOOK_EVERY);
        let mut lost = LostReceivers::default();
        let engine = self.engine.subscribe();
        let cause = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(end) => {
                        tracing::info!("{}: stopping", end.name);
                        break Cause::Signal(end);
                    }
                    None => reload.reload(&self.cim, registry).await,
                },
                what = self.cim.supervisor().failed() => break Cause::Died(what),
                identity = who::told(&mut self.identity) => self.known(identity, &mut reload, registry).await,
                Some(wish) = wished.recv() => reload.fulfil(wish, &self.cim, registry).await,
                _ = look.tick(), if reload.watches() || LostReceivers::watches(reload.in_force()) => {
                    if reload.changed() {
                        reload.reload(&self.cim, registry).await;
                    }
                    lost.look(&self.cim, reload.in_force(), &engine).await;
                }
            }
        };
        let report = self.stop(&cause, &mut signals, &reload, registry).await;
        match cause {
            Cause::Signal(_) => Ok(report.exit_code()),
            Cause::Died(what) => {
                Err(Failure { code: exit::FAILED, text: format!("{what}; the process ends") })
            }
        }
    }

    /// Reads the ConfigMap of CIM's own document, or makes it.
    fn follow_map(&self, wishes: Wishes) {
        let map = Map {
            orchestrator: Arc::clone(&self.plan.orchestrator),
            engine: self.engine.subscribe(),
            registered: self.face.registered.subscribe(),
            wishes,
        };
        self.cim.supervisor().task("cim.json map", OnPanic::Restart, move || map.clone().settle());
    }

    /// It is known now who this pod is.
    async fn known(&mut self, identity: Identity, reload: &mut Reload, registry: &Registry) {
        tracing::info!(namespace = %identity.namespace, pod = %identity.pod, microservice = %identity.microservice, "identity");
        if let Some(dir) = &self.plan.dir {
            who::remember(&identity, dir);
        }
        reload.known(identity.clone(), &self.cim, registry).await;
        if self.engine.borrow().is_none() {
            configuration::start(&self.engine, &self.cim, Plan { identity, ..self.plan.clone() });
        }
    }
}
