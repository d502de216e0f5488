//! The servers of the process as supervised parts: NATS listener, HTTP, control socket.
//!
//! Left out: what they answer. Invariant: each serves until it is told to stop, and is started again after a panic, except
//! the listener, without which the process is of no use.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use cim_api::{ApiState, Face as Paths, Listener, Server};
use cim_core::Cim;
use cim_core::supervisor::OnPanic;
use tokio::sync::watch;

use super::{EXTERNAL_PART, NATS_PART};
use crate::exit::Failure;
use crate::external::ExternalIntake;
use crate::face::Face;
use crate::said::HttpAddresses;
use crate::settings::{ApiPaths, ApiSettings};
use crate::{control, http};

const API_PART: &str = "http api";
const SOCKET_PART: &str = "http socket";
const HEALTH_PART: &str = "http health";
const CONTROL_PART: &str = "control socket";
/// The parts that answer until the very end.
pub(super) const SERVERS: [&str; 4] = [API_PART, SOCKET_PART, HEALTH_PART, CONTROL_PART];

/// Runs the NATS listener on a thread of its own.
pub(super) fn serve_nats(cim: &Cim, listener: cim_nats::Listener) -> Result<(), Failure> {
    let lane = cim.lane();
    let supervisor = cim.supervisor().clone();
    let thread = move || {
        if let Err(error) = listener.run(lane) {
            tracing::error!(%error, "the NATS listener ended");
            supervisor.fail(format!("the NATS listener ended: {error}"));
        }
    };
    let started = cim.supervisor().thread(NATS_PART, thread);
    started.map_err(|error| Failure::cannot_start(format!("cannot start the listener thread: {error}")))
}

/// The open sockets of HTTP.
pub(super) struct Pages {
    pub api: Vec<TcpListener>,
    pub socket: Option<UnixListener>,
    pub health: Option<TcpListener>,
}

/// Serves HTTP on all of them; tells where they really are.
///
/// # Errors
/// A token or a certificate that cannot be used.
pub(super) fn serve_pages(
    cim: &Cim,
    open: Pages,
    settings: &ApiSettings,
    face: &Arc<Face>,
    stopping: &watch::Receiver<bool>,
) -> Result<HttpAddresses, Failure> {
    let addresses = HttpAddresses {
        api: open.api.iter().filter_map(|api| api.local_addr().ok()).collect(),
        health: open.health.as_ref().and_then(|health| health.local_addr().ok()),
    };
    let state = Arc::clone(face) as Arc<dyn ApiState>;
    let server = http::server(settings, state, Arc::clone(&face.http)).map_err(Failure::cannot_start)?;
    let server = Arc::new(server);
    let paths = match settings.paths {
        ApiPaths::Full => Paths::Full,
        ApiPaths::Contract => Paths::Contract,
    };
    for api in open.api {
        serve_http(cim, API_PART, api.into(), paths, &server, stopping);
    }
    if let Some(socket) = open.socket {
        serve_http(cim, SOCKET_PART, socket.into(), Paths::Full, &server, stopping);
    }
    if let Some(health) = open.health {
        serve_http(cim, HEALTH_PART, health.into(), Paths::Probes, &server, stopping);
    }
    Ok(addresses)
}

/// Serves HTTP on that listener until it is told to stop.
fn serve_http(
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
            cim.supervisor().task(CONTROL_PART, OnPanic::Restart, move || {
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

/// Takes messages from the NATS server that somebody else runs.
pub(super) fn serve_external(cim: &Cim, external: &Arc<dyn ExternalIntake>) {
    let (engine, external) = (cim.clone(), Arc::clone(external));
    cim.supervisor().task(EXTERNAL_PART, OnPanic::Restart, move || {
        let (engine, external) = (engine.clone(), Arc::clone(&external));
        async move { external.run(&move || engine.lane()).await }
    });
}
