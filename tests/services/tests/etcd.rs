//! The harness itself: members that start, fail, come back, and what etcdctl sees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::time::Duration;

use cim_services::{Etcd, EtcdPlan, EtcdVersion, until};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_member_that_is_killed_keeps_its_keys_and_its_address() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let address = etcd.member(0).address();
        etcd.put("a", "1\n2");
        etcd.put_bytes(b"\xff\xfe", b"");
        let before = etcd.revision();
        etcd.member(0).restart();
        assert_eq!((etcd.member(0).address(), etcd.revision()), (address, before));
        assert_eq!((etcd.get("a").as_deref(), etcd.get("b")), (Some("1\n2"), None));
        etcd.delete("a");
        assert_eq!(etcd.get("a"), None);
        etcd.member(0).pause();
        assert!(!etcd.member(0).serves());
        etcd.member(0).resume();
        etcd.member(0).wait_ready();
    }
}

#[test]
fn a_snapshot_brings_the_old_keys_and_the_old_revision_back() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        etcd.put("a", "old");
        let (file, revision) = (etcd.home().join("snapshot"), etcd.revision());
        etcd.save(&file);
        etcd.put("a", "new");
        etcd.restore(&file, &[]);
        assert_eq!((etcd.get("a").as_deref(), etcd.revision()), (Some("old"), revision), "{version:?}");
    }
}

#[test]
fn three_members_follow_a_leader_that_can_be_moved_and_replaced() {
    let Some(etcd) = Etcd::cluster(3) else { return };
    etcd.put("a", "1");
    let leader = etcd.leader();
    let next = (leader + 1) % 3;
    etcd.move_leader(next);
    etcd.member(next).kill();
    until("a third leads", PATIENCE, || etcd.leader() != next);
    assert_eq!(etcd.get("a").as_deref(), Some("1"));
    etcd.member(next).restart();
}
