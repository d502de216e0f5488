//! A fallback: what it gets, what it does not, and the return of the sink that it stands in for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failed step is the failure")]

mod support;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use cim_core::settings::{Accept, FallbackMode, Period, RouteSettings, RoutesSettings, SpoolSettings};
use cim_core::{Cim, CimBuilder, DeliveryErrorKind, DeliveryState, Durability, SinkProfile};
use support::{
    Answer, Scripted, is_settled, logs, numbered, offer, send, send_together, until, until_within,
};
use tokio::sync::Notify;

/// As soon as deliveries have failed for that long.
const AFTER: Duration = Duration::from_millis(20);

/// Logs go to `main`, and to `spare` while that is down. With a spool, what is refused becomes a letter.
fn engine(main: &Arc<Scripted>, spare: &Arc<Scripted>, mode: FallbackMode, spool: Option<&Path>) -> Cim {
    builder_after(AFTER, main, spare, mode, spool).start().unwrap()
}

/// Its builder; `spare` is used as soon as deliveries have failed for so long.
fn builder_after(
    after: Duration,
    main: &Arc<Scripted>,
    spare: &Arc<Scripted>,
    mode: FallbackMode,
    spool: Option<&Path>,
) -> CimBuilder {
    let mut logs = RouteSettings::to("main");
    logs.fallback = Some("spare".into());
    logs.fallback_after = format!("{}ms", after.as_millis()).parse::<Period>().unwrap();
    logs.fallback_mode = mode;
    let builder = spool.into_iter().fold(Cim::builder(), |builder, dir| builder.spool_dir(dir));
    let routes = RoutesSettings { logs, events: RouteSettings::to("main") };
    builder.sink("main", main.sink()).sink("spare", spare.sink()).routes(routes)
}

/// The way back to a sink has pauses that grow.
async fn settled(cim: &Cim) {
    until_within(Duration::from_secs(25), cim, "everything settled", is_settled).await;
}

fn down(sink: &Scripted) {
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
}

fn up(sink: &Scripted) {
    *sink.down.lock().unwrap() = None;
}

fn refuse(sink: &Scripted, line: &str) {
    *sink.poison.lock().unwrap() = Some((line.to_owned(), DeliveryErrorKind::Rejected));
}

#[tokio::test]
async fn the_final_fallback_takes_over_and_gives_back_in_order() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    *main.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = engine(&main, &spare, FallbackMode::Final, None);
    send(&cim, &numbered(0..30)).await;
    settled(&cim).await;
    assert_eq!(spare.lines(), numbered(0..30));
    assert_eq!(logs(&cim).books.to_fallback, 30);
    assert!(main.abandoned.load(Relaxed) > 0, "the sink may still hold what the fallback got");
    *main.down.lock().unwrap() = None;
    let mut sent = 30;
    while main.lines().is_empty() {
        assert!(sent < 5000, "the sink is not used again");
        send(&cim, &numbered(sent..sent + 1)).await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    settled(&cim).await;
    let (first, second) = (spare.lines(), main.lines());
    assert_eq!([first, second].concat(), numbered(0..sent));
}

/// What a fallback takes is settled at once, which may wait for the disk: the thread that took the records in does not.
#[tokio::test]
async fn a_fallback_is_served_by_the_runtime() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    for sink in [&main, &spare] {
        sink.profile.lock().unwrap().inline = true;
    }
    down(&main);
    let cim = engine(&main, &spare, FallbackMode::Final, None);
    send(&cim, &numbered(0..1)).await;
    settled(&cim).await;
    let mut lane = cim.lane();
    offer(&mut lane, &numbered(1..2));
    lane.flush_held();
    lane.deliver_here();
    assert_eq!(spare.lines(), numbered(0..1));
    settled(&cim).await;
    assert_eq!(spare.lines(), numbered(0..2));
}

