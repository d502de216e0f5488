//! Who this pod is: from the orchestrator, or from what it said in an earlier run.
//!
//! Owns the file that remembers it. Left out: what an identity is needed for. The invariant: intake never waits for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_core::contract::Level;
use cim_core::supervisor::{OnPanic, Supervisor};
use cim_core::{Identity, Orchestrator, Pauses, chain};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::settings::Settings;

/// Who this pod is, as far as that is known.
#[derive(Debug, Clone)]
pub struct Who {
    /// What is known; namespace and pod always are.
    pub identity: Identity,
    /// Whether that is all.
    pub is_known: bool,
}

impl Who {
    /// What settings and environment tell; all there is where no orchestrator can be asked.
    #[must_use]
    pub fn given(settings: &Settings) -> Self {
        let is_known = settings.orchestrator.kind == cim_core::standalone::KIND.name;
        Self { identity: Identity::from(&settings.identity), is_known }
    }
}

/// Name of the file in the spool directory.
const FILE: &str = "identity.json";
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What can be told at once: an orchestrator that answers from memory, or an earlier run of this very pod.
#[must_use]
pub fn at_once(orchestrator: &dyn Orchestrator, given: &Identity, spool: Option<&Path>) -> Who {
    let told = orchestrator.identity().now_or_never().and_then(Result::ok);
    match told.or_else(|| remembered(given, spool?)) {
        Some(identity) => Who { identity, is_known: true },
        None => Who { identity: given.clone(), is_known: false },
    }
}

fn remembered(given: &Identity, spool: &Path) -> Option<Identity> {
    let text = std::fs::read(spool.join(FILE)).ok()?;
    let known: Identity = serde_json::from_slice(&text).ok()?;
    // A pod that follows another one of its name, on the same volume, is not that one.
    let is_another = Identity::are_of_two_pods(&known.uid, &given.uid);
    let is_ours = known.namespace == given.namespace && known.pod == given.pod && !is_another;
    // What the environment gives is that of this run.
    let Identity { own_nf, own_nf_type, .. } = given.clone();
    is_ours.then_some(Identity { own_nf, own_nf_type, ..known })
}

/// Asks until the orchestrator tells.
///
/// # Cancel safety
/// May be dropped at any await point.
async fn asked(orchestrator: Arc<dyn Orchestrator>) -> Identity {
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match orchestrator.identity().await {
            Ok(identity) => return identity,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "who this pod is cannot be told yet");
            }
        }
        pauses.wait().await;
    }
}

/// Remembers an identity for the next run. Failing is no harm: it is asked for again.
pub fn remember(identity: &Identity, spool: &Path) {
    let written = serde_json::to_vec(identity)
        .map_err(std::io::Error::from)
        .and_then(|text| cim_core::replace_file(&spool.join(FILE), &text, Level::Written));
    if let Err(error) = written {
        tracing::warn!(%error, "who this pod is cannot be remembered; the next start asks again");
    }
}

/// Asks the orchestrator who this pod is, unless it has told already. What an earlier run learned is asked for again, because
/// another pod of the same name may follow it.
#[must_use]
pub fn ask(
    supervisor: &Supervisor,
    orchestrator: &Arc<dyn Orchestrator>,
    who: &Who,
) -> oneshot::Receiver<Identity> {
    let (tell, told) = oneshot::channel();
    let (orchestrator, known) = (Arc::clone(orchestrator), who.is_known.then(|| who.identity.clone()));
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    supervisor.task("identity", OnPanic::Restart, move || {
        let (orchestrator, known, tell) = (Arc::clone(&orchestrator), known.clone(), Arc::clone(&tell));
        async move {
            let identity = asked(orchestrator).await;
            let tell = tell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let (Some(tell), true) = (tell, known != Some(identity.clone())) {
                let _ = tell.send(identity);
            }
        }
    });
    told
}

/// Waits until it is told who this pod is; for ever, when there is nothing to tell.
///
/// # Cancel safety
/// May be dropped and called again.
pub async fn told(identity: &mut Option<oneshot::Receiver<Identity>>) -> Identity {
    if let Some(receiver) = identity {
        let told = receiver.await;
        *identity = None;
        if let Ok(told) = told {
            return told;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use super::*;

    fn pod(name: &str, uid: &str) -> Identity {
        Identity {
            namespace: "ns1".to_owned(),
            pod: name.to_owned(),
            uid: uid.to_owned(),
            ..Identity::default()
        }
    }

    #[test]
    fn what_an_earlier_run_learned_holds_for_its_own_pod_only() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Identity { microservice: "shop".to_owned(), ..pod("shop-0", "uid-1") };
        remember(&learned, dir.path());
        for (given, is_ours) in [
            (pod("shop-0", "uid-1"), true),
            (pod("shop-0", ""), true),
            (pod("shop-0", "uid-2"), false),
            (pod("shop-1", "uid-1"), false),
        ] {
            assert_eq!(remembered(&given, dir.path()), is_ours.then(|| learned.clone()), "{given:?}");
        }
    }
}
