//! Members that die, freeze and are cut off; stores that are set back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_config_etcd::{EtcdSource, Pace};
use cim_core::Component as _;
use cim_core::{Commit, ConfigOutcome, ConfigSource as _, Health, Pauses, Reported, SourceErrorKind};
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_testkit::{Behaviour, ChaosProxy, has_time, until};
use rig::{CALL_LIMIT, PATIENCE, Tail, change, hasty, patient, scope, text};
use tokio::time::{Instant, timeout};

/// What a loaded machine may add to a time limit.
const SLACK: Duration = Duration::from_secs(10);

/// A cluster of three, each member behind a proxy that tells which one is used.
struct Proxied {
    etcd: Arc<Etcd>,
    proxies: Vec<ChaosProxy>,
}

impl Proxied {
    fn start(plan: EtcdPlan<'_>) -> Option<Self> {
        let etcd = Arc::new(plan.start()?);
        let proxies = etcd.members().iter().map(|member| ChaosProxy::start(member.address(), 1).unwrap());
        let proxies = proxies.collect();
        Some(Self { etcd, proxies })
    }

    fn endpoints(&self) -> Vec<String> {
        self.proxies.iter().map(|proxy| proxy.address().to_string()).collect()
    }

    /// The member that is used. A connection that has just ended is followed by another.
    async fn used(&self) -> usize {
        let used = || self.proxies.iter().position(|proxy| proxy.live() > 0);
        until("a connection", PATIENCE, async || used().is_some()).await;
        used().expect("a connection")
    }
}

/// Puts one change after the other until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(etcd: &Arc<Etcd>) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (etcd, stopped, count) = (Arc::clone(etcd), Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let key = change("amf", count.load(Ordering::Relaxed) + 1);
                // Fails while there is no leader, or when it goes to a member that was just killed.
                if etcd
                    .command()
                    .args(["put", &key, "x", "--command-timeout=2s"])
                    .output()
                    .unwrap()
                    .status
                    .success()
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    /// Stops; how many were written.
    fn stop(&mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

/// From an error of the watch until the source watched again.
struct Outage {
    cut: Instant,
    back: Instant,
}

impl Outage {
    /// How long it lasted while the cluster had a leader: before, nobody could be watched.
    fn since(&self, led: Instant) -> Duration {
        self.back.saturating_duration_since(self.cut.max(led))
    }
}

/// Reads updates and begins again after errors, as the engine does, until `done`; the times without a watch.
async fn follow(tail: &mut Tail, source: &EtcdSource, mut done: impl FnMut(&Tail) -> bool) -> Vec<Outage> {
    let (mut outages, mut cut) = (Vec::new(), None);
    let deadline = Instant::now() + 3 * PATIENCE;
    // That of the engine before it begins a watch again.
    let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_millis(50));
    while cut.is_some() || !done(tail) {
        assert!(Instant::now() < deadline, "at {}", tail.revision);
        let before = tail.revision;
        match tail.within(Duration::from_millis(20)).await {
            Some(Ok(_)) => assert!(tail.revision > before, "{} comes again", tail.revision),
            Some(Err(error)) => {
                assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
                cut.get_or_insert_with(Instant::now);
                pauses.wait().await;
                tail.resume(source, &scope("amf"));
            }
            None => {}
        }
        if source.probe().await == Health::Ready {
            outages.extend(cut.take().map(|cut| Outage { cut, back: Instant::now() }));
        }
    }
    outages
}

/// Notes beside the test when one of the members that are left leads.
fn leads_without(etcd: &Arc<Etcd>, victim: usize) -> JoinHandle<Instant> {
    let etcd = Arc::clone(etcd);
    std::thread::spawn(move || {
        // The dead one is not asked: that takes as long as a call may.
        let left = || etcd.members().iter().enumerate().filter(|(index, _)| *index != victim);
        cim_services::until("a leader", PATIENCE, || left().any(|(_, member)| member.is_leader()));
        Instant::now()
    })
}

