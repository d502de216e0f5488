//! What a report leaves in the store, and the other calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use cim_core::{
    ChangeState, ChangeStatus, Commit, ConfigOutcome, ConfigSource as _, Lease, Reported, SourceErrorKind,
};
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use rig::source;

fn commit(key: &str, value: i32) -> ConfigOutcome {
    ConfigOutcome { commit: Some(Commit { key: key.to_owned(), value }), status: None }
}

fn status(key: &str, revision: i32) -> (String, ChangeStatus) {
    let status = ChangeStatus {
        data_key: "app.json".to_owned(),
        level: "ms".to_owned(),
        revision,
        state: ChangeState::Applied,
        reason: None,
        attempts: 1,
        received_ms: 5,
        pushed_ms: Some(6),
        settled_ms: Some(7),
        deadline_ms: None,
        store_revision: None,
        count_after: None,
    };
    (key.to_owned(), status)
}

#[tokio::test]
async fn commit_and_status_are_written_together_and_only_once() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let source = source(&etcd);
        let key = "commit-config/ns/amf/v1/ms/amf-0";
        let outcome =
            ConfigOutcome { status: Some(status("cim-status/amf-0/app.json", 7)), ..commit(key, 7) };
        let before = etcd.revision();
        assert_eq!(source.report(&outcome).await.unwrap(), Reported::Stored);
        assert_eq!(etcd.get(key).as_deref(), Some("7"));
        let json = etcd.get("cim-status/amf-0/app.json").unwrap();
        assert_eq!(serde_json::from_str::<ChangeStatus>(&json).unwrap(), status("", 7).1);
        assert_eq!(etcd.revision(), before + 1, "one transaction");
        assert_eq!(source.report(&outcome).await.unwrap(), Reported::Stored);
        assert_eq!(etcd.revision(), before + 1, "the same again writes nothing");
        assert_eq!(source.read(key).await.unwrap().as_deref(), Some(b"7".as_slice()));
        assert_eq!(source.read("commit-config/ns/amf/v1/ms/other").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_lower_revision_is_not_written_over_a_higher_one_and_a_failure_always_is() {
    let Some(etcd) = Etcd::shared() else { return };
    let source = source(etcd);
    let key = "commit-config/ns/rules/v1/ms/pod";
    let report = async |value| source.report(&commit(key, value)).await.unwrap();
    assert_eq!(report(8).await, Reported::Stored);
    assert_eq!(report(7).await, Reported::Superseded { stored: 8 });
    assert_eq!(etcd.get(key).as_deref(), Some("8"));
    let told = ConfigOutcome { status: Some(status("cim-status/rules", 7)), ..commit(key, 7) };
    assert_eq!(source.report(&told).await.unwrap(), Reported::Superseded { stored: 8 });
    assert!(etcd.get("cim-status/rules").is_some(), "its story is told all the same");
    assert_eq!(report(Commit::FAILED).await, Reported::Stored);
    assert_eq!(etcd.get(key).as_deref(), Some("-1"));
    assert_eq!(report(7).await, Reported::Stored);
    assert_eq!(report(Commit::UNUSED).await, Reported::Stored);
    etcd.put(key, "no number");
    assert_eq!(report(3).await, Reported::Stored);
    assert_eq!(etcd.get(key).as_deref(), Some("3"));
    let nothing = ConfigOutcome { commit: None, status: None };
    assert_eq!(source.report(&nothing).await.unwrap(), Reported::Stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_highest_of_many_writers_wins() {
    let Some(etcd) = Etcd::shared() else { return };
    let key = "commit-config/ns/race/v1/ms/pod";
    let sources: Vec<_> = (0..4).map(|_| Arc::new(source(etcd))).collect();
    let reports = (1..=40).map(|value| {
        let source = Arc::clone(&sources[value as usize % 4]);
        async move {
            let outcome = commit(key, value);
            // What the engine does with a failure.
            while source.report(&outcome).await.is_err() {}
        }
    });
    futures_util::future::join_all(reports).await;
    assert_eq!(etcd.get(key).as_deref(), Some("40"));
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_as_such() {
    let Some(etcd) = Etcd::shared() else { return };
    let source = source(etcd);
    let (key, mut large) = status("cim-status/large", 1);
    large.reason = Some("x".repeat(2 << 20));
    let outcome = ConfigOutcome { commit: None, status: Some((key, large)) };
    let error = source.report(&outcome).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Full, "{error}");
    assert!(error.to_string().starts_with("cannot store a result at http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_store_over_its_quota_is_full_until_the_alarm_is_disarmed() {
    for version in EtcdVersion::ALL {
        let plan = EtcdPlan::new().version(version).argument("--quota-backend-bytes=1000000");
        let Some(etcd) = plan.start() else { return };
        let source = source(&etcd);
        let mut filled = 0;
        while etcd.member(0).etcdctl(&["put", &format!("fill/{filled}"), &"x".repeat(100_000)]).is_ok() {
            filled += 1;
        }
        let error = source.report(&commit("commit-config/ns/full/v1/ms/pod", 1)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Full, "{error}");
        assert_eq!(
            source.read("fill/0").await.unwrap().map(|value| value.len()),
            Some(100_000),
            "reads go on"
        );
        let _ = etcd.etcdctl(&["del", "--prefix", "fill/"]);
        etcd.compact(etcd.revision());
        let _ = etcd.etcdctl(&["defrag"]);
        let _ = etcd.etcdctl(&["alarm", "disarm"]);
        assert_eq!(
            source.report(&commit("commit-config/ns/full/v1/ms/pod", 1)).await.unwrap(),
            Reported::Stored
        );
    }
}

#[tokio::test]
async fn a_lease_tells_how_long_it_lasts() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let source = source(&etcd);
        let lease = etcd.put_for("leased", "value", 180);
        let left = source.time_left(Lease(lease)).await.unwrap().unwrap();
        assert!(left > Duration::from_secs(170) && left <= Duration::from_secs(180), "{left:?}");
        let _ = etcd.etcdctl(&["lease", "revoke", &format!("{lease:x}")]);
        assert_eq!(source.time_left(Lease(lease)).await.unwrap(), None);
        assert_eq!(source.time_left(Lease(1)).await.unwrap(), None);
    }
}
