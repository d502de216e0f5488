//! What survives: restarts, full queues, stops.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use cim_core::intake::{Class, Level, Offer, Offered};
use cim_core::settings::{ByteSize, RouteSettings, RoutesSettings, SpoolSettings, WhenFull};
use cim_core::{Cim, DeliveryErrorKind};
use support::{LONG_END, Scripted, logs, numbered, send, settled, until};

fn event(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let event = cim_wire::Event { event_name: name.as_bytes().into(), ..cim_wire::Event::default() };
    event.encode_flatbuffer(&mut out);
    out
}

fn down(sink: &Arc<Scripted>, down: bool) {
    *sink.down.lock().unwrap() = down.then_some(DeliveryErrorKind::Unavailable);
}

#[tokio::test]
async fn what_was_accepted_is_delivered_by_the_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let start = |sink: &Arc<Scripted>| Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start();
    let first = Scripted::new();
    down(&first, true);
    let cim = start(&first).unwrap();
    send(&cim, &numbered(0..300)).await;
    let accepted = cim.intake().accept(Class::Event, &event("E1")).await.unwrap();
    assert_eq!((accepted.seq, accepted.level), (1, Level::Synced));
    let drained = cim.drain(Duration::from_millis(50)).await;
    let report = cim.close(drained, LONG_END).await;
    assert_eq!((report.held, report.dropped, report.exit_code()), (301, 0, 0));
    drop(cim);

    let second = Scripted::new();
    let cim = start(&second).unwrap();
    assert_eq!(logs(&cim).books.recovered, 300);
    send(&cim, &numbered(300..310)).await;
    settled(&cim).await;
    let lines = second.lines();
    let (events, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line == "E1");
    assert_eq!((lines, events.len()), (numbered(0..310), 1));
}

#[tokio::test]
async fn nothing_delivered_is_delivered_again_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let sink = Scripted::new();
        let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
        send(&cim, &numbered(life * 10..life * 10 + 10)).await;
        cim.stop(Duration::from_secs(1)).await;
        assert_eq!(sink.lines(), numbered(life * 10..life * 10 + 10));
    }
}

#[tokio::test]
async fn a_backlog_larger_than_memory_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    down(&sink, true);
    let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    let mut lane = cim.lane();
    let pad = "x".repeat(1000);
    for n in 0..20_000 {
        let line = format!("{n} {pad}");
        let offer =
            Offer { class: Class::Log, headers: None, source: b"app", payload: line.as_bytes(), own: false };
        assert_eq!(lane.offer(&offer, false), Offered::Taken);
    }
    lane.flush();
    down(&sink, false);
    settled(&cim).await;
    let got: Vec<u32> =
        sink.lines().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(got, (0..20_000).collect::<Vec<_>>());
}

fn small(when_full: WhenFull, dir: Option<&std::path::Path>) -> SpoolSettings {
    let mut spool = SpoolSettings { dir: dir.map(Into::into), ..SpoolSettings::default() };
    spool.logs.when_full = when_full;
    spool.logs.max_bytes = ByteSize::mib(1);
    spool
}

/// Fills the LOG class until an offer is not taken, at most 4 MiB; returns how many were.
fn fill(cim: &Cim) -> (u64, Offered) {
    let mut lane = cim.lane();
    let line = vec![b'x'; 16 << 10];
    for taken in 0..256 {
        let offer = Offer { class: Class::Log, headers: None, source: b"app", payload: &line, own: false };
        let offered = lane.offer(&offer, false);
        lane.flush();
        if offered != Offered::Taken {
            return (taken, offered);
        }
    }
    (256, Offered::Taken)
}

#[tokio::test]
async fn a_full_class_holds_its_publishers_back_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    down(&sink, true);
    let cim = Cim::builder()
        .spool(small(WhenFull::Block, Some(dir.path())))
        .sink("test", sink.sink())
        .start()
        .unwrap();
    let (taken, offered) = fill(&cim);
    assert_eq!(offered, Offered::Full);
    assert!(taken > 16, "{taken}");
    assert!(cim.status().classes[0].full);
    // The other class is not concerned.
    cim.intake().accept(Class::Event, &event("E")).await.unwrap();
    down(&sink, false);
    until(&cim, "room", |cim| !cim.status().classes[0].full).await;
    send(&cim, &numbered(0..5)).await;
    settled(&cim).await;
}