/// The keys of the store with their revisions, as etcdctl sees them.
fn stored(etcd: &Etcd) -> usize {
    etcd.etcdctl(&["get", "--prefix", "change-set/ns/amf/", "--keys-only"])
        .lines()
        .filter(|line| !line.is_empty())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_revision_is_missed_or_repeated_while_members_die_and_leaders_move() {
    for version in EtcdVersion::ALL {
        let Some(cluster) = Proxied::start(EtcdPlan::new().version(version).members(3)) else { return };
        let etcd = &cluster.etcd;
        // A watch that is late beside all this has missed nothing yet.
        let source = patient(&cluster.endpoints());
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        let mut writer = Writer::start(etcd);
        let written = || writer.written.load(Ordering::Relaxed);
        for round in 0..3 {
            let target = written() + 10;
            follow(&mut tail, &source, |_| written() >= target).await;
            let used = cluster.used().await;
            // The member that is watched, then another one, then the leader.
            let victim = [used, (used + 1) % 3, etcd.leader()][round];
            etcd.member(victim).kill();
            let leader = leads_without(etcd, victim);
            let target = written() + 10;
            let outages = follow(&mut tail, &source, |_| written() >= target).await;
            // An election takes what it takes, twice as long where the votes are split.
            let led = leader.join().unwrap();
            let away = outages.iter().map(|outage| outage.since(led)).max().unwrap_or_default();
            assert!(away < CALL_LIMIT + SLACK, "away for {away:?} in round {round}");
            etcd.member(victim).restart();
            let next = (etcd.leader() + 1) % 3;
            etcd.move_leader(next);
        }
        let count = writer.stop() as usize;
        assert!(count >= 60);
        let everything = stored(etcd);
        follow(&mut tail, &source, |tail| tail.state.len() >= everything).await;
        tail.quiet().await;
        assert_eq!((tail.state.len(), tail.resets), (everything, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_the_watch_ends_and_reports_fail_until_it_is_back() {
    let Some(etcd) = Etcd::cluster(3) else { return };
    let source = hasty(&etcd.endpoints());
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    let result = ConfigOutcome {
        commit: Some(Commit { key: "commit-config/ns/amf/v1/ms/pod".to_owned(), value: 1 }),
        status: None,
    };
    etcd.member(1).kill();
    etcd.member(2).kill();
    assert_eq!(tail.error().await.kind(), SourceErrorKind::Unavailable);
    let begin = Instant::now();
    assert_eq!(source.report(&result).await.unwrap_err().kind(), SourceErrorKind::Unavailable);
    assert!(begin.elapsed() < CALL_LIMIT + SLACK, "a call has a time limit");
    let health = source.probe().await;
    // The watch or the reading of its insurance was the first to notice.
    assert!(matches!(&health, Health::Degraded(text) if text.contains("the configuration")), "{health:?}");
    etcd.launch_all();
    let reported = timeout(PATIENCE, async {
        loop {
            if let Ok(reported) = source.report(&result).await {
                return reported;
            }
        }
    });
    assert_eq!(reported.await.unwrap(), Reported::Stored);
    etcd.put(&change("amf", 1), "1");
    tail.resume(&source, &scope("amf"));
    follow(&mut tail, &source, |tail| !tail.state.is_empty()).await;
    assert_eq!(tail.resets, 1);
    assert_eq!(source.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_freezes_ends_the_watch_and_the_next_goes_elsewhere() {
    for version in EtcdVersion::ALL {
        let Some(cluster) = Proxied::start(EtcdPlan::new().version(version).members(3)) else { return };
        freezes(&cluster, rig::pace(), Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_freezes_is_left_within_twenty_seconds_by_default() {
    if !has_time("a frozen member is noticed after 15 s") {
        return;
    }
    let Some(cluster) = Proxied::start(EtcdPlan::new().members(3)) else { return };
    freezes(&cluster, Pace::default(), Duration::from_secs(20)).await;
}

/// Watches until at least one sign of life was asked for and given, which a member does that has told a change. A watch
/// that a busy machine ended is begun again.
async fn lively(tail: &mut Tail, source: &EtcdSource, etcd: &Etcd, pace: Pace) {
    for attempt in 0..5 {
        let (key, value) = (change("amf", 1), attempt.to_string());
        etcd.put(&key, &value);
        let mut ended = None;
        while ended.is_none() && tail.state.get(key.as_bytes()).is_none_or(|told| told != value.as_bytes()) {
            ended = tail.within(PATIENCE).await.expect("an update").err();
        }
        if ended.is_none() {
            match tail.within(pace.progress * 2).await {
                None => return,
                Some(item) => ended = Some(item.expect_err("nothing has changed")),
            }
        }
        assert_eq!(ended.unwrap().kind(), SourceErrorKind::Unavailable);
        tail.resume(source, &scope("amf"));
    }
    panic!("no watch lasts");
}

async fn freezes(cluster: &Proxied, pace: Pace, limit: Duration) {
    let etcd = &cluster.etcd;
    let settings = rig::settings(&cluster.endpoints());
    let source = EtcdSource::paced("etcd", &settings, pace).unwrap();
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    lively(&mut tail, &source, etcd, pace).await;
    let used = cluster.used().await;
    etcd.member(used).pause();
    let begin = Instant::now();
    let error = tail.error_within(limit).await;
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
    let other = etcd.member((used + 1) % 3);
    other.etcdctl(&["put", &change("amf", 2), "2"]).unwrap();
    tail.resume(&source, &scope("amf"));
    assert_eq!(text(&tail.put().await.key), change("amf", 2));
    assert!(begin.elapsed() < limit + SLACK);
    assert_eq!(tail.resets, 1);
    etcd.member(used).resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_or_swallows_everything_costs_no_change() {
    let Some(cluster) = Proxied::start(EtcdPlan::new()) else { return };
    let (etcd, proxy) = (&cluster.etcd, &cluster.proxies[0]);
    let source = hasty(&cluster.endpoints());
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    etcd.put(&change("amf", 1), "1");
    tail.put().await;
    proxy.behave(Behaviour::blackhole());
    etcd.put(&change("amf", 2), "2");
    assert_eq!(tail.error().await.kind(), SourceErrorKind::Unavailable);
    proxy.behave(Behaviour::refusing());
    tail.resume(&source, &scope("amf"));
    assert_eq!(tail.error().await.kind(), SourceErrorKind::Unavailable);
    etcd.put(&change("amf", 3), "3");
    proxy.behave(Behaviour::faithful());
    tail.resume(&source, &scope("amf"));
    assert_eq!(text(&tail.put().await.key), change("amf", 2));
    assert_eq!(text(&tail.put().await.key), change("amf", 3));
    tail.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_is_read_again_as_a_whole() {
    for version in EtcdVersion::ALL {
        // The revision is lower; it has grown beyond ours again; another cluster answers.
        for (more, token) in [
            (0, None),
            (5, None),
            (0, Some("--initial-cluster-token=other")),
            (5, Some("--initial-cluster-token=other")),
        ] {
            let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
            let source = hasty(&etcd.endpoints());
            etcd.put(&change("amf", 1), "kept");
            let file = etcd.home().join("snapshot");
            etcd.save(&file);
            let mut tail = Tail::new(&source, &scope("amf"), None);
            tail.reset().await;
            for n in 2..5 {
                etcd.put(&change("amf", n), "lost");
                tail.put().await;
            }
            etcd.restore(&file, token.as_slice());
            assert_eq!(tail.error().await.kind(), SourceErrorKind::Unavailable);
            for n in 0..more {
                etcd.put(&change("amf", 10 + n), "new");
            }
            tail.resume(&source, &scope("amf"));
            let (revision, entries) = tail.reset().await;
            assert_eq!(
                (revision, entries.len()),
                (etcd.revision(), 1 + more as usize),
                "{version:?} {more} {token:?}"
            );
            etcd.put(&change("amf", 99), "after");
            assert_eq!(tail.put().await.revision.0, revision + 1);
        }
    }
}