#[tokio::test]
async fn the_fallback_gets_ready_while_the_sink_fails_and_holds_it_up_by_nothing() {
    for ends in [None, Some(Answer::Hang), Some(Answer::Panic)] {
        let (main, spare) = (Scripted::new(), Scripted::new());
        *spare.preparing.lock().unwrap() = ends;
        let hour = Duration::from_secs(3600);
        let cim = builder_after(hour, &main, &spare, FallbackMode::Final, None).start().unwrap();
        send(&cim, &numbered(0..2)).await;
        settled(&cim).await;
        assert_eq!(spare.prepared.load(Relaxed), 0, "nobody needs it");
        down(&main);
        send(&cim, &numbered(2..4)).await;
        until(&cim, "the preparation", |_| spare.prepared.load(Relaxed) > 0).await;
        up(&main);
        settled(&cim).await;
        assert_eq!((main.lines(), spare.lines()), (numbered(0..4), Vec::new()));
    }
}

#[tokio::test]
async fn the_copy_fallback_gets_copies_and_the_sink_gets_everything_later() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    *main.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    *main.profile.lock().unwrap() = SinkProfile { max_records: 7, ..SinkProfile::default() };
    let cim = engine(&main, &spare, FallbackMode::Copy, None);
    send(&cim, &numbered(0..20)).await;
    until(&cim, "copies", |_| spare.lines().len() == 20).await;
    assert_eq!(logs(&cim).books.held, 20);
    assert_eq!(main.abandoned.load(Relaxed), 0, "the sink gets all of it later");
    *main.down.lock().unwrap() = None;
    settled(&cim).await;
    assert_eq!(main.lines(), numbered(0..20));
    assert_eq!(spare.lines(), numbered(0..20));
    assert_eq!(*main.redelivered.lock().unwrap(), numbered(0..20));
}

/// Several batches are in flight when it begins, and fail together.
#[tokio::test]
async fn what_was_on_its_way_when_the_outage_began_is_copied_as_well() {
    let (main, spare, told) = (Scripted::new(), Scripted::new(), Arc::new(Notify::new()));
    *main.profile.lock().unwrap() =
        SinkProfile { max_records: 3, max_in_flight: 4, ..SinkProfile::default() };
    let answers = [Answer::FailWhenTold(Arc::clone(&told)), Answer::Fail(DeliveryErrorKind::Unavailable)];
    main.script.lock().unwrap().extend(answers);
    down(&main);
    let cim = engine(&main, &spare, FallbackMode::Copy, None);
    send_together(&cim, &numbered(0..12));
    until(&cim, "the second batch", |_| main.script.lock().unwrap().is_empty()).await;
    told.notify_one();
    until(&cim, "copies", |_| spare.lines().last().is_some_and(|line| line == "line 11")).await;
    assert_eq!(spare.lines(), numbered(0..12));
    up(&main);
    settled(&cim).await;
    assert_eq!((main.lines(), spare.lines()), (numbered(0..12), numbered(0..12)));
    assert_eq!(*main.redelivered.lock().unwrap(), numbered(0..12));
}

#[tokio::test]
async fn what_is_held_from_an_earlier_life_is_copied_as_well() {
    let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
    down(&main);
    let cim = Cim::builder().spool_dir(dir.path()).sink("main", main.sink()).start().unwrap();
    send(&cim, &numbered(0..10)).await;
    cim.stop(Duration::ZERO).await;
    drop(cim);
    let cim = engine(&main, &spare, FallbackMode::Copy, Some(dir.path()));
    send(&cim, &numbered(10..20)).await;
    until(&cim, "copies", |_| spare.lines().last().is_some_and(|line| line == "line 19")).await;
    assert_eq!(spare.lines(), numbered(0..20));
    let marked = spare.redelivered.lock().unwrap().clone();
    assert!(marked.starts_with(&numbered(0..10)), "that life may have copied them: {marked:?}");
    up(&main);
    settled(&cim).await;
    assert_eq!((main.lines(), spare.lines()), (numbered(0..20), numbered(0..20)));
}

/// With nothing to deliver, no delivery proves that the sink is back.
#[tokio::test]
async fn the_use_of_a_fallback_ends_with_the_return_of_the_sink_although_nothing_follows() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    down(&main);
    let cim = engine(&main, &spare, FallbackMode::Final, None);
    send(&cim, &numbered(0..3)).await;
    settled(&cim).await;
    assert_eq!(logs(&cim).delivery.state, DeliveryState::Fallback);
    up(&main);
    until(&cim, "the return", |cim| logs(cim).delivery.state == DeliveryState::Ready).await;
    send(&cim, &numbered(3..4)).await;
    settled(&cim).await;
    assert_eq!((spare.lines(), main.lines()), (numbered(0..3), numbered(3..4)));
}

