//! Which events a subscription asks for (wire contract §6.2).
//!
//! Owns the four lists, whether answers are wanted, their JSON, and the rule by which one filter judges one record. Left out: judging by many filters at
//! once (`index`). The invariant: the JSON that is shown is read back as the same filter.

use serde::{Deserialize, Deserializer, Serialize};

/// A filter: a list that is empty or absent lets every record pass, except the first, which must name the event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Names of events. Absent: no event at all.
    #[serde(rename = "localEventName")]
    pub local_event_name: Option<Vec<String>>,
    /// Types of the network function.
    #[serde(
        rename = "nfNamingCode",
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub nf_naming_code: Vec<String>,
    /// Types of its service.
    #[serde(
        rename = "nfcNamingCode",
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub nfc_naming_code: Vec<String>,
    /// Identifiers of the network function.
    #[serde(rename = "localNfId", default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub local_nf_id: Vec<String>,
    /// Each notification is sent by itself, and again until the application has answered it.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
}

/// `null` is as good as absent.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// `null` is as good as absent.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The members a body may have, as they are written; their names are compared without case.
const MEMBERS: [&str; 5] = ["localEventName", "nfNamingCode", "nfcNamingCode", "localNfId", "acknowledge"];

impl Filter {
    /// Reads the body of a request; the last of several members of one name counts, others are let be.
    ///
    /// # Errors
    /// What is no JSON object, or has one of these members with something else than a list of texts, or a truth value.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let given: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
        let mut known = serde_json::Map::new();
        for (name, value) in given {
            if let Some(member) = MEMBERS.iter().find(|member| member.eq_ignore_ascii_case(&name)) {
                known.insert((*member).to_owned(), value);
            }
        }
        serde_json::from_value(known.into())
    }

    /// Whether it names an event.
    #[must_use]
    pub fn names_an_event(&self) -> bool {
        self.local_event_name.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// The lists beside the names of events, in the order of [`Traits`].
    pub(super) fn lists(&self) -> [&[String]; 3] {
        [&self.nf_naming_code, &self.nfc_naming_code, &self.local_nf_id]
    }

    /// The rule: the record's event is named, and each list that is not empty holds the record's value.
    #[must_use]
    pub fn matches(&self, traits: &Traits<'_>) -> bool {
        let holds =
            |list: &[String], value: Option<&[u8]>| list.iter().any(|text| Some(text.as_bytes()) == value);
        holds(self.local_event_name.as_deref().unwrap_or_default(), traits.event)
            && self
                .lists()
                .into_iter()
                .zip(traits.others)
                .all(|(list, value)| list.is_empty() || holds(list, value))
    }
}

/// What the headers of one record say (wire contract §7.5). A header that is absent is in no list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits<'h> {
    /// `localEventName`
    pub event: Option<&'h [u8]>,
    /// `nfNamingCode`, `nfcNamingCode`, `localNfID`
    pub others: [Option<&'h [u8]>; 3],
    /// `replay` is `true`: the record was sent before.
    pub is_replay: bool,
}

impl<'h> Traits<'h> {
    /// Reads the headers of one record and of no other. The last of several of one name counts.
    pub fn of(headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut traits = Self::default();
        for (name, value) in headers {
            let value = unquoted(value);
            match name {
                "localEventName" => traits.event = Some(value),
                "nfNamingCode" => traits.others[0] = Some(value),
                "nfcNamingCode" => traits.others[1] = Some(value),
                // The header is spelt otherwise than the member of a filter.
                "localNfID" => traits.others[2] = Some(value),
                "replay" => traits.is_replay = value == b"true",
                _ => {}
            }
        }
        traits
    }
}

/// Old producers wrote each text as JSON: in double quotes.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits<'h>(headers: &[(&'h str, &'h str)]) -> Traits<'h> {
        Traits::of(&mut headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn bodies_are_read_as_the_original_reads_them() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (body, expected) in [
            ("{}", None),
            (r#"{"localEventName":null,"nfNamingCode":null}"#, None),
            (r#"{"localEventName":[]}"#, names(&[])),
            (r#"{"LOCALEVENTNAME":["A"],"other":{"x":[1]}}"#, names(&["A"])),
            (r#"{"localEventName":["A"],"localEventName":["B","C"]}"#, names(&["B", "C"])),
        ] {
            let filter = Filter::parse(body.as_bytes()).unwrap();
            assert_eq!(filter, Filter { local_event_name: expected, ..Filter::default() }, "{body}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let deep = format!("{{\"localEventName\":{}", "[".repeat(100_000));
        for body in [
            &b""[..],
            b"null",
            b"[]",
            b"x",
            b"{",
            b"{} {}",
            br#"{"localEventName":"A"}"#,
            br#"{"localEventName":[1]}"#,
            br#"{"localEventName":[null]}"#,
            br#"{"localEventName":["A"],"localNfId":{}}"#,
            b"{\"localEventName\":[\"\xff\"]}",
            br#"{"localEventName":["\ud800"]}"#,
            br#"{"localEventName":["A"],"acknowledge":"true"}"#,
            br#"{"localEventName":["A"],"acknowledge":1}"#,
            deep.as_bytes(),
        ] {
            assert!(
                Filter::parse(body).is_err(),
                "{}",
                String::from_utf8_lossy(body).chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let body = r#"{"localEventName":["A"],"nfcNamingCode":["c"],"localNfId":["x","y"]}"#;
        let filter = Filter::parse(body.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), body);
        assert_eq!(serde_json::to_string(&Filter::default()).unwrap(), r#"{"localEventName":null}"#);
        let body = r#"{"localEventName":["A"],"acknowledge":true}"#;
        let filter = Filter::parse(body.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), body);
        for plain in ["false", "null"] {
            let body = format!(r#"{{"localEventName":["A"],"acknowledge":{plain}}}"#);
            let filter = Filter::parse(body.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&filter).unwrap(), r#"{"localEventName":["A"]}"#);
        }
    }

    #[test]
    fn lists_are_alternatives_and_all_of_them_count() {
        let filter =
            Filter::parse(br#"{"localEventName":["A","B"],"nfNamingCode":["amf"],"localNfId":["l1"]}"#)
                .unwrap();
        let full = [("localEventName", "A"), ("nfNamingCode", "amf"), ("localNfID", "l1")];
        assert!(filter.matches(&traits(&full)));
        assert!(filter.matches(&traits(&[
            ("localEventName", "B"),
            full[1],
            full[2],
            ("nfcNamingCode", "any")
        ])));
        for headers in [
            &[full[1], full[2]][..],
            &[full[0], full[1]],
            &[full[0], full[1], ("localNfId", "l1")],
            &[("localEventName", "C"), full[1], full[2]],
            &[full[0], full[1], full[2], ("nfNamingCode", "smf")],
        ] {
            assert!(!filter.matches(&traits(headers)), "{headers:?}");
        }
    }

    #[test]
    fn quotes_of_old_producers_are_no_part_of_a_value() {
        let quoted = traits(&[("localEventName", "\"A\""), ("replay", "\"true\""), ("localNfID", "\"")]);
        assert_eq!(quoted, Traits { event: Some(b"A"), others: [None, None, Some(b"\"")], is_replay: true });
        assert!(!traits(&[("replay", "TRUE")]).is_replay);
    }
}
