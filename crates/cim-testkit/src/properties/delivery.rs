//! Properties of a healthy target: everything arrives, once, whole and in order.

use cim_core::{Class, DeliveryErrorKind, Durability, Ordering};

use super::trial::{Chain, Trial, complete};
use crate::property::{Outcome, Verdict};
use crate::{Harness, Subject};

/// Sizes of the batches that are sent one after another.
const BATCHES: [usize; 6] = [1, 2, 17, 1, 40, 3];

/// Largest record the suite is willing to make.
const LARGEST: usize = 8 << 20;

pub(crate) async fn empty_batch(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    trial.deliver(&[]).await?;
    let before = trial.look().await;
    if before.total() > 0 || before.garbage.is_some() {
        return Err("an empty batch shows something".to_owned());
    }
    trial.settle().await?;
    trial.deliver(&[]).await?;
    let after = trial.look().await;
    match (after.total(), after.garbage) {
        (1, None) => Ok(Verdict::Held),
        (_, Some(garbage)) => Err(format!("an empty batch shows something, {garbage}")),
        (count, None) => Err(format!("an empty batch changes what is seen: {count} records instead of 1")),
    }
}

pub(crate) async fn each_once(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let mut trial = Trial::new(harness, class, subject);
    for count in BATCHES {
        let batch = trial.samples(count);
        trial.deliver(&batch).await?;
    }
    let seen = trial.settle().await?;
    complete(&seen, &trial.sent)?;
    match seen.repeated(&trial.sent) {
        Some(seq) => Err(format!("record {seq} was delivered once, but the reader saw it repeatedly")),
        None => Ok(Verdict::Held),
    }
}

pub(crate) async fn exact_bytes(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large = vec![b'm'; 1 << 20];
    let bodies: [&[u8]; 12] = [
        b"plain",
        b"",
        b"two\nlines",
        b"ends in a newline\n",
        b"\r\n\r\n",
        b" blanks around ",
        b"nul \0 inside",
        b"\xff\xfe not \xc3\x28 utf-8 \xe2\x82",
        "ä€😀\u{2028}\u{feff}".as_bytes(),
        b"{\"json\":\"\\u0000\"}<&>",
        &all_bytes,
        &large,
    ];
    let mut trial = Trial::new(harness, class, subject);
    let empty = trial.sample(b"", true);
    trial.deliver(&[empty]).await?;
    for body in bodies {
        let sample = trial.sample(body, false);
        match trial.subject.attempt(&[sample]).await? {
            Ok(()) => {}
            Err(error) if error.kind() == DeliveryErrorKind::TooLarge && body.len() >= large.len() => {
                trial.sent.pop();
            }
            Err(error) => {
                let excerpt = body.get(..body.len().min(20)).unwrap_or_default().escape_ascii();
                return Err(format!("payload `{excerpt}` is not taken: {}", Chain(&error)));
            }
        }
    }
    let seen = trial.settle().await?;
    complete(&seen, &trial.sent).map(|()| Verdict::Held)
}

pub(crate) async fn order(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    if subject.profile().ordering == Ordering::Unordered {
        return Ok(Verdict::Skipped("the profile promises no order".to_owned()));
    }
    let mut trial = Trial::new(harness, class, subject);
    for count in BATCHES {
        let batch = trial.samples(count);
        trial.deliver(&batch).await?;
    }
    let seen = trial.settle().await?;
    match seen.out_of_order(&trial.sent) {
        Some((later, earlier)) => {
            Err(format!("record {later} was seen before record {earlier} of the same source"))
        }
        None => Ok(Verdict::Held),
    }
}

pub(crate) async fn acknowledged(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    if subject.profile().durability == Durability::Unacknowledged {
        return Ok(Verdict::Skipped("the profile promises nothing about the time after `Ok`".to_owned()));
    }
    let mut trial = Trial::new(harness, class, subject);
    for count in [1, 2, 9, 1] {
        let batch = trial.samples(count);
        trial.deliver(&batch).await?;
        if let Some(seq) = trial.look().await.missing(&trial.sent) {
            return Err(format!("record {seq} is not there when `Ok` is answered"));
        }
    }
    Ok(Verdict::Held)
}

pub(crate) async fn too_large(harness: &dyn Harness, class: Class, subject: Subject) -> Outcome {
    let limit = subject.profile().max_bytes;
    if limit >= LARGEST {
        return Ok(Verdict::Skipped(format!("the limit of {limit} bytes is too large to try")));
    }
    let mut trial = Trial::new(harness, class, subject);
    let before = trial.samples(2);
    trial.deliver(&before).await?;
    let large = trial.sample(&vec![b'L'; limit + limit / 2 + 1], false);
    match trial.subject.attempt(std::slice::from_ref(&large)).await? {
        Ok(()) => {}
        Err(error) if error.kind() == DeliveryErrorKind::TooLarge => {
            trial.sent.retain(|sample| sample.seq != large.seq);
        }
        Err(error) => {
            let limit = format!("a record above the limit of {limit} bytes");
            return Err(format!("{limit} is neither taken nor refused as too large: {}", Chain(&error)));
        }
    }
    // The number of the refused record must not be given to another.
    let mut after = large;
    (after.seq, after.body) = (after.seq + 1_000, b"after the large one".to_vec());
    trial.sent.push(after.clone());
    trial.subject.insist(&[after]).await?;
    let seen = crate::reader::wait(harness, class, &trial.sent).await;
    complete(&seen, &trial.sent).map(|()| Verdict::Held)
}
