//! Properties of a watch: everything in the scope, nothing else, in order, whole.

use std::time::Duration;

use cim_core::{ConfigEntry, ConfigUpdate, Revision};

use super::harness::SourceHarness;
use super::trial::{Trial, Watcher, ascending, revision};
use crate::CannotExpress;
use crate::property::{Outcome, Verdict};

/// Changes that are made without a pause.
const BURST: usize = 40;
/// The longest value of the suite.
const LARGEST: usize = 1 << 20;
/// How long a leased key stays.
const LEASE: Duration = Duration::from_secs(6);

/// The first item, which has to be everything.
async fn first(watcher: &mut Watcher) -> Result<(Revision, Vec<ConfigEntry>), String> {
    match watcher.next().await? {
        ConfigUpdate::Reset { revision, entries } => Ok((revision, entries)),
        other => Err(format!("the first item of a watch is no reset but {other:?}")),
    }
}

pub(super) async fn first_reset(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    // Never polled, so it must not matter.
    drop(trial.watch(None));
    let (_, entries) = first(&mut trial.watch(None)).await?;
    if !entries.is_empty() {
        return Err(format!("an empty scope has {} entries", entries.len()));
    }
    trial.put_changes(1, 1).await;
    let mut watcher = trial.watch(None);
    first(&mut watcher).await?;
    trial.catch_up(&mut watcher).await.map(|()| Verdict::Held)
}

pub(super) async fn listed(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.put_changes(8, 5).await;
    trial.put_changes(3, 2).await;
    let day_one = format!("config/{}/0", trial.pod());
    trial.put(day_one.as_bytes(), b"{\"app.json\":{}}").await;
    let gone = trial.change_key(9);
    trial.delete(&gone).await;
    let mut watcher = trial.watch(None);
    let (moment, entries) = first(&mut watcher).await?;
    let revisions: Vec<_> = entries.iter().map(|entry| entry.revision).collect();
    if !revisions.is_sorted() {
        return Err(format!("the entries of a reset are not in the order of their revisions: {revisions:?}"));
    }
    if let Some(late) = revisions.last().filter(|late| **late > moment) {
        return Err(format!("a reset of moment {moment} has an entry of {late}"));
    }
    let keys: std::collections::BTreeSet<_> = entries.iter().map(|entry| &entry.key).collect();
    if keys.len() != entries.len() {
        return Err("a key stands in a reset twice".to_owned());
    }
    // A store whose writers are seen late may tell the rest a moment later.
    trial.catch_up(&mut watcher).await.map(|()| Verdict::Held)
}

pub(super) async fn follows(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.put_changes(1, 1).await;
    let mut watcher = trial.watch(None);
    trial.catch_up(&mut watcher).await?;
    let (one, two) = (trial.change_key(1), trial.change_key(2));
    let nothing: &[u8] = b"";
    for (key, value) in [
        (&two, Some(&b"[2]"[..])),
        (&two, Some(b"[22]")),
        (&one, None),
        (&one, Some(b"[1]")),
        (&two, None),
        (&two, Some(nothing)),
    ] {
        match value {
            Some(value) => drop(trial.put(key, value).await),
            None => trial.delete(key).await,
        }
        trial.catch_up(&mut watcher).await?;
    }
    Ok(Verdict::Held)
}

pub(super) async fn ordered(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let mut watcher = trial.watch(None);
    first(&mut watcher).await?;
    trial.put_changes(1, BURST).await;
    let key = trial.change_key(1);
    for number in 0..BURST {
        trial.put(&key, format!("[{number}]").as_bytes()).await;
    }
    trial.catch_up(&mut watcher).await?;
    ascending(&watcher.told)?;
    let fresh = watcher.told.get(1..).unwrap_or_default();
    if !harness.keeps_history() || fresh.iter().any(|update| matches!(update, ConfigUpdate::Reset { .. })) {
        return Ok(Verdict::Held);
    }
    let told: Vec<_> = fresh
        .iter()
        .filter_map(|update| match update {
            ConfigUpdate::Put(entry) => Some(entry.value.to_vec()),
            _ => None,
        })
        .collect();
    let numbers = (1..=BURST).chain(0..BURST);
    let made: Vec<_> = numbers.map(|number| format!("[{number}]").into_bytes()).collect();
    if told == made {
        return Ok(Verdict::Held);
    }
    let place = told.iter().zip(&made).take_while(|(told, made)| told == made).count();
    Err(format!(
        "of {} changes {} were told; they differ from change {} on",
        made.len(),
        told.len(),
        place + 1
    ))
}

