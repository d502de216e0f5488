//! `/api/v1/_operations/event/subscriptions` (wire contract §6.2): what is asked and what is answered, to the byte.
//!
//! Left out: filters, and what a subscription leads to. The invariants: the content type of a request is never looked at; every body is
//! JSON with a line end, except that of a removal, which is empty.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Where subscriptions are.
const PATH: &str = "/api/v1/_operations/event/subscriptions";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionCall {
    /// A new subscription, with this body.
    Create(Bytes),
    /// All of them.
    List,
    /// Another filter for one, with this body.
    Replace(String, Bytes),
    /// The end of one.
    Remove(String),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionAnswer {
    /// There is a new one of that id.
    Created(String),
    /// All of them: an object of filters by id, as JSON.
    Listed(String),
    /// It has another filter.
    Replaced,
    /// It is no more.
    Removed,
    /// There is none of that id.
    Unknown,
    /// The body is no filter.
    Invalid,
    /// The filter names no event.
    NamesNoEvent,
    /// It cannot be done now; the text says why.
    Unavailable(String),
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    All,
    One(String),
}

/// What that path names, if it is one of subscriptions.
pub(crate) fn target(path: &str) -> Option<Target> {
    match path.strip_prefix(PATH)? {
        "" => Some(Target::All),
        rest => {
            let id = rest.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))?;
            Some(Target::One(id.to_owned()))
        }
    }
}

impl Target {
    /// The call; `None` for a method that is not known here.
    pub(crate) fn call(self, method: &Method, body: Bytes) -> Option<SubscriptionCall> {
        match (self, method) {
            (Self::All, &Method::POST) => Some(SubscriptionCall::Create(body)),
            (Self::All, &Method::GET) => Some(SubscriptionCall::List),
            (Self::One(id), &Method::PUT) => Some(SubscriptionCall::Replace(id, body)),
            (Self::One(id), &Method::DELETE) => Some(SubscriptionCall::Remove(id)),
            _ => None,
        }
    }
}

impl SubscriptionAnswer {
    /// Status and body.
    pub(crate) fn response(self) -> (StatusCode, String) {
        let text = |value: Value| format!("{value}\n");
        let error = |what: &str| text(json!({ "error": what }));
        match self {
            Self::Created(id) => (StatusCode::OK, text(json!({ "subscriptionId": id }))),
            Self::Listed(filters) => (StatusCode::OK, format!("{filters}\n")),
            Self::Replaced => (StatusCode::OK, text("subscribed event updated successfully".into())),
            Self::Removed => (StatusCode::NO_CONTENT, String::new()),
            Self::Unknown => (StatusCode::NOT_FOUND, error("Subscription ID does not exist.")),
            Self::Invalid => (StatusCode::BAD_REQUEST, error("Invalid request body.")),
            Self::NamesNoEvent => (StatusCode::BAD_REQUEST, error("LocalEventName must not be empty.")),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, error(&why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        assert_eq!(target(PATH), Some(Target::All));
        assert_eq!(target(&format!("{PATH}/123456")), Some(Target::One("123456".to_owned())));
        for path in
            ["/", &format!("{PATH}/"), &format!("{PATH}x"), &format!("{PATH}/1/"), &format!("{PATH}/1/2")]
        {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn each_path_has_its_methods() {
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        let known = |target: Target| {
            let known = |method: &&Method| target.clone().call(method, Bytes::new()).is_some();
            methods.iter().filter(known).map(Method::as_str).collect::<Vec<_>>()
        };
        assert_eq!(known(Target::All), ["GET", "POST"]);
        assert_eq!(known(Target::One("1".to_owned())), ["PUT", "DELETE"]);
    }
}
