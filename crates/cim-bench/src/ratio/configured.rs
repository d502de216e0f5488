//! A pod with configuration: etcd, CIM, and an application in this process.
//!
//! Owns the start, and everything that has to be polled beside a bench. Left out: what is measured. Invariant: when a part
//! fails, so does the bench.

use std::path::Path;
use std::time::{Duration, Instant};

use cim_services::Etcd;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::rig::Rig;
use crate::configuration::{Application, BareCall, Handed, Results, Seen, Store, Watcher, block_on};
use crate::error::{BenchError, Result};
use crate::http;
use crate::server::{Cim, CimSpec, ConfigurationSpec, SinkSpec, free_port};

/// Longest wait for something that follows by itself.
const PATIENCE: Duration = Duration::from_secs(60);
const REGISTER: &str = "/api/v1/_operations/xgvela/register";

/// What a bench works with.
pub(super) struct Pod {
    pub(super) etcd: Etcd,
    pub(super) cim: Cim,
    pub(super) store: Store,
    pub(super) bare: BareCall,
    handed: mpsc::Receiver<Handed>,
    seen: mpsc::Receiver<Seen>,
}

/// Something that happened.
pub(super) enum Noted {
    Handed(Handed),
    Seen(Seen),
}

impl Pod {
    /// The next change that the application was handed.
    pub(super) async fn handed(&mut self) -> Result<Handed> {
        next("a change at the application", &mut self.handed).await
    }

    /// The next change or result that the watcher was told of.
    pub(super) async fn seen(&mut self) -> Result<Seen> {
        next("a change at the watcher", &mut self.seen).await
    }

    /// What comes first of the two.
    pub(super) async fn noted(&mut self) -> Result<Noted> {
        tokio::select! {
            handed = next("a change at the application", &mut self.handed) => handed.map(Noted::Handed),
            seen = next("a change at the watcher", &mut self.seen) => seen.map(Noted::Seen),
        }
    }

    /// Registers the application.
    pub(super) fn register(&self) -> Result<()> {
        register(&self.cim)
    }
}

/// Registers the application.
pub(super) fn register(cim: &Cim) -> Result<()> {
    let known = r#"{"container_name":"app","container_id":"c0ffee"}"#;
    http::post(cim.spec.api, REGISTER, known).map(drop)
}

async fn next<T>(what: &str, queue: &mut mpsc::Receiver<T>) -> Result<T> {
    let ended = || BenchError::Unclean(format!("{what}: its source has ended"));
    let deadline = |_| BenchError::Deadline { what: what.to_owned(), seconds: PATIENCE.as_secs() };
    timeout(PATIENCE, queue.recv()).await.map_err(deadline)?.ok_or_else(ended)
}

/// Starts a process with a spool of its own in that directory.
fn start(rig: &Rig, work: &Path, configuration: ConfigurationSpec) -> Result<Cim> {
    let configuration = Some(configuration);
    Cim::start(CimSpec { configuration, ..CimSpec::new(&rig.cim, work, SinkSpec::Null)? })
}

/// Starts another process on the same etcd with an empty spool, and tells how long its first registration takes.
pub(super) fn first_registration(rig: &Rig, pod: &Pod) -> Result<Duration> {
    let work = rig.work()?;
    let configuration = pod.cim.spec.configuration.clone();
    let configuration = configuration.ok_or_else(|| BenchError::Invalid("there is no source".into()))?;
    let cim = start(rig, work.path(), configuration)?;
    let begun = Instant::now();
    register(&cim)?;
    Ok(begun.elapsed())
}

/// Starts everything and runs the bench beside it.
pub(super) fn with_pod<T>(rig: &Rig, bench: impl AsyncFnOnce(&mut Pod) -> Result<T>) -> Result<T> {
    let etcd = Etcd::single().ok_or_else(|| BenchError::Invalid("etcd is not installed".into()))?;
    let endpoint = etcd.endpoints().swap_remove(0);
    let work = rig.work()?;
    let address = free_port()?;
    block_on(async {
        let (application, handed) = Application::bind(address).await?;
        let configuration = ConfigurationSpec { etcd: endpoint.clone(), application: address };
        let cim = start(rig, work.path(), configuration)?;
        let results = Results::connect(cim.spec.nats).await?;
        let store = Store::connect(&endpoint).await?;
        let (mut watcher, seen) = Watcher::connect(&endpoint).await?;
        let (bare, moving) = BareCall::connect(address).await?;
        let mut pod = Pod { etcd, cim, store, bare, handed, seen };
        let failed = tokio::select! {
            outcome = bench(&mut pod) => return outcome,
            Err(error) = application.serve(&results) => error,
            Err(error) = results.keep() => error,
            Err(error) = watcher.watch() => error,
            _ = moving => BenchError::Unclean("the connection of the bare call ended".into()),
        };
        Err(BenchError::Unclean(format!("{}; cim: {}", failed.chain(), pod.cim.last_words())))
    })
}
