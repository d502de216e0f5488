//! Annotation `xgvela.com/mmaas` (wire contract §10.3): data from outside, read strictly enough to never surprise.
//!
//! Left out: fetching it. The invariant: any text is a plan, no plan, or one line that says what is wrong.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::duration::nanoseconds;
use crate::plan::{Interval, Plan};

/// Name of the annotation.
pub const ANNOTATION: &str = "xgvela.com/mmaas";
/// Where an exporter has its page, unless the annotation says otherwise.
const USUAL_PATH: &str = "/metrics";

/// What the annotation asks for; `None` when it does not ask.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn read(text: &str) -> Result<Option<Plan>, String> {
    let wrong = |what: String| format!("annotation `{ANNOTATION}` {what}");
    let members: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| wrong(format!("cannot be read ({error}); it must be an object of texts")))?;
    let member = |name: &str, usual: Option<&str>| match members.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        // Bare numbers and switches mean what they would mean in quotes.
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        None => usual.map(ToOwned::to_owned).ok_or_else(|| wrong(format!("has no member `{name}`"))),
        Some(_) => Err(wrong(format!("is wrong: `{name}` must be a text"))),
    };
    if member("scrape", Some("false"))? != "true" {
        return Ok(None);
    }
    let scheme = member("scheme", Some("http"))?;
    if scheme != "http" && scheme != "https" {
        let what =
            format!("is wrong: `scheme` is `{scheme}`; exporters in the pod are read over http or https");
        return Err(wrong(what));
    }
    let is_wrong = |name: &str, what: &str| wrong(format!("is wrong: `{name}` {what}"));
    let interval = member("measurementInterval", None)?;
    let interval = nanoseconds(&interval).map(Duration::from_nanos);
    let interval = interval.ok_or("is no span of time; write 15s, for example").and_then(Interval::new);
    let interval = interval.map_err(|what| is_wrong("measurementInterval", what))?;
    let retention = member("maxRetention", None)?;
    let retention = retention
        .parse()
        .map_err(|_| is_wrong("maxRetention", "is no number of intervals; write \"20\", for example"))?;
    let ports = ports(members.get("ports")).ok_or_else(|| {
        is_wrong("ports", "must be a list of port numbers as texts, for example [\"8080\"]")
    })?;
    let plan = Plan::new(&ports, &member("path", Some(USUAL_PATH))?, interval, retention);
    plan.map(|plan| Some(plan.over(scheme == "https")))
        .map_err(|(name, what)| is_wrong(if name == "retention" { "maxRetention" } else { name }, &what))
}

fn ports(list: Option<&Value>) -> Option<Vec<u16>> {
    let port = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
        _ => None,
    };
    match list {
        None => Some(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(port).collect(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(member: &str, value: &str) -> String {
        let mut members: Map<String, Value> = serde_json::from_str(
            r#"{"scrape":"true","path":"/m","ports":["8080","9090"],"scheme":"http","measurementInterval":"15s","maxRetention":"3"}"#,
        )
        .unwrap();
        members.insert(member.to_owned(), serde_json::from_str(value).unwrap());
        Value::Object(members).to_string()
    }

    #[test]
    fn the_annotation_of_a_chart_is_a_plan() {
        let plan = read(&with("scrape", "\"true\"")).unwrap().unwrap();
        assert_eq!((plan.ports.as_slice(), plan.path.as_str()), (&[8080, 9090][..], "/m"));
        assert_eq!((plan.interval.ms(), plan.retention), (15_000, 3));
        let plan =
            read("{\n \"scrape\": true, \"measurementInterval\": \"1m30s\",\n \"maxRetention\": 2 }\n");
        let plan = plan.unwrap().unwrap();
        assert_eq!((plan.ports.len(), plan.path.as_str(), plan.interval.ms()), (0, "/metrics", 90_000));
    }

    #[test]
    fn bare_numbers_and_repeated_ports_are_understood() {
        let plan = read(&with("ports", "[8080, \"8080\", 1]")).unwrap().unwrap();
        assert_eq!(plan.ports, [8080, 1]);
    }

    #[test]
    fn the_scheme_tells_whether_exporters_speak_tls() {
        for (scheme, is_https) in [("\"http\"", false), ("\"https\"", true)] {
            assert_eq!(read(&with("scheme", scheme)).unwrap().unwrap().is_https, is_https);
        }
    }

    #[test]
    fn what_does_not_ask_is_no_plan() {
        for text in ["{}", r#"{"scrape":"false"}"#, r#"{"scrape":"yes","ports":7}"#] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn hostile_values_are_told_and_nothing_else() {
        for (text, part) in [
            ("zz".to_owned(), "cannot be read"),
            ("null".to_owned(), "cannot be read"),
            (with("scrape", "{}"), "`scrape` must be a text"),
            (with("measurementInterval", "\"500ms\""), "`measurementInterval` must be from 1s"),
            (with("measurementInterval", "\"0\""), "must be from 1s"),
            (with("measurementInterval", "\"-5s\""), "is no span of time"),
            (with("measurementInterval", "\"abc\""), "is no span of time"),
            (with("measurementInterval", "\"25h\""), "must be from 1s to 24h"),
            (with("measurementInterval", "\"1.0000001s\""), "whole number of milliseconds"),
            (with("maxRetention", "\"0\""), "`maxRetention` must be from 1"),
            (with("maxRetention", "\"99999999999999999999\""), "`maxRetention` is no number"),
            (with("maxRetention", "\"1001\""), "`maxRetention` must be from 1 to 1000"),
            (with("ports", "\"8080\""), "`ports` must be a list"),
            (with("ports", "[\"70000\"]"), "`ports` must be a list"),
            (with("ports", "[0]"), "`ports` must be from 1"),
            (with("path", "\"@evil:1/\""), "`path` must begin with"),
            (with("path", "\"/a b\""), "`path` must begin with"),
            (with("path", "\"/a\\r\\nX: y\""), "`path` must begin with"),
            (with("scheme", "\"gopher\""), "`scheme` is `gopher`"),
        ] {
            let problem = read(&text).unwrap_err();
            assert!(problem.contains(part) && problem.contains(ANNOTATION), "{text}: {problem}");
        }
        let many: Vec<_> = (1..100).collect();
        assert!(read(&with("ports", &format!("{many:?}"))).unwrap_err().contains("at most 32"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), member in "[a-zA-Z]{1,20}", value in any::<String>()) {
            let _ = read(&text);
            let value = serde_json::to_string(&value).unwrap();
            let _ = read(&with(&member, &value));
            let _ = read(&with("measurementInterval", &value));
        }
    }
}
