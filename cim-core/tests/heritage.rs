//! What one engine could not deliver, taken by another: from memory and from disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{Cim, Class, DeliveryErrorKind, Left};
use support::{LONG_END, Scripted, numbered, send, settled, until};

fn engine(spool: Option<&std::path::Path>, sink: &Arc<Scripted>) -> Cim {
    let builder = Cim::builder().sink("scripted", sink.sink());
    match spool {
        Some(dir) => builder.spool_dir(dir).start().unwrap(),
        None => builder.start().unwrap(),
    }
}

fn undelivered(cim: &Cim, class: Class) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    cim.undelivered(class, Left::Everything, |record| {
        records.push(record.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

#[tokio::test]
async fn what_is_left_is_told_whole_and_in_order_and_taken_by_another() {
    let home = tempfile::tempdir().unwrap();
    for spool in [None, Some(home.path().join("dead"))] {
        let sink = Scripted::new();
        let cim = engine(spool.as_deref(), &sink);
        send(&cim, &numbered(0..100)).await;
        settled(&cim).await;
        *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
        send(&cim, &numbered(100..3000)).await;
        cim.intake().accept(Class::Event, br#"{"eventName":"Last"}"#).await.unwrap();
        let drained = cim.drain(Duration::from_millis(50)).await;
        assert!(!drained);
        let logs = undelivered(&cim, Class::Log);
        let events = undelivered(&cim, Class::Event);
        assert_eq!((logs.len(), events.len()), (2900, 1));
        assert_eq!(undelivered(&cim, Class::Log), logs, "telling changes nothing");
        let report = cim.close(drained, LONG_END).await;
        assert_eq!(report.exit_code(), if spool.is_some() { 0 } else { 3 });

        let heir = Scripted::new();
        let cim = engine(Some(&home.path().join("heir").join(spool.map_or("a", |_| "b"))), &heir);
        for run in logs.chunks(100) {
            cim.take_back(Class::Log, run).unwrap();
        }
        cim.take_back(Class::Event, &events).unwrap();
        settled(&cim).await;
        let mut expected = numbered(100..3000);
        expected.push("Last".to_owned());
        let mut lines = heir.lines();
        // Classes are delivered side by side.
        lines.sort_by_key(|line| {
            line.strip_prefix("line ").map_or(u32::MAX, |number| number.parse().unwrap())
        });
        assert_eq!(lines, expected);
        until(&cim, "progress", |cim| cim.progress().iter().all(|class| class.settled == class.next)).await;
        cim.stop(Duration::from_secs(1)).await;
        assert_eq!(cim.take_back(Class::Log, &logs).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn what_is_no_record_of_the_class_is_refused_and_nothing_of_its_run_is_taken() {
    let sink = Scripted::new();
    let cim = engine(None, &sink);
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    send(&cim, &numbered(0..1)).await;
    let good = undelivered(&cim, Class::Log);
    for bad in [&b""[..], b"\xff", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00garbage"] {
        let run = [good.clone(), vec![bad.to_vec()]].concat();
        assert_eq!(cim.take_back(Class::Log, &run).unwrap_err().kind(), ErrorKind::InvalidData, "{bad:?}");
    }
    assert_eq!(undelivered(&cim, Class::Log), good);
    cim.stop(Duration::ZERO).await;
}
