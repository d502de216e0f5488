//! Properties of what a source stores: exact, once, and never back in time.

use cim_core::{ChangeStatus, Commit, ConfigOutcome, Reported, chain};
use futures_util::future::join_all;

use super::harness::SourceHarness;
use super::trial::Trial;
use crate::property::{Outcome, Verdict};

/// Results that are stored at the same time.
const MANY: usize = 20;

/// The other side reads that, and nothing else.
async fn reads(trial: &Trial<'_>, expected: &str, after: &str) -> Result<(), String> {
    match trial.committed().await {
        Some(value) if value == expected => Ok(()),
        other => Err(format!("after {after} the other side reads {other:?} instead of {expected:?}")),
    }
}

pub(super) async fn reported(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    let outcome = trial.outcome(7);
    let answer = trial.store(&outcome).await?;
    if answer != Reported::Stored {
        return Err(format!("a first result is answered {answer:?}"));
    }
    reads(&trial, "7", "a first result").await?;
    let Some((key, story)) = outcome.status else { return Err("the suite made no story".to_owned()) };
    let stored = harness.value(key.as_bytes()).await.unwrap_or_default();
    match serde_json::from_slice::<ChangeStatus>(&stored) {
        Ok(read) if read == story => {}
        other => return Err(format!("the story of a result is read back as {other:?}")),
    }
    // A story alone, of a change that has no result yet.
    let key = format!("cim-status/{}/pod-1/other.json", trial.pod());
    trial.store(&ConfigOutcome { commit: None, status: Some((key.clone(), story)) }).await?;
    if harness.value(key.as_bytes()).await.is_none() {
        return Err("a story without a result is not stored".to_owned());
    }
    reads(&trial, "7", "a story without a result").await?;
    // The largest there is, and the key of CIM's own document, one level below.
    let commit = Commit { key: format!("commit-config/{}/v0/ms/cim/pod-1", trial.pod()), value: i32::MAX };
    trial.store(&ConfigOutcome { commit: Some(commit.clone()), status: None }).await?;
    let stored = harness.value(commit.key.as_bytes()).await;
    if stored.as_deref() != Some(i32::MAX.to_string().as_bytes()) {
        return Err(format!("{} is stored as {stored:?}", i32::MAX));
    }
    Ok(Verdict::Held)
}

pub(super) async fn idempotent(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    for value in [7, 7, 7, 8, 8] {
        let answer = trial.store(&trial.outcome(value)).await?;
        if answer != Reported::Stored {
            return Err(format!("{value} again is answered {answer:?}"));
        }
        reads(&trial, &value.to_string(), "a result that was stored before").await?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn monotonic(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    trial.store(&trial.outcome(10)).await?;
    for lower in [9, 0] {
        let answer = trial.store(&trial.outcome(lower)).await?;
        if answer != (Reported::Superseded { stored: 10 }) {
            return Err(format!("{lower} after 10 is answered {answer:?}"));
        }
        reads(&trial, "10", "a lower revision").await?;
    }
    trial.store(&trial.outcome(11)).await?;
    reads(&trial, "11", "a higher revision").await?;
    // What somebody else left there is no revision, and stays for nothing.
    if harness.put(trial.commit_key().as_bytes(), b"seven").await.is_ok() {
        trial.store(&trial.outcome(3)).await?;
        reads(&trial, "3", "what is no number").await?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn final_words(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    for value in [9, Commit::FAILED, Commit::UNUSED, 3, Commit::UNUSED, Commit::FAILED, 1] {
        let answer = trial.store(&trial.outcome(value)).await?;
        if answer != Reported::Stored {
            return Err(format!("{value} is answered {answer:?}"));
        }
        reads(&trial, &value.to_string(), "a result that always counts").await?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn read_back(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    let key = trial.commit_key();
    let read = |key: String| {
        let trial = &trial;
        async move { trial.read(&key).await?.map_err(|error| format!("a key cannot be read: {error}")) }
    };
    if let Some(value) = read(key.clone()).await? {
        return Err(format!("a key that does not exist has {} bytes", value.len()));
    }
    trial.store(&trial.outcome(12)).await?;
    match read(key.clone()).await? {
        Some(value) if value == b"12" => {}
        other => return Err(format!("12 was stored and is read back as {other:?}")),
    }
    let other = format!("commit-config/{}/v0/ms/pod-2", trial.pod());
    if harness.put(other.as_bytes(), b"").await.is_ok() && read(other).await?.is_none() {
        return Err("a key with an empty value is read as if it did not exist".to_owned());
    }
    for absent in
        [format!("{key}x"), format!("{key}/x"), "commit-config".to_owned(), "nothing/of/that/kind".to_owned()]
    {
        if read(absent.clone()).await?.is_some() {
            return Err(format!("{absent} does not exist and is read all the same"));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn swapped(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    let key = format!("cim-status/{}/_note", trial.pod());
    let swap = |old: Option<Vec<u8>>, new: String| {
        let (trial, key) = (&trial, &key);
        async move {
            let written = trial.source.swap(key, old.as_deref(), new.as_bytes());
            let written = trial.in_time("writing a note", written).await?;
            written.map_err(|error| format!("a store that is well took no note: {}", chain(&error)))
        }
    };
    let steps = [
        (None, "a", true, "a"),
        (None, "b", false, "a"),
        (Some("b"), "c", false, "a"),
        (Some("a"), "d", true, "d"),
    ];
    for (old, new, is_written, value) in steps {
        let answer = swap(old.map(Into::into), new.to_owned()).await?;
        let stored = harness.value(key.as_bytes()).await;
        if answer != is_written || stored.as_deref() != Some(value.as_bytes()) {
            return Err(format!("{new} over {old:?} is answered {answer}, and {stored:?} is stored"));
        }
    }
    let writers: Vec<_> = (0..MANY).map(|writer| swap(Some(b"d".to_vec()), writer.to_string())).collect();
    let answers = join_all(writers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners: Vec<_> = (0..MANY).filter(|writer| answers.get(*writer) == Some(&true)).collect();
    let stored =
        harness.value(key.as_bytes()).await.map(|value| String::from_utf8_lossy(&value).into_owned());
    match (winners.as_slice(), stored) {
        ([winner], Some(stored)) if winner.to_string() == stored => Ok(Verdict::Held),
        (_, stored) => Err(format!("of {MANY} writers {winners:?} won, and {stored:?} is stored")),
    }
}

pub(super) async fn report_while_watching(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut watcher = trial.watch(None);
    watcher.next().await?;
    let outcomes: Vec<_> = (0..MANY)
        .map(|number| {
            let key = format!("commit-config/{}/v0/ms/pod-{number}", trial.pod());
            ConfigOutcome { commit: Some(Commit { key, value: 5 }), status: None }
        })
        .collect();
    let answers = join_all(outcomes.iter().map(|outcome| trial.store(outcome))).await;
    answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    for outcome in &outcomes {
        let Some(commit) = &outcome.commit else { continue };
        if harness.value(commit.key.as_bytes()).await.as_deref() != Some(b"5") {
            return Err(format!("{} was stored at the same time as others, and is not there", commit.key));
        }
    }
    trial.put_changes(1, 3).await;
    trial.catch_up(&mut watcher).await.map(|()| Verdict::Held)
}
