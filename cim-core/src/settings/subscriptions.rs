//! `[subscriptions]`: where events come from that applications subscribe to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// `[subscriptions]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionSettings {
    /// The sink whose brokers have the events; `none` for no events. Absent: the sink of `[routes.events]`, if it is of a type that
    /// can be read, else the only sink that can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Topic of the events.
    pub topic: String,
    /// Name under which is noted how far the topic was read. Absent: the name of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where reading begins when nothing is noted yet: so long ago. Absent: with the events that come from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ago: Option<Period>,
    /// Subscriptions with `acknowledge`: how long the application may take for its answer before a notification is sent again.
    pub ack_wait: Period,
    /// Subscriptions with `acknowledge`: how often a notification is sent before it becomes a dead letter.
    #[schemars(range(min = 1))]
    pub max_deliver: u32,
    /// Subscriptions with `acknowledge`: notifications of one subscription that may be without answer at a time. With 1 they come
    /// strictly in order.
    #[schemars(range(min = 1))]
    pub max_ack_pending: u32,
}

impl SubscriptionSettings {
    /// The source that is none.
    pub const NONE: &'static str = "none";
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self {
            source: None,
            topic: "FMAASEVENTS".to_owned(),
            group: None,
            start_ago: None,
            ack_wait: Period::seconds(30),
            max_deliver: 5,
            max_ack_pending: 1_000,
        }
    }
}
