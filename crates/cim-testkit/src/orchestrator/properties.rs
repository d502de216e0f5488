//! What each property does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{
    Document, Health, Notice, Orchestrator, OrchestratorError, OrchestratorErrorKind, PeerQuery,
    RestartReason, chain,
};

use super::harness::OrchestratorHarness;
use crate::CannotExpress;
use crate::cancel::dropped_after;
use crate::property::{Outcome, Verdict};

/// A call is dropped after 0, 1, 2 … polls, up to this many.
const MOST_POLLS: usize = 8;

pub(super) struct Trial<'h> {
    harness: &'h dyn OrchestratorHarness,
    subject: Arc<dyn Orchestrator>,
}

impl<'h> Trial<'h> {
    pub(super) fn new(harness: &'h dyn OrchestratorHarness) -> Self {
        Self { harness, subject: harness.build() }
    }

    async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.harness.patience() * 2;
        tokio::time::timeout(limit, call).await.map_err(|_| format!("{what} did not end within {limit:?}"))
    }

    /// A call to an orchestrator that is well.
    async fn well<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, OrchestratorError>>,
    ) -> Result<T, String> {
        let outcome = self.in_time(what, call).await?;
        outcome.map_err(|error| format!("{what} fails: {}", chain(&error)))
    }

    /// A call to one that is not there.
    async fn unavailable<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, OrchestratorError>>,
    ) -> Result<(), String> {
        match self.in_time(what, call).await? {
            Err(error) if error.kind() == OrchestratorErrorKind::Unavailable => Ok(()),
            Err(error) => Err(format!("{what} of an absent orchestrator is {:?}", error.kind())),
            Ok(_) => Err(format!("{what} of an absent orchestrator is answered")),
        }
    }
}

fn document(name: &str) -> Document {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Document {
        name: name.to_owned(),
        labels: vec![pair("microSvcName", "amf")],
        annotations: vec![pair("svcVersion", "v0")],
        data: vec![pair("cim.json", "{\"a\": \"é\\n\"}\n"), pair("revision", "0")],
    }
}

fn reason() -> RestartReason {
    RestartReason { reason: "Conformance".to_owned(), message: "the suite asks for it".to_owned() }
}

fn notice() -> Notice {
    Notice { reason: "Conformance".to_owned(), message: "the suite says it".to_owned(), is_warning: true }
}

/// In the order of names, because stores of maps keep no other.
fn sorted(mut document: Document) -> Document {
    for pairs in [&mut document.labels, &mut document.annotations, &mut document.data] {
        pairs.sort();
    }
    document
}

