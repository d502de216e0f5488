//! The way of a change from etcd to the application, and what configuration costs while nothing changes.
//!
//! Each change is a put of its own; at the same moment a plain watcher is told of it, and a bare call is made to the same
//! server right after, so that all three see the same machine. Left out: the parts (`configured`). A line has a figure only
//! when every change arrived once and in order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::configured::{Noted, Pod, first_registration, register, with_pod};
use super::line::{Goal, Line};
use super::pair::{median, percentile};
use super::rig::Rig;
use crate::configuration::commit_key;
use crate::error::{BenchError, Result};
use crate::http::{self, poll_until};

/// Changes before anything counts.
const WARM_UP: i32 = 100;
/// Most of the time between the put and the call that CIM may take for itself, milliseconds.
const OWN_SHARE: f64 = 0.3;
/// Changes of a burst, and the documents they are spread over.
const BURST: i32 = 10_000;
const DOCUMENTS: usize = 16;
/// Lease of a burst: longer than it takes.
const LEASE: Duration = Duration::from_secs(600);
/// Pause between a stored result and the next put.
const REST: Duration = Duration::from_millis(5);
/// Registrations that are measured.
const REGISTRATIONS: usize = 500;
/// First registrations that are measured, each of a process of its own.
const FIRST: usize = 50;
/// Idle time per slice: 60 s at the usual length of a slice, and never less.
const IDLE_SLICES: u32 = 12;
const MINUTE: Duration = Duration::from_secs(60);

/// What one change took, milliseconds after the put was acknowledged; the last is the bare call.
struct Walk {
    called: f64,
    watched: f64,
    bare: f64,
}

/// A put in etcd to the body of the call.
pub(super) fn propagation(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let slices = with_pod(rig, async |pod| {
        pod.register()?;
        let mut revision = 0;
        while revision < WARM_UP {
            revision = revision.saturating_add(1);
            walk(pod, revision).await?;
        }
        let mut slices = Vec::new();
        for _ in 0..rig.pairs {
            let (start, mut walks) = (Instant::now(), Vec::new());
            while start.elapsed() < rig.slice {
                revision = revision.saturating_add(1);
                walks.push(walk(pod, revision).await?);
                // The next change waits until the last result is remembered, and the file of that takes a moment.
                tokio::time::sleep(REST).await;
            }
            slices.push(walks);
        }
        Ok(slices)
    });
    let slices = match slices {
        Ok(slices) => slices,
        Err(error) => {
            line(Line::void("put acknowledged to body read", &error));
            return Ok(());
        }
    };
    let over = |figure: fn(&Walk) -> f64, share: f64| -> Vec<f64> {
        slices.iter().map(|walks| percentile(walks.iter().map(figure).collect(), share)).collect()
    };
    let (called, watched, bare) =
        (over(|walk| walk.called, 0.5), over(|walk| walk.watched, 0.5), over(|walk| walk.bare, 0.5));
    let above: Vec<f64> = called
        .iter()
        .zip(&watched)
        .zip(&bare)
        .map(|((called, watched), bare)| called - watched - bare)
        .collect();
    let changes: usize = slices.iter().map(Vec::len).sum();
    line(
        Line::figure(
            "put acknowledged to body read, p50 above watch + call",
            "ms",
            &above,
            Some(Goal::AtMost(OWN_SHARE)),
        )
        .with("p50, ms", Some(median(&called)))
        .with("bare watch p50, ms", Some(median(&watched)))
        .with("bare call p50, ms", Some(median(&bare)))
        .note(format!("{changes} changes, each 5 ms after the result of the last one, etcd with one member")),
    );
    let tail = over(|walk| walk.called, 0.99);
    line(
        Line::figure("put acknowledged to body read, p99", "ms", &tail, Some(Goal::AtMost(3.0)))
            .with("bare watch p99, ms", Some(median(&over(|walk| walk.watched, 0.99))))
            .with("bare call p99, ms", Some(median(&over(|walk| walk.bare, 0.99)))),
    );
    Ok(())
}

