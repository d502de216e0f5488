//! The calls that the engine has under way, and what comes of them.
//!
//! Owns the futures. Left out: when they are begun and what their outcome means. Invariant: each ends by itself; none
//! outlives the engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::change::{PushStep, Undone, Verdict};
use super::confirmation::Confirmation;
use super::key::{DocumentId, restarts_key};
use super::news::LeaseQuestion;
use super::plan::{OwnChange, OwnDocument, Plan};
use super::restarts;
use crate::contract::{
    Answer, Application, CallError, ConfigOutcome, ConfigSource, Health, Identity, Orchestrator,
    OrchestratorError, OrchestratorErrorKind, Push, Reported, RestartReason, SourceError,
};

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Done {
    /// What the store said to one of the questions that wait for each other.
    Answer(Box<Done>),
    Called {
        document: DocumentId,
        attempt: u32,
        verdict: Verdict,
    },
    Own {
        step: PushStep,
        outcome: Result<OwnChange, String>,
    },
    /// It is time to ask again.
    Limit {
        question: LeaseQuestion,
    },
    Limited {
        question: LeaseQuestion,
        time_left: Result<Option<Duration>, SourceError>,
    },
    Reported {
        line: String,
        outcome: Result<Reported, SourceError>,
    },
    Committed {
        key: String,
        value: Result<Option<Vec<u8>>, SourceError>,
    },
    Story {
        document: DocumentId,
        key: String,
        value: Result<Option<Vec<u8>>, SourceError>,
    },
    Confirmed {
        step: PushStep,
        outcome: Result<(), String>,
    },
    /// What the application has, before a change of it; `None` where it does not show its documents.
    Learned {
        step: PushStep,
        document: Option<Result<serde_json::Value, String>>,
    },
    Undone {
        step: PushStep,
        outcome: Result<Undone, String>,
        /// The documents the application has now, where it got all of them.
        loaded: Option<Arc<[u8]>>,
    },
    Loaded {
        attempt: u32,
        outcome: Result<(), String>,
    },
    /// Revision of the map for CIM's own document, if there is one and it has a revision.
    OwnMap(Result<Option<Option<String>>, OrchestratorErrorKind>),
    Health(Health),
    Restarted {
        reason: RestartReason,
        outcome: Result<(), OrchestratorError>,
    },
    RolledBack {
        document: DocumentId,
        outcome: Result<(), String>,
        done: oneshot::Sender<Result<(), String>>,
    },
    Saved(std::io::Result<()>),
    Announced,
    Nothing,
}

pub(crate) type Work = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// Hands a change over.
pub(crate) async fn call(application: Arc<dyn Application>, step: PushStep) -> Done {
    let revision = step.key.revision.to_string();
    let push = Push {
        change_set_key: &step.key.text,
        patch: &step.patch,
        data_key: &step.key.document.data_key,
        revision: &revision,
    };
    let verdict = verdict(application.update_config(&push).await);
    Done::Called { document: step.key.document.clone(), attempt: step.attempt, verdict }
}

fn verdict(answer: Result<Answer, CallError>) -> Verdict {
    match answer {
        Ok(answer) if answer.status == 202 => Verdict::Deferred,
        Ok(answer) if answer.is_success() => Verdict::Accepted(answer.status),
        Ok(answer) => Verdict::Refused(format!("the application answered {}", answer.status)),
        Err(error) => Verdict::Refused(error.to_string()),
    }
}

/// Changes CIM's own document.
pub(crate) async fn own(document: Option<Arc<dyn OwnDocument>>, step: PushStep) -> Done {
    let outcome = match document {
        Some(document) => document.change(&step.patch).await,
        None => Ok(OwnChange::Unused),
    };
    Done::Own { step, outcome }
}

/// Hands the first configuration over. Everything below 400 counts as taken (wire contract §5.2).
pub(crate) async fn load(application: Arc<dyn Application>, document: Arc<[u8]>, attempt: u32) -> Done {
    let outcome = match application.load_config(&document).await {
        Ok(answer) if answer.status < 400 => Ok(()),
        Ok(answer) => Err(format!("the application answered {}", answer.status)),
        Err(error) => Err(error.to_string()),
    };
    Done::Loaded { attempt, outcome }
}

/// Asks how long a lease lasts.
pub(crate) async fn limit(source: Arc<dyn ConfigSource>, question: LeaseQuestion) -> Done {
    let time_left = source.time_left(question.lease).await;
    Done::Limited { question, time_left }
}

/// Waits before a question is asked again.
pub(crate) async fn later(question: LeaseQuestion, not_before: Instant) -> Done {
    sleep_until(not_before).await;
    Done::Limit { question }
}

/// Stores a result.
pub(crate) async fn report(source: Arc<dyn ConfigSource>, line: String, outcome: ConfigOutcome) -> Done {
    let outcome = source.report(&outcome).await;
    Done::Reported { line, outcome }
}

/// Reads the result that the store holds under a key, not before that moment.
pub(crate) async fn committed(source: Arc<dyn ConfigSource>, key: String, not_before: Instant) -> Done {
    sleep_until(not_before).await;
    let value = source.read(&key).await;
    Done::Committed { key, value }
}

/// Reads the story of a document's last change, not before that moment.
pub(crate) async fn story(
    source: Arc<dyn ConfigSource>,
    document: DocumentId,
    key: String,
    not_before: Instant,
) -> Done {
    sleep_until(not_before).await;
    let value = source.read(&key).await;
    Done::Story { document, key, value }
}

