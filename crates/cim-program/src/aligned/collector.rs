//! The task that reads pages at their ticks.
//!
//! Left out: when a tick is (`cim_aligned::Ticks`). The invariants: all ports are read at the same time, and a slow one never holds up the
//! next tick; CIM's own page is made in memory, never asked for.

use std::sync::Arc;
use std::time::Duration;

use cim_aligned::{Look, Plan, Source, Ticks};
use cim_api::ApiState as _;
use cim_app::read_page;
use cim_core::supervisor::OnPanic;
use cim_core::{chain, clock};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Aligned;
use crate::face::Face;

/// Longest time without a look at the clock, which may jump.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time for one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts reading, whenever it is known what, until it is told to stop. `port` is that of CIM's own page.
pub fn start(face: &Arc<Face>, port: u16, stopping: &watch::Receiver<bool>) {
    let supervisor = face.cim.supervisor().clone();
    let (face, stopping) = (Arc::clone(face), stopping.clone());
    supervisor.task("clock-aligned metrics", OnPanic::Restart, move || {
        let (face, mut stopping) = (Arc::clone(&face), stopping.clone());
        async move {
            tokio::select! {
                () = collect(face, port) => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        }
    });
}

async fn collect(face: Arc<Face>, port: u16) {
    let mut plans = face.aligned.plan.subscribe();
    loop {
        let plan = plans.borrow_and_update().clone();
        let following = async {
            match &plan {
                Some(plan) => follow(plan, &face, port).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = following => {}
            changed = plans.changed() => if changed.is_err() { return },
        }
    }
}

/// Reads at every tick, for ever.
async fn follow(plan: &Plan, face: &Face, port: u16) {
    let mut ticks = Ticks::new(plan.interval, clock::now_ms());
    let mut missed = 0;
    loop {
        let look = ticks.look(clock::now_ms());
        face.aligned.missed(ticks.missed() - missed);
        missed = ticks.missed();
        match look {
            Look::Wait(time) => sleep(time.min(LOOK)).await,
            Look::Tick(tick) => {
                let own = Source { port, text: face.metrics() };
                let mut sources = exporters(plan, &face.aligned, port).await;
                if !own.text.is_empty() {
                    sources.push(own);
                }
                face.aligned.keep(tick, sources);
            }
        }
    }
}

/// The pages of the application that could be read.
async fn exporters(plan: &Plan, aligned: &Aligned, own: u16) -> Vec<Source> {
    let limit = PATIENCE.min(plan.interval.span() * 4 / 5);
    let ports: Vec<u16> = plan.ports.iter().copied().filter(|port| *port != own).collect();
    let most = aligned.memory / ports.len().max(1);
    let security = aligned.security.as_deref().filter(|_| plan.is_https);
    let readings = ports.into_iter().map(|port| async move {
        let page = match read_page(port, &plan.path, most, limit, security).await {
            Ok(text) => match cim_exposition::parse(&text) {
                Ok(_) => Ok(text),
                Err(error) => Err(format!("its page is not in the text format: {error}")),
            },
            Err(error) => Err(chain(&error)),
        };
        let page = page.map(|text| Source { port, text });
        aligned.note(port, page.as_ref().map(drop).map_err(Clone::clone));
        page.ok()
    });
    join_all(readings).await.into_iter().flatten().collect()
}
