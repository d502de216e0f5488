//! Which request gets which answer.
//!
//! Paths are exact; an unknown one answers as the original program does (wire contract §6). Left out: who is let in
//! (`gate`), sockets and time limits of connections. The invariant: a request is answered after its body was read and bounded.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::timeout;

use crate::body::Whole;
use crate::exposition;
use crate::limits::Limits;
use crate::receipt::Receipts;
use crate::registration::{self, RegistrationRefusal, RegistrationRequest};
use crate::server::{Door, Server};
use crate::state::{ApiState, Face, Readiness};
use crate::{gate, level, subscriptions};

/// The body of an answer: whole, from memory.
pub(crate) type Body = Whole;
/// An answer.
pub(crate) type Answer = Response<Body>;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const JSON: &str = "application/json";

/// Reads the body and answers.
pub(crate) async fn answer(
    request: Request<Incoming>,
    door: &Door,
    server: &Server,
    connection: &Receipts,
) -> Answer {
    let (head, body) = request.into_parts();
    let mut answer = match gate::refusal(&head, door, server) {
        Some(refusal) => refusal,
        None => admitted(&head, body, door.face, server, connection).await,
    };
    if head.version == Version::HTTP_2 {
        // There a connection outlives its requests.
        answer.headers_mut().remove(CONNECTION);
    }
    answer
}

async fn admitted(
    head: &Parts,
    body: Incoming,
    face: Face,
    server: &Server,
    connection: &Receipts,
) -> Answer {
    let (state, path) = (server.state.as_ref(), head.uri.path());
    let body = match read(body, &server.limits).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let subscribed = subscriptions::target(path).filter(|_| face != Face::Probes);
    if let Some(target) = subscribed {
        return subscribe(&head.method, target, body, state).await;
    }
    match (path, face) {
        (registration::PATH, Face::Full | Face::Contract) => register(&head.method, &body, state).await,
        (level::PATH, Face::Full) => level::answer(&head.method, &body, state),
        // Scrapers of the original used any method (wire contract §6.3).
        ("/metrics", _) => exposition::metrics(&head.headers, state).await,
        ("/metrics/aligned", _) => {
            exposition::aligned(&head.headers, state, connection).await.unwrap_or_else(not_found)
        }
        _ => route(&head.method, path, face, state),
    }
}

/// Reads a body, within its limits. The error is the refusal.
async fn read(body: Incoming, limits: &Limits) -> Result<Bytes, Box<Answer>> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let refused = |status, text| Err(Box::new(closing(status, text)));
    let too_large = || refused(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n");
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return too_large();
    }
    match timeout(limits.request_time, Limited::new(body, limits.body_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
        Ok(Err(_)) => refused(StatusCode::BAD_REQUEST, "unreadable request body\n"),
        Err(_) => refused(StatusCode::REQUEST_TIMEOUT, "request body took too long\n"),
    }
}

/// The application registers (wire contract §6.1).
async fn register(method: &Method, body: &[u8], state: &dyn ApiState) -> Answer {
    if method != Method::POST {
        return not_allowed();
    }
    let outcome = match RegistrationRequest::parse(body) {
        Ok(request) => match state.register(request) {
            Some(registering) => registering.await,
            None => return not_found(),
        },
        Err(text) => Err(RegistrationRefusal::Invalid(text)),
    };
    let status = match &outcome {
        Ok(_) => StatusCode::OK,
        Err(RegistrationRefusal::Invalid(_)) => StatusCode::BAD_REQUEST,
        Err(RegistrationRefusal::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(status, TEXT, registration::body(&outcome))
}

/// Event subscriptions (wire contract §6.2).
async fn subscribe(
    method: &Method,
    target: subscriptions::Target,
    body: Bytes,
    state: &dyn ApiState,
) -> Answer {
    let call = target.call(method, body);
    // Before a registration there is nothing here, whatever the method.
    let Some(asking) = state.subscriptions(call.clone().unwrap_or(subscriptions::SubscriptionCall::List))
    else {
        return not_found();
    };
    if call.is_none() {
        return not_allowed();
    }
    let (status, body) = asking.await.response();
    plain(status, JSON, body)
}

fn route(method: &Method, path: &str, face: Face, state: &dyn ApiState) -> Answer {
    match (path, face) {
        (_, Face::Contract) => not_found(),
        ("/livez", _) => read_only(method, || plain(StatusCode::OK, TEXT, "ok\n")),
        ("/readyz", _) => read_only(method, || readiness(&state.readiness())),
        ("/statusz", Face::Full) => read_only(method, || status(&state.status())),
        _ => not_found(),
    }
}

fn read_only(method: &Method, answer: impl FnOnce() -> Answer) -> Answer {
    if matches!(*method, Method::GET | Method::HEAD) {
        return answer();
    }
    not_allowed()
}

/// The original sends neither a body nor `Allow` (wire contract §6).
pub(crate) fn not_allowed() -> Answer {
    let mut refused = Response::new(Whole::default());
    *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    refused
}

fn readiness(parts: &[Readiness]) -> Answer {
    let ready = parts.iter().all(|part| part.ready);
    let (status, verdict) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let mut text = format!("{verdict}\n");
    for part in parts {
        let mark = if part.ready { '+' } else { '-' };
        text.push_str(&format!("[{mark}] {}: {}\n", part.name, part.text));
    }
    plain(status, TEXT, text)
}

fn status(document: &serde_json::Value) -> Answer {
    plain(StatusCode::OK, JSON, format!("{document:#}\n"))
}

pub(crate) fn not_found() -> Answer {
    let mut answer = plain(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// A refusal after which the rest of the connection cannot be trusted.
pub(crate) fn closing(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = plain(status, TEXT, text);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(crate) fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Whole::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