/// One change on an idle system, from the put to its stored result.
async fn walk(pod: &mut Pod, revision: i32) -> Result<Walk> {
    let put = pod.store.change("walk.json", revision).await?;
    let handed = pod.handed().await?;
    if handed.revision != revision {
        return Err(BenchError::Unclean(format!("{} was handed over for {revision}", handed.revision)));
    }
    let (mut watched, result) = (None, (commit_key(), revision.to_string()));
    loop {
        let seen = pod.seen().await?;
        if (&seen.key, &seen.value) == (&result.0, &result.1) {
            break;
        }
        watched = watched.or(Some(seen.at));
    }
    let bare = pod.bare.call().await?;
    // Before the put was acknowledged counts as well: the answer of etcd and its watch are on their way at the same time.
    let after = |at: tokio::time::Instant| {
        at.saturating_duration_since(put).as_secs_f64() * 1e3
            - put.saturating_duration_since(at).as_secs_f64() * 1e3
    };
    let watched =
        watched.ok_or_else(|| BenchError::Unclean("the watcher was not told of a change".into()))?;
    Ok(Walk { called: after(handed.at), watched: after(watched), bare: bare.as_secs_f64() * 1e3 })
}

/// 10,000 changes that wait for an application, which then takes them all.
pub(super) fn burst(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let documents: Vec<String> = (0..DOCUMENTS).map(|number| format!("d{number}.json")).collect();
    let figures = with_pod(rig, async |pod| {
        std::thread::sleep(Duration::from_secs(1));
        let mut resident = vec![pod.cim.child.resident_bytes()?];
        for half in [1..BURST / 2 + 1, BURST / 2 + 1..BURST + 1] {
            let last = half.end.saturating_sub(1);
            pod.store.burst(&documents, half, LEASE).await?;
            received(pod, last)?;
            resident.push(pod.cim.child.resident_bytes()?);
        }
        let start = Instant::now();
        pod.register()?;
        in_order(pod).await?;
        Ok((resident, start.elapsed(), pod.cim.child.peak_bytes()?))
    });
    let (resident, time, peak) = match figures {
        Ok(figures) => figures,
        Err(error) => {
            line(Line::void("10,000 changes in a burst", &error));
            return Ok(());
        }
    };
    let halves: Vec<f64> = resident
        .windows(2)
        .filter_map(|pair| Some((*pair.last()? as f64 - *pair.first()? as f64) / f64::from(BURST / 2)))
        .collect();
    let (first, second) =
        (halves.first().copied().unwrap_or(f64::NAN), halves.last().copied().unwrap_or(f64::NAN));
    let mib = |bytes: f64| Some(bytes / (1024.0 * 1024.0));
    line(
        Line::figure(
            "memory per waiting change, second 5,000 / first",
            "",
            &[second / first],
            Some(Goal::AtMost(1.1)),
        )
        .with("bytes, first", Some(first))
        .with("bytes, second", Some(second))
        .with("RSS before, MiB", mib(resident.first().copied().unwrap_or_default() as f64))
        .with("peak, MiB", mib(peak as f64)),
    );
    let rate = f64::from(BURST) / time.as_secs_f64();
    line(
        Line::figure(
            "10,000 waiting changes, handed over in order and committed",
            "changes/s",
            &[rate],
            None,
        )
        .note(format!("{DOCUMENTS} documents, each change with a lease and a result of its own")),
    );
    Ok(())
}

