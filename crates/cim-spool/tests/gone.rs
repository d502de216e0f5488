//! Spools of pods that are gone: which of the neighbours go, in which order, and what is never touched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use cim_spool::{AsideLimits, GoneUse, RealFiles, Spool, SpoolOptions, Stream, StreamOptions, bound_gone};
use support::append;

const HOUR: Duration = Duration::from_secs(3600);
const NO_LIMITS: AsideLimits = AsideLimits { max_bytes: u64::MAX, max_age: None };
const NOTHING: AsideLimits = AsideLimits { max_bytes: 0, max_age: None };

/// A directory of spools, and when "now" is.
struct Node {
    home: tempfile::TempDir,
    now: SystemTime,
}

impl Node {
    fn new() -> Self {
        let node = Self { home: tempfile::tempdir().unwrap(), now: SystemTime::now() };
        drop(node.live("own"));
        node
    }

    fn path(&self, pod: &str) -> PathBuf {
        self.home.path().join(format!("ns1_{pod}"))
    }

    /// The spool of a pod that runs, with some records.
    fn live(&self, pod: &str) -> (Spool, Stream) {
        let options =
            SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new(self.path(pod), format!("ns1/{pod}")) };
        let mut spool = Spool::open(Arc::new(RealFiles), options).unwrap();
        let (mut stream, _) = spool.stream(StreamOptions::new("logs", 1 << 20, 1 << 24)).unwrap();
        append(&mut stream, 3);
        (spool, stream)
    }

    /// The spool of a pod that wrote for the last time so many hours ago.
    fn dead(&self, pod: &str, hours: u32) -> PathBuf {
        drop(self.live(pod));
        self.written(&self.path(pod), hours);
        self.path(pod)
    }

    /// What it is called while it is being removed.
    fn going(&self, pod: &str) -> PathBuf {
        self.home.path().join(format!(".going-ns1_{pod}"))
    }

    fn written(&self, dir: &Path, hours: u32) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                self.written(&entry.path(), hours);
            } else {
                File::open(entry.path()).unwrap().set_modified(self.now - HOUR * hours).unwrap();
            }
        }
    }

    fn bound(&self, limits: AsideLimits) -> GoneUse {
        bound_gone(&self.path("own"), limits, self.now).unwrap()
    }

    fn removed(&self, limits: AsideLimits) -> Vec<PathBuf> {
        let used = self.bound(limits);
        assert!(used.failed.is_empty(), "{:?}", used.failed);
        used.removed.into_iter().map(|gone| gone.path).collect()
    }
}

#[test]
fn those_written_longest_ago_go_until_the_rest_is_within_the_bytes() {
    let node = Node::new();
    let [middle, old, young] = [node.dead("mid", 2), node.dead("old", 3), node.dead("new", 1)];
    let all = node.bound(NO_LIMITS);
    assert_eq!((all.removed.len(), all.bytes % 3), (0, 0), "three of one size");
    let one = AsideLimits { max_bytes: all.bytes / 3, ..NO_LIMITS };
    let used = node.bound(one);
    let removed: Vec<_> = used.removed.iter().map(|gone| (&gone.path, gone.bytes, gone.is_too_old)).collect();
    assert_eq!(removed, [(&old, all.bytes / 3, false), (&middle, all.bytes / 3, false)]);
    assert_eq!(
        (used.bytes, young.exists(), old.exists(), middle.exists()),
        (all.bytes / 3, true, false, false)
    );
    assert!(node.path("own").exists());
}

#[test]
fn age_counts_from_the_last_write() {
    let node = Node::new();
    let (old, young) = (node.dead("old", 3), node.dead("young", 1));
    let limits = AsideLimits { max_age: Some(HOUR * 2), ..NO_LIMITS };
    let used = node.bound(limits);
    assert_eq!((used.removed.len(), used.removed[0].is_too_old), (1, true));
    assert_eq!((old.exists(), young.exists()), (false, true));
    assert_eq!(node.removed(limits), [] as [PathBuf; 0]);
}

#[test]
fn a_neighbour_that_lives_stays_whatever_its_age_and_does_not_count() {
    let node = Node::new();
    let live = node.live("live");
    node.written(&node.path("live"), 100);
    let dead = node.dead("dead", 1);
    let limits = AsideLimits { max_age: Some(HOUR * 2), ..NO_LIMITS };
    let used = node.bound(limits);
    assert_eq!(used.removed, []);
    let within = AsideLimits { max_bytes: used.bytes, ..limits };
    assert_eq!(node.removed(within), [] as [PathBuf; 0], "only the dead one counts");
    assert_eq!(node.removed(NOTHING), [dead]);
    drop(live);
    assert_eq!(node.removed(limits), [node.path("live")]);
}

