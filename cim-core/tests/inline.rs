//! Delivery on the thread that takes records in.
#![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

mod support;

use std::sync::Arc;

use cim_core::{Cim, Durability, SinkProfile};
use tokio::sync::Notify;

use support::{Answer, LONG_END, Scripted, logs, numbered, offer, send, settled, until};

fn engine(sink: &Arc<Scripted>) -> Cim {
    Cim::builder().sink("test", sink.sink()).start().unwrap()
}

/// The thread that takes in a few records delivers them itself where the sink allows it: the runtime has no turn here before.
#[tokio::test]
async fn a_few_records_are_delivered_where_they_are_taken_in() {
    for (inline, records, at_once) in [(true, 20, true), (false, 20, false), (true, 2_000, false)] {
        let sink = Scripted::new();
        sink.profile.lock().unwrap().inline = inline;
        let cim = engine(&sink);
        send(&cim, &numbered(0..1)).await;
        settled(&cim).await;
        let mut lane = cim.lane();
        offer(&mut lane, &numbered(1..records));
        lane.flush_held();
        assert_eq!(sink.lines().len(), 1, "not before its publisher was told");
        lane.deliver_here();
        assert_eq!(sink.lines().len() == records, at_once, "{records} records, inline {inline}");
        settled(&cim).await;
        assert_eq!(sink.lines(), numbered(0..records));
        assert_eq!(cim.stop(LONG_END).await.exit_code(), 0);
    }
}

/// A small turn may complete a batch that gathered for long: that one is the runtime's, however small the turn was.
#[tokio::test]
async fn a_large_batch_does_not_keep_who_brings_its_last_record() {
    for (records, at_once) in [(40, false), (4, true)] {
        let (sink, told) = (Scripted::new(), Arc::new(Notify::new()));
        let profile = *sink.profile.lock().unwrap();
        *sink.profile.lock().unwrap() =
            SinkProfile { inline: true, max_records: records + 1, max_in_flight: 2, ..profile };
        sink.script.lock().unwrap().push_back(Answer::FailWhenTold(Arc::clone(&told)));
        let cim = engine(&sink);
        send(&cim, &numbered(0..1)).await;
        until(&cim, "the first batch is under way", |_| sink.script.lock().unwrap().is_empty()).await;
        let mut lane = cim.lane();
        offer(&mut lane, &vec!["x".repeat(1024); records]);
        lane.flush();
        // The worker looks at them, and waits for more.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(sink.lines().is_empty());
        offer(&mut lane, &numbered(1..2));
        lane.flush_held();
        lane.deliver_here();
        assert_eq!(sink.lines().len(), if at_once { records + 1 } else { 0 });
        told.notify_one();
        settled(&cim).await;
        assert_eq!(logs(&cim).books.delivered, records as u64 + 2);
    }
}

/// A large batch that a lane has committed and not announced is the runtime's; a small one behind it stays behind it.
#[tokio::test]
async fn a_small_batch_does_not_overtake_a_large_one_that_the_runtime_delivers() {
    let sink = Scripted::new();
    let profile = *sink.profile.lock().unwrap();
    *sink.profile.lock().unwrap() = SinkProfile {
        inline: true,
        max_in_flight: 3,
        max_bytes: 128 << 10,
        durability: Durability::Unacknowledged,
        ..profile
    };
    let cim = engine(&sink);
    send(&cim, &numbered(0..1)).await;
    settled(&cim).await;
    let (mut quiet, mut quick) = (cim.lane(), cim.lane());
    // One frame is full and in the queue, and nobody was told.
    let large = vec!["x".repeat(1024); 300];
    offer(&mut quiet, &large);
    offer(&mut quick, &numbered(1..2));
    quick.flush_held();
    quick.deliver_here();
    quiet.flush();
    settled(&cim).await;
    let lines = sink.lines();
    let at = lines.iter().position(|line| line == "line 1").unwrap();
    assert!(at > 100, "the line behind the frame came as number {at} of {}", lines.len());
    assert_eq!(lines.len(), large.len() + 2);
}

/// A sink that panics on the thread of a publisher fails there as it does elsewhere: the thread goes on, and the record is sent again.
#[tokio::test]
async fn a_sink_that_panics_does_not_hurt_who_helps_it() {
    let sink = Scripted::new();
    sink.profile.lock().unwrap().inline = true;
    let cim = engine(&sink);
    send(&cim, &numbered(0..1)).await;
    settled(&cim).await;
    sink.script.lock().unwrap().push_back(Answer::Panic);
    let mut lane = cim.lane();
    offer(&mut lane, &numbered(1..2));
    lane.flush_held();
    lane.deliver_here();
    assert_eq!(sink.lines().len(), 1);
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..2));
}