/// Waits until CIM has received so many changes, and is done with asking for their leases.
fn received(pod: &Pod, count: i32) -> Result<()> {
    let api = pod.cim.spec.api;
    let received = |page: String| http::metric(&page, "cim_config_changes_received_total", "");
    let all = || http::get(api, "/metrics").is_ok_and(|page| received(page) > f64::from(count) - 0.5);
    poll_until("every change received", all)?;
    let (mut last, mut quiet) = (0, 0);
    while quiet < 10 {
        std::thread::sleep(Duration::from_millis(100));
        let now = pod.cim.child.scheduled_ns()?;
        quiet = if now.saturating_sub(last) < 5_000_000 { quiet + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

/// Takes the whole burst, and demands each change once and in the order of its document.
async fn in_order(pod: &mut Pod) -> Result<()> {
    let mut last = BTreeMap::<String, i32>::new();
    let (mut count, mut is_stored) = (0, false);
    let step = i32::try_from(DOCUMENTS).unwrap_or(i32::MAX);
    while count < BURST || !is_stored {
        let handed = match pod.noted().await? {
            Noted::Handed(handed) => handed,
            Noted::Seen(seen) => {
                is_stored |= seen.key == commit_key() && seen.value == BURST.to_string();
                continue;
            }
        };
        if let Some(before) = last.insert(handed.document.clone(), handed.revision)
            && before.saturating_add(step) != handed.revision
        {
            let what = format!("{}: {} after {before}", handed.document, handed.revision);
            return Err(BenchError::Unclean(what));
        }
        count = count.saturating_add(1);
    }
    Ok(())
}

/// Registration: the first one that a fresh process with an empty spool answers, and those of an application that registered
/// before, with nothing to commit.
pub(super) fn registration(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    first(rig, line);
    for callers in [1, 8] {
        let name = format!("registration, {callers} at a time, p99");
        let times = with_pod(rig, async |pod| {
            pod.register()?;
            times(pod, callers)
        });
        line(match times {
            Ok(times) => {
                let tail = percentile(times.clone(), 0.99);
                Line::figure(name, "ms", &[tail], Some(Goal::AtMost(5.0)))
                    .with("p50, ms", Some(percentile(times, 0.5)))
                    .note(format!(
                        "{REGISTRATIONS} calls, each on a connection of its own; spool on {}",
                        rig.file_system()
                    ))
            }
            Err(error) => Line::void(name, &error),
        });
    }
    Ok(())
}

/// Registration of an application in a process that nobody registered with before.
fn first(rig: &Rig, line: &mut dyn FnMut(Line)) {
    let name = "registration, the first of a fresh process, p99";
    let measured = with_pod(rig, async |pod| {
        (0..FIRST).map(|_| first_registration(rig, pod)).collect::<Result<Vec<_>>>()
    });
    line(match measured {
        Ok(times) => {
            let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
            Line::figure(name, "ms", &[percentile(times.clone(), 0.99)], Some(Goal::AtMost(5.0)))
                .with("p50, ms", Some(percentile(times, 0.5)))
                .note(format!("{FIRST} processes; spool on {}", rig.file_system()))
        }
        Err(error) => Line::void(name, &error),
    });
}

fn times(pod: &Pod, callers: usize) -> Result<Vec<f64>> {
    let (cim, times) = (&pod.cim, Mutex::new(Vec::with_capacity(REGISTRATIONS)));
    let share = REGISTRATIONS.div_ceil(callers);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    for _ in 0..share {
                        let start = Instant::now();
                        register(cim)?;
                        let time = start.elapsed().as_secs_f64() * 1e3;
                        times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(time);
                    }
                    Ok(())
                })
            })
            .collect();
        callers.into_iter().try_for_each(|caller| {
            caller.join().map_err(|_| BenchError::Unclean("a caller failed".into()))?
        })
    })?;
    Ok(times.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// What CIM does while nothing changes.
pub(super) fn idle(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let window = (rig.slice * IDLE_SLICES).max(MINUTE);
    let figures = with_pod(rig, async |pod| {
        pod.register()?;
        walk(pod, 1).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (wakeups, reads, start) = (pod.cim.child.wakeups()?, reads(pod)?, Instant::now());
        tokio::time::sleep(window).await;
        let seconds = start.elapsed().as_secs_f64();
        let wakeups = pod.cim.child.wakeups()?.saturating_sub(wakeups) as f64 / seconds;
        let reads = (self::reads(pod)? - reads) / seconds * MINUTE.as_secs_f64();
        Ok((wakeups, reads))
    });
    let (wakeups, reads) = match figures {
        Ok(figures) => figures,
        Err(error) => {
            line(Line::void("idle", &error));
            return Ok(());
        }
    };
    let note = format!("over {:.0} s, watching etcd", window.as_secs_f64());
    line(
        Line::figure("idle: wakeups of all threads", "1/s", &[wakeups], Some(Goal::AtMost(10.0))).note(&note),
    );
    line(Line::figure("idle: reads of etcd", "1/min", &[reads], Some(Goal::AtMost(1.1))).note(note));
    Ok(())
}

/// Reads that the server has served: ranges, and transactions, which may hold some.
fn reads(pod: &Pod) -> Result<f64> {
    let page = http::get(pod.etcd.member(0).address(), "/metrics")?;
    let served =
        |method: &str| http::metric(&page, "grpc_server_handled_total", &format!("grpc_method=\"{method}\""));
    Ok(served("Range") + served("Txn"))
}
