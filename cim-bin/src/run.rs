//! `cim run`, from settings to exit code.
//!
//! Ports first, because applications wait for them; then the engine; then everything is served until a signal comes;
//! then the end, in stages: no new messages, deliver or keep what is there, close, and the HTTP server last.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_api::{Face as Paths, Limits};
use cim_core::configuration::Plan;
use cim_core::supervisor::OnPanic;
use cim_core::{Cim, Configuration, Identity, Neighbours, Registry, StopReport};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, timeout};

use crate::application::CurrentApplication;
use crate::exit::{self, Failure, chain};
use crate::face::Face;
use crate::listeners::Listeners;
use crate::lost_receivers::LostReceivers;
use crate::own_document::{Map, Wish, Wishes, begin};
use crate::registration::Engine;
use crate::reload::Reload;
use crate::settings::{Loaded, Request};
use crate::who::{self, Who};
use crate::{
    backends, configuration, control, diagnostics, engine, limits, listeners, metrics_page, own_document,
    said,
};

/// Name of the listener thread on the status page.
pub const NATS_PART: &str = "nats listener";
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time to hand on what clients sent before the end.
const CLOSE_TIME: Duration = Duration::from_secs(3);
/// Time for delivery at the end when the rest is safe in a spool.
const DRAIN_WITH_SPOOL: Duration = Duration::from_secs(5);
/// Time for delivery at the end when the rest would be lost: the usual 30 s of a pod, minus a margin.
const DRAIN_WITHOUT_SPOOL: Duration = Duration::from_secs(25);

/// Runs until a signal or a failure; returns the exit code.
///
/// # Errors
/// [`Failure`] when the process cannot start, or lost a part it cannot work without.
pub fn run(files: Vec<PathBuf>) -> Result<u8, Failure> {
    let registry = backends::registry();
    let in_force = begin(&Request::of_process(files.clone()), &registry).map_err(Failure::cannot_start)?;
    let loaded = in_force.loaded.clone();
    let level = diagnostics::start(&loaded.settings.log);
    let open = listeners::open(&loaded)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::cannot_start(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let signals = Signals::new().map_err(|error| Failure::cannot_start(chain(&error)))?;
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
        announce(&loaded, &process, &who);
        wishes.into_iter().for_each(|wishes| process.follow_map(wishes));
        let reload = Reload::new(files, in_force, level, application, who, neighbours);
        reload.remember().await;
        process.work(signals, reload, wished, &registry).await
    })
}

