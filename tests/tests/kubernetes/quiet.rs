//! What the API server is not asked.

use std::time::{Duration, Instant};

use cim_services::{Kubernetes, until};
use cim_tests::application::{Application, Manners};
use cim_tests::cluster::{Berth, PATIENCE};
use cim_tests::{Daemon, has_time};

use crate::{delivered, known, publish, register};

const EVENTS: usize = 1_000;

#[test]
fn no_event_no_registration_and_no_idle_moment_causes_a_call() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let app = Application::start(Manners::default());
    let source = "[configuration]\nsource = \"file\"\nfile.dir = \"{home}/store\"\n";
    let daemon = Daemon::start(&format!("{}{}{source}", app.setting(), berth.settings()));
    std::fs::create_dir_all(daemon.home().join("store")).unwrap();
    known(&daemon);
    register(&daemon);
    // The pod, and the two names of the map that CIM's own document may have.
    until("the questions of the start", PATIENCE, || berth.calls().len() == 3);
    let asked = berth.calls();

    publish(&daemon, 0..EVENTS);
    delivered(&daemon, EVENTS);
    for _ in 0..10 {
        register(&daemon);
        daemon.get("/statusz").unwrap();
        daemon.get("/metrics").unwrap();
    }
    assert_eq!(berth.calls(), asked);

    let quiet = if has_time("10 quiet seconds") { 10 } else { 3 };
    let quiet_until = Instant::now() + Duration::from_secs(quiet);
    while Instant::now() < quiet_until {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(berth.calls(), asked);
    }
}
