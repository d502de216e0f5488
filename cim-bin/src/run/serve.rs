//! The servers of the process as supervised parts: NATS listener, HTTP, control socket.
//!
//! Left out: what they answer. Invariant: each serves until it is told to stop, and is started again after a panic, except
//! the listener, without which the process is of no use.

use std::sync::Arc;

use cim_api::{Face as Paths, Limits};
use cim_core::Cim;
use cim_core::supervisor::OnPanic;
use tokio::sync::{oneshot, watch};

use super::NATS_PART;
use crate::control;
use crate::exit::Failure;
use crate::external::ExternalIntake;
use crate::face::Face;
use crate::registration::Engine;

/// Runs the NATS listener on a thread of its own; the receiver is ready when it has ended.
pub(super) fn serve_nats(cim: &Cim, listener: cim_nats::Listener) -> Result<oneshot::Receiver<()>, Failure> {
    let lane = cim.lane();
    let (ended, ending) = oneshot::channel();
    let thread = move || {
        if let Err(error) = listener.run(lane) {
            tracing::error!(%error, "the NATS listener ended");
        }
        let _ = ended.send(());
    };
    let started = cim.supervisor().thread(NATS_PART, thread);
    started.map_err(|error| Failure::cannot_start(format!("cannot start the listener thread: {error}")))?;
    Ok(ending)
}

/// Serves HTTP on that listener until it is told to stop.
pub(super) fn serve_http(
    cim: &Cim,
    name: &'static str,
    listener: &std::net::TcpListener,
    paths: Paths,
    face: &Arc<Face>,
    stopping: &watch::Receiver<bool>,
) {
    let Ok(listener) = listener.try_clone() else {
        tracing::error!(part = name, "cannot serve: no file descriptor left");
        return;
    };
    let (face, stopping) = (Arc::clone(face), stopping.clone());
    cim.supervisor().task(name, OnPanic::Restart, move || {
        let (listener, face, mut stopping) = (listener.try_clone(), Arc::clone(&face), stopping.clone());
        async move {
            let stop = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let served = match listener {
                Ok(listener) => cim_api::serve(listener, paths, face, Limits::default(), stop).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(part = name, %error, "cannot serve");
            }
        }
    });
}

/// Serves the control socket in the spool directory.
pub(super) fn serve_control(
    cim: &Cim,
    spool: &std::path::Path,
    configuration: &Engine,
    stopping: &watch::Receiver<bool>,
) {
    match control::open(spool) {
        Ok(listener) => {
            let (engine, configuration, stopping) = (cim.clone(), configuration.clone(), stopping.clone());
            cim.supervisor().task("control socket", OnPanic::Restart, move || {
                let (listener, engine, configuration, mut stopping) =
                    (listener.try_clone(), engine.clone(), configuration.clone(), stopping.clone());
                async move {
                    let Ok(listener) = listener else { return };
                    tokio::select! {
                        () = control::serve(listener, engine, configuration) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "no control socket; `cim dlq` will not reach this process"),
    }
}

/// Takes messages from the NATS server that somebody else runs.
pub(super) fn serve_external(cim: &Cim, external: &Arc<dyn ExternalIntake>) {
    let (engine, external) = (cim.clone(), Arc::clone(external));
    cim.supervisor().task("nats external", OnPanic::Restart, move || {
        let (engine, external) = (engine.clone(), Arc::clone(&external));
        async move { external.run(&move || engine.lane()).await }
    });
}
