//! A text that must not be shown: a token, a password.
//!
//! Owns nothing but the hiding. The invariant: no `Debug`, `Display` or serialised form shows it, and its memory is
//! cleared when it is dropped. The one way to the text is [`Secret::reveal`].

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// Largest secret file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Reads the text from a file, without the white space around it; at most 4096 bytes are read.
    ///
    /// # Errors
    /// Why there is no secret: the file cannot be read, or is empty.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let wrong = |error: std::io::Error| format!("cannot read {name}: {error}");
        let mut text = String::new();
        File::open(file).map_err(wrong)?.take(MAX_BYTES).read_to_string(&mut text).map_err(wrong)?;
        let secret = Self::new(text.trim());
        text.zeroize();
        if secret.0.is_empty() { Err(format!("{name} is empty")) } else { Ok(secret) }
    }

    /// The text itself, for the one place that compares or sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true, "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_prints_shows_it() {
        let secret = Secret::new("canary");
        let shown = format!("{secret} {secret:?} {secret:#?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(secret.reveal(), "canary");
    }
}
