//! The servers of the process as supervised parts: NATS listener, HTTP, control socket.
//!
//! Left out: what they answer. Invariant: each serves until it is told to stop, and is started again after a panic, except
//! the listener, without which the process is of no use.

use std::sync::Arc;

use cim_api::{Face as Paths, Listener, Server};
use cim_core::Cim;
use cim_core::supervisor::OnPanic;
use tokio::sync::{oneshot, watch};

use super::NATS_PART;
use crate::control;
use crate::exit::Failure;
use crate::face::Face;

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
    listener: Listener,
    paths: Paths,
    server: &Arc<Server>,
    stopping: &watch::Receiver<bool>,
) {
    let (server, stopping) = (Arc::clone(server), stopping.clone());
    cim.supervisor().task(name, OnPanic::Restart, move || {
        let (listener, server, mut stopping) = (listener.try_clone(), Arc::clone(&server), stopping.clone());
        async move {
            let stop = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let served = match listener {
                Ok(listener) => cim_api::serve(listener, paths, server, stop).await,
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
    face: &Arc<Face>,
    stopping: &watch::Receiver<bool>,
) {
    match control::open(spool) {
        Ok(listener) => {
            let (face, stopping) = (Arc::clone(face), stopping.clone());
            cim.supervisor().task("control socket", OnPanic::Restart, move || {
                let (listener, face, mut stopping) =
                    (listener.try_clone(), Arc::clone(&face), stopping.clone());
                async move {
                    let Ok(listener) = listener else { return };
                    tokio::select! {
                        () = control::serve(listener, face) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "no control socket; `cim dlq` will not reach this process"),
    }
}
