//! A process of CIM that can be killed: the configuration engine on a store and a spool, for as long as it lives.
//!
//! Owns the engine and its way to the store. Left out: the application, whose calls go on when the caller dies. Invariant: what a
//! process does once it was killed reaches nobody, and the next one finds the spool as it was at that moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cim_core::configuration::{Configuration, Confirmation, Plan};
use cim_core::{
    Answer, Application, CallError, Cim, Component, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream,
    Lease, Push, Reported, Revision, Sink, SourceError, async_trait,
};
use cim_testkit::{FakeOrchestrator, MemorySource};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::application::Moody;
use crate::pod::identity;

/// The file of the engine in a spool directory.
const MEMORY: &str = "configuration.json";

/// A process at work.
pub struct Process {
    pub configuration: Configuration,
    cim: Cim,
    dead: watch::Sender<bool>,
    dir: Option<PathBuf>,
}

impl Process {
    /// Starts one, on that directory, and tells the application where it listens.
    /// `confirms`: after each change it looks whether the application is well.
    pub fn start(store: &Arc<MemorySource>, app: &Arc<Moody>, dir: Option<PathBuf>, confirms: bool) -> Self {
        let cim = Cim::builder()
            .identity(identity())
            .sink("null", Sink::both(Arc::new(cim_core::null::NullSink::new("null"))))
            .start()
            .unwrap();
        let dead = watch::Sender::new(false);
        let application = Caller { app: Arc::clone(app), dead: dead.subscribe() };
        let mut plan = Plan::new(identity(), Arc::new(application), FakeOrchestrator::new(identity()));
        plan.source = Some(Arc::new(Way { store: Arc::clone(store), dead: dead.subscribe() }));
        plan.dir.clone_from(&dir);
        plan.confirmation = confirms.then(|| Confirmation {
            probe: Some("/health".to_owned()),
            window: Duration::from_secs(3),
            interval: Duration::from_secs(1),
            failures: 3,
            read_back: None,
        });
        let configuration = Configuration::start(&cim, plan).unwrap();
        app.connect(Some(cim.lane()));
        Self { configuration, cim, dead, dir }
    }

    /// Ends it in the middle of whatever it does; what it has written is in `next`.
    pub fn kill(self, app: &Moody, next: &Path) {
        self.dead.send_replace(true);
        app.connect(None);
        std::fs::create_dir(next).unwrap();
        match std::fs::copy(self.dir.unwrap().join(MEMORY), next.join(MEMORY)) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
    }

    pub async fn stop(self) {
        self.configuration.stop(Duration::from_secs(1)).await;
        self.cim.stop(Duration::ZERO).await;
    }
}

/// Comes back when the process is killed.
async fn killed(mut dead: watch::Receiver<bool>) {
    let _ = dead.wait_for(|dead| *dead).await;
}

/// Does that unless the process is killed; then it does not come back.
async fn alive<T>(dead: &watch::Receiver<bool>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        () = killed(dead.clone()) => std::future::pending().await,
        outcome = work => outcome,
    }
}

/// The way to the store.
struct Way {
    store: Arc<MemorySource>,
    dead: watch::Receiver<bool>,
}

#[async_trait]
impl Component for Way {
    fn name(&self) -> &str {
        self.store.name()
    }
}

#[async_trait]
impl ConfigSource for Way {
    fn watch(&self, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream {
        let changes = self.store.watch(scope, resume).take_until(Box::pin(killed(self.dead.clone())));
        Box::pin(changes.chain(futures_util::stream::pending()))
    }

    fn has_lasting_revisions(&self) -> bool {
        self.store.has_lasting_revisions()
    }

    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        alive(&self.dead, self.store.report(outcome)).await
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        alive(&self.dead, self.store.read(key)).await
    }

    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
        alive(&self.dead, self.store.swap(key, old, new)).await
    }

    async fn time_left(&self, lease: Lease) -> Result<Option<Duration>, SourceError> {
        alive(&self.dead, self.store.time_left(lease)).await
    }
}

/// The way to the application. A call that was made before the end goes on: the application has it.
struct Caller {
    app: Arc<Moody>,
    dead: watch::Receiver<bool>,
}

impl Caller {
    /// Comes back while the process lives.
    async fn lives(&self) {
        if *self.dead.borrow() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Component for Caller {
    fn name(&self) -> &str {
        self.app.name()
    }
}

#[async_trait]
impl Application for Caller {
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError> {
        self.lives().await;
        self.app.update_config(push).await
    }

    async fn load_config(&self, document: &[u8]) -> Result<Answer, CallError> {
        self.app.load_config(document).await
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        self.app.shutdown().await
    }

    async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.app.get(path).await
    }
}
