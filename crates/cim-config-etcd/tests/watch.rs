//! What a watch hands out, and how it goes on after cuts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_core::Component as _;
use cim_core::{ConfigSource as _, ConfigUpdate, Health, SourceErrorKind};
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use rig::{Tail, change, scope, source, text};

#[tokio::test]
async fn a_watch_begins_with_everything_and_goes_on_with_each_change() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let (source, scope) = (source(&etcd), scope("amf"));
        let mut empty = Tail::new(&source, &scope, None);
        assert!(empty.reset().await.1.is_empty(), "also when nothing is there");

        etcd.put("config/ns/amf", "{}");
        etcd.put(&change("amf", 1), "[1]");
        etcd.put("config/ns/amf/7", "{7}");
        let lease = etcd.put_for(&change("amf", 2), "[2]", 600);
        for other in [
            "config/ns/amfgw",
            "config/ns/amfgw/7",
            "change-set/ns/amfgw/v1/ms/app.json/1",
            "change-set/ns2/amf/x",
            "config/ns",
        ] {
            etcd.put(other, "not ours");
        }
        let mut tail = Tail::new(&source, &scope, None);
        let (revision, entries) = tail.reset().await;
        assert_eq!(revision, etcd.revision());
        let keys: Vec<&str> = entries.iter().map(|entry| text(&entry.key)).collect();
        assert_eq!(keys, ["config/ns/amf", &change("amf", 1), "config/ns/amf/7", &change("amf", 2)]);
        assert_eq!(
            entries.iter().map(|e| e.lease.map(|l| l.0)).collect::<Vec<_>>(),
            [None, None, None, Some(lease)]
        );
        assert_eq!(&*entries[2].value, b"{7}");

        etcd.put("config/ns/amf", "{2}");
        etcd.put("config/ns/amfgw", "not ours");
        etcd.put(&change("amf", 3), "");
        etcd.delete(&change("amf", 1));
        let first = tail.put().await;
        assert_eq!(
            (text(&first.key), &*first.value, first.revision.0),
            ("config/ns/amf", b"{2}".as_slice(), revision + 1)
        );
        let second = tail.put().await;
        assert_eq!(
            (text(&second.key), second.value.len(), second.revision.0),
            (&*change("amf", 3), 0, revision + 3)
        );
        assert_eq!(tail.delete().await, (change("amf", 1), revision + 4));
        tail.quiet().await;
        assert_eq!(empty.put().await.revision.0 + 8, revision, "the first watch sees the same");
        assert_eq!(source.probe().await, Health::Ready);
    }
}

#[tokio::test]
async fn a_watch_that_is_resumed_misses_nothing_and_repeats_nothing() {
    let Some(etcd) = Etcd::single() else { return };
    let (source, scope) = (source(&etcd), scope("amf"));
    let mut tail = Tail::new(&source, &scope, None);
    tail.reset().await;
    etcd.put(&change("amf", 1), "[1]");
    tail.put().await;
    etcd.put("config/ns/amf/1", "{}");
    etcd.put(&change("amf", 2), "[2]");
    etcd.put("config/ns/amf", "{}");
    etcd.delete(&change("amf", 1));
    for fresh in [false, true] {
        let other = rig::source(&etcd);
        let mut resumed = Tail::new(if fresh { &other } else { &source }, &scope, Some(tail.revision));
        assert_eq!(text(&resumed.put().await.key), "config/ns/amf/1");
        assert_eq!(text(&resumed.put().await.key), change("amf", 2));
        assert_eq!(text(&resumed.put().await.key), "config/ns/amf");
        assert_eq!(resumed.delete().await.0, change("amf", 1));
        resumed.quiet().await;
        assert_eq!(resumed.resets, 0);
    }
}

#[tokio::test]
async fn history_that_was_compacted_away_is_replaced_by_everything() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let (source, scope) = (source(&etcd), scope("amf"));
        let mut tail = Tail::new(&source, &scope, None);
        tail.reset().await;
        etcd.put(&change("amf", 1), "[1]");
        let seen = tail.put().await.revision.0;
        etcd.put(&change("amf", 2), "[2]");
        etcd.put(&change("amf", 2), "[22]");
        etcd.delete(&change("amf", 1));
        etcd.compact(etcd.revision());
        let mut resumed = Tail::new(&source, &scope, Some(seen));
        let (revision, entries) = resumed.reset().await;
        assert_eq!((revision, entries.len(), &*entries[0].value), (etcd.revision(), 1, b"[22]".as_slice()));
        etcd.put(&change("amf", 3), "[3]");
        assert_eq!(resumed.put().await.revision.0, revision + 1, "it goes on");
        // What was compacted but seen before is no reason.
        etcd.compact(etcd.revision());
        let mut current = Tail::new(&source, &scope, Some(etcd.revision()));
        etcd.put(&change("amf", 4), "[4]");
        assert!(matches!(current.next().await, ConfigUpdate::Put(_)));
    }
}

#[tokio::test]
async fn a_source_that_is_closed_ends_its_watches_and_refuses_calls() {
    let Some(etcd) = Etcd::shared() else { return };
    let (source, scope) = (source(etcd), scope("closes"));
    let mut tail = Tail::new(&source, &scope, None);
    tail.reset().await;
    source.close().await.unwrap();
    source.close().await.unwrap();
    assert_eq!(tail.error().await.kind(), SourceErrorKind::Closed);
    assert_eq!(Tail::new(&source, &scope, None).error().await.kind(), SourceErrorKind::Closed);
    assert_eq!(source.read("any").await.unwrap_err().kind(), SourceErrorKind::Closed);
}
