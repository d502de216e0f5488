//! An exporter that speaks HTTP/1.1 and nothing else, and a scraper.
//!
//! Left out: what is on a page.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cim_exposition::parse;
use cim_tests::{Daemon, until};
use serde_json::Value;

use crate::body;

/// An exporter whose page a test decides.
pub struct Exporter {
    pub port: u16,
    page: Arc<Mutex<String>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Exporter {
    pub fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (page, requests) = (Arc::new(Mutex::new(page.to_owned())), Arc::<Mutex<Vec<String>>>::default());
        let (pages, seen) = (Arc::clone(&page), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve(stream.unwrap(), &pages, &seen);
            }
        });
        Self { port, page, requests }
    }

    /// Shows another page from now on.
    pub fn show(&self, page: &str) {
        page.clone_into(&mut self.page.lock().unwrap());
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, page: &Mutex<String>, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // What HTTP/2 says first is no request of HTTP/1.1.
    let is_known = head.contains(" HTTP/1.1\r\n");
    seen.lock().unwrap().push(head);
    if !is_known {
        return Ok(());
    }
    let page = page.lock().unwrap().clone();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}", page.len());
    stream.write_all(answer.as_bytes())
}

/// What Prometheus sends, without compression.
const SCRAPER: &str = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n\
                       X-Prometheus-Scrape-Timeout-Seconds: 10\r\nUser-Agent: Prometheus/3.0\r\n";

/// A request of `/metrics/aligned`; the answer, head included.
pub fn ask(daemon: &Daemon, headers: &str) -> String {
    let request =
        format!("GET /metrics/aligned HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    daemon.exchange(request.as_bytes())
}

/// What a scraper gets.
pub fn scrape(daemon: &Daemon) -> String {
    body(&ask(daemon, SCRAPER)).to_owned()
}

/// What a person gets.
pub fn look(daemon: &Daemon) -> String {
    body(&ask(daemon, "Accept: */*\r\nUser-Agent: curl/8\r\n")).to_owned()
}

/// What `/statusz` says of clock-aligned metrics.
pub fn status(daemon: &Daemon) -> Value {
    let answer = daemon.get("/statusz").unwrap();
    serde_json::from_str::<Value>(body(&answer)).unwrap()["aligned_metrics"].clone()
}

/// Waits until that many intervals wait.
pub fn waits(daemon: &Daemon, intervals: u64) {
    until("intervals to be read", || status(daemon)["waiting"].as_u64() >= Some(intervals));
}

/// Windows that are looked at where none of them is whole.
const WINDOWS: usize = 5;

/// A window of two ticks or more in which the machine let every tick be read in time, and a line of that beginning with each
/// of them; the page, and its ticks. What another window lacks has to be counted: ticks, and pages of those ports.
pub fn whole_window(daemon: &Daemon, ports: &[u16], line: &str) -> (String, Vec<i64>) {
    let mut lacking = Vec::new();
    while lacking.len() < WINDOWS {
        waits(daemon, 2);
        let page = scrape(daemon);
        let found = ticks(&page);
        let gaps = found.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<i64>();
        let lines = page.lines().filter(|found| found.starts_with(line)).count();
        let missed = daemon.metric("cim_aligned_missed_ticks_total");
        let failed = |port| daemon.metric(&format!("cim_aligned_failed_reads_total{{port=\"{port}\"}}"));
        let failed = ports.iter().map(failed).sum::<f64>();
        assert!(gaps as f64 <= missed, "{gaps} ticks are not there, {missed} are counted: {found:?}");
        assert!(found.len() as f64 - lines as f64 <= failed, "{lines} lines, {failed} failures: {page}");
        if found.len() >= 2 && gaps == 0 && lines == found.len() {
            return (page, found);
        }
        lacking.push((found, lines));
    }
    panic!("no window is whole: {lacking:?}");
}

/// The ticks on a page, in order. Asserts that it can be read, and that no name stands there twice with the same labels and timestamp.
pub fn ticks(page: &str) -> Vec<i64> {
    let (mut seen, mut ticks) = (HashSet::new(), Vec::new());
    for sample in
        parse(page).unwrap_or_else(|error| panic!("{error}: {page}")).iter().flat_map(|f| &f.samples)
    {
        let mut labels: Vec<_> = sample.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort();
        assert!(
            seen.insert(format!("{} {labels:?} {:?}", sample.name, sample.timestamp_ms)),
            "twice: {sample:?}"
        );
        ticks.extend(
            sample
                .labels
                .iter()
                .find(|(name, _)| *name == "aligned_ts")
                .map(|(_, tick)| tick.parse::<i64>().unwrap()),
        );
    }
    ticks.sort_unstable();
    ticks.dedup();
    ticks
}
