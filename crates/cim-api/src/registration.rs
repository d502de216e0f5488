//! `POST /api/v1/_operations/xgvela/register` (wire contract §6.1): what is asked and what is answered, to the byte.
//!
//! Left out: what a registration leads to. The invariants: the content type of a request is never looked at; an answer has
//! its members in the order of the original, and a line end.

use serde_json::{Map, Value};

/// Where registrations are posted.
pub(crate) const PATH: &str = "/api/v1/_operations/xgvela/register";

/// What the application says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationRequest {
    /// Name of its container; may be empty.
    pub container_name: String,
    /// Id of its container; may be empty or the word `null`.
    pub container_id: String,
    /// `lmaas` and `app_settings`, as they came.
    pub sections: Map<String, Value>,
}

/// What the application is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationAnswer {
    /// `tmaas_fqdn`
    pub tmaas_fqdn: String,
    /// `apigw_rest_fqdn`
    pub apigw_rest_fqdn: String,
    /// `apigw_rest_uri_prefix`
    pub apigw_rest_uri_prefix: String,
    /// `apigw_auth_type`
    pub apigw_auth_type: String,
    /// `apigw_username`
    pub apigw_username: String,
    /// `apigw_password`
    pub apigw_password: String,
    /// `topo_engine_fqdn`
    pub topo_engine_fqdn: String,
    /// `tmaas_annotations`: names and values, in this order.
    pub tmaas_annotations: Vec<(&'static str, String)>,
}

/// Why a registration is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationRefusal {
    /// The request is at fault: 400.
    Invalid(String),
    /// It cannot be taken now: 503.
    Unavailable(String),
}

impl RegistrationRefusal {
    /// The container is not named, where it has to be.
    #[must_use]
    pub fn incomplete() -> Self {
        let missing = "Please provide mandatory fields container_name and container_id.";
        Self::Invalid(format!("Invalid request body. {missing}"))
    }
}

/// Members that are looked at, with the type they must have when they are there.
const SECTIONS: [&str; 2] = ["lmaas", "app_settings"];

impl RegistrationRequest {
    /// Reads a body. Names of members are compared without case, the last of several counts, unknown ones are ignored, and
    /// bytes that are no UTF-8 become U+FFFD, all as the original does; unlike there, `null` is no registration.
    ///
    /// # Errors
    /// The text that the answer carries.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let invalid = || "Invalid request body.".to_owned();
        let text = String::from_utf8_lossy(body);
        let members: Map<String, Value> = serde_json::from_str(&text).map_err(|_| invalid())?;
        let mut request = Self::default();
        for (name, value) in members {
            let name = name.to_ascii_lowercase();
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("container_name", Value::String(text)) => request.container_name = text,
                ("container_id", Value::String(text)) => request.container_id = text,
                ("container_name" | "container_id", _) => return Err(invalid()),
                (section, value) if SECTIONS.contains(&section) && !is_section(section, &value) => {
                    return Err(invalid());
                }
                (section, value) if SECTIONS.contains(&section) => {
                    request.sections.insert(name, value);
                }
                _ => {}
            }
        }
        Ok(request)
    }

    /// Whether the container is named, by name and id.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [&self.container_name, &self.container_id].into_iter().all(|text| !text.trim().is_empty())
    }
}

/// Whether every known member of a section has the type that the original reads.
fn is_section(section: &str, value: &Value) -> bool {
    let Some(members) = value.as_object() else { return false };
    members.iter().all(|(name, value)| match (section, name.to_ascii_lowercase().as_str()) {
        _ if value.is_null() => true,
        (
            "lmaas",
            "max_file_size_in_mb" | "max_backup_files" | "max_age" | "buffer_size" | "flush_timeout",
        )
        | ("app_settings", "app_port") => value.is_i64() || value.is_u64(),
        ("lmaas", "logging_mode") => value.is_string(),
        ("lmaas", "prefer_local_daemonset") | ("app_settings", "http2_enabled") => value.is_boolean(),
        _ => true,
    })
}

