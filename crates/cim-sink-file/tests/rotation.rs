//! Rotation, backups, and the file a killed process left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use cim_core::settings::ByteSize;
use cim_sink_file::FileSettings;
use cim_testkit::Sample;
use rig::{contents, in_dir, numbered, subject};

/// Recorded case "rotation": 4200 payloads of 1023 bytes, files of 1 MiB, two backups.
#[tokio::test]
async fn rotation_is_the_originals() {
    let dir = tempfile::tempdir().unwrap();
    let settings = FileSettings { max_size: ByteSize::mib(1), max_files: 2, ..in_dir(dir.path()) };
    let sink = subject(&settings);
    for first in (0..4_200).step_by(70) {
        let batch: Vec<_> =
            (first..first + 70).map(|seq| Sample::with_body(seq, "app", &[b'x'; 1_016])).collect();
        sink.deliver(&batch).await.unwrap();
    }
    let files = contents(dir.path());
    let summary: Vec<_> = files
        .iter()
        .map(|(name, content)| {
            let number = |at: usize| String::from_utf8(content[at..at + 6].to_vec()).unwrap();
            (name.as_str(), content.len(), number(0), number(content.len() - 1_024))
        })
        .collect();
    let expected = [
        ("pod-1_ns1_app-c0ffee-2021-03-01T00-00-00.125.log_bkp", 1_048_576, "002048", "003071"),
        ("pod-1_ns1_app-c0ffee-2021-03-01T00-00-00.126.log_bkp", 1_048_576, "003072", "004095"),
        ("pod-1_ns1_app-c0ffee.log", 106_496, "004096", "004199"),
    ];
    let expected: Vec<_> = expected.map(|(name, size, a, b)| (name, size, a.to_owned(), b.to_owned())).into();
    assert_eq!(summary, expected);
    for name in files.keys() {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, 0o644, "{name}");
    }
}

#[tokio::test]
async fn a_record_above_the_limit_has_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sink = subject(&FileSettings { max_size: ByteSize::bytes(100), max_files: 0, ..in_dir(dir.path()) });
    let batch = [
        Sample::numbered(1, "app"),
        Sample::with_body(2, "app", &[b'L'; 500]),
        Sample::numbered(3, "app"),
        Sample::with_body(4, "app", &[b'M'; 101]),
    ];
    sink.deliver(&batch).await.unwrap();
    let files = contents(dir.path());
    let joined: Vec<u8> = files.values().flatten().copied().collect();
    let expected: Vec<u8> =
        batch.iter().flat_map(|sample| [&sample.body, b"\n".as_slice()].concat()).collect();
    assert_eq!(files.len(), 4, "{:?}", files.keys());
    assert!(joined == expected);
}

/// Backups are deleted by the time in their name, at the first batch and at rotations; other files never.
#[tokio::test]
async fn old_backups_go_and_strangers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let stay = [
        "pod-1_ns1_app-c0ffee-2021-02-28T00-00-00.000.log_bkp",
        "pod-12_ns1_app-c0ffee-2001-01-01T00-00-00.000.log_bkp",
        "pod-1_ns1_app-c0ffee.log_bkp",
        "pod-1_ns1_app-c0ffee-yesterday.log_bkp",
        "notes.txt",
    ];
    let go = [
        "pod-1_ns1_app-c0ffee-2021-02-20T00-00-00.000.log_bkp",
        "pod-1_ns1_gone-id-2001-01-01T00-00-00.000.log_bkp",
    ];
    for name in stay.iter().chain(&go) {
        fs::write(dir.path().join(name), b"x\n").unwrap();
    }
    subject(&in_dir(dir.path())).deliver(&numbered(1..2, "other")).await.unwrap();
    let files = contents(dir.path());
    assert!(stay.iter().all(|name| files.contains_key(*name)), "{:?}", files.keys());
    assert!(!go.iter().any(|name| files.contains_key(*name)), "{:?}", files.keys());
}

/// Half a line of a killed process gets its end, so that the record delivered again stands alone.
#[tokio::test]
async fn half_a_line_of_a_killed_process_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pod-1_ns1_app-c0ffee.log");
    fs::write(&file, b"whole\nha").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let sink = subject(&FileSettings { max_size: ByteSize::bytes(30), ..in_dir(dir.path()) });
    sink.deliver(&numbered(1..3, "app")).await.unwrap();
    let files = contents(dir.path());
    assert_eq!(
        files["pod-1_ns1_app-c0ffee-2021-03-01T00-00-00.123.log_bkp"],
        b"whole\nha\napp says 000001\n"
    );
    assert_eq!(files["pod-1_ns1_app-c0ffee.log"], b"app says 000002\n");
    let mode = fs::metadata(&file).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600, "the fresh file takes over the mode of the rotated one");
}