/// A record that was refused is no outage, however long ago it was.
#[tokio::test]
async fn the_fallback_is_not_used_at_once_after_a_lone_record_that_was_refused() {
    // So long that the one failure below is over before.
    const AFTER: Duration = Duration::from_secs(2);
    let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
    refuse(&main, "line 0");
    let cim = builder_after(AFTER, &main, &spare, FallbackMode::Final, Some(dir.path())).start().unwrap();
    send(&cim, &numbered(0..1)).await;
    until(&cim, "the letter", |cim| logs(cim).books.dead_lettered == 1).await;
    let refused = Instant::now();
    until(&cim, "time", |_| refused.elapsed() > 2 * AFTER).await;
    main.script.lock().unwrap().push_back(Answer::Fail(DeliveryErrorKind::Unavailable));
    send(&cim, &numbered(1..2)).await;
    settled(&cim).await;
    assert_eq!((main.lines(), spare.lines()), (numbered(1..2), Vec::new()));
}

#[tokio::test]
async fn what_the_fallback_took_of_a_batch_is_not_given_to_it_again() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    down(&main);
    spare.script.lock().unwrap().push_back(Answer::Only(DeliveryErrorKind::Unavailable, vec![1, 3]));
    let cim = engine(&main, &spare, FallbackMode::Final, None);
    send_together(&cim, &numbered(0..4));
    settled(&cim).await;
    let taken = spare.lines();
    assert_eq!(taken, ["line 0", "line 2", "line 1", "line 3"]);
    assert_eq!((logs(&cim).books.to_fallback, main.lines().len()), (4, 0));
}

/// Both when it is asked for the first time, and while it is in use.
#[tokio::test]
async fn what_the_fallback_did_not_take_does_not_arrive_there_as_well() {
    for taken_before in [0, 3] {
        let (main, spare) = (Scripted::new(), Scripted::new());
        down(&main);
        let cim = engine(&main, &spare, FallbackMode::Final, None);
        send(&cim, &numbered(0..taken_before)).await;
        settled(&cim).await;
        spare.script.lock().unwrap().push_back(Answer::Keep);
        down(&spare);
        send_together(&cim, &numbered(taken_before..taken_before + 4));
        until(&cim, "the offer", |_| spare.script.lock().unwrap().is_empty()).await;
        up(&main);
        settled(&cim).await;
        let lines = (spare.lines(), main.lines());
        assert_eq!(lines, (numbered(0..taken_before), numbered(taken_before..taken_before + 4)));
        assert_eq!(*spare.kept.lock().unwrap(), Vec::<String>::new(), "{taken_before}");
    }
}

/// Neither in the batch that finds the sink down, nor in those behind it.
#[tokio::test]
async fn a_record_that_the_fallback_refuses_becomes_a_letter_and_its_neighbours_pass() {
    for bad in [1, 5] {
        let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
        down(&main);
        refuse(&spare, &format!("line {bad}"));
        let cim = engine(&main, &spare, FallbackMode::Final, Some(dir.path()));
        send_together(&cim, &numbered(0..4));
        send_together(&cim, &numbered(4..8));
        settled(&cim).await;
        let mut expected = numbered(0..8);
        expected.remove(bad);
        assert_eq!(spare.lines(), expected);
        let books = logs(&cim).books;
        assert_eq!((books.to_fallback, books.dead_lettered, books.dropped_total()), (7, 1, 0));
    }
}

/// Without a place for letters, it would be lost although the sink may take it.
#[tokio::test]
async fn without_a_spool_a_record_that_the_fallback_refuses_waits_for_the_sink() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    down(&main);
    refuse(&spare, "line 1");
    let cim = engine(&main, &spare, FallbackMode::Final, None);
    send_together(&cim, &numbered(0..3));
    until(&cim, "what it takes", |_| spare.lines() == ["line 0"]).await;
    up(&main);
    settled(&cim).await;
    assert_eq!(main.lines(), ["line 1", "line 2"]);
    assert_eq!(logs(&cim).books.dropped_total(), 0);
}

