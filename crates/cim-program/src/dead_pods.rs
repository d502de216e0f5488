//! Spools of dead pods, beside the spool of this one in its directory of logs (`[spool.dead_pods]`).
//!
//! Owns when they are looked at, and what is told of it. Left out: which of them go (`cim_spool::bound_gone`). The invariant: only
//! where CIM chose the directory itself does it own what is beside it; a directory that somebody named is not looked around.

use std::path::PathBuf;
use std::time::Duration;

use cim_core::catalog;
use cim_core::settings::DeadPodSettings;
use cim_core::supervisor::{OnPanic, Supervisor};
use cim_spool::{AsideLimits, GoneUse, bound_gone};
use metrics::{counter, gauge};
use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::own_spool;
use crate::settings::Loaded;

/// How often they are looked at, the first time at the start.
const EVERY: Duration = Duration::from_secs(3_600);

/// Keeps them within their limits for as long as the process works.
pub fn follow(supervisor: &Supervisor, loaded: &Loaded) {
    let Some(own) = loaded.settings.spool.dir.clone().filter(|_| own_spool::is_usual(loaded)) else { return };
    let limits = limits(&loaded.settings.spool.dead_pods);
    supervisor.task("spools of dead pods", OnPanic::Restart, move || bound(own.clone(), limits));
}

fn limits(settings: &DeadPodSettings) -> AsideLimits {
    let max_age = Some(settings.max_age.get()).filter(|age| !age.is_zero());
    AsideLimits { max_bytes: settings.max_bytes.get(), max_age }
}

async fn bound(own: PathBuf, limits: AsideLimits) {
    let mut due = interval(EVERY);
    loop {
        due.tick().await;
        let own = own.clone();
        match spawn_blocking(move || bound_gone(&own, limits, cim_core::clock::now())).await {
            Ok(Ok(used)) => tell(&used),
            Ok(Err(error)) => tracing::warn!(%error, "cannot look for spools of dead pods"),
            Err(error) => tracing::error!(%error, "looking for spools of dead pods broke off"),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point; counts stay far below 2^53")]
fn tell(used: &GoneUse) {
    for gone in &used.removed {
        let reason = if gone.is_too_old { "max_age" } else { "max_bytes" };
        tracing::warn!(dir = %gone.path.display(), bytes = gone.bytes, reason,
            "the spool of a dead pod was removed, with what was not delivered of it");
    }
    for (dir, error) in &used.failed {
        tracing::error!(dir = %dir.display(), %error, "the spool of a dead pod cannot be removed");
    }
    gauge!(catalog::DEAD_POD_BYTES).set(used.bytes as f64);
    for (reason, is_too_old) in [("max_age", true), ("max_bytes", false)] {
        let removed = used.removed.iter().filter(|gone| gone.is_too_old == is_too_old);
        counter!(catalog::DEAD_POD_REMOVED, "reason" => reason)
            .increment(removed.map(|gone| gone.bytes).sum());
    }
}
