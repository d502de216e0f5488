//! Names that applications choose, and what else stands under them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cim_core::settings::ByteSize;
use cim_core::{Class, Component, DeliveryErrorKind, Health, Sink, Undelivered};
use cim_sink_file::{FileSettings, FileSink};
use cim_testkit::{Sample, Subject};
use rig::{contents, identity, in_dir, numbered, subject};

#[tokio::test]
async fn hostile_names_stay_in_the_directory_and_idle_files_are_closed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b/logs");
    let sink = subject(&in_dir(&dir));
    let long = "n".repeat(4_096);
    let hostile = [
        "../../etc/x",
        "/abs",
        "a/b",
        ".",
        "..",
        "",
        &long,
        "nul\0",
        "new\nline",
        "%s",
        "\"'",
        "\u{202e}",
        "-rf",
    ];
    let batch: Vec<_> = hostile.iter().zip(1..).map(|(name, seq)| Sample::numbered(seq, name)).collect();
    sink.deliver(&batch).await.unwrap();
    assert_eq!(contents(&dir).len(), hostile.len());
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o755);
    let outside =
        fs::read_dir(root.path()).unwrap().count() + fs::read_dir(root.path().join("a")).unwrap().count();
    assert_eq!(outside, 2, "something was created outside of the directory");

    let mut batch: Vec<_> =
        (0..3_000).map(|seq| Sample::numbered(seq, &format!("c{}", seq % 1_000))).collect();
    batch.sort_by_key(|sample| sample.seq);
    sink.deliver(&batch).await.unwrap();
    let open =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let open = open.filter(|target| target.starts_with(&dir)).count();
    assert!(open <= 65, "{open} files are open");
    assert_eq!(contents(&dir).len(), hostile.len() + 1_000);
    let seventh = &contents(&dir)["pod-1_ns1_c7-c0ffee.log"];
    assert_eq!(seventh, b"c7 says 000007\nc7 says 001007\nc7 says 002007\n");
}

#[tokio::test]
async fn what_is_deleted_moved_or_shortened_underneath_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("logs");
    let file = dir.join("pod-1_ns1_app-c0ffee.log");
    let sink = subject(&in_dir(&dir));
    let deliver = async |seq: u64| sink.deliver(&numbered(seq..seq + 1, "app")).await.unwrap();
    deliver(1).await;
    fs::remove_file(&file).unwrap();
    deliver(2).await;
    assert_eq!(fs::read(&file).unwrap(), b"app says 000002\n", "deleted file");
    fs::rename(&file, dir.join("moved")).unwrap();
    deliver(3).await;
    assert_eq!(fs::read(&file).unwrap(), b"app says 000003\n", "moved file");
    fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    deliver(4).await;
    assert_eq!(fs::read(&file).unwrap(), b"app says 000004\n", "shortened file");
    fs::remove_dir_all(&dir).unwrap();
    deliver(5).await;
    assert_eq!(fs::read(&file).unwrap(), b"app says 000005\n", "deleted directory");
    fs::rename(&dir, root.path().join("elsewhere")).unwrap();
    deliver(6).await;
    assert_eq!(fs::read(&file).unwrap(), b"app says 000006\n", "moved directory");
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_file_holds_up_nobody() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("logs");
    fs::create_dir_all(dir.join("pod-1_ns1_dir-c0ffee.log")).unwrap();
    fs::write(root.path().join("secret"), b"untouched").unwrap();
    symlink(root.path().join("secret"), dir.join("pod-1_ns1_link-c0ffee.log")).unwrap();
    let fifo = dir.join("pod-1_ns1_fifo-c0ffee.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let settings = in_dir(&dir);
    let sink = Arc::new(FileSink::new("disk", &identity(), &settings));
    let subject = Subject::of(Sink::both(Arc::clone(&sink)), Class::Log, Duration::from_secs(10)).unwrap();
    let texts = [
        ("dir", "cannot open `pod-1_ns1_dir-c0ffee.log`: a directory stands in its place"),
        (
            "link",
            "cannot open `pod-1_ns1_link-c0ffee.log`: a symbolic link stands in its place, and links are not followed",
        ),
        (
            "fifo",
            "cannot open `pod-1_ns1_fifo-c0ffee.log`: something that is not a regular file stands in its place",
        ),
    ];
    for (container, text) in texts {
        let batch = [
            Sample::numbered(1, "good"),
            Sample::numbered(2, container),
            Sample::numbered(3, "good"),
            Sample::numbered(4, container),
        ];
        subject.deliver(&batch).await.unwrap();
        let detour = format!("pod-1_ns1_{container}-c0ffee%1.log");
        let lines = format!("{container} says 000002\n{container} says 000004\n");
        assert_eq!(String::from_utf8_lossy(&contents(&dir)[&detour]), lines);
        let health = Health::Degraded(format!("{text}; its records go to `{detour}`"));
        assert_eq!(sink.probe().await, health);
        // Taken away: its own name again, and what is in the detour stays there.
        fs::rename(dir.join(format!("pod-1_ns1_{container}-c0ffee.log")), root.path().join(container))
            .unwrap();
        subject.deliver(&numbered(5..6, container)).await.unwrap();
        assert_eq!(sink.probe().await, Health::Ready);
        let files = contents(&dir);
        assert_eq!(String::from_utf8_lossy(&files[&detour]), lines);
        let own = &files[&format!("pod-1_ns1_{container}-c0ffee.log")];
        assert_eq!(String::from_utf8_lossy(own), format!("{container} says 000005\n"));
    }
    assert_eq!(fs::read(root.path().join("secret")).unwrap(), b"untouched");
    assert_eq!(contents(&dir)["pod-1_ns1_good-c0ffee.log"].iter().filter(|byte| **byte == b'\n').count(), 6);
}

