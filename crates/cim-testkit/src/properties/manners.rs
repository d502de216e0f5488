//! Properties beside the delivery: limits, the end, and what is shown to people.

use cim_core::{Class, Health};

use super::trial::{Chain, Trial, complete};
use crate::property::{Outcome, Verdict};
use crate::{Fault, Harness, Subject};

pub(crate) async fn profile_sane(harness: &dyn Harness, subject: Subject) -> Outcome {
    let profile = subject.profile();
    let sane = [
        (profile.max_records >= 1, "max_records is 0"),
        (profile.max_bytes >= 1, "max_bytes is 0"),
        (profile.max_in_flight >= 1, "max_in_flight is 0"),
        (profile.deliver_timeout.is_none_or(|limit| !limit.is_zero()), "deliver_timeout is 0"),
        (!subject.name().is_empty(), "the name is empty"),
    ];
    if let Some((_, finding)) = sane.iter().find(|(holds, _)| !holds) {
        return Err((*finding).to_owned());
    }
    subject.probe().await?;
    if harness.fail(Fault::Absent).await.is_ok() {
        let answer = subject.probe().await;
        harness.heal().await;
        answer?;
    }
    Ok(Verdict::Held)
}

pub(crate) async fn close_twice(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    let before = trial.samples(2);
    trial.deliver(&before).await?;
    for time in ["first", "second"] {
        if let Err(error) = trial.subject.close().await? {
            return Err(format!("the {time} close fails: {error}"));
        }
    }
    let after = trial.samples(1);
    if trial.subject.attempt(&after).await?.is_err() {
        trial.sent.pop();
    }
    let seen = crate::reader::wait(harness, class, &trial.sent).await;
    complete(&seen, &trial.sent).map(|()| Verdict::Held)
}

pub(crate) async fn secrets_hidden(harness: &dyn Harness, subject: Subject) -> Outcome {
    let secrets = harness.secrets();
    if secrets.is_empty() {
        return Ok(Verdict::Skipped("this backend has no secrets".to_owned()));
    }
    let mut trial = Trial::new(harness, Class::Log, subject);
    let mut texts = harness.texts();
    texts.push(trial.subject.name());
    for fault in [None, Some(Fault::Absent), Some(Fault::CutMidBatch)] {
        if let Some(fault) = fault
            && trial.fail(fault).await.is_err()
        {
            continue;
        }
        let batch = trial.samples(4);
        let outcome = trial.subject.attempt(&batch).await;
        let probe = trial.subject.probe().await;
        trial.heal().await;
        if let Err(error) = outcome? {
            texts.push(format!("{} {error:?}", Chain(&error)));
        }
        if let Health::Degraded(text) = probe? {
            texts.push(text);
        }
    }
    if let Err(error) = trial.subject.close().await? {
        texts.push(format!("{error} {error:?}"));
    }
    // The secret itself must not be shown by the finding either.
    match texts.iter().position(|text| secrets.iter().any(|secret| text.contains(secret))) {
        Some(place) => Err(format!("text {} of {} shows a secret", place + 1, texts.len())),
        None => Ok(Verdict::Held),
    }
}
