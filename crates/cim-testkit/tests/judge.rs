//! The configuration engine against a model of the config server's auditor, which deletes pods (wire contract §4.6).
//!
//! Each seed is one life of a pod in virtual time: changes with leases, an application with its moods, a store that is cut,
//! compacted and away for a while. The judge must never delete a pod whose application is healthy, and every change must
//! have reached the application, in order.
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

use std::sync::Arc;
use std::time::Duration;

use application::{Mood, Moody};
use auditor::Auditor;
use cim_core::configuration::{Configuration, Plan, Registration};
use cim_core::{Cim, Sink, SourceErrorKind};
use cim_testkit::{Death, FakeOrchestrator, MemorySource, Seeded};
use pod::identity;
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(180);

/// What became of one life.
struct Verdict {
    deaths: Vec<Death>,
    handed_over: Vec<(String, i32)>,
    written: Vec<(String, i32)>,
}

/// One life: `changes` changes of three documents within some minutes, then time for the last audit.
async fn life(seed: u64, changes: i32, mood: fn(&mut Seeded) -> Mood) -> Verdict {
    let mut random = Seeded::new(seed);
    let store = MemorySource::new("store");
    let cim = Cim::builder()
        .identity(identity())
        .sink("null", Sink::both(Arc::new(cim_core::null::NullSink::new("null"))))
        .start()
        .unwrap();
    let app = Moody::new(random.fork(), mood);
    let orchestrator = FakeOrchestrator::new(identity());
    let mut plan = Plan::new(identity(), app.clone(), orchestrator);
    plan.source = Some(store.clone());
    let configuration = Configuration::start(&cim, plan).unwrap();
    app.connect(cim.lane());
    let auditor = Auditor::new(Arc::clone(&store));
    let judging = auditor.watch();
    let living = async {
        sleep(random.up_to(Duration::from_secs(20))).await;
        configuration.register(Registration::default()).await;
        let mut written = Vec::new();
        for revision in 1..=changes {
            let document = ["a.json", "b.json", "c.json"][random.below(3)];
            auditor.change(document, revision, LEASE);
            written.push((document.to_owned(), revision));
            trouble(&store, &mut random).await;
            sleep(random.up_to(Duration::from_secs(8))).await;
        }
        store.set_down(None);
        sleep(LEASE * 2).await;
        written
    };
    let written = tokio::select! {
        written = living => written,
        () = judging => unreachable!("the judge never rests"),
    };
    if std::env::var_os("CIM_SEED").is_some() {
        for report in store.reports() {
            println!("{report:?}");
        }
    }
    configuration.stop(Duration::from_secs(1)).await;
    cim.stop(Duration::ZERO).await;
    Verdict { deaths: auditor.deaths(), handed_over: app.handed_over(), written }
}

/// What happens to a store now and then; none of it lasts for more than a part of a lease.
async fn trouble(store: &MemorySource, random: &mut Seeded) {
    match random.below(10) {
        0 => store.cut(),
        1 => {
            store.compact();
            store.cut();
        }
        2 => {
            store.set_down(Some(SourceErrorKind::Unavailable));
            sleep(random.up_to(Duration::from_secs(25))).await;
            store.set_down(None);
        }
        3 => store.fail_reports([SourceErrorKind::Unavailable, SourceErrorKind::Full]),
        4 => store.lose_answers([SourceErrorKind::Unavailable]),
        _ => {}
    }
}

fn run(seed: u64, changes: i32, mood: fn(&mut Seeded) -> Mood) -> Verdict {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(life(seed, changes, mood))
}

fn seeds() -> std::ops::Range<u64> {
    let from = std::env::var("CIM_SEED").ok().and_then(|seed| seed.parse().ok());
    from.map_or(0..1000, |seed| seed..seed + 1)
}

#[test]
fn a_pod_whose_application_is_healthy_is_never_deleted_and_gets_every_change_in_order() {
    for seed in seeds() {
        let Verdict { deaths, handed_over, written } = run(seed, 12, Mood::healthy);
        assert!(deaths.is_empty(), "seed {seed} (CIM_SEED repeats it): {deaths:?}");
        for (document, revision) in &written {
            let handed = handed_over.iter().any(|(name, number)| name == document && number == revision);
            assert!(handed, "seed {seed}: revision {revision} of {document} was never handed over");
        }
        for document in ["a.json", "b.json", "c.json"] {
            let revisions: Vec<_> =
                handed_over.iter().filter(|(name, _)| name == document).map(|(_, number)| *number).collect();
            assert!(revisions.is_sorted(), "seed {seed}: {document} got {revisions:?}");
        }
    }
}

#[test]
fn a_pod_whose_application_cannot_take_a_change_is_deleted() {
    let lives = (0..50).map(|seed| run(seed, 3, Mood::broken));
    let deleted = lives.filter(|verdict| !verdict.deaths.is_empty()).count();
    assert_eq!(deleted, 50, "the judge judges");
}
