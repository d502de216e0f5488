//! Lines of CIM itself on the log route: they are delivered like any record, and stand behind those of the application.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::time::Duration;

use cim_core::intake::{Refused, RefusedReason};
use cim_core::settings::{ByteSize, MemorySettings, SpoolSettings, WhenFull};
use cim_core::{Cim, DeliveryErrorKind};
use support::{Scripted, logs, send, settled};

#[tokio::test]
async fn they_are_delivered_and_booked_and_not_counted_as_messages() {
    let sink = Scripted::new();
    let cim = Cim::builder().sink("test", sink.sink()).start().unwrap();
    cim.intake().own_log("cim", "id", b"own").unwrap();
    send(&cim, &["theirs".to_owned()]).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), ["own", "theirs"]);
    assert_eq!((logs(&cim).books.accepted, cim.counts().logs.totals().messages), (2, 1));
    cim.stop(Duration::ZERO).await;
    assert_eq!(cim.intake().own_log("cim", "id", b"late"), Err(Refused(RefusedReason::Closed)));
}

#[tokio::test]
async fn they_are_refused_while_the_application_is_still_served_whatever_the_policy() {
    for (when_full, on_disk) in [
        (WhenFull::ShedOldest, true),
        (WhenFull::ShedOldest, false),
        (WhenFull::Block, true),
        (WhenFull::DropNewest, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Scripted::new();
        *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
        let mut spool = SpoolSettings { dir: on_disk.then(|| dir.path().into()), ..SpoolSettings::default() };
        (spool.logs.when_full, spool.logs.max_bytes) = (when_full, ByteSize::mib(4));
        let memory = MemorySettings { budget: ByteSize::mib(if on_disk { 48 } else { 4 }) };
        let cim = Cim::builder().memory(memory).spool(spool).sink("test", sink.sink()).start().unwrap();
        let line = "x".repeat(16 << 10);
        let mut sent = 0;
        while cim.intake().own_log("cim", "", b"own").is_ok() {
            send(&cim, std::slice::from_ref(&line)).await;
            sent += 1;
            assert!(sent < 256, "they are never refused: {when_full:?}");
        }
        assert!(sent > 128, "{sent}");
        for _ in 0..20 {
            send(&cim, std::slice::from_ref(&line)).await;
        }
        let books = logs(&cim).books;
        assert_eq!(books.dropped_total(), 0, "{when_full:?}");
        assert_eq!(cim.counts().logs.totals().refused.iter().sum::<u64>(), 0, "{when_full:?}");
        assert!(books.balanced());
    }
}
