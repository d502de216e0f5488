//! Metrics `process_*` under the names that every Prometheus library uses (wire contract §10.1), from `/proc`.
//!
//! Left out: threads and tasks, which the status page tells. The invariant: what the system does not tell is left out, never a zero.

use std::fs;

use cim_exposition::{Kind, Page};

/// Ticks in a second of what Linux tells programs, whatever its own clock does.
const TICKS: f64 = 100.0;

/// The families, as far as the system tells.
#[must_use]
pub fn render() -> String {
    let mut page = Page::new();
    let mut add = |name: &str, help: &str, kind: Kind, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, help, kind);
            page.sample(name, [], value, None);
        }
    };
    let (stat, status, limits) = (read("self/stat"), read("self/status"), read("self/limits"));
    let cpu = "Total user and system CPU time spent in seconds.";
    add("process_cpu_seconds_total", cpu, Kind::Counter, cpu_seconds(&stat));
    let fds = "Maximum number of open file descriptors.";
    add("process_max_fds", fds, Kind::Gauge, limit(&limits, "Max open files"));
    add("process_open_fds", "Number of open file descriptors.", Kind::Gauge, open_fds());
    let resident = "Resident memory size in bytes.";
    add("process_resident_memory_bytes", resident, Kind::Gauge, bytes(&status, "VmRSS:"));
    let start = "Start time of the process since unix epoch in seconds.";
    add("process_start_time_seconds", start, Kind::Gauge, start_seconds(&stat, &read("stat")));
    let size = "Virtual memory size in bytes.";
    add("process_virtual_memory_bytes", size, Kind::Gauge, bytes(&status, "VmSize:"));
    let most = "Maximum amount of virtual memory available in bytes.";
    add("process_virtual_memory_max_bytes", most, Kind::Gauge, limit(&limits, "Max address space"));
    page.into_text()
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("/proc/{name}")).unwrap_or_default()
}

/// A field of `stat` by its number in the manual. The name of the program before them may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn start_seconds(stat: &str, system: &str) -> Option<f64> {
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS)
}

/// A line of `status`, which counts in KiB.
fn bytes(status: &str, name: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = value.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

/// The limit in force, -1 without one.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let value = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match value.split_whitespace().next()? {
        "unlimited" => Some(-1.0),
        number => number.parse().ok(),
    }
}

/// Without the one that counts them.
fn open_fds() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_are_those_that_were_recorded() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/metrics.json")).unwrap();
        let case = &recorded["cases"][0];
        assert_eq!(case["name"], "families before registration");
        let families = case["expected"]["families"].as_object().unwrap().iter();
        let expected: Vec<_> = families
            .filter(|(name, _)| name.starts_with("process_"))
            .map(|(name, kind)| (name.clone(), kind.as_str().unwrap().to_owned()))
            .collect();
        let page = render();
        let found: Vec<_> = cim_exposition::parse(&page)
            .unwrap()
            .iter()
            .map(|family| (family.name.to_owned(), family.kind.as_str().to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_are_those_of_the_system() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(start_seconds(stat, "cpu 1\nbtime 1000\n"), Some(1123.45));
        assert_eq!(bytes("VmSize:\t  10 kB\nVmRSS:\t 2048 kB\n", "VmRSS:"), Some(2_097_152.0));
        let limits = "Max open files            1024                 4096                 files     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(limits, "Max open files"), Some(1024.0));
        assert_eq!(limit(limits, "Max address space"), Some(-1.0));
        assert_eq!((cpu_seconds(""), bytes("", "VmRSS:"), limit("", "x")), (None, None, None));
    }
}