pub(super) async fn scope(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let pod = trial.pod();
    let namespace = harness.scope().namespace;
    let foreign = [
        format!("change-set/{pod}gw/v0/ms/app.json/1"),
        format!("change-set/{namespace}x/amf/v0/ms/app.json/1"),
        format!("config/{pod}gw/0"),
        format!("config/{pod}gw2"),
        format!("commit-config/{pod}/v0/ms/pod-2"),
        "stateActive/amf1".to_owned(),
    ];
    let mut count = 0;
    let mut watchers = Vec::new();
    for _ in 0..2 {
        for key in &foreign {
            count += usize::from(harness.put(key.as_bytes(), b"1").await.is_ok());
        }
        trial.put_changes(watchers.len() + 1, 1).await;
        watchers.push(trial.watch(None));
        for watcher in &mut watchers {
            trial.catch_up(watcher).await?;
        }
    }
    if count == 0 {
        return Ok(Verdict::Skipped("this store has no keys of others".to_owned()));
    }
    let inside = |key: &[u8]| harness.scope().contains(key);
    for update in watchers.iter().flat_map(|watcher| &watcher.told) {
        let outside = match update {
            ConfigUpdate::Reset { entries, .. } => {
                entries.iter().map(|entry| &entry.key).find(|key| !inside(key))
            }
            ConfigUpdate::Put(entry) => Some(&entry.key).filter(|key| !inside(key)),
            ConfigUpdate::Delete { key, .. } => Some(key).filter(|key| !inside(key)),
        };
        if let Some(key) = outside {
            return Err(format!("a watch told of {}, which is not in its scope", key.escape_ascii()));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn exact_bytes(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all_bytes.iter().copied().cycle().take(LARGEST).collect();
    let values: [&[u8]; 8] = [
        b"plain",
        b"",
        b"\n",
        b" ends in white space \r\n",
        &all_bytes,
        "\u{feff}é".as_bytes(),
        b"\0\0",
        &large,
    ];
    let mut watcher = trial.watch(None);
    first(&mut watcher).await?;
    for (number, value) in values.iter().enumerate() {
        let key = trial.change_key(number + 1);
        trial.put(&key, value).await;
    }
    let odd = [&b"change-set/"[..], trial.pod().as_bytes(), b"/v0/ms/\xff\xfe \"b'.json/7"].concat();
    trial.put(&odd, b"odd").await;
    let wanted = trial.stored.clone();
    for watcher in [&mut watcher, &mut trial.watch(None)] {
        watcher.until("every key", |keys| wanted.keys().eq(keys.keys())).await?;
        let differs = wanted.iter().find(|(key, value)| watcher.keys.get(*key) != Some(value));
        if let Some((key, value)) = differs {
            let seen = watcher.keys.get(key).map_or(0, Vec::len);
            return Err(format!(
                "{}: {} bytes were written, and {seen} others seen",
                key.escape_ascii(),
                value.len()
            ));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn resume(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.put_changes(1, 3).await;
    let mut watcher = trial.watch(None);
    trial.catch_up(&mut watcher).await?;
    for round in 1..=4 {
        let (known, moment) = (watcher.keys.clone(), watcher.revision());
        drop(watcher);
        // In one round nothing happens meanwhile.
        if round != 2 {
            trial.put_changes(10 * round, 3).await;
            let gone = trial.change_key(10 * round + 1);
            trial.delete(&gone).await;
        }
        watcher = trial.watch(moment).knowing(known);
        if round == 2 {
            trial.put_changes(20, 1).await;
        }
        trial.catch_up(&mut watcher).await?;
        ascending(&watcher.told)?;
        let repeated = watcher.told.first().filter(|update| !matches!(update, ConfigUpdate::Reset { .. }));
        if let Some(update) = repeated.filter(|update| Some(revision(update)) <= moment) {
            return Err(format!("a watch that was resumed told moment {} again", revision(update)));
        }
    }
    Ok(Verdict::Held)
}

pub(super) async fn history_gone(harness: &dyn SourceHarness) -> Outcome {
    let mut trial = Trial::new(harness);
    trial.put_changes(1, 3).await;
    let mut watcher = trial.watch(None);
    trial.catch_up(&mut watcher).await?;
    let moment = watcher.revision().unwrap_or_default();
    drop(watcher);
    // A moment that the store has never reached: it was restored from an earlier copy.
    let mut ahead = trial.watch(Some(Revision(moment.0 + 1_000_000)));
    first(&mut ahead).await.map_err(|finding| format!("resumed from a moment to come: {finding}"))?;
    trial.catch_up(&mut ahead).await?;
    trial.put_changes(4, 3).await;
    let gone = trial.change_key(2);
    trial.delete(&gone).await;
    if let Err(CannotExpress(why)) = harness.forget_history().await {
        return Ok(Verdict::Skipped(why));
    }
    let mut watcher = trial.watch(Some(moment));
    first(&mut watcher)
        .await
        .map_err(|finding| format!("resumed from a moment that is forgotten: {finding}"))?;
    trial.catch_up(&mut watcher).await?;
    trial.put_changes(7, 1).await;
    trial.catch_up(&mut watcher).await.map(|()| Verdict::Held)
}

pub(super) async fn lease(harness: &dyn SourceHarness) -> Outcome {
    let trial = Trial::new(harness);
    let key = trial.change_key(1);
    let mut watcher = trial.watch(None);
    first(&mut watcher).await?;
    if let Err(CannotExpress(why)) = harness.put_leased(&key, b"[]", LEASE).await {
        return Ok(Verdict::Skipped(why));
    }
    watcher.until("a leased key", |keys| keys.contains_key(&key)).await?;
    let entry = match watcher.told.last() {
        Some(ConfigUpdate::Put(entry)) => Some(entry),
        Some(ConfigUpdate::Reset { entries, .. }) => entries.first(),
        _ => None,
    };
    let Some(lease) = entry.and_then(|entry| entry.lease) else {
        return Err("a leased key has no lease".to_owned());
    };
    let asked = trial.in_time("time_left", trial.source.time_left(lease)).await?;
    match asked {
        Ok(Some(left)) if left <= LEASE && !left.is_zero() => {}
        other => return Err(format!("of a lease of {LEASE:?} are left: {other:?}")),
    }
    tokio::time::sleep(LEASE).await;
    watcher.until("the end of a lease", |keys| !keys.contains_key(&key)).await?;
    match trial.in_time("time_left", trial.source.time_left(lease)).await? {
        Ok(None) => Ok(Verdict::Held),
        other => Err(format!("of a lease that has ended are left: {other:?}")),
    }
}
