//! `cim run`, from settings to exit code.
//!
//! Ports first, because applications wait for them; then the engine; then everything is served until a signal comes;
//! then the end, in stages: no new messages, deliver or keep what is there, close, and the HTTP server last.

mod ending;
mod farewell;
mod feed;
mod learning;
mod serve;
mod signals;
mod spilling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_core::configuration::Plan;
use cim_core::supervisor::OnPanic;
use cim_core::{Cim, Configuration, Identity, Neighbours, Registry, Subscriptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::interval;

use crate::aligned::{self, Aligned};
use crate::application::CurrentApplication;
use crate::diagnostics::Diagnostics;
use crate::exit::{self, Failure, chain};
use crate::face::Face;
use crate::listeners::Listeners;
use crate::lost_receivers::LostReceivers;
use crate::metrics_page;
use crate::own_document::{Map, Wish, Wishes, begin};
use crate::reload::Reload;
use crate::said::{self, HttpAddresses};
use crate::settings::{Infra, Loaded, Request};
use crate::switches::Switches;
use crate::who::{self, Who};
use crate::{
    backends, configuration, dead_pods, engine, infra, limits, listeners, own_document, own_spool,
    unused_memory,
};
use ending::Cause;
use serve::{Pages, serve_control, serve_external, serve_nats, serve_pages};
use signals::Signals;

/// Name of the listener thread on the status page.
pub const NATS_PART: &str = "nats listener";
/// That of the client of a server that somebody else runs.
const EXTERNAL_PART: &str = "nats external";
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
    let mut in_force =
        begin(&Request::of_process(files.clone()), &registry).map_err(Failure::cannot_start)?;
    let diagnostics = Diagnostics::start(&in_force.loaded.settings.log);
    own_spool::prepare(&mut in_force.loaded);
    let loaded = in_force.loaded.clone();
    let open = listeners::open(&loaded)?;
    runtime.block_on(async {
        limits::survive_file_size_limit().map_err(|error| Failure::cannot_start(chain(&error)))?;
        let settings = &loaded.settings;
        let wrong = |problem: cim_core::Problem| Failure::cannot_start(problem.to_string());
        let orchestrator = configuration::orchestrator(settings, &registry).map_err(wrong)?;
        let given = Identity::from(&settings.identity);
        let mut who = who::at_once(orchestrator.as_ref(), &given, settings.spool.dir.as_deref());
        let asks_infra = in_force.infra.is_some() || in_force.sources.lack_infra();
        let awaits_infra = asks_infra && in_force.infra.is_none();
        // Until then it is not known either where events go.
        who.is_known &= !awaits_infra;
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
        let switches = Switches::new(settings, diagnostics);
        let begun =
            Beginning { loaded: &loaded, plan, who: &who, wishes: wishes.clone(), switches: &switches };
        let mut process = Process::start(cim, open, begun)?;
        process.awaits_infra = awaits_infra;
        process.infra = asks_infra.then(|| infra::ask(process.cim.supervisor(), &process.plan.orchestrator));
        if who.is_known {
            process.follow_events(settings, &who.identity, &registry);
        }
        dead_pods::follow(process.cim.supervisor(), &loaded);
        unused_memory::follow(process.cim.supervisor());
        said::start(&loaded, &who, &process.face.addresses, &process.http);
        wishes.into_iter().for_each(|wishes| process.follow_map(wishes));
        let reload = Reload::new(files, in_force, switches, application, who, neighbours);
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
    plan: Plan,
    engine: watch::Sender<Option<(Configuration, Identity)>>,
    /// Tells who this pod is, if that was not known at the start or turns out to be wrong.
    identity: Option<oneshot::Receiver<Identity>>,
    /// The same, while something else is waited for.
    told: Option<Identity>,
    /// Tells where the infrastructure is, when no file does.
    infra: Option<mpsc::Receiver<Option<Infra>>>,
    /// Nothing that needs the infrastructure is begun before that.
    awaits_infra: bool,
}

/// What a process is started with.
struct Beginning<'b> {
    loaded: &'b Loaded,
    plan: Plan,
    who: &'b Who,
    wishes: Option<Wishes>,
    switches: &'b Switches,
}

impl Process {
    /// Starts serving the open ports.
    fn start(cim: Cim, open: Listeners, begun: Beginning<'_>) -> Result<Self, Failure> {
        let Beginning { loaded, plan, who, wishes, switches } = begun;
        let settings = loaded.settings.clone();
        let pages = Pages { api: open.api, socket: open.socket, health: open.health };
        let (nats, stats, addresses) = (open.nats.control(), open.nats.stats(), open.nats.local_addrs());
        // First, for applications wait: the clock inside the recorder takes milliseconds to calibrate itself.
        serve_nats(&cim, open.nats)?;
        let engine = watch::Sender::new(None);
        if who.is_known {
            configuration::start(&engine, &cim, plan.clone());
        }
        let identity = who::ask(cim.supervisor(), &plan.orchestrator, who);
        let external = settings.nats.external.as_ref().map(backends::external_nats).transpose();
        let external = external.map_err(|problem| Failure::cannot_start(problem.to_string()))?;
        external.iter().for_each(|external| serve_external(&cim, external));
        let aligned = Aligned::new(&settings.metrics, cim.budget()).map_err(Failure::cannot_start)?;
        if who.is_known {
            aligned.known(&who.identity);
        }
        let face = Arc::new(Face {
            cim: cim.clone(),
            nats: stats,
            addresses,
            exporter: metrics_page::install(),
            metrics: switches.metrics.clone(),
            aligned,
            settings,
            started: Instant::now(),
            engine: engine.subscribe(),
            source: plan.source.clone(),
            wishes,
            registered: watch::Sender::new(false),
            external,
            answers: switches.answers.subscribe(),
            ends: switches.ends.subscribe(),
            subscriptions: Subscriptions::open(loaded.settings.spool.dir.as_deref(), &who.identity.uid),
            orchestrator: Arc::clone(&plan.orchestrator),
            diagnostics: switches.diagnostics.clone(),
            http: Arc::default(),
        });
        let (stop_http, stopping) = watch::channel(false);
        let http = serve_pages(&cim, pages, &loaded.settings.api, &face, &stopping)?;
        aligned::start(&face, http.api.first().map_or(0, SocketAddr::port), &stopping);
        if let Some(dir) = &loaded.settings.spool.dir {
            serve_control(&cim, dir, &face, &stopping);
        }
        switches.diagnostics.follow(&cim, &who.identity.uid, &stopping);
        let identity = Some(identity);
        Ok(Self {
            cim,
            face,
            nats,
            stop_http,
            http,
            plan,
            engine,
            identity,
            told: None,
            infra: None,
            awaits_infra: false,
        })
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
                identity = who::told(&mut self.identity) => {
                    self.told = Some(identity);
                    self.settle(&mut reload, registry).await;
                }
                infra = infra::told(&mut self.infra) => {
                    self.learn(infra, &mut reload, registry).await;
                    self.settle(&mut reload, registry).await;
                }
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
}
