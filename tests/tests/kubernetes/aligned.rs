//! Clock-aligned metrics as the annotation of the pod asks for them.

use cim_services::Kubernetes;
use cim_tests::Daemon;
use cim_tests::cluster::{ANNOTATIONS, Berth, LABELS, NODE, POD};

use crate::says;

#[test]
fn the_annotation_of_the_pod_turns_clock_aligned_metrics_on() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let daemon = Daemon::start(&berth.settings());
    let page = || daemon.get("/metrics/aligned").unwrap();
    assert!(page().starts_with("HTTP/1.1 404 "), "it is not known yet");
    // Folded over lines, as charts do it.
    let aligned =
        "{\n  \"scrape\": \"true\",\n  \"measurementInterval\": \"1s\",\n  \"maxRetention\": \"3\"\n}\n";
    let annotations = [ANNOTATIONS, &[("xgvela.com/mmaas", aligned)]].concat();
    berth.namespace.create_pod(POD, NODE, LABELS, &annotations);
    says(&daemon, "/metrics/aligned", "metric_scrape_collector_success{collector=\"metric\"} 1\n");
    assert!(page().contains("\ncim_nats_connections{aligned_ts=\""), "{}", page());
}