#[tokio::test]
async fn shedding_makes_room_and_counts_what_it_cost() {
    for spool in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Scripted::new();
        down(&sink, true);
        let cim = Cim::builder()
            .memory(cim_core::settings::MemorySettings { budget: ByteSize::mib(1) })
            .spool(small(WhenFull::ShedOldest, spool.then_some(dir.path())))
            .sink("test", sink.sink())
            .start()
            .unwrap();
        assert_eq!(fill(&cim).1, Offered::Taken);
        send(&cim, &["last".to_owned()]).await;
        down(&sink, false);
        settled(&cim).await;
        let books = logs(&cim).books;
        assert!(books.dropped_total() > 0 && books.delivered > 0, "{books:?}");
        assert!(books.balanced());
        assert_eq!(books.accepted, 257);
        assert_eq!(sink.lines().last().map(String::as_str), Some("last"));
    }
}

#[tokio::test]
async fn drop_newest_refuses_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    down(&sink, true);
    let cim = Cim::builder()
        .spool(small(WhenFull::DropNewest, Some(dir.path())))
        .sink("test", sink.sink())
        .start()
        .unwrap();
    let (taken, _) = fill(&cim);
    let refused: u64 = cim.counts().logs.totals().refused.iter().sum();
    let books = logs(&cim).books;
    assert!(refused > 0);
    assert_eq!(books.accepted + refused, if taken == 256 { 256 } else { taken + 1 });
    assert!(books.balanced());
}

#[tokio::test]
async fn malformed_messages_are_refused_and_counted() {
    let sink = Scripted::new();
    let cim = Cim::builder().sink("test", sink.sink()).start().unwrap();
    let refused = cim.intake().accept(Class::Event, b"no event").await.unwrap_err();
    assert_eq!(refused.0.as_str(), "malformed");
    assert_eq!(cim.counts().events.totals().refused[0], 1);
    assert_eq!(logs(&cim).books.accepted, 0);
}

#[tokio::test]
async fn two_engines_on_one_spool_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    let start = || Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start();
    let _first = start().unwrap();
    let error = start().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("in use by another process"), "{cause}");
}

#[tokio::test]
async fn a_sink_that_is_new_to_the_route_goes_on_where_the_old_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let old = Scripted::new();
    let cim = Cim::builder().spool_dir(dir.path()).sink("old", old.sink()).start().unwrap();
    send(&cim, &numbered(0..10)).await;
    settled(&cim).await;
    down(&old, true);
    send(&cim, &numbered(10..20)).await;
    cim.stop(Duration::from_millis(20)).await;
    drop(cim);
    let new = Scripted::new();
    let cim = Cim::builder().spool_dir(dir.path()).sink("new", new.sink()).start().unwrap();
    settled(&cim).await;
    assert_eq!(new.lines(), numbered(10..20));
}

#[tokio::test]
async fn a_stop_without_a_spool_drops_by_name() {
    let sink = Scripted::new();
    down(&sink, true);
    let cim = Cim::builder().sink("test", sink.sink()).start().unwrap();
    send(&cim, &numbered(0..7)).await;
    let report = cim.stop(Duration::from_millis(20)).await;
    assert_eq!((report.dropped, report.held, report.exit_code()), (7, 0, 3));
    assert!(logs(&cim).books.balanced());
}