/// The body of an answer.
pub(crate) fn body(answer: &Result<RegistrationAnswer, RegistrationRefusal>) -> Vec<u8> {
    let empty = RegistrationAnswer::default();
    let (status, problem, answer) = match answer {
        Ok(answer) => ("success", None, answer),
        Err(RegistrationRefusal::Invalid(text) | RegistrationRefusal::Unavailable(text)) => {
            ("failure", Some(text.as_str()), &empty)
        }
    };
    let members = [
        ("status", Some(status)),
        ("tmaas_fqdn", Some(answer.tmaas_fqdn.as_str())),
        ("err_msg", problem),
        ("apigw_rest_fqdn", Some(answer.apigw_rest_fqdn.as_str())),
        ("apigw_rest_uri_prefix", Some(answer.apigw_rest_uri_prefix.as_str())),
        ("apigw_auth_type", Some(answer.apigw_auth_type.as_str())),
        ("apigw_username", Some(answer.apigw_username.as_str())),
        ("apigw_password", Some(answer.apigw_password.as_str())),
        ("topo_engine_fqdn", Some(answer.topo_engine_fqdn.as_str())),
    ];
    let mut text = String::from("{");
    for (name, value) in members {
        if let Some(value) = value {
            text.push_str(&format!("\"{name}\":{},", quoted(value)));
        }
    }
    text.push_str("\"tmaas_annotations\":");
    if problem.is_some() {
        text.push_str("null");
    } else {
        let pairs: Vec<_> = answer
            .tmaas_annotations
            .iter()
            .map(|(name, value)| format!("\"{name}\":{}", quoted(value)))
            .collect();
        text.push_str(&format!("{{{}}}", pairs.join(",")));
    }
    text.push_str("}\n");
    text.into_bytes()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_the_original_reads_them() {
        let app = |name: &str, id: &str| {
            Ok(RegistrationRequest {
                container_name: name.to_owned(),
                container_id: id.to_owned(),
                ..RegistrationRequest::default()
            })
        };
        for (body, expected) in [
            (&b"{}"[..], app("", "")),
            (br#"{"container_name":"a","container_id":null}"#, app("a", "")),
            (br#"{"CONTAINER_NAME":"app","Container_Id":"x"}"#, app("app", "x")),
            (br#"{"container_name":"a","container_name":"b","container_id":"x"}"#, app("b", "x")),
            (br#"{"container_name":"app","foo":[1,2],"cimConfig":{"lmaas":{"max_age":3}}}"#, app("app", "")),
            (b"{\"container_name\":\"a\xff\"}", app("a\u{fffd}", "")),
        ] {
            assert_eq!(RegistrationRequest::parse(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn sections_of_the_document_are_kept_as_they_came() {
        let body = br#"{"LMAAS":{"max_age":7,"other":"x"},"app_settings":{"app_port":8080},"haaas":{}}"#;
        let sections = RegistrationRequest::parse(body).unwrap().sections;
        let expected =
            serde_json::json!({"lmaas": {"max_age": 7, "other": "x"}, "app_settings": {"app_port": 8080}});
        assert_eq!(Value::from(sections), expected);
    }

    #[test]
    fn everything_else_is_refused() {
        for body in [
            &b""[..],
            b"hello",
            b"null",
            b"[]",
            br#"{"container_name":"app""#,
            br#"{"container_name":"app","container_id":"x"} x"#,
            br#"{"container_name":7}"#,
            br#"{"lmaas":{"max_age":"7"}}"#,
            br#"{"lmaas":[]}"#,
            b"\xef\xbb\xbf{}",
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(RegistrationRequest::parse(body), Err("Invalid request body.".to_owned()), "{shown}");
        }
    }

    #[test]
    fn the_failure_is_the_recorded_one() {
        let text = body(&Err(RegistrationRefusal::Invalid("Invalid request body.".to_owned())));
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"status\":\"failure\",\"tmaas_fqdn\":\"\",\"err_msg\":\"Invalid request body.\",\"apigw_rest_fqdn\":\"\",\
             \"apigw_rest_uri_prefix\":\"\",\"apigw_auth_type\":\"\",\"apigw_username\":\"\",\"apigw_password\":\"\",\
             \"topo_engine_fqdn\":\"\",\"tmaas_annotations\":null}\n"
        );
    }

    #[test]
    fn the_success_is_the_recorded_one() {
        let answer = RegistrationAnswer {
            tmaas_fqdn: "topo-gw.ns1.svc.cluster.local:8080".to_owned(),
            apigw_rest_fqdn: "cmaas.ns1.svc.cluster.local:8008".to_owned(),
            apigw_rest_uri_prefix: "/restconf/tailf/query".to_owned(),
            apigw_auth_type: "Basic".to_owned(),
            apigw_username: "admin".to_owned(),
            apigw_password: "admin".to_owned(),
            topo_engine_fqdn: "tmaas.ns1.svc.cluster.local:8080".to_owned(),
            tmaas_annotations: vec![
                ("vendorId", "xgvela".to_owned()),
                ("xgvelaId", "xgvela1".to_owned()),
                ("nfClass", "xgvela".to_owned()),
                ("nfType", "xgvela".to_owned()),
                ("nfId", "xgvela1".to_owned()),
                ("nfServiceId", "svc-1".to_owned()),
                ("nfServiceType", "svc".to_owned()),
            ],
        };
        let text = body(&Ok(answer));
        assert_eq!(text.len(), 463);
        assert!(text.starts_with(
            br#"{"status":"success","tmaas_fqdn":"topo-gw.ns1.svc.cluster.local:8080","apigw_rest_fqdn""#
        ));
        assert!(text.ends_with(b"\"nfServiceType\":\"svc\"}}\n"));
    }
}
