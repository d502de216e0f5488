//! Where the infrastructure is, for a pod of the original without `common-infra.json`: a service is asked (wire contract §2.3).
//!
//! Owns the asking and what is remembered of it between runs. Left out: what the members mean (`settings`). The invariants:
//! nothing but status 200 with an object counts; what an earlier run was told is in force until it is told anew.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_app::ApplicationSettings;
use cim_core::contract::Level;
use cim_core::supervisor::{OnPanic, Supervisor};
use cim_core::{Application, Orchestrator, OrchestratorErrorKind, Pauses, chain, replace_file};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::application;
use crate::settings::Infra;

/// Where the document is at that service.
const PATH: &str = "/api/v1/tmaas/config/common-infra";
/// Its name in the spool directory.
const FILE: &str = "common-infra.json";
/// Charts cut the name of the service off here, together with its port.
const CUT: usize = 63;
/// The port of the service.
const PORT: &str = "8080";
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an earlier run was told; `None` when there is nothing that can be read.
#[must_use]
pub fn remembered(spool: &Path) -> Option<Infra> {
    serde_json::from_slice(&std::fs::read(spool.join(FILE)).ok()?).ok()
}

/// Remembers it for the next start.
///
/// # Errors
/// When it cannot be written; the old one is still there.
pub fn remember(infra: &Infra, spool: &Path) -> io::Result<()> {
    replace_file(&spool.join(FILE), &serde_json::to_vec(infra)?, Level::Written)
}

/// Asks until it is told; `None` when there is nobody to ask.
#[must_use]
pub fn ask(supervisor: &Supervisor, orchestrator: &Arc<dyn Orchestrator>) -> mpsc::Receiver<Option<Infra>> {
    let (tell, told) = mpsc::channel(1);
    let orchestrator = Arc::clone(orchestrator);
    supervisor.task("common-infra", OnPanic::Restart, move || {
        let (orchestrator, tell) = (Arc::clone(&orchestrator), tell.clone());
        async move {
            let _ = tell.send(asked(orchestrator.as_ref()).await).await;
        }
    });
    told
}

/// Waits until it is told; for ever, when there is nothing more to tell.
///
/// # Cancel safety
/// May be dropped and called again.
pub async fn told(infra: &mut Option<mpsc::Receiver<Option<Infra>>>) -> Option<Infra> {
    if let Some(receiver) = infra {
        let told = receiver.recv().await;
        *infra = None;
        if let Some(told) = told {
            return told;
        }
    }
    std::future::pending().await
}

async fn asked(orchestrator: &dyn Orchestrator) -> Option<Infra> {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let gateway = orchestrator.topology_gateway().await;
        match gateway {
            Ok(None) => {
                tracing::warn!(
                    "neither common-infra.json nor a service that has it is known; the defaults count"
                );
                return None;
            }
            Ok(Some(gateway)) => match of_any(&names(&gateway)).await {
                Ok(infra) => return Some(infra),
                Err(why) => tracing::warn!("where the infrastructure is cannot be told yet: {why}"),
            },
            Err(error) if error.kind() == OrchestratorErrorKind::Unsupported => return None,
            // Nobody may be told, maybe for ever: an application is not kept waiting for that.
            Err(error) if error.kind() == OrchestratorErrorKind::Forbidden => {
                tracing::error!(error = %chain(&error), "where the infrastructure is may not be asked; the defaults count until the next start");
                return None;
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the service with common-infra.json is not known yet");
            }
        }
        pauses.wait().await;
    }
}

/// The names to try: as given, and whole again when it was cut off.
fn names(gateway: &str) -> Vec<String> {
    let mut names = vec![gateway.to_owned()];
    if gateway.len() == CUT {
        let host = gateway.rsplit_once(':').map_or(gateway, |(host, _)| host);
        names.push(format!("{host}:{PORT}"));
    }
    names
}

/// What the first service that answers tells.
async fn of_any(names: &[String]) -> Result<Infra, String> {
    let mut reasons = Vec::new();
    for name in names {
        match of(name).await {
            Ok(document) => return Ok(Infra { gateway: name.clone(), document }),
            Err(why) => reasons.push(format!("http://{name}{PATH}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

async fn of(gateway: &str) -> Result<Map<String, Value>, String> {
    let settings = ApplicationSettings { url: format!("http://{gateway}"), ..ApplicationSettings::default() };
    let client = application::client(&settings).map_err(|problem| problem.message)?;
    let answer = client.get(PATH).await.map_err(|error| chain(&error))?;
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_core::Identity;
    use cim_testkit::FakeOrchestrator;

    #[test]
    fn a_name_that_charts_cut_off_is_tried_whole_too() {
        let whole = "topo-gw.xgvela-xgvela1-mgmt-xgvela-xgvela1.svc.cluster.local:8080";
        assert_eq!(names(&whole[..CUT])[1], whole);
        assert_eq!(names("topo-gw.ns.svc.cluster.local:8080").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_missing_keeps_nobody_waiting_and_a_server_that_is_away_does() {
        let orchestrator = FakeOrchestrator::new(Identity::default());
        orchestrator.set_down(Some(OrchestratorErrorKind::Forbidden));
        assert_eq!(asked(orchestrator.as_ref()).await, None);
        orchestrator.set_down(Some(OrchestratorErrorKind::Unavailable));
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, asked(orchestrator.as_ref())).await.is_err());
    }

    #[test]
    fn what_was_told_is_read_back() {
        let spool = tempfile::tempdir().unwrap();
        assert_eq!(remembered(spool.path()), None);
        let document =
            serde_json::json!({"etcd_url": "e:1", "tpaas_fqdn": null}).as_object().unwrap().clone();
        let infra = Infra { gateway: "g:1".to_owned(), document };
        remember(&infra, spool.path()).unwrap();
        assert_eq!(remembered(spool.path()), Some(infra));
    }
}
