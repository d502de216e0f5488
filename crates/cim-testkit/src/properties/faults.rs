//! Properties of a target that fails, and of a caller that goes away.

use cim_core::{Class, DeliveryErrorKind};

use super::trial::{Chain, Trial, complete};
use crate::cancel::dropped_after;
use crate::property::{Outcome, Verdict};
use crate::subject::undelivered;
use crate::{CannotExpress, Fault, Harness, Subject};

/// Records in a batch that is going to be cut, and the bytes of each: large enough for a disk to be full.
const BATCH: usize = 10;
const RECORD: usize = 2_000;

/// A delivery is dropped after 0, 1, 2 … polls, up to this many.
const MOST_POLLS: usize = 12;

fn skipped(CannotExpress(why): CannotExpress) -> Outcome {
    Ok(Verdict::Skipped(why))
}

pub(crate) async fn absent_target(harness: &dyn Harness, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, Class::Log, subject);
    if let Err(cannot) = trial.fail(Fault::Absent).await {
        return skipped(cannot);
    }
    let batch = trial.samples(3);
    let outcome = trial.subject.attempt(&batch).await;
    let probe = trial.subject.probe().await;
    trial.heal().await;
    probe?;
    let Err(error) = outcome? else {
        return Err("a delivery to an absent target is answered `Ok`".to_owned());
    };
    undelivered(&error, &batch)?;
    match error.kind() {
        DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected | DeliveryErrorKind::Closed => {
            Err(format!("an absent target costs records or the sink: {}", Chain(&error)))
        }
        _ => Ok(Verdict::Held),
    }
}

pub(crate) async fn recovery(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    for _ in 0..3 {
        if let Err(cannot) = trial.fail(Fault::Absent).await {
            return skipped(cannot);
        }
        let during = trial.samples(1);
        let rest = match trial.subject.attempt(&during).await? {
            // Whether `Ok` was true is the business of another property.
            Ok(()) => {
                trial.sent.pop();
                Vec::new()
            }
            Err(error) => undelivered(&error, &during)?,
        };
        trial.heal().await;
        if !rest.is_empty() {
            trial.subject.insist(&rest).await?;
        }
        let after = trial.samples(1);
        trial.subject.insist(&after).await?;
    }
    let seen = trial.settle().await?;
    complete(&seen, &trial.sent).map(|()| Verdict::Held)
}

pub(crate) async fn cut_mid_batch(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    let before = trial.samples(2);
    trial.deliver(&before).await?;
    if let Err(cannot) = trial.fail(Fault::CutMidBatch).await {
        return skipped(cannot);
    }
    let batch = trial.padded(BATCH, RECORD);
    let outcome = trial.subject.attempt(&batch).await?;
    // A second attempt while the target is still down: nothing may get lost between the two.
    let rest = match outcome {
        Ok(()) => {
            trial.heal().await;
            let seen = trial.settle().await?;
            complete(&seen, &trial.sent)?;
            return Ok(Verdict::Skipped("the target took the whole batch that it was to cut".to_owned()));
        }
        Err(error) => {
            let rest = undelivered(&error, &batch)?;
            match trial.subject.attempt(&rest).await? {
                Ok(()) => Vec::new(),
                Err(error) => undelivered(&error, &rest)?,
            }
        }
    };
    trial.heal().await;
    if !rest.is_empty() {
        trial.subject.insist(&rest).await?;
    }
    let seen = trial.settle().await?;
    complete(&seen, &trial.sent)?;
    match seen.out_of_order(&trial.sent) {
        Some((later, earlier)) => {
            Err(format!("after the cut record {later} was seen before record {earlier}"))
        }
        None => Ok(Verdict::Held),
    }
}

pub(crate) async fn cancellation(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    for polls in 0..=MOST_POLLS {
        let batch = trial.samples(3);
        dropped_after(polls, trial.subject.deliver(&batch)).await;
        trial.subject.insist(&batch).await.map_err(|finding| after_drop(polls, &finding))?;
    }
    if trial.fail(Fault::Stalled).await.is_ok() {
        let batch = trial.samples(3);
        dropped_after(usize::MAX, trial.subject.deliver(&batch)).await;
        dropped_after(usize::MAX, trial.subject.deliver(&batch)).await;
        trial.heal().await;
        trial.subject.insist(&batch).await.map_err(|finding| format!("after a stall: {finding}"))?;
    }
    let seen = trial.settle().await?;
    complete(&seen, &trial.sent)?;
    match seen.out_of_order(&trial.sent) {
        Some((later, earlier)) => Err(format!("record {later} was seen before record {earlier}")),
        None => Ok(Verdict::Held),
    }
}

fn after_drop(polls: usize, finding: &str) -> String {
    format!("after a delivery was dropped at poll {polls}, delivering again fails: {finding}")
}
