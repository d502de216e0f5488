//! Event subscriptions of the application: from settings to a feed, and from HTTP calls to the book.
//!
//! Left out: what a subscription leads to. The invariant: nothing here opens a connection.

use std::sync::Arc;

use cim_api::{SubscriptionAnswer, SubscriptionCall};
use cim_core::settings::SubscriptionSettings;
use cim_core::subscriptions::{BookError, FeedState, Filter, Rules, SubscriptionsView};
use cim_core::{EventSource, FeedContext, Identity, Problem, Registry, Subscriptions};
use serde_json::Value;

use crate::exit::chain;
use crate::settings::Settings;

/// Name of the sink whose brokers have the events; `None` for no events.
#[must_use]
pub fn chosen<'s>(settings: &'s Settings, registry: &Registry) -> Option<&'s str> {
    if let Some(name) = settings.subscriptions.source.as_deref() {
        return (name != SubscriptionSettings::NONE).then_some(name);
    }
    let can_be_read = |name: &&str| {
        let kind = settings.sinks.get(*name).map(|sink| sink.kind.as_str());
        registry.feeds().iter().any(|feed| Some(feed.name) == kind)
    };
    let routed = settings.routes.events.sink.names().into_iter().find(can_be_read);
    routed.or_else(|| {
        let mut readable = settings.sinks.keys().map(String::as_str).filter(can_be_read);
        let only = readable.next()?;
        readable.next().is_none().then_some(only)
    })
}

/// The source that the settings choose; `None` for none.
///
/// # Errors
/// What is wrong with the sections it comes from.
pub fn source(
    settings: &Settings,
    registry: &Registry,
    identity: &Identity,
) -> Result<Option<Arc<dyn EventSource>>, Problem> {
    let Some(name) = chosen(settings, registry) else { return Ok(None) };
    let Some(sink) = settings.sinks.get(name) else { return Ok(None) };
    let kind = registry.feeds().find(&sink.kind, "subscriptions.source")?;
    let members = Value::Object(sink.members.clone().into_iter().collect());
    let context = FeedContext {
        name: name.to_owned(),
        identity: Arc::new(identity.clone()),
        settings: settings.subscriptions.clone(),
    };
    let built = (kind.build)(context, &members);
    built.map(Some).map_err(|problem| problem.beneath(&format!("sinks.{name}")))
}

/// What the settings say of answers to notifications.
#[must_use]
pub fn rules(settings: &SubscriptionSettings) -> Rules {
    Rules {
        ack_wait: settings.ack_wait.get(),
        max_deliver: settings.max_deliver,
        max_pending: usize::try_from(settings.max_ack_pending).unwrap_or(usize::MAX),
    }
}

/// Answers a call over HTTP (wire contract §6.2).
///
/// # Cancel safety
/// When dropped, the call may or may not have had its effect.
pub async fn answer(subscriptions: &Subscriptions, call: SubscriptionCall) -> SubscriptionAnswer {
    match call {
        SubscriptionCall::List => {
            let text = serde_json::to_string(&subscriptions.list());
            text.map_or_else(
                |error| SubscriptionAnswer::Unavailable(error.to_string()),
                SubscriptionAnswer::Listed,
            )
        }
        SubscriptionCall::Create(body) => match Filter::parse(&body) {
            Err(_) => SubscriptionAnswer::Invalid,
            Ok(filter) if !filter.names_an_event() => SubscriptionAnswer::NamesNoEvent,
            Ok(filter) => told(subscriptions.create(filter).await, SubscriptionAnswer::Created),
        },
        // An unknown id is told before a bad body.
        SubscriptionCall::Replace(id, _) if !subscriptions.is_known(&id) => SubscriptionAnswer::Unknown,
        SubscriptionCall::Replace(id, body) => match Filter::parse(&body) {
            Err(_) => SubscriptionAnswer::Invalid,
            Ok(filter) => told(subscriptions.replace(&id, filter).await, |()| SubscriptionAnswer::Replaced),
        },
        SubscriptionCall::Remove(id) => {
            told(subscriptions.remove(&id).await, |()| SubscriptionAnswer::Removed)
        }
    }
}

fn told<T>(outcome: Result<T, BookError>, done: impl FnOnce(T) -> SubscriptionAnswer) -> SubscriptionAnswer {
    match outcome {
        Ok(value) => done(value),
        Err(BookError::Unknown) => SubscriptionAnswer::Unknown,
        Err(error) => {
            tracing::error!("a subscription was refused: {}", chain(&error));
            SubscriptionAnswer::Unavailable(error.to_string())
        }
    }
}

/// How they are doing, in one line for the readiness page.
#[must_use]
pub fn line(view: &SubscriptionsView) -> String {
    let SubscriptionsView { subscriptions, feed, trouble, waiting_bytes, .. } = view;
    let state = match feed {
        FeedState::Absent => "no feed",
        FeedState::Idle => "nothing to read",
        FeedState::Opening => "opening",
        FeedState::Reading => "reading",
        FeedState::Resting => "degraded: the application does not take its notifications",
        FeedState::Failed => "degraded: not reading",
        FeedState::Ended => "ended",
    };
    match trouble {
        Some(trouble) if *feed == FeedState::Failed => {
            format!("{subscriptions} subscriptions; {state}: {trouble}")
        }
        Some(trouble) => format!("{subscriptions} subscriptions; degraded: {trouble}"),
        None => format!("{subscriptions} subscriptions; {state}; {waiting_bytes} bytes wait"),
    }
}
