//! The servers of the process as supervised parts: NATS listener, HTTP, control socket.
//!
//! Left out: what they answer. Invariant: each serves until it is told to stop, and is started again after a panic, except
//! the listener, without which the process is of no use.

use std::sync::Arc;

use cim_api::{Face as Paths, Limits};
use cim_core::Cim;
use cim_core::supervisor::OnPanic;
use tokio::sync::watch;

use super::NATS_PART;
use crate::control::{self, Served};
use crate::exit::Failure;
use crate::face::Face;

/// Runs the NATS listener on a thread of its own.
pub(super) fn serve_nats(cim: &Cim, listener: cim_nats::Listener) -> Result<(), Failure> {
    let lane = cim.lane();
    let thread = move || {
        if let Err(error) = listener.run(lane) {
            tracing::error!(%error, "the NATS listener ended");
        }
    };
    let started = cim.supervisor().thread(NATS_PART, thread);
    started.map_err(|error| Failure::cannot_start(format!("cannot start the listener thread: {error}")))
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
    name: &'static str,
    spool: &std::path::Path,
    served: &Served,
    stopping: &watch::Receiver<bool>,
) {
    match control::open(spool) {
        Ok(listener) => {
            let (served, stopping) = (served.clone(), stopping.clone());
            cim.supervisor().task(name, OnPanic::Restart, move || {
                let (listener, served, mut stopping) =
                    (listener.try_clone(), served.clone(), stopping.clone());
                async move {
                    let Ok(listener) = listener else { return };
                    tokio::select! {
                        () = control::serve(listener, served) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "no control socket; `cim dlq` will not reach this process"),
    }
}
