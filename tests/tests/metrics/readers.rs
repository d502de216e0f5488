//! Readers and exporters that are not ours: the parsers of Prometheus, the library for Python, and CIM itself as an exporter.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use cim_tests::{Daemon, skip, tool, until};

use crate::body;
use crate::exporter::{look, scrape, ticks, whole_window};

/// What the parsers of Prometheus say of a page: how many samples it has. `None` when they are not there.
fn judged(page: &str) -> Option<usize> {
    let reader = tool("bin/cim-exposition");
    if !reader.exists() {
        skip("the parsers of Prometheus are not built: scripts/tools");
        return None;
    }
    let mut child = Command::new(reader)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

#[test]
fn the_parsers_of_prometheus_take_both_pages_whole() {
    let exporter = Daemon::start("");
    let mut wire = exporter.connect();
    wire.publish("TEST", b"ok");
    wire.flush();
    let page = exporter.get("/metrics").unwrap();
    let Some(samples) = judged(body(&page)) else { return };
    assert!(samples > 50, "{samples}");
    let port = exporter.api().port();
    let daemon = Daemon::start(&format!("[metrics.aligned]\nports = [{port}]\ninterval = \"1s\"\n"));
    let (page, _) = whole_window(&daemon, &[port], "cim_nats_TEST_message_count{");
    // Its own and those of the other one, twice each.
    assert!(judged(&page).unwrap() > 200, "{page}");
    assert!(judged(&look(&daemon)).is_some());
}

/// The library for Python.
struct Library(Child);

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const EXPORTER: &str = r#"
import sys, time
from prometheus_client import Counter, Gauge, Histogram, Summary, Info, Enum, start_http_server
Counter("calls", "Calls so far.\nIn two lines.", ["code"]).labels("a\"b\\c").inc(3)
Gauge("depth", "Depth.").set(float("nan"))
Histogram("size", "Sizes.", buckets=(0.5, 1e6)).observe(2)
Summary("taken", "Time.").observe(0.25)
Info("build", "Build.").info({"version": "1"})
Enum("state", "State.", states=["up", "down"]).state("up")
start_http_server(int(sys.argv[1]), addr="127.0.0.1")
time.sleep(600)
"#;

#[test]
fn an_exporter_made_with_the_library_for_python_is_read_whole() {
    let python = tool("venv/bin/python");
    let has_library = || {
        Command::new(&python)
            .args(["-c", "import prometheus_client"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !python.exists() || !has_library() {
        return skip("prometheus-client for Python is not installed: scripts/tools");
    }
    let port = cim_services::free_port().unwrap().port();
    let child =
        Command::new(python).args(["-c", EXPORTER, &port.to_string()]).stderr(Stdio::null()).spawn().unwrap();
    let _library = Library(child);
    let daemon = Daemon::start(&format!("[metrics.aligned]\nports = [{port}]\ninterval = \"1s\"\n"));
    let from = format!("source_port=\"{port}\"");
    until("it is read", || look(&daemon).contains(&from));
    let page = scrape(&daemon);
    let tick = *ticks(&page).last().unwrap();
    let at = format!("aligned_ts=\"{tick}\"");
    for line in [
        format!("calls_total{{{at},code=\"a\\\"b\\\\c\",{from}}} 3 {tick}000"),
        format!("depth{{{at},{from}}} NaN {tick}000"),
        format!("size_bucket{{{at},{from},le=\"1e+06\"}} 1 {tick}000"),
        format!("size_count{{{at},{from}}} 1 {tick}000"),
        format!("taken_sum{{{at},{from}}} 0.25 {tick}000"),
        format!("build_info{{{at},{from},version=\"1\"}} 1 {tick}000"),
        format!("state{{{at},{from},state=\"up\"}} 1 {tick}000"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in {page}");
    }
    assert!(
        page.contains("# HELP calls_total Calls so far.\\nIn two lines.\n# TYPE calls_total counter\n"),
        "{page}"
    );
    judged(&page);
}
