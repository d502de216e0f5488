//! `cim drain` and `cim wait`: for hooks and for people who end a pod by hand.
//!
//! `drain` waits until a running CIM has delivered what it had accepted when it was asked; `wait` waits until the application has
//! ended. Both only look. The invariant: each ends within its time, with code 0 when what it waits for has come and with
//! [`exit::DROPPED`] when not.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cim_core::settings::Period;
use clap::Args;
use serde_json::{Value, json};

use super::spool::directory;
use super::{Answer, api};
use crate::backends;
use crate::control::{self, ClassProgress, ProgressAnswer, Request};
use crate::exit::{self, Failure};
use crate::settings::{Request as LoadRequest, Settings, load};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// An application in the same pod takes a connection at once, or not at all.
const CONNECT: Duration = Duration::from_secs(1);

/// `cim drain`
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// Longest time to wait.
    #[arg(long, default_value = "30s")]
    timeout: Period,
    /// The spool directory of the running CIM. Default: `spool.dir` of the configuration.
    dir: Option<PathBuf>,
}

/// `cim wait`
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Longest time to wait. In a hook: less than the grace of the pod, by what CIM needs itself.
    #[arg(long, default_value = "20s")]
    timeout: Period,
}

/// Waits for delivery.
pub(super) fn drain(drain: &Drain, files: &[PathBuf]) -> Result<Answer, Failure> {
    let dir = directory(drain.dir.as_ref(), files)?;
    let until = Instant::now() + drain.timeout.get();
    let wanted = progress(&dir)?.classes;
    loop {
        let held: u64 = progress(&dir)?.classes.iter().map(|class| missing(&wanted, class)).sum();
        let document = json!({ "drained": held == 0, "held": held });
        if held == 0 {
            return Ok(Answer::done("everything that was accepted is delivered", document));
        }
        if Instant::now() >= until {
            let text = format!("{held} records still wait after {}", drain.timeout);
            return Ok(Answer { text, document, code: exit::DROPPED });
        }
        std::thread::sleep(LOOK);
    }
}

/// Records up to those that were wanted which some sink has not settled.
fn missing(wanted: &[ClassProgress], now: &ClassProgress) -> u64 {
    let wanted = wanted.iter().find(|wanted| wanted.class == now.class);
    wanted.map_or(0, |wanted| wanted.next.saturating_sub(now.settled))
}

/// How far the running CIM has come.
fn progress(dir: &Path) -> Result<ProgressAnswer, Failure> {
    let asked = control::ask(dir, &Request::Progress);
    match asked.map_err(|error| Failure::failed(format!("the running cim does not answer: {error}")))? {
        Some(control::Answer::Ok(value)) => serde_json::from_value(value)
            .map_err(|error| Failure::failed(format!("the running cim answers otherwise: {error}"))),
        Some(control::Answer::Error(text)) => Err(Failure::failed(text)),
        None => Err(Failure::failed(format!("no cim runs on the spool {}", dir.display()))),
    }
}

/// Waits for the end of the application: nobody listens at its address, and nobody is connected to the listener. What nobody tells
/// is not known, and not taken for an end.
pub(super) fn wait(wait: &Wait, files: &[PathBuf]) -> Result<Answer, Failure> {
    let loaded = load(&LoadRequest::of_process(files.to_vec()), &backends::registry())
        .map_err(Failure::cannot_start)?;
    let settings = loaded.settings;
    let address = settings.application.authority();
    let until = Instant::now() + wait.timeout.get();
    loop {
        let (listens, clients) = (listens(&address), connections(&settings));
        let document = |gone: bool| -> Value {
            json!({ "gone": gone, "listens": listens, "connections": clients.as_ref().ok() })
        };
        if !listens && clients == Ok(0) {
            return Ok(Answer::done("the application has ended", document(true)));
        }
        if Instant::now() >= until {
            let time = wait.timeout;
            let text = match &clients {
                Err(why) if !listens => format!(
                    "whether the application has ended is not known after {time}: {why}\n  \
                     set `dir` in [spool], or `socket` in [api], where this command reaches the running cim"
                ),
                _ => format!("the application is still there after {time}"),
            };
            return Ok(Answer { text, document: document(false), code: exit::DROPPED });
        }
        std::thread::sleep(LOOK);
    }
}

/// Clients of the listener of the running CIM, which tells over the control socket in the spool, or else over the API.
fn connections(settings: &Settings) -> Result<u64, String> {
    let asked = settings.spool.dir.as_deref().map(progress);
    if let Some(Ok(progress)) = asked {
        return Ok(progress.connections);
    }
    let status = api::ask(&settings.api, "GET /statusz", "")?;
    let connections = status.pointer("/nats/connections").and_then(Value::as_u64);
    connections.ok_or_else(|| "the running cim does not tell its connections".to_owned())
}

fn listens(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}
