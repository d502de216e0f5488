//! The properties themselves.

use std::time::Duration;

use cim_core::Health;
use tokio::time::timeout;

use super::harness::{FeedHarness, FeedRecord};
use super::trial::Trial;
use crate::CannotExpress;
use crate::cancel::dropped_after;
use crate::property::{Outcome, Verdict};

/// Longer than a rest that is not worth a word.
const REST: Duration = Duration::from_millis(1_500);

fn held<T>(_: T) -> Verdict {
    Verdict::Held
}

pub(super) async fn beginning(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.add(5).await;
    let mut reader = trial.open().await?;
    trial.add(1).await;
    trial.read_to(reader.as_mut(), 1).await?;
    reader.close().await;
    trial.are(5..6).map(held)
}

pub(super) async fn order(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    for records in [1, 200, 2_000] {
        trial.add(records).await;
        let wanted = trial.kept.len() + records;
        trial.read_to(reader.as_mut(), wanted).await?;
    }
    trial.are(0..2_201).map(held)
}

pub(super) async fn exact_bytes(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let all: Vec<u8> = (0..=255).collect();
    let records = [
        FeedRecord {
            headers: vec![header("a", b"1"), header("a", b""), header("\u{e9}", &all)],
            value: all.clone(),
        },
        FeedRecord { headers: Vec::new(), value: Vec::new() },
        FeedRecord { headers: vec![header("b", b"2")], value: all.repeat(3_000) },
        FeedRecord { headers: Vec::new(), value: b"\0".to_vec() },
    ];
    harness.add(&records).await;
    trial.read_to(reader.as_mut(), records.len()).await?;
    for (index, record) in records.iter().enumerate() {
        let (value, headers) = (trial.kept.get(index), trial.sieve.shown.get(index));
        if value != Some(&record.value) {
            return Err(format!("the value of record {index} has changed"));
        }
        if headers != Some(&record.headers) {
            return Err(format!("record {index} has headers {headers:?} instead of {:?}", record.headers));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn left_out(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.sieve.wanted = |number| number % 10 == 9;
    let mut reader = trial.open().await?;
    trial.add(105).await;
    while trial.sieve.shown.len() < 105 {
        trial.read(reader.as_mut()).await?;
    }
    let expected: Vec<_> = (0..10).map(|number| number * 10 + 9).collect();
    if trial.numbers() != expected {
        return Err(format!("{:?} kept", trial.numbers()));
    }
    // What was not kept is behind the position, too.
    reader.commit(&trial.reached).map_err(|error| error.to_string())?;
    reader.close().await;
    trial.sieve.wanted = |_| true;
    trial.kept.clear();
    let mut reader = trial.open().await?;
    trial.add(1).await;
    trial.read_to(reader.as_mut(), 1).await?;
    trial.are(105..106).map(held)
}

pub(super) async fn resume(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    for round in 0..3 {
        trial.add(10).await;
        trial.read_to(reader.as_mut(), 10).await?;
        reader.commit(&trial.reached).map_err(|error| error.to_string())?;
        reader.close().await;
        trial.add(5).await;
        reader = trial.open().await?;
        trial.read_to(reader.as_mut(), 15).await?;
        trial.are(15 * round..15 * round + 15)?;
        trial.kept.clear();
    }
    reader.close().await;
    Ok(Verdict::Held)
}

pub(super) async fn uncommitted(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    trial.add(5).await;
    trial.read_to(reader.as_mut(), 5).await?;
    reader.close().await;
    (trial.kept, trial.reached) = (Vec::new(), Vec::new());
    let mut reader = trial.open().await?;
    trial.read_to(reader.as_mut(), 5).await?;
    reader.close().await;
    trial.are(0..5).map(held)
}

pub(super) async fn rest(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    trial.add(5).await;
    trial.read_to(reader.as_mut(), 5).await?;
    trial.add(5).await;
    if let Ok(error) = timeout(REST, reader.rest()).await {
        return Err(format!("a rest ended by itself: {error}"));
    }
    trial.add(5).await;
    trial.read_to(reader.as_mut(), 15).await?;
    reader.close().await;
    trial.are(0..15).map(held)
}

pub(super) async fn absent(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    if let Err(CannotExpress(why)) = harness.fail().await {
        return Ok(Verdict::Skipped(why));
    }
    match timeout(harness.patience(), trial.source.open()).await {
        Err(_) => return Err("opening without a broker does not end".to_owned()),
        Ok(Ok(_)) => return Err("there is a reader without a broker".to_owned()),
        Ok(Err(_)) => {}
    }
    harness.heal().await;
    let mut reader = trial.open().await?;
    trial.add(3).await;
    trial.read_to(reader.as_mut(), 3).await?;
    trial.are(0..3).map(held)
}

pub(super) async fn recovery(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    trial.add(3).await;
    trial.read_to(reader.as_mut(), 3).await?;
    if let Err(CannotExpress(why)) = harness.fail().await {
        return Ok(Verdict::Skipped(why));
    }
    if let Ok(early) = timeout(REST, reader.read(&mut trial.sieve)).await {
        return Err(format!("a lost connection ended the reader: {:?}", early.map(|batch| batch.kept.len())));
    }
    harness.heal().await;
    trial.add(3).await;
    trial.read_to(reader.as_mut(), 6).await?;
    trial.are(0..6).map(held)
}

pub(super) async fn cancellation(harness: &dyn FeedHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut reader = trial.open().await?;
    for polls in 1..12 {
        dropped_after(polls, trial.source.probe()).await;
        trial.add(7).await;
        // A call that ends before it is dropped hands its records out.
        let mut batch = None;
        dropped_after(polls, async { batch = Some(reader.read(&mut trial.sieve).await) }).await;
        if let Some(batch) = batch {
            trial.note(batch)?;
        }
    }
    trial.read_to(reader.as_mut(), 77).await?;
    trial.are(0..77).map(held)
}

pub(super) async fn close_twice(harness: &dyn FeedHarness) -> Outcome {
    let trial = Trial::new(harness);
    let reader = trial.open().await?;
    let closed = timeout(harness.patience(), reader.close()).await;
    closed.map_err(|_| "closing a reader does not end".to_owned())?;
    for _ in 0..2 {
        let closed = timeout(harness.patience(), trial.source.close()).await;
        closed.map_err(|_| "closing does not end".to_owned())?.map_err(|error| error.to_string())?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn secrets_hidden(harness: &dyn FeedHarness) -> Outcome {
    let trial = Trial::new(harness);
    let mut texts = harness.texts();
    if harness.fail().await.is_ok() {
        if let Ok(Err(error)) = timeout(harness.patience(), trial.source.open()).await {
            texts.push(format!("{} {error:?}", cim_core::chain(&error)));
        }
        harness.heal().await;
    }
    if let Health::Degraded(text) = trial.source.probe().await {
        texts.push(text);
    }
    for secret in harness.secrets() {
        if let Some(text) = texts.iter().find(|text| text.contains(&secret)) {
            return Err(format!("a secret is shown: {text}"));
        }
    }
    Ok(Verdict::Held)
}
