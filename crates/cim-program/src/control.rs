//! The control socket of a running CIM: `<spool>/cim.sock`, for commands about its records, its configuration and its own
//! messages.
//!
//! One line of JSON in, one line of JSON out, then the connection ends. Left out: what a command prints. The
//! invariant: only who may write into the spool directory (mode 0700) reaches the socket (mode 0600).

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_api::ApiState as _;
use cim_core::{Cim, Class, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::face::Face;
use crate::registration::Engine;

/// Longest request, in bytes: a few records of another life.
const MAX_REQUEST: u64 = 8 << 20;
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// Time for one request to arrive, and for one answer to leave.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time for the whole exchange, seen from the caller.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// What a running CIM can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Tells how far delivery has come, and how many clients there are.
    Progress,
    /// Takes records of another life into their queue; answered by [`TakenBack`].
    TakeBack {
        /// `logs` or `events`.
        class: Route,
        /// The records as they are stored, in base64.
        records: Vec<String>,
    },
    /// Puts the dead letters back into their queues.
    DlqReplay,
    /// Forgets the dead letters.
    DlqPurge,
    /// Tells the level of CIM's own messages, after changing it if one is given.
    LogLevel {
        /// The new level.
        #[serde(default)]
        level: Option<String>,
    },
    /// Tells how configuration is doing.
    ConfigStatus,
    /// Tells the last changes that were settled.
    ConfigHistory,
    /// Tells what the last change of a document changed.
    ConfigDiff {
        /// Name of the document.
        document: String,
    },
    /// Undoes the last change of a document.
    ConfigRollback {
        /// Name of the document.
        document: String,
    },
}

/// The class of records, by the name of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Logs.
    Logs,
    /// Events.
    Events,
}

impl From<Class> for Route {
    fn from(class: Class) -> Self {
        match class {
            Class::Log => Self::Logs,
            Class::Event => Self::Events,
        }
    }
}

impl From<Route> for Class {
    fn from(route: Route) -> Self {
        match route {
            Route::Logs => Self::Log,
            Route::Events => Self::Event,
        }
    }
}

/// How far a class has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassProgress {
    /// Its route.
    pub class: Route,
    /// First sequence that does not exist yet.
    pub next: u64,
    /// First sequence that some sink has not settled.
    pub settled: u64,
}

/// How far delivery has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressAnswer {
    /// Both classes.
    pub classes: Vec<ClassProgress>,
    /// Clients of the listener.
    pub connections: u64,
}

/// What came of [`Request::TakeBack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenBack {
    /// All of them are accepted.
    Taken,
    /// There is no room now; none was taken.
    NoRoom,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done; what came of it.
    Ok(Value),
    /// Not done; why.
    Error(String),
}

/// Where the socket of a spool is.
#[must_use]
pub fn path(spool: &Path) -> PathBuf {
    spool.join("cim.sock")
}