#[tokio::test]
async fn a_reload_hands_the_backlog_of_a_dead_sink_to_the_new_one() {
    for spool in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (Scripted::new(), Scripted::new());
        let mut builder = Cim::builder().sink("old", old.sink());
        if spool {
            builder = builder.spool_dir(dir.path());
        }
        let cim = builder.start().unwrap();
        send(&cim, &numbered(0..10)).await;
        settled(&cim).await;
        down(&old, true);
        send(&cim, &numbered(10..30)).await;

        let routes = RoutesSettings { logs: RouteSettings::to("new"), events: RouteSettings::to("new") };
        let missing = cim.reload([("other".to_owned(), new.sink())].into(), &routes).await.unwrap_err();
        assert!(missing.to_string().contains("no sink is called `new`"), "{missing}");
        assert_eq!(logs(&cim).sink, "old");

        cim.reload([("new".to_owned(), new.sink())].into(), &routes).await.unwrap();
        send(&cim, &numbered(30..40)).await;
        settled(&cim).await;
        assert_eq!(old.lines(), numbered(0..10));
        assert_eq!(new.lines(), numbered(10..40));
        let books = logs(&cim).books;
        assert!(books.balanced());
        assert_eq!((books.taken_over, books.recovered, books.accepted, books.delivered), (20, 0, 10, 30));
        // What the sink that left had delivered counts for the end.
        let report = cim.stop(Duration::from_secs(1)).await;
        assert_eq!((report.delivered, report.held, report.dropped), (40, 0, 0));
    }
}

#[tokio::test]
async fn sinks_that_take_turns_under_load_get_every_record_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let sinks = [Scripted::new(), Scripted::new()];
    let cim = Cim::builder().spool_dir(dir.path()).sink("0", sinks[0].sink()).start().unwrap();
    let switched = Cell::new(false);
    // As long as sinks take turns, so that each has something to do, and for a while behind the last one.
    let publish = async {
        let (mut published, mut rest) = (0, 200);
        while rest > 0 {
            send(&cim, &numbered(published..published + 1)).await;
            published += 1;
            rest -= usize::from(switched.get());
            // Accepted at once, so without this nobody else would run.
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        published
    };
    let switch = async {
        for turn in 1..9 {
            let name = (turn % 2).to_string();
            let seen = || sinks.iter().map(|sink| sink.lines.lock().unwrap().len()).sum::<usize>();
            let at = seen() + 200;
            until(&cim, "some more records", |_| seen() >= at).await;
            let routes = RoutesSettings { logs: RouteSettings::to(&name), events: RouteSettings::to(&name) };
            cim.reload([(name, sinks[turn % 2].sink())].into(), &routes).await.unwrap();
        }
        switched.set(true);
    };
    let (published, ()) = tokio::join!(publish, switch);
    settled(&cim).await;
    let number = |line: &String| line.trim_start_matches("line ").parse::<usize>().unwrap();
    let seen = sinks.each_ref().map(|sink| sink.lines().iter().map(number).collect::<Vec<_>>());
    for lines in &seen {
        assert!(lines.is_sorted(), "out of order: {lines:?}");
        assert!(lines.len() > 100, "no turns: {}", lines.len());
    }
    let mut owners: Vec<(usize, usize)> = seen
        .iter()
        .enumerate()
        .flat_map(|(sink, lines)| lines.iter().map(move |line| (*line, sink)))
        .collect();
    owners.sort_unstable();
    assert!(owners.iter().map(|(line, _)| *line).eq(0..published), "not every line once");
    let changes = owners.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert_eq!(changes, 8, "each switch is one cut");
}

#[tokio::test]
async fn a_spool_directory_that_vanishes_is_made_again_with_what_memory_holds() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    let sink = Scripted::new();
    down(&sink, true);
    let cim = Cim::builder().spool_dir(&dir).sink("test", sink.sink()).start().unwrap();
    send(&cim, &numbered(0..20)).await;
    // Its files may be made again just then, and a directory that is not empty is not removed.
    until(&cim, "removal", |_| std::fs::remove_dir_all(&dir).is_ok()).await;
    until(&cim, "a new spool", |_| dir.join("spool.meta").exists()).await;
    send(&cim, &numbered(20..30)).await;
    assert_eq!(cim.status().classes[0].level, Level::Written);
    cim.stop(Duration::from_millis(20)).await;
    assert_eq!(logs(&cim).books.held, 30);
    drop(cim);

    let sink = Scripted::new();
    let cim = Cim::builder().spool_dir(&dir).sink("test", sink.sink()).start().unwrap();
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..30));
}
