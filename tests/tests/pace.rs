//! How long the whole program takes to be there and to be gone, with Kafka, etcd and API server connected.
//!
//! The figures stand in `docs/performance.md`. Left out: one end with a backlog or with targets that are away (`lifecycle`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::time::{Duration, Instant};

use cim_services::{Etcd, Kafka, Kubernetes};
use cim_tests::cluster::Berth;
use cim_tests::has_time;
use cim_tests::world::World;

/// Goal from the execution of the program to a client that is connected; the test asks for two or three times that.
const START: Duration = Duration::from_millis(10);
/// Goal from SIGTERM to the end of the process, where nothing waits for delivery and nobody has to be told; the short test asks for
/// twice that.
const END: Duration = Duration::from_millis(50);

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Ends the program and starts it again; how long each took.
fn round(world: &mut World<'_>) -> (Duration, Duration) {
    world.settles();
    let asked = Instant::now();
    world.daemon.signal("TERM");
    assert_eq!(world.daemon.ended(), Some(0), "{}", world.daemon.stderr());
    let end = asked.elapsed();
    (world.daemon.start_again(), end)
}

#[test]
fn the_whole_program_starts_and_ends_within_the_limits_of_a_shared_machine() {
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::shared(), Etcd::shared(), Kafka::single())
    else {
        return;
    };
    // The goals hold on a machine of one's own. This one is shared, and few rounds say less: a wait of a tenth of a second too many, or
    // for anybody far away, shows nevertheless.
    let is_long = has_time("30 starts and ends of the whole program");
    let (rounds, start_limit, end_limit) =
        if is_long { (30, 2 * START, END) } else { (5, 3 * START, 2 * END) };
    let berth = Berth::new(kubernetes);
    // A native sidecar ends after its application: nobody has to be told.
    let mut world = World::start_with(etcd, &kafka, &berth, &[("CIM__LIFECYCLE__MODE", "native")]);
    assert!(world.daemon.register().starts_with("HTTP/1.1 200"));
    world.commits(1);
    let _heard = world.subscribe();
    let (mut starts, mut ends): (Vec<_>, Vec<_>) = (0..rounds).map(|_| round(&mut world)).unzip();
    let (start, end) = (median(&mut starts), median(&mut ends));
    println!("start {start:?} {starts:?}, end {end:?} {ends:?}");
    assert!(end <= end_limit, "end {ends:?}");
    // A start is nothing but computing: what the machine can do shows in the best of them.
    assert!(starts[0] <= start_limit, "start {starts:?}");
}