/// Sees whether the application is well with a change; in vain where it begins anew meanwhile.
pub(crate) async fn confirm(
    application: Arc<dyn Application>,
    confirmation: Confirmation,
    step: PushStep,
    expected: Option<serde_json::Value>,
    until: Instant,
    mut begins_anew: watch::Receiver<()>,
) -> Done {
    let data_key = &step.key.document.data_key;
    let outcome = tokio::select! {
        _ = begins_anew.changed() => Err("the application began anew".to_owned()),
        outcome = confirmation.run(application.as_ref(), data_key, expected.as_ref(), until) => outcome,
    };
    Done::Confirmed { step, outcome }
}

/// Asks the application for the document that is to be changed.
pub(crate) async fn learn(
    application: Arc<dyn Application>,
    confirmation: Confirmation,
    step: PushStep,
) -> Done {
    let document = confirmation.read(application.as_ref(), &step.key.document.data_key).await;
    Done::Learned { step, document }
}

/// How a change is undone.
#[derive(Debug)]
pub(crate) enum Back {
    /// By the patch that leads back.
    Patch(Vec<u8>),
    /// By the last first configuration that was good, whole.
    Whole(Arc<[u8]>),
}

/// Undoes a change. Where nothing leads back, the application may be well by itself by now.
pub(crate) async fn undo(
    application: Arc<dyn Application>,
    confirmation: Confirmation,
    step: PushStep,
    back: Result<Back, String>,
    until: Instant,
) -> Done {
    let outcome = match &back {
        Ok(back) => undo_once(application.as_ref(), &step, back).await.map(|()| Undone::Back),
        Err(why) => {
            let data_key = &step.key.document.data_key;
            let well = confirmation.run(application.as_ref(), data_key, None, until).await;
            well.map(|()| Undone::Well).map_err(|_| why.clone())
        }
    };
    let loaded = back.ok().and_then(|back| match back {
        Back::Whole(document) => Some(document),
        Back::Patch(_) => None,
    });
    Done::Undone { step, outcome, loaded }
}

async fn undo_once(application: &dyn Application, step: &PushStep, back: &Back) -> Result<(), String> {
    let answer = match back {
        Back::Patch(patch) => {
            let revision = step.key.revision.to_string();
            let push = Push {
                change_set_key: &step.key.text,
                patch,
                data_key: &step.key.document.data_key,
                revision: &revision,
            };
            application.update_config(&push).await
        }
        Back::Whole(document) => application.load_config(document).await,
    };
    match verdict(answer) {
        Verdict::Accepted(_) | Verdict::Deferred => Ok(()),
        Verdict::Refused(why) => Err(why),
    }
}

/// Hands over the patch that leads a settled document back. It is no change of the store, so its key has revision 0.
pub(crate) async fn roll_back(
    application: Arc<dyn Application>,
    identity: Identity,
    document: DocumentId,
    back: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
) -> Done {
    let Identity { namespace, microservice, version, .. } = identity;
    let key = format!("change-set/{namespace}/{microservice}/{version}/{document}/0");
    let push = Push { change_set_key: &key, patch: &back, data_key: &document.data_key, revision: "0" };
    let outcome = match verdict(application.update_config(&push).await) {
        Verdict::Accepted(_) | Verdict::Deferred => Ok(()),
        Verdict::Refused(why) => Err(why),
    };
    Done::RolledBack { document, outcome, done }
}

/// Takes a restart out of the budget that the pods of the microservice share, if one is left, and asks for another pod. A
/// store that cannot be asked has handed this pod the document that was not taken, and will have to hand it to the next one;
/// so its silence is no reason to hold.
pub(crate) async fn restart(plan: Plan, reason: RestartReason, budget: usize, now_ms: u64) -> Done {
    if let Some(source) = &plan.source {
        let (key, pod) = (restarts_key(&plan.identity), &plan.identity.pod);
        match restarts::grant(source.as_ref(), &key, pod, budget, now_ms).await {
            Ok(true) => {}
            Ok(false) => {
                exhausted(budget);
                return Done::Restarted { reason, outcome: Ok(()) };
            }
            Err(error) => tracing::warn!(
                error = %crate::chain(&error),
                "the store cannot count this restart of the pod, which is counted here only"
            ),
        }
    }
    restart_at(plan.orchestrator, reason, Instant::now()).await
}

/// Asks for another pod, not before that moment.
pub(crate) async fn restart_at(
    orchestrator: Arc<dyn Orchestrator>,
    reason: RestartReason,
    not_before: Instant,
) -> Done {
    sleep_until(not_before).await;
    let outcome = orchestrator.restart(&reason).await;
    Done::Restarted { reason, outcome }
}

/// Says that the budget of restarts is used up.
pub(crate) fn exhausted(budget: usize) {
    tracing::error!(budget, "the pod is not restarted again today; another document or a person has to help");
}

/// Asks whether the config server keeps a map for CIM's own document, and for its revision.
pub(crate) async fn own_map(
    orchestrator: Arc<dyn Orchestrator>,
    names: Vec<String>,
    not_before: Instant,
) -> Done {
    sleep_until(not_before).await;
    let mut outcome = Ok(None);
    for name in names {
        match orchestrator.document(&name).await {
            Ok(Some(document)) => {
                let revision = document.data.into_iter().find(|(key, _)| key == "revision");
                let revision = revision.map(|(_, revision)| revision);
                return Done::OwnMap(Ok(Some(revision)));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, name, "whether the config server keeps a map for cim is not known yet");
                outcome = Err(error.kind());
            }
        }
    }
    Done::OwnMap(outcome)
}

/// Asks the source whether it is well, not before that moment.
pub(crate) async fn health(source: Arc<dyn ConfigSource>, not_before: Instant) -> Done {
    sleep_until(not_before).await;
    Done::Health(source.probe().await)
}
