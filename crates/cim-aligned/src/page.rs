//! What a scraper gets: every interval that waits, as one page.
//!
//! Owns the labels and timestamps that are added, and what happens where pages disagree. Left out: the order of lines (`merge`). The
//! invariants: a label of the exporter is never overwritten; a timestamp of the exporter stays; families stand in the order of their names.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cim_exposition::{Family, Kind, Label, Page, Sample, parse};

use crate::merge::{self, Entry, Merged};
use crate::ring::Bucket;

/// Labels that are added to every sample.
const PORT: &str = "source_port";
const TICK: &str = "aligned_ts";
/// What stands before a label of the exporter that has such a name, as Prometheus does it.
const EXPORTED: &str = "exported_";

const SUCCESS: &str = "metric_scrape_collector_success";
const SUCCESS_HELP: &str = "metric_exporter: Whether a collector succeeded.";
const BUILD: &str = "clock_aligned_metric_exporter_build_info";
const BUILD_HELP: &str = "A metric with a constant '1' value labeled by version, revision, branch, and goversion from which clock_aligned_metric_exporter was built.";

/// One page of one tick, taken apart.
struct Reading<'t> {
    tick_ms: i64,
    /// The tick in seconds, as the value of a label.
    tick: String,
    port: String,
    families: Vec<Family<'t>>,
}

/// The page of these intervals. `version` is that of the program.
#[must_use]
pub fn render(buckets: &[Arc<Bucket>], version: &str) -> String {
    let readings: Vec<Reading<'_>> = buckets.iter().flat_map(|bucket| readings(bucket)).collect();
    let mut merged = merge(&readings);
    own(&mut merged, version, !buckets.is_empty());
    let mut page = Page::new();
    merged.iter().for_each(|(name, family)| family.write(name, &mut page));
    page.into_text()
}

/// Pages were read once before they were kept; one that could not be read would be left out.
fn readings(bucket: &Bucket) -> impl Iterator<Item = Reading<'_>> {
    let tick_ms = i64::try_from(bucket.tick_ms).unwrap_or(i64::MAX);
    bucket.sources.iter().filter_map(move |source| {
        let families = parse(&source.text).ok()?;
        Some(Reading { tick_ms, tick: (tick_ms / 1000).to_string(), port: source.port.to_string(), families })
    })
}

/// The type of each name. Where pages disagree it is none.
fn kinds<'r>(readings: &'r [Reading<'_>]) -> HashMap<&'r str, Kind> {
    let mut kinds = HashMap::new();
    for family in readings.iter().flat_map(|reading| &reading.families) {
        if !family.samples.is_empty() {
            let kind = *kinds.entry(family.name).or_insert(family.kind);
            if kind != family.kind {
                kinds.insert(family.name, Kind::Untyped);
            }
        }
    }
    kinds
}

fn merge<'r>(readings: &'r [Reading<'_>]) -> BTreeMap<&'r str, Merged<'r>> {
    let kinds = kinds(readings);
    let kind_of = |name: &str| kinds.get(name).copied().unwrap_or_default();
    let mut merged = BTreeMap::<&str, Merged<'_>>::new();
    for reading in readings {
        for family in &reading.families {
            let kind = kind_of(family.name);
            // Parts of a histogram that is none on another page stand for themselves.
            let is_apart = kind != family.kind && family.kind.part_label().is_some();
            for sample in &family.samples {
                let name = if is_apart { sample.name } else { family.name };
                let kind = if is_apart { kind_of(name) } else { kind };
                if is_apart && kind.part_label().is_some() {
                    continue;
                }
                let into = merged.entry(name).or_default();
                into.kind = kind;
                if into.help.is_empty() {
                    into.help = &family.help;
                }
                into.entries.push(entry(sample, family.name, kind, reading));
            }
        }
    }
    merged
}

fn entry<'r>(sample: &'r Sample<'_>, family: &str, kind: Kind, reading: &'r Reading<'_>) -> Entry<'r> {
    let part_label = kind.part_label().filter(|_| match kind {
        Kind::Histogram => sample.name.ends_with("_bucket"),
        _ => sample.name == family,
    });
    let mut labels: Vec<merge::Label<'r>> = vec![(PORT.into(), &reading.port), (TICK.into(), &reading.tick)];
    let mut part = None;
    for (name, value) in &sample.labels {
        match part_label.filter(|label| label == name) {
            Some(label) => part = Some((label, value.as_ref())),
            None => labels.push((renamed(name, &sample.labels), value)),
        }
    }
    let timestamp_ms = Some(sample.timestamp_ms.unwrap_or(reading.tick_ms));
    Entry { name: sample.name, labels, part, value: sample.value, timestamp_ms }
}

/// The name of a label of the exporter, away from those that are added here.
fn renamed<'r>(name: &'r str, labels: &[Label<'_>]) -> Cow<'r, str> {
    if name != PORT && name != TICK {
        return name.into();
    }
    let mut name = format!("{EXPORTED}{name}");
    while labels.iter().any(|(known, _)| *known == name) {
        name.insert_str(0, EXPORTED);
    }
    name.into()
}

/// What is told about the collection itself (wire contract §10.3).
fn own<'r>(merged: &mut BTreeMap<&'r str, Merged<'r>>, version: &'r str, has_read: bool) {
    let mut add = |name: &'r str, help: &'r str, kind: Kind, labels: Vec<merge::Label<'r>>| {
        let family = merged.entry(name).or_default();
        family.kind = if family.entries.is_empty() { kind } else { Kind::Untyped };
        family.help = help;
        family.entries.push(Entry { name, labels, part: None, value: 1.0, timestamp_ms: None });
    };
    let build = [("branch", ""), ("goversion", "none"), ("revision", ""), ("version", version)];
    add(BUILD, BUILD_HELP, Kind::Gauge, build.map(|(name, value)| (name.into(), value)).into());
    if has_read {
        add(SUCCESS, SUCCESS_HELP, Kind::Counter, vec![("collector".into(), "metric")]);
    }
}
