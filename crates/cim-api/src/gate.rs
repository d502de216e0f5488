//! Which requests are turned away by their head, before a byte of their body is read.
//!
//! Owns the order of these questions: too many headers, too many requests, a roundabout path, no token. Left out: what is
//! behind the gate. The invariants: probes pass always, so no flood takes the pod out of service; a client on the socket needs no
//! token, because the file system has let it through.

use hyper::Response;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;

use crate::clean::cleaned;
use crate::counts::Turned;
use crate::listen::Doorway;
use crate::route::{Answer, Body, closing};
use crate::server::{Door, Server};

/// What is answered however many requests there are.
const PROBES: [&str; 2] = ["/livez", "/readyz"];
/// What is answered without a token.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/metrics", "/metrics/aligned"];

/// The answer to a request that does not pass.
pub(crate) fn refusal(head: &Parts, door: &Door, server: &Server) -> Option<Answer> {
    let path = head.uri.path();
    if head.headers.len() > server.limits.headers {
        return Some(closing(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n"));
    }
    if !PROBES.contains(&path)
        && let Err(wait) = door.rate.take()
    {
        server.counts.note(Turned::Rate);
        let seconds = wait.as_secs().saturating_add(1);
        let mut answer = closing(StatusCode::TOO_MANY_REQUESTS, "too many requests; try again\n");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return Some(answer);
    }
    if let Some(clean) = cleaned(path) {
        return moved(&clean, head.uri.query());
    }
    let admits = server.admits.as_ref().filter(|_| door.way == Doorway::Network && !OPEN.contains(&path));
    if admits.is_some_and(|admits| !token(&head.headers).is_some_and(admits)) {
        server.counts.note(Turned::Token);
        let mut answer = closing(StatusCode::UNAUTHORIZED, "the bearer token of this server is wanted\n");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cim\""));
        return Some(answer);
    }
    None
}

/// As the original: no body, and no type of one.
fn moved(clean: &str, query: Option<&str>) -> Option<Answer> {
    let location = query.map_or_else(|| clean.to_owned(), |query| format!("{clean}?{query}"));
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).ok()?);
    Some(answer)
}

/// The token of the one `Authorization` header.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_header_with_the_bearer_scheme_has_a_token() {
        for (values, found) in [
            (&["Bearer abc"][..], Some(&b"abc"[..])),
            (&["bearer  abc "], Some(b"abc")),
            (&["Bearer "], Some(b"")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["Bearerabc"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(token(&map), found, "{values:?}");
        }
    }
}