/// The signals the process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for any signal; `None` asks for another load of the configuration, a name asks for the end.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.terminate.recv() => Some("SIGTERM"),
            _ = self.interrupt.recv() => Some("SIGINT"),
            _ = self.hangup.recv() => None,
        }
    }

    /// Waits for a signal that asks for the end.
    async fn end(&mut self) -> &'static str {
        loop {
            if let Some(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Everything that runs.
struct Process {
    cim: Cim,
    face: Arc<Face>,
    nats: cim_nats::ListenerControl,
    nats_ended: oneshot::Receiver<()>,
    stop_http: watch::Sender<bool>,
    http: HttpAddresses,
    has_spool: bool,
    plan: Plan,
    engine: watch::Sender<Option<(Configuration, Identity)>>,
    /// Tells who this pod is, if that was not known at the start or turns out to be wrong.
    identity: Option<oneshot::Receiver<Identity>>,
}

/// Where the HTTP servers really listen; the configuration may say port 0.
struct HttpAddresses {
    api: Option<SocketAddr>,
    health: Option<SocketAddr>,
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
        let nats_ended = serve_nats(&cim, open.nats)?;
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
        serve_http(&cim, "http api", &open.api, Paths::Full, &face, &stopping);
        if let Some(health) = &open.health {
            serve_http(&cim, "http health", health, Paths::Probes, &face, &stopping);
        }
        if let Some(dir) = &loaded.settings.spool.dir {
            serve_control(&cim, dir, &engine.subscribe(), &stopping);
        }
        let identity = Some(identity);
        Ok(Self { cim, face, nats, nats_ended, stop_http, http, has_spool, plan, engine, identity })
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
        let died = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(name) => {
                        tracing::info!("{name}: stopping");
                        break None;
                    }
                    None => reload.reload(&self.cim, registry).await,
                },
                what = self.cim.supervisor().failed() => break Some(what),
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
        let report = self.stop(&mut signals).await;
        match died {
            None => Ok(report.exit_code()),
            Some(what) => Err(Failure { code: exit::FAILED, text: format!("{what}; the process ends") }),
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

    /// Stops in stages. A second signal cuts the waiting: what is left goes to the spool at once.
    async fn stop(self, signals: &mut Signals) -> StopReport {
        let drain = if self.has_spool { DRAIN_WITH_SPOOL } else { DRAIN_WITHOUT_SPOOL };
        let Self { cim, nats, nats_ended, stop_http, face, engine, .. } = self;
        nats.stop_accepting();
        nats.close();
        let orderly = async {
            let _ = timeout(CLOSE_TIME, nats_ended).await;
            configuration::stop(&engine.subscribe()).await;
            cim.stop(drain).await
        };
        let report = tokio::select! {
            report = orderly => report,
            name = signals.end() => {
                tracing::warn!("{name} again: leaving now");
                cim.stop(Duration::ZERO).await
            }
        };
        let _ = stop_http.send(true);
        let _ = timeout(Limits::default().drain_time, cim.supervisor().all_ended()).await;
        if let Some(dir) = &face.settings.spool.dir {
            let _ = std::fs::remove_file(control::path(dir));
        }
        said::end(&report);
        report
    }
}

/// Runs the listener on a thread of its own; the receiver is ready when it has ended.
fn serve_nats(cim: &Cim, listener: cim_nats::Listener) -> Result<oneshot::Receiver<()>, Failure> {
    let lane = cim.lane();
    let (ended, ending) = oneshot::channel();
    let thread = move || {
        if let Err(error) = listener.run(lane) {
            tracing::error!(%error, "the NATS listener ended");
        }
        let _ = ended.send(());
    };
    let started = cim.supervisor().thread(NATS_PART, thread);
    started.map_err(|error| Failure::cannot_start(format!("cannot start the listener thread: {error}")))?;
    Ok(ending)
}

fn serve_http(
    cim: &Cim,
    name: &'static str,
    listener: &std::net::TcpListener,
    paths: Paths,
    face: &Arc<Face>,
    stopping: &watch::Receiver<bool>,
) {
    let Ok(listener) = listener.try_clone() else {
        tracing::error!(part = name, "cannot serve: no file descriptor left");
        return;
    };
    let (face, stopping) = (Arc::clone(face), stopping.clone());
    cim.supervisor().task(name, OnPanic::Restart, move || {
        let (listener, face, mut stopping) = (listener.try_clone(), Arc::clone(&face), stopping.clone());
        async move {
            let stop = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let served = match listener {
                Ok(listener) => cim_api::serve(listener, paths, face, Limits::default(), stop).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(part = name, %error, "cannot serve");
            }
        }
    });
}

fn serve_control(
    cim: &Cim,
    spool: &std::path::Path,
    configuration: &Engine,
    stopping: &watch::Receiver<bool>,
) {
    match control::open(spool) {
        Ok(listener) => {
            let (engine, configuration, stopping) = (cim.clone(), configuration.clone(), stopping.clone());
            cim.supervisor().task("control socket", OnPanic::Restart, move || {
                let (listener, engine, configuration, mut stopping) =
                    (listener.try_clone(), engine.clone(), configuration.clone(), stopping.clone());
                async move {
                    let Ok(listener) = listener else { return };
                    tokio::select! {
                        () = control::serve(listener, engine, configuration) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "no control socket; `cim dlq` will not reach this process"),
    }
}

/// Says what was chosen.
fn announce(loaded: &Loaded, process: &Process, who: &Who) {
    let settings = &loaded.settings;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match &settings.spool.dir {
        Some(dir) => tracing::info!(
            dir = %dir.display(),
            logs = cim_core::contract::Level::from(settings.spool.logs.accept).as_str(),
            events = cim_core::contract::Level::from(settings.spool.events.accept).as_str(),
            "spool"
        ),
        None => tracing::warn!(
            "no spool: level memory; what is not delivered is lost when the process ends (set `dir` in [spool])"
        ),
    }
    said::routes(settings);
    let identity = &who.identity;
    tracing::info!(namespace = %identity.namespace, pod = %identity.pod, known = who.is_known, "identity");
    tracing::info!(
        source = %settings.configuration.source,
        application = %settings.application.url,
        orchestrator = %settings.orchestrator.kind,
        "configuration"
    );
    let HttpAddresses { api, health } = process.http;
    tracing::info!(
        nats = ?process.face.addresses,
        api = api.map(tracing::field::display),
        health = health.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
}
