//! The application as the engine calls it.
//!
//! Owns the endpoints, the deadline of a call and the choice between a waiting connection and a fresh one. Left out: bytes
//! (`connection`, `call`). Invariant: a call whose first byte may have been sent is never sent a second time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cim_core::{Answer, Application, CallError, CloseError, Component, Health, Problem, Push, async_trait};
use cim_wire::UpdateConfig;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use tokio::time::{Instant, timeout_at};

use crate::call;
use crate::connection::{Call, Connection};
use crate::idle::Idle;
use crate::settings::ApplicationSettings;
use crate::target::Target;

/// Most bytes of an answer that are read.
const MAX_BODY: usize = 64 << 10;
pub(crate) const AGENT: HeaderValue = HeaderValue::from_static(concat!("cim/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The application in the pod, called over HTTP.
pub struct HttpApplication {
    target: Target,
    host: HeaderValue,
    use_http2: bool,
    timeout: Duration,
    idle: Idle,
    /// Why the last call had no answer.
    trouble: Mutex<Option<String>>,
}

impl std::fmt::Debug for HttpApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpApplication").field("authority", &self.target.authority).finish_non_exhaustive()
    }
}

impl HttpApplication {
    /// A client; nothing is connected before the first call.
    ///
    /// # Errors
    /// [`Problem`] when the address cannot work.
    pub fn new(settings: &ApplicationSettings) -> Result<Self, Problem> {
        let target = Target::parse(&settings.url)?;
        let host = HeaderValue::from_str(&target.authority)
            .map_err(|_| Problem::new("url", "has a host that cannot stand in a header"))?;
        let (use_http2, timeout) = (settings.http2, settings.timeout.get());
        Ok(Self { target, host, use_http2, timeout, idle: Idle::new(), trouble: Mutex::new(None) })
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Answer, CallError> {
        let mut call = self.call(Method::POST, path, body)?;
        call.headers_mut().insert(CONTENT_TYPE, JSON);
        // The status is the verdict; a body that breaks off changes nothing about it.
        self.exchange(call).await.map(|(answer, _)| answer)
    }

    fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Call, CallError> {
        let mut call = Request::new(Full::new(Bytes::from(body)));
        *call.method_mut() = method;
        *call.uri_mut() = self.target.uri(path).map_err(CallError::Unreachable)?;
        if !self.use_http2 {
            // HTTP/1.1 wants the path alone; HTTP/2 makes its pseudo headers of the whole address.
            let path = call.uri().path_and_query().cloned();
            *call.uri_mut() = path.map(Into::into).unwrap_or_default();
            call.headers_mut().insert(HOST, self.host.clone());
        }
        call.headers_mut().insert(USER_AGENT, AGENT);
        Ok(call)
    }

    /// Makes a call; the second part says how the body ended.
    async fn exchange(&self, call: Call) -> Result<(Answer, Result<(), CallError>), CallError> {
        let until = Instant::now() + self.timeout;
        let head = timeout_at(until, self.send(call)).await.unwrap_or(Err(CallError::TimedOut(self.timeout)));
        let trouble = head.as_ref().err().map(ToString::to_string);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        let (mut connection, response) = head?;
        let mut answer = Answer { status: response.status().as_u16(), body: Vec::new() };
        let reading = call::read(&mut connection, response, &mut answer, MAX_BODY);
        let ending = match timeout_at(until, reading).await {
            Err(_) => Err(CallError::TimedOut(self.timeout)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(is_whole)) => {
                if is_whole && connection.settle().await {
                    self.idle.keep(connection);
                }
                Ok(())
            }
        };
        Ok((answer, ending))
    }

    async fn send(&self, mut call: Call) -> Result<(Connection, Response<Incoming>), CallError> {
        while let Some(mut connection) = self.idle.take().await {
            match connection.send(call).await {
                Ok(response) => return Ok((connection, response)),
                // Closed while it waited: another one takes the same call, unless a part of it may have arrived.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => call = unsent,
                    None => return Err(call::failure(error.error())),
                },
            }
        }
        let Target { host, port, .. } = &self.target;
        let mut connection = Connection::open(host, *port, self.use_http2, None).await?;
        match connection.send(call).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(call::failure(error.error())),
        }
    }
}

#[async_trait]
impl Component for HttpApplication {
    fn name(&self) -> &str {
        "application"
    }

    async fn probe(&self) -> Health {
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(trouble) => Health::Degraded(format!("the last call failed: {trouble}")),
            None => Health::Ready,
        }
    }

    /// Closes the connections that wait. Calls are still possible, each with a connection of its own.
    async fn close(&self) -> Result<(), CloseError> {
        self.idle.close();
        Ok(())
    }
}

#[async_trait]
impl Application for HttpApplication {
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError> {
        let change = UpdateConfig {
            change_set_key: push.change_set_key.as_bytes(),
            config_patch: push.patch,
            data_key: push.data_key.as_bytes(),
            revision: push.revision.as_bytes(),
        };
        let mut body = Vec::new();
        change.encode(&mut body);
        self.post("/updateConfig", body).await
    }

    async fn load_config(&self, document: &[u8]) -> Result<Answer, CallError> {
        self.post("/api/v1/_operations/loadConfig", document.to_vec()).await
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        let mut call = self.call(Method::POST, "/api/v1/_operations/shutdown", Vec::new())?;
        call.headers_mut().insert(CONTENT_TYPE, JSON);
        // A body without a byte is left out, and its length with it, unless it is named.
        call.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.exchange(call).await.map(|(answer, _)| answer)
    }

    async fn get(&self, path: &str) -> Result<Answer, CallError> {
        let (answer, ending) = self.exchange(self.call(Method::GET, path, Vec::new())?).await?;
        ending.map(|()| answer)
    }
}
