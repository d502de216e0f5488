//! `/metrics/aligned` of the running program.

use cim_tests::{Daemon, until};

use crate::exporter::{Exporter, ask, look, scrape, status, ticks, waits, whole_window};

const APP: &str = "# HELP app_total help\n# TYPE app_total counter\napp_total{a=\"b\"} 5\napp_total{a=\"c\"} 6\n# TYPE app_h histogram\n\
                   app_h_bucket{le=\"1\"} 1\napp_h_bucket{le=\"+Inf\"} 2\napp_h_sum 3\napp_h_count 2\n";

/// The program reading these ports every second.
fn daemon(ports: &[u16], more: &str) -> Daemon {
    Daemon::start(&format!("{more}[metrics.aligned]\nports = {ports:?}\ninterval = \"1s\"\nretention = 5\n"))
}

#[test]
fn pages_are_read_at_exact_seconds_and_served_once_to_a_scraper() {
    let exporter = Exporter::start(APP);
    let daemon = daemon(&[exporter.port], "");
    let (page, found) = whole_window(&daemon, &[exporter.port], "app_total{a=\"b\"");
    for tick in &found {
        let labels = format!("aligned_ts=\"{tick}\",source_port=\"{}\"", exporter.port);
        for line in [
            format!("app_total{{a=\"b\",{labels}}} 5 {tick}000\n"),
            format!("app_total{{a=\"c\",{labels}}} 6 {tick}000\n"),
            format!("app_h_bucket{{{labels},le=\"+Inf\"}} 2 {tick}000\n"),
        ] {
            assert_eq!(page.matches(&line).count(), 1, "{line} in {page}");
        }
    }
    assert!(page.contains("metric_scrape_collector_success{collector=\"metric\"} 1\n"));
    let next = scrape(&daemon);
    assert!(ticks(&next).iter().all(|tick| !found.contains(tick)), "a tick was served twice");
    assert!(next.contains(
        "clock_aligned_metric_exporter_build_info{branch=\"\",goversion=\"none\",revision=\"\",version=\""
    ));
    until("the reading is counted", || daemon.metric("cim_aligned_served_intervals_total") > 1.5);
    assert!(exporter.requests()[0].starts_with("GET /metrics HTTP/1.1\r\n"));
}

#[test]
fn a_tick_holds_what_the_exporter_said_then_and_own_metrics_with_their_port() {
    let exporter = Exporter::start("x 1\n");
    let daemon = daemon(&[exporter.port], "");
    daemon.connect().publish("TEST", b"ok");
    let values = |page: &str| -> Vec<String> {
        page.lines().filter(|line| line.starts_with("x{")).map(str::to_owned).collect()
    };
    let says = |value: Option<&String>, what: &str| value.is_some_and(|line| line.contains(what));
    until("a reading", || says(values(&look(&daemon)).first(), "} 1 "));
    exporter.show("x 2\n");
    let mut page = String::new();
    until("another reading behind it", || {
        page = look(&daemon);
        let values = values(&page);
        says(values.first(), "} 1 ") && says(values.last(), "} 2 ")
    });
    let own =
        page.lines().find(|line| line.starts_with("cim_nats_TEST_message_count{")).expect("own metrics");
    assert!(
        own.contains("pod=\"pod-1\"") && !own.contains(&format!("source_port=\"{}\"", exporter.port)),
        "{own}"
    );
    assert!(own.contains("source_port=\"") && page.contains("\nprocess_open_fds{"), "{own}");
}

#[test]
fn one_who_looks_takes_nothing_away() {
    let daemon = daemon(&[], "");
    waits(&daemon, 1);
    let seen = ticks(&look(&daemon));
    let again = ticks(&look(&daemon));
    assert!(seen.iter().all(|tick| again.contains(tick)), "{seen:?} {again:?}");
    assert!(daemon.metric("cim_aligned_served_intervals_total") < 0.5);
    let head = "HEAD /metrics/aligned HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/plain;version=0.0.4\r\n\r\n";
    assert!(daemon.exchange(head.as_bytes()).starts_with("HTTP/1.1 200 "));
    let scraped = ticks(&scrape(&daemon));
    assert!(again.iter().all(|tick| scraped.contains(tick)), "{again:?} {scraped:?}");
}