/// A detour is rotated and thinned out like any file, and a place that is taken as well is passed over.
#[tokio::test]
async fn a_detour_is_rotated_and_thinned_out() {
    let root = tempfile::tempdir().unwrap();
    for taken in ["pod-1_ns1_app-c0ffee.log", "pod-1_ns1_app-c0ffee%1.log"] {
        fs::create_dir(root.path().join(taken)).unwrap();
    }
    let settings = FileSettings { max_size: ByteSize::bytes(48), max_files: 2, ..in_dir(root.path()) };
    let sink = FileSink::new("disk", &identity(), &settings);
    let subject = Subject::of(Sink::both(Arc::new(sink)), Class::Log, Duration::from_secs(10)).unwrap();
    for n in 0..12 {
        subject.deliver(&numbered(n..n + 1, "app")).await.unwrap();
    }
    let files = contents(root.path());
    let backups = files.keys().filter(|name| name.starts_with("pod-1_ns1_app-c0ffee%2-")).count();
    assert_eq!((backups, files.len()), (2, 3), "{:?}", files.keys());
    let newest: Vec<_> = files
        .values()
        .flat_map(|bytes| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(newest.contains(&"app says 000011".to_owned()), "{newest:?}");
}

/// Where no file can be opened at all, the records wait.
#[tokio::test]
async fn without_any_free_name_the_records_wait() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("pod-1_ns1_app-c0ffee.log")).unwrap();
    for nth in 1..=9 {
        fs::create_dir(root.path().join(format!("pod-1_ns1_app-c0ffee%{nth}.log"))).unwrap();
    }
    let sink = FileSink::new("disk", &identity(), &in_dir(root.path()));
    let subject = Subject::of(Sink::both(Arc::new(sink)), Class::Log, Duration::from_secs(10)).unwrap();
    let batch = [Sample::numbered(1, "good"), Sample::numbered(2, "app")];
    let error = subject.deliver(&batch).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Misconfigured);
    assert_eq!(error.undelivered(), &Undelivered::Only(vec![1]));
}