pub(super) async fn identity(trial: Trial<'_>) -> Outcome {
    let expected = trial.harness.identity();
    let told = trial.well("identity", trial.subject.identity()).await?;
    if told != expected {
        return Err(format!("the pod is {told:?}, not {expected:?}"));
    }
    if trial.harness.fail().await.is_ok() {
        let again = trial.well("identity from memory", trial.subject.identity()).await;
        trial.harness.heal().await;
        if again? != expected {
            return Err("the pod is another one the second time".to_owned());
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn neighbours(trial: Trial<'_>) -> Outcome {
    let Some((query, count)) = trial.harness.neighbours() else {
        return Ok(Verdict::Skipped("this orchestrator knows no neighbours".to_owned()));
    };
    let found = trial.well("locate", trial.subject.locate(&query)).await?;
    if found.len() != count {
        return Err(format!("{} neighbours are found instead of {count}", found.len()));
    }
    let PeerQuery::NodeAgent { selector, port } = query;
    if found.iter().any(|peer| peer.name.is_empty() || peer.address.port() != port) {
        return Err("a neighbour has no name or another port".to_owned());
    }
    let nobody = PeerQuery::NodeAgent { selector: format!("{selector}-of-nobody"), port };
    match trial.well("locate", trial.subject.locate(&nobody)).await?.len() {
        0 => Ok(Verdict::Held),
        count => Err(format!("{count} neighbours fit a label that nobody has")),
    }
}

pub(super) async fn documents(trial: Trial<'_>) -> Outcome {
    if let Some(found) = trial.well("document", trial.subject.document("absent")).await? {
        return Err(format!("a document that does not exist is {found:?}"));
    }
    let written = document("amf-cim-v0-mgmt-cfg");
    if let Err(CannotExpress(why)) = trial.harness.put_document(&written).await {
        return Ok(Verdict::Skipped(why));
    }
    match trial.well("document", trial.subject.document(&written.name)).await?.map(sorted) {
        Some(read) if read == sorted(written.clone()) => Ok(Verdict::Held),
        other => Err(format!("{written:?} is read as {other:?}")),
    }
}

pub(super) async fn create_once(trial: Trial<'_>) -> Outcome {
    let first = document("amf-cim-v0-mgmt-cfg");
    let is_new = match trial.in_time("create_document", trial.subject.create_document(&first)).await? {
        Err(error) if error.kind() == OrchestratorErrorKind::Unsupported => {
            return Ok(Verdict::Skipped("this orchestrator makes no documents".to_owned()));
        }
        other => other.map_err(|error| format!("a document cannot be made: {}", chain(&error)))?,
    };
    if !is_new {
        return Err("a document that was made is said to have been there".to_owned());
    }
    let mut second = first.clone();
    second.data.clear();
    if trial.well("create_document", trial.subject.create_document(&second)).await? {
        return Err("a document is made where one is already".to_owned());
    }
    match trial.harness.document(&first.name).await.map(sorted) {
        Some(stored) if stored == sorted(first) => Ok(Verdict::Held),
        other => Err(format!("the document that was made first is {other:?} now")),
    }
}

pub(super) async fn restart(trial: Trial<'_>) -> Outcome {
    trial.well("identity", trial.subject.identity()).await?;
    let Some(before) = trial.harness.restarts().await else {
        return Ok(Verdict::Skipped("restarts cannot be seen here".to_owned()));
    };
    if let Ok(()) = trial.harness.replace_pod().await {
        // Whatever it answers, the other pod must live.
        let _ = trial.in_time("restart", trial.subject.restart(&reason())).await?;
        if trial.harness.restarts().await != Some(before) {
            return Err("another pod of the same name was restarted".to_owned());
        }
        return Ok(Verdict::Held);
    }
    trial.well("restart", trial.subject.restart(&reason())).await?;
    match trial.harness.restarts().await {
        Some(after) if after == before + 1 => Ok(Verdict::Held),
        after => Err(format!("one restart was asked for, and of {before} there are {after:?}")),
    }
}

pub(super) async fn absent(trial: Trial<'_>) -> Outcome {
    if let Err(CannotExpress(why)) = trial.harness.fail().await {
        return Ok(Verdict::Skipped(why));
    }
    let subject = &trial.subject;
    let findings = async {
        trial.unavailable("identity", subject.identity()).await?;
        trial.unavailable("document", subject.document("absent")).await?;
        trial.in_time("notify", subject.notify(&notice())).await?;
        trial.in_time("probe", subject.probe()).await.map(drop)
    }
    .await;
    trial.harness.heal().await;
    findings.map(|()| Verdict::Held)
}

pub(super) async fn recovery(trial: Trial<'_>) -> Outcome {
    for _ in 0..3 {
        if let Err(CannotExpress(why)) = trial.harness.fail().await {
            return Ok(Verdict::Skipped(why));
        }
        let tried = trial.in_time("document", trial.subject.document("absent")).await;
        trial.harness.heal().await;
        tried.map(drop)?;
        let again = async {
            while trial.subject.document("absent").await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        trial.in_time("document after it came back", again).await?;
        trial.well("identity", trial.subject.identity()).await?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn cancellation(trial: Trial<'_>) -> Outcome {
    for polls in 0..=MOST_POLLS {
        dropped_after(polls, trial.subject.identity()).await;
        dropped_after(polls, trial.subject.document("absent")).await;
        dropped_after(polls, trial.subject.notify(&notice())).await;
        let whole = async {
            trial.well("identity", trial.subject.identity()).await?;
            trial.well("document", trial.subject.document("absent")).await
        };
        whole.await.map_err(|finding| format!("after calls were dropped at poll {polls}: {finding}"))?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn close_twice(trial: Trial<'_>) -> Outcome {
    for time in ["first", "second"] {
        if let Err(error) = trial.in_time("close", trial.subject.close()).await? {
            return Err(format!("the {time} close fails: {error}"));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn secrets_hidden(trial: Trial<'_>) -> Outcome {
    let secrets = trial.harness.secrets();
    if secrets.is_empty() {
        return Ok(Verdict::Skipped("this backend has no secrets".to_owned()));
    }
    let mut texts = trial.harness.texts();
    texts.push(trial.subject.name().to_owned());
    let can_fail = trial.harness.fail().await.is_ok();
    let read = trial.in_time("document", trial.subject.document("absent")).await;
    let probe = trial.in_time("probe", trial.subject.probe()).await;
    if can_fail {
        trial.harness.heal().await;
    }
    texts.extend(read?.err().map(|error| format!("{} {error:?}", chain(&error))));
    if let Health::Degraded(text) = probe? {
        texts.push(text);
    }
    // The secret itself must not be shown by the finding either.
    match texts.iter().position(|text| secrets.iter().any(|secret| text.contains(secret))) {
        Some(place) => Err(format!("text {} of {} shows a secret", place + 1, texts.len())),
        None => Ok(Verdict::Held),
    }
}