#[test]
fn without_a_scraper_the_oldest_interval_is_dropped_and_counted() {
    let daemon = Daemon::start("[metrics.aligned]\ninterval = \"1s\"\nretention = 2\n");
    waits(&daemon, 2);
    let first = ticks(&look(&daemon));
    let dropped = "cim_aligned_dropped_intervals_total{reason=\"retention\"}";
    until("something is dropped", || daemon.metric(dropped) > 1.5);
    let later = ticks(&look(&daemon));
    assert_eq!(later.len(), 2);
    assert!(later[0] >= first[0] + 2, "the newest stay: {first:?} {later:?}");
}

#[test]
fn labels_that_an_exporter_has_already_break_nothing() {
    let exporter = Exporter::start("x{source_port=\"mine\",aligned_ts=\"now\"} 1\n");
    let daemon = daemon(&[exporter.port], "");
    waits(&daemon, 1);
    let page = scrape(&daemon);
    assert_eq!(ticks(&page).len(), page.matches("\nx{").count());
    let labels = format!(
        "exported_aligned_ts=\"now\",exported_source_port=\"mine\",source_port=\"{}\"",
        exporter.port
    );
    assert!(page.contains(&labels), "{page}");
    waits(&daemon, 1);
}

#[test]
fn exporters_are_spoken_to_in_http_1_though_the_application_takes_http_2() {
    let exporter = Exporter::start("x 1\n");
    let daemon = daemon(&[exporter.port], "[application]\nhttp2 = true\n");
    waits(&daemon, 1);
    assert!(scrape(&daemon).contains("\nx{aligned_ts="));
    assert!(exporter.requests().iter().all(|head| head.starts_with("GET /metrics HTTP/1.1\r\n")));
}

#[test]
fn an_exporter_that_is_away_or_talks_nonsense_is_told_and_costs_the_others_nothing() {
    let (well, odd) = (Exporter::start("x 1\n"), Exporter::start("x one\n"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let daemon = daemon(&[odd.port, nobody, silent_port, well.port], "");
    // No tick is held up.
    let _ = whole_window(&daemon, &[well.port], "x{");
    for port in [odd.port, nobody, silent_port] {
        let failed = format!("cim_aligned_failed_reads_total{{port=\"{port}\"}}");
        until("failures are counted", || daemon.metric(&failed) > 0.5);
    }
    let readiness = daemon.get("/readyz").unwrap();
    assert!(readiness.starts_with("HTTP/1.1 200 "), "{readiness}");
    assert!(readiness.contains("[+] clock-aligned metrics: degraded: port "), "{readiness}");
    odd.show("x 2\n");
    let page = format!("source_port=\"{}\"", odd.port);
    until("it is read again", || look(&daemon).contains(&page));
    assert!(
        daemon.stderr().contains("its page is not in the text format: line 1: the value is not a number")
    );
}

#[test]
fn pages_beyond_the_memory_are_refused_and_the_rest_goes_on() {
    let large = Exporter::start(&"x 1\n".repeat(100_000));
    let memory = "[metrics]\naligned_memory = \"64KiB\"\n";
    let daemon = daemon(&[large.port], memory);
    until("it is told", || {
        status(&daemon)["trouble"].as_str().is_some_and(|why| why.contains("longer than 65536 bytes"))
    });
    waits(&daemon, 1);
    assert!(daemon.metric("cim_aligned_bytes") < 65_537.0);
    assert!(scrape(&daemon).contains("\ncim_nats_connections{"));
}

#[test]
fn a_page_is_compressed_for_a_scraper_that_takes_gzip() {
    let daemon = daemon(&[], "");
    waits(&daemon, 1);
    let answer = ask(&daemon, "Accept-Encoding: gzip\r\n");
    assert!(answer.contains("content-encoding: gzip\r\n"), "{answer}");
}