#[test]
fn what_does_not_say_that_it_is_the_spool_of_its_name_stays() {
    let node = Node::new();
    let strange = node.home.path().join("ns1_strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("precious"), "data").unwrap();
    fs::write(node.home.path().join("ns1_file"), "data").unwrap();
    let renamed = node.home.path().join("ns1_renamed");
    fs::rename(node.dead("was", 9), &renamed).unwrap();
    assert_eq!(node.removed(NOTHING), [] as [PathBuf; 0]);
    assert!(strange.join("precious").exists() && renamed.exists());
    // Its label is lost, and a segment still tells.
    let unlabelled = node.dead("unlabelled", 9);
    fs::remove_file(unlabelled.join("spool.meta")).unwrap();
    assert_eq!(node.removed(NOTHING), [unlabelled]);
}

#[test]
fn symbolic_links_are_not_followed() {
    let node = Node::new();
    let outside = Node::new();
    let target = outside.dead("linked", 9);
    symlink(&target, node.path("linked")).unwrap();
    let inner = node.dead("inner", 9);
    symlink(&target, inner.join("out")).unwrap();
    let linked = node.bound(NO_LIMITS).bytes;
    assert_eq!(node.removed(NOTHING), [inner]);
    assert!(target.join("spool.meta").exists() && target.join("logs").exists());
    assert!(linked < 2 * outside.bound(NO_LIMITS).bytes, "what a link leads to does not count");
    assert!(fs::symlink_metadata(node.path("linked")).is_ok());
}

#[test]
fn one_that_cannot_be_removed_is_told_and_the_next_one_goes() {
    let node = Node::new();
    let (stuck, next) = (node.dead("stuck", 3), node.dead("next", 2));
    for (dir, mode) in
        [(node.home.path(), 0o777), (&next, 0o777), (&next.join("logs"), 0o777), (&stuck, 0o555)]
    {
        fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
    }
    for meta in [&stuck, &next] {
        fs::set_permissions(meta.join("spool.meta"), Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(stuck.join("logs"), Permissions::from_mode(0o555)).unwrap();
    let own = node.path("own");
    let now = node.now;
    // The administrator may remove everything, so a thread without rights has to try.
    let used = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_res_uid(None, rustix::thread::Uid::from_raw(65_534), None).unwrap();
        }
        bound_gone(&own, NOTHING, now).unwrap()
    });
    let used = used.join().unwrap();
    assert_eq!(used.removed.iter().map(|gone| &gone.path).collect::<Vec<_>>(), [&next]);
    let left = node.going("stuck");
    assert_eq!((used.failed.len(), &used.failed[0].0), (1, &left));
    assert!(used.bytes > 0, "what stays counts");
    fs::set_permissions(&left, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(left.join("logs"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(node.removed(NO_LIMITS), [left]);
}

#[test]
fn a_removal_that_broke_off_is_finished_before_anybody_else_goes() {
    let node = Node::new();
    let (young, old) = (node.dead("young", 1), node.dead("old", 9));
    let all = node.bound(NO_LIMITS).bytes;
    let left = node.going("young");
    fs::rename(&young, &left).unwrap();
    fs::remove_file(left.join("spool.meta")).unwrap();
    assert_eq!(node.removed(AsideLimits { max_bytes: all / 2, ..NO_LIMITS }), [left]);
    assert!(old.exists());
}

#[test]
fn a_pod_starts_with_the_name_of_one_that_is_being_removed() {
    const ROUNDS: usize = 300;
    let node = Node::new();
    let (path, own, now) = (node.path("back"), node.path("own"), node.now);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(bound_gone(&own, NOTHING, now).unwrap().failed.is_empty());
            }
        });
        // Also when a round fails: the other thread would go on for ever.
        let _ends = Ends(&is_over);
        for _ in 0..ROUNDS {
            let patience = Duration::from_secs(30);
            let options = SpoolOptions { reserve_bytes: 0, patience, ..SpoolOptions::new(&path, "ns1/back") };
            let mut spool = Spool::open(Arc::new(RealFiles), options).unwrap();
            let (mut stream, _) = spool.stream(StreamOptions::new("logs", 1 << 20, 1 << 24)).unwrap();
            append(&mut stream, 3);
            assert!(spool.is_present());
        }
    });
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
