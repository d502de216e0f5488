//! `cim doctor`: whether everything that a configuration needs is there.
//!
//! Owns which checks are made, their limit, and the order of what they find. Left out: each check (a file each) and printing.
//! Invariants: a check takes [`LIMIT`] for each question and they run beside each other; nothing is changed, also beside a
//! running CIM; no secret is in a finding.

mod certificates;
mod clock;
mod cluster;
mod directory;
mod finding;
mod hosts;
mod ports;
mod sinks;
mod source;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{Identity, Neighbours, Registry};

use crate::configuration;
use crate::exit::Failure;
use crate::settings::{Loaded, Problems, Request, load};

pub use cluster::{ClusterReport, RightReport};
pub use finding::{Finding, Verdict};

/// Longest wait for one answer.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Looks at everything that the configuration in these files names.
///
/// # Errors
/// There is no runtime to look with.
pub fn examine(files: Vec<PathBuf>, registry: &Registry) -> Result<Vec<Finding>, Failure> {
    let loaded = match load(&Request::of_process(files), registry) {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(vec![unreadable(&problems)]),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let mut findings = vec![readable(&loaded)];
    findings.extend(runtime.block_on(all(Arc::new(loaded), registry)));
    // A resolver that hangs holds a thread, not the answer.
    runtime.shutdown_background();
    Ok(findings)
}

async fn all(loaded: Arc<Loaded>, registry: &Registry) -> Vec<Finding> {
    let settings = &loaded.settings;
    let local = {
        let (loaded, registry) = (Arc::clone(&loaded), registry.clone());
        tokio::task::spawn_blocking(move || {
            let mut findings = ports::check(&loaded.settings);
            findings.extend(spool::check(&loaded.settings.spool));
            findings.extend(sinks::directories(&loaded.settings, &registry));
            findings
        })
    };
    let parts = async {
        let orchestrator = match configuration::orchestrator(settings, registry) {
            Ok(orchestrator) => orchestrator,
            Err(problem) => return vec![Finding::fail("orchestrator", problem.to_string())],
        };
        let (known, found) = cluster::identity(settings, orchestrator.as_ref()).await;
        let identity = known.unwrap_or_else(|| Identity::from(&settings.identity));
        let mut findings = vec![found];
        findings.extend(source::check(settings, registry, &identity).await);
        findings.extend(sinks::check(settings, &identity, &Neighbours::of(orchestrator), registry).await);
        findings
    };
    let (local, hosts, parts, cluster) =
        tokio::join!(local, hosts::check(settings), parts, cluster::report(&loaded));
    let mut findings = local.unwrap_or_else(|error| vec![Finding::fail("this host", error.to_string())]);
    findings.extend(hosts);
    findings.extend(parts);
    findings.extend(cluster::rights(cluster.as_ref()));
    findings.push(clock::check(cluster.as_ref()));
    findings.extend(certificates::check(settings));
    findings
}

fn readable(loaded: &Loaded) -> Finding {
    if loaded.warnings.is_empty() {
        return Finding::ok("configuration", "is valid");
    }
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    Finding::warn("configuration", format!("is valid, but: {}", warnings.join("; ")))
}

fn unreadable(problems: &Problems) -> Finding {
    let finding = Finding::fail("configuration", problems.to_string());
    finding.advice("mend it first; nothing else was looked at")
}
