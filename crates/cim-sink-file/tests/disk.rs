//! A disk that is full or read-only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::fs;

use cim_core::{DeliveryErrorKind, Undelivered};
use cim_sink_file::FileDurability;
use cim_testkit::{CannotExpress, Harness, Sample, skipped};
use rig::{FileHarness, numbered, subject};

/// A full disk: whole records only, the error says exactly which ones are there, and nothing is repeated after.
#[tokio::test]
async fn a_full_disk_leaves_no_half_line_and_no_repeat() {
    for durability in [FileDurability::Written, FileDurability::Synced] {
        let harness = FileHarness::new(durability);
        if let Err(CannotExpress(why)) = harness.fill(48 << 10) {
            skipped(&why);
            return;
        }
        let subject = subject(&harness.settings());
        let batch: Vec<_> = (1..200).map(|seq| Sample::with_body(seq, "app", &[b'f'; 1_500])).collect();
        let error = subject.deliver(&batch).await.unwrap_err();
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
        assert_eq!(error.to_string(), "cannot write to `pod-1_ns1_app-c0ffee.log`: the file system is full");
        let Undelivered::Only(missing) = error.undelivered() else { panic!("{error:?}") };
        let text = |samples: &[Sample]| -> Vec<u8> {
            samples.iter().flat_map(|sample| [&sample.body, b"\n".as_slice()].concat()).collect()
        };
        let first = missing[0];
        assert!(first > 0, "nothing fitted, so nothing was cut");
        assert_eq!(missing, &(first..199).collect::<Vec<_>>());
        let file = harness.dir().join("pod-1_ns1_app-c0ffee.log");
        assert!(fs::read(&file).unwrap() == text(&batch[..first]));
        harness.heal().await;
        subject.deliver(&batch[first..]).await.unwrap();
        assert!(fs::read(&file).unwrap() == text(&batch));
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_waited_for() {
    let harness = FileHarness::new(FileDurability::Written);
    let Some(mount) = &harness.mount else {
        skipped("mounting is not permitted, so no file system can be made read-only");
        return;
    };
    fs::create_dir_all(harness.dir()).unwrap();
    mount.remount("ro");
    let subject = subject(&harness.settings());
    let error = subject.deliver(&numbered(1..2, "app")).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
    assert_eq!(error.to_string(), "cannot open `pod-1_ns1_app-c0ffee.log`: the file system is read-only");
    mount.remount("rw");
    subject.deliver(&numbered(1..2, "app")).await.unwrap();
}
