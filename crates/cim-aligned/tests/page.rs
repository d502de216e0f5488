//! The page of clock-aligned metrics: as recorded, and where exporters surprise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::HashSet;

use cim_aligned::{Ring, Source, render};
use cim_core::budget::Budget;
use cim_exposition::{Kind, parse};

const RECORDED: &str = include_str!("../../../tests/vectors/metrics.json");
const TICK: u64 = 1_795_384_560_000;

/// The page of these ticks, each with the pages of some ports.
fn page(ticks: &[(u64, &[(u16, &str)])]) -> String {
    let mut ring = Ring::new(100, 1 << 20, Budget::new(1 << 20));
    for (tick, sources) in ticks {
        let sources = sources.iter().map(|(port, text)| Source { port: *port, text: (*text).to_owned() });
        ring.put(*tick, sources.collect());
    }
    render(&ring.take(), "")
}

/// No name stands twice with the same labels and timestamp, and every page can be read.
fn is_sound(page: &str) {
    let mut seen = HashSet::new();
    for sample in parse(page).unwrap().iter().flat_map(|family| &family.samples) {
        let mut labels: Vec<_> = sample.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort();
        assert!(seen.insert(format!("{} {labels:?} {:?}", sample.name, sample.timestamp_ms)), "{page}");
    }
}

fn case(name: &str) -> serde_json::Value {
    let recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
    recorded["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone()
}

#[test]
fn the_recorded_page_is_equal_to_the_byte() {
    let case = case("aligned read");
    let expected = case["expected"]["selected_series"].as_str().unwrap();
    let expected =
        expected.replace("<port>", "8080").replace("<cim port>", "6060").replace("go1.26.8", "none");
    let app = case["input"]["app_metrics"].as_str().unwrap();
    let own = |bytes: u32, messages: u32| {
        format!(
            "# HELP cim_total_bytes_counter Total no of bytes recieved\n# TYPE cim_total_bytes_counter counter\n\
             cim_total_bytes_counter{{pod=\"pod-m\"}} {bytes}\n\
             # HELP cim_total_messages_counter Total no of messages recieved\n# TYPE cim_total_messages_counter counter\n\
             cim_total_messages_counter{{pod=\"pod-m\"}} {messages}\n"
        )
    };
    let (first, second) = (own(735, 9), own(818, 10));
    let page =
        page(&[(TICK, &[(8080, app), (6060, &first)]), (TICK + 5_000, &[(8080, app), (6060, &second)])]);
    assert_eq!(page.trim_end(), expected);
    is_sound(&page);
}

#[test]
fn without_an_interval_there_is_the_build_only_as_recorded() {
    let expected =
        case("aligned second read")["expected"]["body"].as_str().unwrap().replace("go1.26.8", "none");
    assert_eq!(page(&[]), expected);
}

#[test]
fn labels_of_the_exporter_are_kept_under_another_name() {
    let app = "x{source_port=\"a\",aligned_ts=\"b\",exported_source_port=\"c\"} 1\n";
    let page = page(&[(TICK, &[(1, app)])]);
    let line = "x{aligned_ts=\"1795384560\",exported_aligned_ts=\"b\",exported_exported_source_port=\"a\",\
                exported_source_port=\"c\",source_port=\"1\"} 1 1795384560000\n";
    assert!(page.contains(line), "{page}");
    is_sound(&page);
}

#[test]
fn a_timestamp_of_the_exporter_is_milliseconds_and_stays() {
    let page = page(&[(TICK, &[(1, "x 1 1795384550123\ny 2\n")])]);
    assert!(page.contains("x{aligned_ts=\"1795384560\",source_port=\"1\"} 1 1795384550123\n"), "{page}");
    assert!(page.contains("y{aligned_ts=\"1795384560\",source_port=\"1\"} 2 1795384560000\n"), "{page}");
}

#[test]
fn every_series_stands_there_once_whatever_the_exporter_repeats() {
    let app = "x{a=\"1\"} 1\nx{a=\"1\"} 2\nx 3\nx{a=\"\"} 4\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1\"} 1\n\
               h_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\nh_count 2\n";
    let page = page(&[(TICK, &[(1, app)]), (TICK + 1_000, &[(1, app)])]);
    is_sound(&page);
    assert_eq!(page.matches("h_bucket{").count(), 4, "{page}");
    assert!(
        page.contains("x{a=\"1\",aligned_ts=\"1795384560\",source_port=\"1\"} 1 "),
        "the first counts: {page}"
    );
}

#[test]
fn labels_of_one_family_are_padded_to_a_common_set() {
    let page = page(&[(TICK, &[(1, "x{b=\"2\"} 1\nx{a=\"1\"} 2\n")])]);
    let expected = "x{a=\"\",aligned_ts=\"1795384560\",b=\"2\",source_port=\"1\"} 1 1795384560000\n\
                    x{a=\"1\",aligned_ts=\"1795384560\",b=\"\",source_port=\"1\"} 2 1795384560000\n";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn one_name_with_another_help_or_type_on_another_port_is_kept() {
    let one = "# HELP x one\n# TYPE x counter\nx 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\nh_count 1\n";
    let other = "# HELP x other\n# TYPE x counter\nx 2\n# TYPE h gauge\nh 7\n";
    let page = page(&[(TICK, &[(1, one), (2, other)])]);
    is_sound(&page);
    assert!(page.contains("# HELP x one\n# TYPE x counter\n"), "{page}");
    let families = parse(&page).unwrap();
    let of = |name: &str| families.iter().find(|family| family.name == name).unwrap();
    assert_eq!(of("x").samples.len(), 2);
    for name in ["h", "h_bucket", "h_sum", "h_count"] {
        assert_eq!((of(name).kind, of(name).samples.len()), (Kind::Untyped, 1), "{name}: {page}");
    }
}

#[test]
fn names_of_the_collection_itself_may_be_used_by_an_exporter() {
    let app = "# TYPE metric_scrape_collector_success histogram\nmetric_scrape_collector_success_count 1\n\
               clock_aligned_metric_exporter_build_info{version=\"x\"} 1\n";
    is_sound(&page(&[(TICK, &[(1, app)])]));
}

#[test]
fn numbers_that_are_none_and_hostile_texts_pass() {
    let app = "# HELP x a\\\\b\\nc\nx{a=\"\\\"\\\\\\n\"} NaN\ny +Inf\nz -Inf\n";
    let page = page(&[(TICK, &[(1, app)])]);
    is_sound(&page);
    assert!(page.contains("# HELP x a\\\\b\\nc\n") && page.contains("a=\"\\\"\\\\\\n\""), "{page}");
    assert!(page.contains("} NaN ") && page.contains("} +Inf ") && page.contains("} -Inf "), "{page}");
}
