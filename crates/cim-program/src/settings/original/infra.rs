//! The shape of `common-infra.json`: where the infrastructure is (wire contract §2.3).
//!
//! Owns which members are known. Left out: whether an address can work, which its sink or source says. The invariant: `null`
//! and an empty value are as good as an absent one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `common-infra.json`. Switches and numbers are texts there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct CommonInfra {
    pub etcd_url: Option<String>,
    pub kafka_brokers: Option<Vec<String>>,
    pub logging_svc_url: Option<String>,
    pub logging_svc_tcp_port: Option<String>,
    pub enable_retrx: Option<String>,
    pub log_format: Option<String>,
    pub apigw_rest_fqdn: Option<String>,
    pub topoengine_fqdn: Option<String>,
}

impl CommonInfra {
    /// The brokers, unless there are none.
    pub fn brokers(&self) -> Option<&[String]> {
        self.kafka_brokers.as_deref().filter(|brokers| !brokers.is_empty())
    }

    /// Whether what a fallback took is delivered again later.
    pub fn sends_again(&self) -> bool {
        self.enable_retrx.as_deref() == Some("true")
    }

    /// Whether logs are payloads alone; anything but exactly `text` is JSON.
    pub fn is_text(&self) -> bool {
        self.log_format.as_deref() == Some("text")
    }
}

/// A text that says something.
pub(super) fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