/// Opens the socket. The caller holds the lock of the spool, so a socket that is there already is a left-over.
///
/// # Errors
/// When the directory does not take a socket.
pub fn open(spool: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let path = path(spool);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers requests, one at a time, for ever.
///
/// # Cancel safety
/// Dropping it closes the socket; a request that was begun may have been carried out.
pub async fn serve(listener: std::os::unix::net::UnixListener, face: Arc<Face>) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the control socket; `cim dlq` will not reach this process");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = exchange(stream, &face).await {
                    tracing::debug!(%error, "a control connection ended early");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn exchange(mut stream: UnixStream, face: &Face) -> io::Result<()> {
    let mut line = String::new();
    let (reading, mut writing) = stream.split();
    timeout(REQUEST_TIME, BufReader::new(reading.take(MAX_REQUEST)).read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::LogLevel { level }) => log_level(level, face).map_or_else(Answer::Error, Answer::Ok),
        Ok(Request::Progress) => Answer::Ok(json!(progress(face))),
        Ok(Request::TakeBack { class, records }) => {
            take_back(&face.cim, class, &records).map_or_else(Answer::Error, |taken| Answer::Ok(json!(taken)))
        }
        Ok(request) => match about_configuration(&request, &face.engine).await {
            Some(answer) => answer.map_or_else(Answer::Error, Answer::Ok),
            None => carry_out(&request, &face.cim).unwrap_or_else(Answer::Error),
        },
        Err(error) => Answer::Error(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(REQUEST_TIME, writing.write_all(&text)).await??;
    Ok(())
}

/// Changes the level of CIM's own messages, if one is given, and tells it.
fn log_level(level: Option<String>, face: &Face) -> Result<Value, String> {
    level.map_or(Ok(()), |level| face.set_log_level(&level))?;
    Ok(json!({ "level": face.log_level() }))
}

fn progress(face: &Face) -> ProgressAnswer {
    let classes = face.cim.progress().map(|Progress { class, next, settled }| ClassProgress {
        class: class.into(),
        next,
        settled,
    });
    ProgressAnswer { classes: classes.into(), connections: face.nats.snapshot().connections }
}

fn take_back(cim: &Cim, class: Route, records: &[String]) -> Result<TakenBack, String> {
    let decode = |record: &String| STANDARD.decode(record);
    let records: Result<Vec<_>, _> = records.iter().map(decode).collect();
    let records = records.map_err(|error| format!("a record is not base64: {error}"))?;
    match cim.take_back(class.into(), &records) {
        Ok(()) => Ok(TakenBack::Taken),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(TakenBack::NoRoom),
        Err(error) => Err(error.to_string()),
    }
}

/// Answers a request about configuration; `None` for any other.
async fn about_configuration(request: &Request, engine: &Engine) -> Option<Result<Value, String>> {
    let about = matches!(
        request,
        Request::ConfigStatus
            | Request::ConfigHistory
            | Request::ConfigDiff { .. }
            | Request::ConfigRollback { .. }
    );
    if !about {
        return None;
    }
    let configuration = engine.borrow().as_ref().map(|(configuration, _)| configuration.clone());
    let Some(configuration) = configuration else {
        return Some(Err(
            "it is not known yet who this pod is, or where its infrastructure is; try again".to_owned()
        ));
    };
    Some(match request {
        Request::ConfigHistory => Ok(json!(configuration.current().await.history)),
        Request::ConfigDiff { document } => {
            configuration.last_change(document).await.map(|patch| json!(patch))
        }
        Request::ConfigRollback { document } => {
            let outcome = configuration.roll_back(document).await;
            outcome
                .map_err(|why| format!("{document} is not rolled back: {why}"))
                .map(|()| json!({ "rolled_back": document }))
        }
        _ => Ok(json!(configuration.current().await)),
    })
}

/// Carries a request out on an engine in this process.
///
/// # Errors
/// A text for the person who asked.
pub fn carry_out(request: &Request, cim: &Cim) -> Result<Answer, String> {
    let store = cim.dead_letters().ok_or("there is no dead-letter store without a spool")?;
    let wrong = |error: io::Error| error.to_string();
    let value = match request {
        Request::DlqReplay => json!({ "replayed": cim.replay_dead_letters().map_err(wrong)? }),
        Request::DlqPurge => json!({ "purged": store.purge().map_err(wrong)? }),
        _ => return Err("that is asked of a running cim".to_owned()),
    };
    Ok(Answer::Ok(value))
}

/// Asks the CIM that uses this spool. `None`: none does.
///
/// # Errors
/// A CIM is there but does not answer as expected.
pub fn ask(spool: &Path, request: &Request) -> io::Result<Option<Answer>> {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut stream = match std::os::unix::net::UnixStream::connect(path(spool)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(REQUEST_TIME))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut line)?;
    serde_json::from_str(&line).map(Some).map_err(io::Error::other)
}
