//! Properties of a store that fails, of a caller that goes away, of the end, and of what people see.

use cim_core::{ConfigUpdate, Health, SourceErrorKind, chain};

use super::harness::{SourceFault, SourceHarness};
use super::trial::Trial;
use crate::CannotExpress;
use crate::cancel::dropped_after;
use crate::property::{Outcome, Verdict};

/// A call is dropped after 0, 1, 2 … polls, up to this many.
const MOST_POLLS: usize = 12;

fn skipped(CannotExpress(why): CannotExpress) -> Outcome {
    Ok(Verdict::Skipped(why))
}

/// What each call says of a store that is not there.
async fn told_of_absence(trial: &Trial<'_>) -> Result<(), String> {
    let kind = |what: &str, kind: Option<SourceErrorKind>| match kind {
        Some(SourceErrorKind::Unavailable) => Ok(()),
        other => Err(format!("{what} of an absent store: {other:?} instead of unavailable")),
    };
    let told = trial.watch(None).attempt().await?;
    kind("a watch", told.and_then(|item| item.err().map(|error| error.kind())))?;
    kind("a report", trial.report(&trial.outcome(7)).await?.err().map(|error| error.kind()))?;
    kind("reading", trial.read(&trial.commit_key()).await?.err().map(|error| error.kind()))?;
    trial.in_time("probe", trial.source.probe()).await.map(drop)
}

pub(super) async fn absent_store(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    if let Err(cannot) = harness.fail(SourceFault::Absent).await {
        return skipped(cannot);
    }
    let told = told_of_absence(&trial).await;
    harness.heal().await;
    told.map(|()| Verdict::Held)
}

pub(super) async fn recovery(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.put_changes(1, 2).await;
    let mut watcher = trial.watch(None);
    trial.catch_up(&mut watcher).await?;
    for round in 1..=3_usize {
        if let Err(cannot) = harness.fail(SourceFault::Absent).await {
            return skipped(cannot);
        }
        let tried = trial.report(&trial.outcome(7)).await;
        harness.heal().await;
        tried.map(drop)?;
        trial.insist(&trial.outcome(i32::try_from(round).unwrap_or(1))).await?;
        trial.put_changes(10 * round, 2).await;
        // The watch may have ended, and is begun again where it was, as the engine would.
        let again = async {
            while watcher.keys != trial.stored {
                if !matches!(watcher.attempt().await?, Some(Ok(_))) {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    let (known, moment) = (watcher.keys.clone(), watcher.revision());
                    watcher = trial.watch(moment).knowing(known);
                }
            }
            Ok::<_, String>(())
        };
        trial.in_time("a watch after the store came back", again).await??;
    }
    Ok(Verdict::Held)
}

pub(super) async fn cancellation(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    for polls in 0..=MOST_POLLS {
        let value = i32::try_from(polls).unwrap_or(1) + 1;
        dropped_after(polls, trial.source.report(&trial.outcome(value))).await;
        trial
            .insist(&trial.outcome(value))
            .await
            .map_err(|finding| after_drop("a report", polls, &finding))?;
        let mut dropped = trial.watch(None);
        dropped_after(polls, dropped.attempt()).await;
        dropped_after(polls, dropped.attempt()).await;
        // The same watch still tells everything: only the waiting was dropped.
        trial.put_changes(polls + 1, 1).await;
        trial.catch_up(&mut dropped).await.map_err(|finding| after_drop("waiting", polls, &finding))?;
        drop(dropped);
        trial
            .catch_up(&mut trial.watch(None))
            .await
            .map_err(|finding| after_drop("a watch", polls, &finding))?;
        dropped_after(polls, trial.source.read(&trial.commit_key())).await;
    }
    if harness.fail(SourceFault::Stalled).await.is_ok() {
        dropped_after(usize::MAX, trial.source.report(&trial.outcome(100))).await;
        dropped_after(usize::MAX, trial.watch(None).attempt()).await;
        harness.heal().await;
        trial.insist(&trial.outcome(101)).await.map_err(|finding| format!("after a stall: {finding}"))?;
        trial
            .catch_up(&mut trial.watch(None))
            .await
            .map_err(|finding| format!("after a stall: {finding}"))?;
    }
    Ok(Verdict::Held)
}

fn after_drop(what: &str, polls: usize, finding: &str) -> String {
    format!("after {what} was dropped at poll {polls}: {finding}")
}

pub(super) async fn close_twice(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    trial.store(&trial.outcome(7)).await?;
    let mut watcher = trial.watch(None);
    watcher.next().await?;
    for time in ["first", "second"] {
        if let Err(error) = trial.in_time("close", trial.source.close()).await? {
            return Err(format!("the {time} close fails: {error}"));
        }
    }
    if trial.report(&trial.outcome(8)).await?.is_ok() && trial.committed().await.as_deref() != Some("8") {
        return Err("a closed source says that it stored what is not there".to_owned());
    }
    // A watch ends, or at least does not keep anybody from ending.
    let told = tokio::time::timeout(harness.patience(), watcher.attempt()).await;
    match told {
        Ok(Ok(Some(Ok(ConfigUpdate::Reset { entries, .. })))) if entries.is_empty() => {
            Err("a closed source says that everything is gone".to_owned())
        }
        _ => Ok(Verdict::Held),
    }
}

pub(super) async fn secrets_hidden(harness: &dyn SourceHarness) -> Outcome {
    let secrets = harness.secrets();
    if secrets.is_empty() {
        return Ok(Verdict::Skipped("this backend has no secrets".to_owned()));
    }
    let trial = Trial::new(harness);
    let mut texts = harness.texts();
    texts.push(trial.source.name().to_owned());
    for fault in [None, Some(SourceFault::Absent)] {
        if let Some(fault) = fault
            && harness.fail(fault).await.is_err()
        {
            continue;
        }
        let reported = trial.report(&trial.outcome(1)).await;
        let told = trial.watch(None).attempt().await;
        let probe = trial.in_time("probe", trial.source.probe()).await;
        harness.heal().await;
        let errors = [reported?.err(), told?.and_then(Result::err)];
        texts.extend(errors.iter().flatten().map(|error| format!("{} {error:?}", chain(error))));
        if let Health::Degraded(text) = probe? {
            texts.push(text);
        }
    }
    // The secret itself must not be shown by the finding either.
    match texts.iter().position(|text| secrets.iter().any(|secret| text.contains(secret))) {
        Some(place) => Err(format!("text {} of {} shows a secret", place + 1, texts.len())),
        None => Ok(Verdict::Held),
    }
}
