//! `[registration]`: what an application that registers is told (wire contract §6.1).
//!
//! Left out: the answer itself. The invariant: no credentials are made up; what the original hands to everybody has to be
//! written here to be handed out.

use cim_core::settings::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[registration]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrationSettings {
    /// `topo-gw.<namespace>.svc.cluster.local:8080` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmaas_fqdn: Option<String>,
    /// `cmaas.<namespace>.svc.cluster.local:8008` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apigw_rest_fqdn: Option<String>,
    /// Start of the paths of that service.
    pub apigw_rest_uri_prefix: String,
    /// How that service wants to be authenticated to.
    pub apigw_auth_type: String,
    /// User name there; nobody unless given.
    pub apigw_username: String,
    /// Password there; none unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apigw_password: Option<Secret>,
    /// `tmaas.<namespace>.svc.cluster.local:8080` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topo_engine_fqdn: Option<String>,
    /// Whether a registration without `container_name` and `container_id` is refused.
    pub mandatory_fields: bool,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self {
            tmaas_fqdn: None,
            apigw_rest_fqdn: None,
            apigw_rest_uri_prefix: "/restconf/tailf/query".to_owned(),
            apigw_auth_type: "Basic".to_owned(),
            apigw_username: String::new(),
            apigw_password: None,
            topo_engine_fqdn: None,
            mandatory_fields: false,
        }
    }
}
