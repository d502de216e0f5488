//! The body of `POST /updateConfig`: a change as the application reads it (wire contract §5.1).
//!
//! Owns the members and their order. Left out: the call. Invariant: every member is a string, whatever the change holds,
//! because there are applications that read the body into a map of strings.

use crate::json::push_string;

/// A change for the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateConfig<'a> {
    /// The whole key of the change.
    pub change_set_key: &'a [u8],
    /// The patch as stored; it travels as a string, and each byte that is no UTF-8 as `\ufffd`.
    pub config_patch: &'a [u8],
    /// Name of the document.
    pub data_key: &'a [u8],
    /// Revision as written in the key.
    pub revision: &'a [u8],
}

impl UpdateConfig<'_> {
    /// Appends the body to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let members = [
            (&b"{\"change-set-key\":"[..], self.change_set_key),
            (b",\"config-patch\":", self.config_patch),
            (b",\"data-key\":", self.data_key),
            (b",\"revision\":", self.revision),
        ];
        for (name, value) in members {
            out.extend_from_slice(name);
            push_string(value, out);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The parts of a key that the body repeats.
    fn body(key: &str, patch: &str) -> String {
        let parts: Vec<_> = key.split('/').collect();
        let mut out = Vec::new();
        let change = UpdateConfig {
            change_set_key: key.as_bytes(),
            config_patch: patch.as_bytes(),
            data_key: parts[5].as_bytes(),
            revision: parts[6].as_bytes(),
        };
        change.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_recorded_body_is_made_again() {
        let text = include_str!("../../../tests/vectors/config.json");
        let recorded: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut compared = 0;
        for case in recorded["cases"].as_array().unwrap() {
            let request = case["expected"]["requests_to_app"][0]["text"].as_str().unwrap_or_default();
            let (Some(key), true) =
                (case["input"]["etcd_put"]["key"].as_str(), request.starts_with("POST /updateConfig "))
            else {
                continue;
            };
            let patch = case["input"]["etcd_put"]["value"].as_str().unwrap();
            let (_, expected) = request.split_once("\r\n\r\n").unwrap();
            assert_eq!(body(key, patch), expected, "{}", case["name"]);
            compared += 1;
        }
        assert_eq!(compared, 9, "a recorded change was not compared");
    }

    proptest! {
        #[test]
        fn any_change_is_read_back_as_a_map_of_strings(key: String, patch: Vec<u8>, data_key: String, revision: String) {
            let mut out = Vec::new();
            let change = UpdateConfig {
                change_set_key: key.as_bytes(),
                config_patch: &patch,
                data_key: data_key.as_bytes(),
                revision: revision.as_bytes(),
            };
            change.encode(&mut out);
            let read: BTreeMap<String, String> = serde_json::from_slice(&out).unwrap();
            let names: Vec<_> = read.keys().map(String::as_str).collect();
            prop_assert_eq!(names, ["change-set-key", "config-patch", "data-key", "revision"]);
            prop_assert_eq!(&read["change-set-key"], &key);
            prop_assert_eq!(&read["data-key"], &data_key);
            prop_assert_eq!(&read["revision"], &revision);
            if let Ok(patch) = std::str::from_utf8(&patch) {
                prop_assert_eq!(&read["config-patch"], patch);
            }
        }
    }
}
