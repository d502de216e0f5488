//! The configuration engine against a model of the config server's auditor, which deletes pods (wire contract §4.6).
//!
//! Each seed is one life of a pod in virtual time: changes of both maps with leases of 30 s and more, an application with its
//! moods that dies and registers again, a CIM that is killed and started on its spool, a store that is cut, compacted, away for a
//! while and set back. The judge must never delete a pod whose application is healthy, and every change must have reached the
//! application, in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure"
)]

#[path = "judge/application.rs"]
mod application;
#[path = "judge/auditor.rs"]
mod auditor;
mod pod;
#[path = "judge/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use application::{Handed, Moody, Temper};
use auditor::{Auditor, LEVELS};
use cim_core::SourceErrorKind;
use cim_core::configuration::Registration;
use cim_testkit::{Death, MemorySource, Seeded, Snapshot};
use process::Process;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Shortest and longest lease.
const LEASES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// Shortest lease with time for a look at the application.
const CONFIRMED: Duration = Duration::from_secs(180);
/// Documents of both maps, one name in each of them.
const DOCUMENTS: [&str; 4] = ["ms/a.json", "ms/b.json", "nf/a.json", "nf/c.json"];

/// Lives at the same time.
const THREADS: usize = 2;

/// What became of one life.
struct Verdict {
    deaths: Vec<Death>,
    handed_over: Vec<Handed>,
    written: Vec<Handed>,
}

/// A pod, and what it has to do with.
struct World {
    random: Seeded,
    store: Arc<MemorySource>,
    app: Arc<Moody>,
    /// Where spools are. Half of the pods have none; then CIM is never killed, because the application registers only once.
    home: Option<TempDir>,
    process: Option<Process>,
    /// How many processes there were.
    processes: u32,
    /// Whether CIM looks at the application after each change. Where leases are short there is no time for that.
    confirms: bool,
    /// The lease of each map's changes. One for all of them: the auditor removes a result when the lease of its change ends, so
    /// an earlier change whose lease lasts longer would cost any pod.
    leases: BTreeMap<&'static str, Duration>,
    /// What the store was once, and how many changes it had.
    saved: Option<(Snapshot, usize)>,
    written: Vec<Handed>,
}

impl World {
    fn new(seed: u64, temper: fn(Duration) -> Temper) -> Self {
        let mut random = Seeded::new(seed);
        let leases: BTreeMap<_, _> =
            LEVELS.map(|level| (level, LEASES.0 + random.up_to(LEASES.1 - LEASES.0))).into();
        let shortest = leases.values().min().copied().unwrap();
        let (store, app) = (MemorySource::new("store"), Moody::new(random.fork(), temper(shortest)));
        let home = (random.below(2) == 0).then(|| tempfile::tempdir_in(memory_disk()).unwrap());
        let confirms = random.below(2) == 0 && shortest >= CONFIRMED;
        let mut world = Self {
            random,
            confirms,
            store,
            app,
            home,
            process: None,
            processes: 0,
            leases,
            saved: None,
            written: Vec::new(),
        };
        if let Some(spool) = world.spool() {
            std::fs::create_dir(spool).unwrap();
        }
        world.start();
        world
    }

