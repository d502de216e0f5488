//! The file sink on real directories: conformance, rotation, hostile names, and what happens underneath.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cim_core::settings::{ByteSize, Period};
use cim_core::{
    Class, Component, DeliveryErrorKind, Durability, EventSink, Health, Identity, LogSink, Sink, Undelivered,
    async_trait,
};
use cim_sink_file::{FileDurability, FileSettings, FileSink};
use cim_testkit::{CannotExpress, Fault, Harness, Sample, Subject, skipped};

/// 2021-03-01T00:00:00.123Z
const NOW: u64 = 1_614_556_800_123;

fn identity() -> Identity {
    Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() }
}

/// A small file system of its own; unmounted when dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn new(dir: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir.to_owned()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[derive(Debug)]
struct FileHarness {
    root: tempfile::TempDir,
    mount: Option<Mount>,
    durability: FileDurability,
}

impl FileHarness {
    fn new(durability: FileDurability) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mount = Mount::new(&root.path().join("fs"), "size=32m");
        Self { root, mount, durability }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("fs/logs")
    }

    fn settings(&self) -> FileSettings {
        FileSettings { dir: self.dir(), durability: self.durability, ..FileSettings::default() }
    }

    /// Takes all room but so many bytes, which pages of the file system may round up.
    fn fill(&self, but: u64) -> Result<(), CannotExpress> {
        let Some(mount) = &self.mount else {
            return Err(CannotExpress("mounting is not permitted, so no disk can be full".to_owned()));
        };
        let filler = fs::File::create(mount.0.join("filler")).unwrap();
        let mut size = 0;
        for step in [1 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), size, step).is_ok() {
                size += step;
            }
        }
        filler.set_len(size - but).unwrap();
        Ok(())
    }
}

#[async_trait]
impl Harness for FileHarness {
    fn build(&self) -> Sink {
        Sink::both(Arc::new(FileSink::new("disk", &identity(), &self.settings())))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        if class == Class::Log {
            return [&sample.body, b"\n".as_slice()].concat();
        }
        let mut body = Vec::new();
        cim_wire::json::push_string(&sample.body, &mut body);
        let head =
            format!("{{\"eventName\":\"SampleRaised\",\"eventTime\":{},\"managedObject\":null,", sample.seq);
        let list = [b"\"additionalInfo\":[{\"name\":\"body\",\"value\":".as_slice(), &body, b"}],"].concat();
        let tail = format!(
            "\"sourceHeaders\":{{\"podId\":\"pod-1\",\"microservice\":\"\",\"nf\":\"\",\"nfPrefix\":\"ns1\",\
             \"nfType\":\"\",\"svcVersion\":\"\"}},\"containerId\":\"{}\"}}\n",
            sample.container
        );
        [head.as_bytes(), &list, tail.as_bytes()].concat()
    }

    async fn read(&self, class: Class) -> Vec<Vec<u8>> {
        let mut files = Vec::new();
        for dir in [self.dir(), self.root.path().join("fs/aside")] {
            for (name, content) in contents(&dir) {
                if name.ends_with(".jsonl") == (class == Class::Event) {
                    files.push(content);
                }
            }
        }
        files
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        match fault {
            Fault::Absent => {
                // A file stands where the directory should be.
                if self.dir().exists() {
                    fs::rename(self.dir(), self.root.path().join("fs/aside")).unwrap();
                }
                fs::write(self.dir(), b"").unwrap();
                Ok(())
            }
            // Two pages are left, so some of the 20 kB fit.
            Fault::CutMidBatch => self.fill(8 << 10),
            Fault::Stalled => Err(CannotExpress("a local disk cannot be made to hang".to_owned())),
        }
    }

    async fn heal(&self) {
        // Emptied first: a process that another test is just starting may hold the file open for a moment.
        let filler = self.root.path().join("fs/filler");
        let _ = fs::File::options().write(true).open(&filler).and_then(|file| file.set_len(0));
        let _ = fs::remove_file(filler);
        if self.dir().is_file() {
            fs::remove_file(self.dir()).unwrap();
            let aside = self.root.path().join("fs/aside");
            if aside.exists() {
                fs::rename(aside, self.dir()).unwrap();
            }
        }
    }
}

cim_testkit::conformance!(logs_written: logs, FileHarness::new(FileDurability::Written));
cim_testkit::conformance!(logs_synced: logs, FileHarness::new(FileDurability::Synced));
cim_testkit::conformance!(events: events, FileHarness::new(FileDurability::Written));

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn subject(settings: &FileSettings) -> Subject {
    let sink = Arc::new(FileSink::with_clock("disk", &identity(), settings, || NOW));
    Subject::of(Sink::both(sink), Class::Log, Duration::from_secs(10)).unwrap()
}

fn in_dir(dir: &Path) -> FileSettings {
    FileSettings { dir: dir.to_owned(), ..FileSettings::default() }
}

fn numbered(range: std::ops::Range<u64>, container: &str) -> Vec<Sample> {
    range.map(|seq| Sample::numbered(seq, container)).collect()
}

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

#[test]
fn the_registry_entry_knows_its_table() {
    let kind = cim_sink_file::KIND;
    let check = |table: serde_json::Value| {
        (kind.validate)(&table).into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(check(serde_json::json!({})), [""; 0]);
    let full = serde_json::json!({
        "dir": "/opt/logs", "max_size": "10MiB", "max_files": 10, "max_age": "7d", "buffer": "10KB", "flush": "10s",
        "durability": "synced",
    });
    assert_eq!(check(full), [""; 0]);
    assert_eq!(
        check(serde_json::json!({ "dir": "", "max_size": 0, "buffer": "0B" })),
        [
            "dir: is empty; name the directory of the log files",
            "max_size: must be at least 1B",
            "buffer: must be at least 1B",
        ]
    );
    assert!(check(serde_json::json!({ "max_sise": 1 }))[0].contains("unknown field `max_sise`"));
    assert_eq!((kind.schema)()["additionalProperties"], false);
}

#[test]
fn defaults_and_promises() {
    let settings = FileSettings::default();
    assert_eq!(settings.max_size, ByteSize::mib(10));
    assert_eq!((settings.max_files, settings.max_age), (10, Period::seconds(7 * 86_400)));
    let sink = FileSink::new("disk", &identity(), &settings);
    assert_eq!(LogSink::profile(&sink).durability, Durability::Written);
    assert_eq!(EventSink::profile(&sink).durability, Durability::Synced);
    let sink =
        FileSink::new("disk", &identity(), &FileSettings { durability: FileDurability::Synced, ..settings });
    assert_eq!(LogSink::profile(&sink).durability, Durability::Synced);
}