#[tokio::test]
async fn a_copy_that_is_refused_holds_up_no_other() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    down(&main);
    refuse(&spare, "line 1");
    let cim = engine(&main, &spare, FallbackMode::Copy, None);
    send(&cim, &numbered(0..4)).await;
    until(&cim, "copies", |_| spare.lines() == ["line 0", "line 2", "line 3"]).await;
    up(&main);
    settled(&cim).await;
    assert_eq!(main.lines(), numbered(0..4));
}

/// Ten lines each, in one frame.
fn send_frames(cim: &Cim, count: usize, line: impl Fn(usize) -> String) {
    for frame in 0..count {
        let lines: Vec<_> = (frame * 10..frame * 10 + 10).map(&line).collect();
        send_together(cim, &lines);
    }
}

/// Flips a bit of that line, wherever the spool has it.
fn damage(spool: &Path, line: &str) {
    let mut files = vec![spool.to_owned()];
    let mut damaged = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(line.len()).position(|text| text == line.as_bytes()) {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"L", at as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "{line:?} is in {damaged} files");
}

/// `until` looks at the books all the time.
#[tokio::test]
async fn damage_in_the_spool_is_booked_also_while_the_fallback_is_used() {
    let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
    down(&main);
    let cim = Cim::builder().spool_dir(dir.path()).sink("main", main.sink()).start().unwrap();
    send_frames(&cim, 5, |n| format!("line {n}"));
    cim.stop(Duration::ZERO).await;
    drop(cim);
    damage(dir.path(), "line 25");
    let cim = engine(&main, &spare, FallbackMode::Final, Some(dir.path()));
    settled(&cim).await;
    assert_eq!(spare.lines(), [numbered(0..20), numbered(30..50)].concat());
    let books = logs(&cim).books;
    assert_eq!((books.to_fallback, books.dropped_total()), (40, 10));
    assert!(books.balanced(), "{books:?}");
}

/// More than the memory holds, so that copies come from the disk.
#[tokio::test]
async fn copies_go_on_behind_damage_in_the_spool() {
    let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
    down(&main);
    down(&spare);
    let cim = engine(&main, &spare, FallbackMode::Copy, Some(dir.path()));
    let line = |n: usize| format!("line {n} {}", "x".repeat(100 << 10));
    send_frames(&cim, 60, line);
    damage(dir.path(), &line(25)[..20]);
    up(&spare);
    // Two of them fill a frame.
    let readable: Vec<usize> = (0..24).chain(26..600).collect();
    let numbers = |sink: &Scripted| -> Vec<usize> {
        sink.lines().iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    };
    until(&cim, "copies", |_| spare.lines().len() >= readable.len()).await;
    assert_eq!(numbers(&spare), readable);
    up(&main);
    settled(&cim).await;
    assert_eq!(numbers(&main), readable);
}

/// What a final fallback took leaves the spool; a copy does not count.
#[tokio::test]
async fn a_final_fallback_has_to_make_records_as_safe_as_they_are_accepted() {
    let (dir, main, spare) = (tempfile::tempdir().unwrap(), Scripted::new(), Scripted::new());
    spare.profile.lock().unwrap().durability = Durability::Written;
    let start = |mode, accept| {
        let mut spool = SpoolSettings { dir: Some(dir.path().to_owned()), ..SpoolSettings::default() };
        spool.logs.accept = accept;
        builder_after(AFTER, &main, &spare, mode, None).spool(spool).start()
    };
    let text = start(FallbackMode::Final, Accept::Synced).unwrap_err().to_string();
    assert_eq!(
        text,
        "routes.logs.sink_durability: fallback `spare` does not make records synced, the level they are accepted at; \
         configure it to, or set sink_durability = \"accept\""
    );
    for (mode, accept) in [(FallbackMode::Copy, Accept::Synced), (FallbackMode::Final, Accept::Written)] {
        start(mode, accept).unwrap().stop(Duration::from_secs(1)).await;
    }
}
