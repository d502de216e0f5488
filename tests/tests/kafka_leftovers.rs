//! Log files that an earlier sidecar left behind, read while the broker is dead and the program is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;
use std::time::{Duration, SystemTime};

use cim_services::Kafka;
use cim_tests::check::Findings;
use cim_tests::invariants::Vigil;
use cim_tests::load::{Plan, Published};
use cim_tests::rig::{Topics, settings};
use cim_tests::{Daemon, has_time, until, verdict};

/// In the order in which they were changed last: a rotated file, the one behind it, and one of another container.
const FILES: [&str; 3] = [
    "pod-1_ns1_app-cid1-2023-11-14T22-13-20.000.log_bkp",
    "pod-1_ns1_app-cid1.log",
    "pod-1_ns1_other-cid2.log",
];
const LINES_OF_A_FILE: usize = 5_000;
const LINES: usize = FILES.len() * LINES_OF_A_FILE;
/// What the application says itself meanwhile.
const LIVE: usize = 100;
/// Half of it is less than one of the files, so that most of the lines wait in them.
const CLASS: &str = "1MiB";
const LINE_BYTES: usize = 200;
/// Lines that a kill may repeat under another number: those of one chunk of 256 KiB, as the guide says.
const CHUNK: usize = (256 << 10) / LINE_BYTES + 1;

/// Writes the files, with the numbers from 0 in their lines.
fn leave(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    for (at, name) in FILES.iter().enumerate() {
        let first = at * LINES_OF_A_FILE;
        let line = |number: usize| format!("{:<width$}\n", format!("{number:08}"), width = LINE_BYTES - 1);
        let text: String = (first..first + LINES_OF_A_FILE).map(line).collect();
        std::fs::write(dir.join(name), text).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + at as u64);
        let file = std::fs::File::options().append(true).open(dir.join(name)).unwrap();
        file.set_modified(changed).unwrap();
    }
}

/// How many of the files wait, each of them whole.
fn waiting(daemon: &Daemon) -> usize {
    let aside = daemon.home().join("left/.cim-leftovers/ns1_pod-1");
    let sizes: Vec<_> =
        FILES.iter().filter_map(|name| Some(std::fs::metadata(aside.join(name)).ok()?.len())).collect();
    assert!(sizes.iter().all(|size| *size == (LINES_OF_A_FILE * LINE_BYTES) as u64), "{sizes:?}");
    sizes.len()
}

fn publish(daemon: &Daemon) {
    let mut wire = daemon.connect();
    for number in LINES..LINES + LIVE {
        let line =
            format!("{{\"container_name\":\"live\",\"container_id\":\"cid3\",\"log\":\"{number:08} live\"}}");
        wire.publish("LOG", line.as_bytes());
    }
    wire.flush();
}

/// Waits until all of the files are gone; each only when the broker has acknowledged all of its lines.
fn removed_once_acknowledged(daemon: &Daemon) {
    until("the files to be removed", || {
        // In that order: what was acknowledged since does not excuse a file that was gone before.
        let gone = FILES.len() - waiting(daemon);
        let delivered = daemon.metric("cim_records_delivered_total{route=\"logs\"");
        assert!(
            delivered >= (gone * LINES_OF_A_FILE) as f64,
            "{gone} files gone, {delivered} lines delivered"
        );
        gone == FILES.len()
    });
}

#[test]
fn files_of_an_earlier_sidecar_outlive_a_dead_broker_and_kills_of_the_program() {
    if !has_time("a broker is dead while the program is killed twice") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    // One partition, where the first copy of a line stands before what a kill repeats under another number.
    let topics = Topics::unused();
    kafka.create_topic(&topics.logs, 1);
    kafka.create_topic(&topics.events, 1);
    kafka.broker(0).kill();
    let home = tempfile::tempdir().unwrap();
    leave(&home.path().join("left"));
    let text = settings(&kafka.bootstrap(), &topics, "");
    let text = format!("leftovers.dir = \"{{home}}/left\"\nspool.logs.max_bytes = \"{CLASS}\"\n{text}");
    let mut daemon = Daemon::start_in(home, &text, Daemon::spawn);
    let held = |daemon: &Daemon| daemon.metric("cim_records_held{route=\"logs\"");
    // The first time while they are read, the second time while the rest waits for room.
    until("the first lines", || held(&daemon) > 0.5);
    daemon.kill_and_restart();
    until("half a class of lines", || daemon.metric("cim_spool_bytes{class=\"logs\"}") > f64::from(1 << 19));
    publish(&daemon);
    daemon.kill_and_restart();
    let lines = held(&daemon);
    assert!(lines >= LIVE as f64 && lines < LINES as f64, "{lines} lines are held");
    let told = || daemon.get("/readyz").is_some_and(|page| page.contains("degraded"));
    until("readiness to tell of the outage", told);
    assert_eq!((waiting(&daemon), daemon.metric("cim_leftover_files") as usize), (3, 3));
    let vigil = Vigil::over(&daemon).with(11, 6);
    kafka.broker(0).restart();
    removed_once_acknowledged(&daemon);
    vigil.assert_held(&daemon, Duration::from_secs(60));
    assert!(daemon.metric("cim_leftover_files") < 0.5);
    assert_all_there(&kafka, &topics, &daemon);
}

/// Every line once, per container in order; what is there twice is marked, or was read again after a kill.
fn assert_all_there(kafka: &Kafka, topics: &Topics, daemon: &Daemon) {
    let records = kafka.records(&topics.logs);
    let published = Published { plan: Plan::default(), lines: LINES + LIVE, uncertain: Vec::new() };
    let mut found = Findings::logs(&records, &published);
    let again = std::mem::take(&mut found.unmarked_duplicates).len();
    assert!(again <= 2 * CHUNK, "two kills repeated {again} lines");
    assert_eq!((found.faults(), found.found), (None, LINES + LIVE));
    let explained = cim_tests::rig::explained_duplicates(daemon);
    assert!(found.marked_duplicates as f64 <= explained, "{} of {explained}", found.marked_duplicates);
    verdict::assert_clean(&kafka.bootstrap(), &topics.logs, records.len());
}