    /// Where the process at work has its spool, or the next one will have it.
    fn spool(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.path().join(self.processes.to_string()))
    }

    fn start(&mut self) {
        self.process = Some(Process::start(&self.store, &self.app, self.spool(), self.confirms));
    }

    async fn register(&self) {
        let registration = Registration { container_name: "app".to_owned(), ..Registration::default() };
        self.process.as_ref().unwrap().configuration.register(registration).await;
    }

    /// Lets a part of the shortest lease pass, at most 25 s.
    async fn while_away(&mut self) {
        let shortest = self.leases.values().min().copied().unwrap();
        let most = (shortest / 12).min(Duration::from_secs(25));
        sleep(self.random.up_to(most)).await;
    }

    /// Kills the process, and starts the next one on what it had written.
    async fn kill(&mut self) {
        self.processes += 1;
        let (process, next) = (self.process.take().unwrap(), self.spool().unwrap());
        process.kill(&self.app, &next);
        self.while_away().await;
        self.start();
    }

    /// Everything a pod goes through.
    async fn live(&mut self, auditor: &Auditor, changes: usize) {
        sleep(self.random.up_to(Duration::from_secs(20))).await;
        self.register().await;
        let mut revisions = BTreeMap::<&str, i32>::new();
        for _ in 0..changes {
            let document = DOCUMENTS[self.random.below(DOCUMENTS.len())];
            let level = &document[..2];
            let revision = revisions.entry(level).or_default();
            *revision += 1;
            let lease = self.leases[level];
            auditor.change(document, *revision, lease);
            tell(&format!("{document}/{revision} for {lease:?}"));
            self.written.push(Handed { document: document.to_owned(), revision: *revision });
            self.trouble().await;
            sleep(self.random.up_to(Duration::from_secs(8))).await;
        }
        // Every lease has ended then.
        sleep(self.leases.values().max().copied().unwrap() + Duration::from_secs(2)).await;
    }

    /// What happens to a pod now and then.
    async fn trouble(&mut self) {
        let what = self.random.below(15);
        tell(&format!("trouble {what}"));
        match what {
            0 => self.store.cut(),
            1 => {
                self.store.compact();
                self.store.cut();
            }
            2 => {
                self.store.set_down(Some(SourceErrorKind::Unavailable));
                self.while_away().await;
                self.store.set_down(None);
            }
            3 => self.store.fail_reports([SourceErrorKind::Unavailable, SourceErrorKind::Full]),
            4 => self.store.lose_answers([SourceErrorKind::Unavailable]),
            5 if self.home.is_some() => self.kill().await,
            9 if self.home.is_some() => {
                // While results wait for the store, maybe.
                self.store.stop();
                self.while_away().await;
                self.kill().await;
                self.while_away().await;
                self.store.restart();
            }
            6 => {
                self.app.die();
                self.while_away().await;
                self.app.revive();
                self.register().await;
            }
            7 => match self.saved.take() {
                None => self.saved = Some((self.store.snapshot(), self.written.len())),
                Some((snapshot, written)) => {
                    self.store.set_back(&snapshot);
                    // What the store forgot was handed over before, or never is.
                    self.written.truncate(written);
                }
            },
            8 => {
                self.store.stop();
                let longest = self.leases.values().max().copied().unwrap();
                sleep(self.random.up_to(2 * longest)).await;
                self.store.restart();
            }
            _ => {}
        }
    }
}

/// Where files cost no time of a disk, if there is such a place.
fn memory_disk() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

/// Says what happens, where one life is played again.
fn tell(what: &str) {
    thread_local!(static BEGUN: Instant = Instant::now());
    if std::env::var_os("CIM_SEED").is_some() {
        println!("{:?}: {what}", BEGUN.with(Instant::elapsed));
    }
}

/// One life.
async fn life(seed: u64, changes: usize, temper: fn(Duration) -> Temper) -> Verdict {
    let mut world = World::new(seed, temper);
    let auditor = Auditor::new(Arc::clone(&world.store));
    tokio::select! {
        () = world.live(&auditor, changes) => {}
        () = auditor.watch() => unreachable!("the judge never rests"),
    }
    if std::env::var_os("CIM_SEED").is_some() {
        for report in world.store.reports() {
            println!("{report:?}");
        }
    }
    world.process.unwrap().stop().await;
    Verdict { deaths: auditor.deaths(), handed_over: world.app.handed_over(), written: world.written }
}

fn run(seed: u64, changes: usize, temper: fn(Duration) -> Temper) -> Verdict {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(life(seed, changes, temper))
}

fn seeds() -> std::ops::Range<u64> {
    let from = std::env::var("CIM_SEED").ok().and_then(|seed| seed.parse().ok());
    from.map_or(0..1000, |seed| seed..seed + 1)
}

/// Nobody is deleted, and everything that was written was handed over, in order.
fn judge(seed: u64) {
    let Verdict { deaths, handed_over, written } = run(seed, 12, Temper::Healthy);
    assert!(deaths.is_empty(), "seed {seed} (CIM_SEED repeats it): {deaths:?}");
    for change in &written {
        assert!(handed_over.contains(change), "seed {seed}: {change:?} was never handed over");
    }
    for document in DOCUMENTS {
        let own = handed_over.iter().filter(|handed| handed.document == document);
        let revisions: Vec<_> = own.map(|handed| handed.revision).collect();
        assert!(revisions.is_sorted(), "seed {seed}: {document} got {revisions:?}");
    }
}

#[test]
fn a_pod_whose_application_is_healthy_is_never_deleted_and_gets_every_change_in_order() {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || seeds().skip(thread).step_by(THREADS).for_each(judge));
        }
    });
}

#[test]
fn a_pod_whose_application_cannot_take_a_change_is_deleted() {
    let lives = (0..50).map(|seed| run(seed, 3, |_| Temper::Broken));
    let deleted = lives.filter(|verdict| !verdict.deaths.is_empty()).count();
    assert_eq!(deleted, 50, "the judge judges");
}
