//! A page put together.
//!
//! Owns escapes and the form of a line. Left out: which lines follow each other, which is the caller's.

use std::fmt::Write as _;

use crate::family::Kind;
use crate::number::Number;

/// A page that grows.
#[derive(Debug, Clone, Default)]
pub struct Page(String);

impl Page {
    /// A page without a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The two lines that say what the samples after them are.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        self.parts(&["# HELP ", name, " "]);
        self.escape(help, false);
        self.parts(&["\n# TYPE ", name, " ", kind.as_str(), "\n"]);
    }

    /// One line with a value.
    pub fn sample<'l>(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: f64,
        timestamp_ms: Option<i64>,
    ) {
        self.parts(&[name]);
        let mut before = "{";
        for (label, value) in labels {
            self.parts(&[before, label, "=\""]);
            self.escape(value, true);
            self.parts(&["\""]);
            before = ",";
        }
        let end = if before == "," { "} " } else { " " };
        // Writing into a string cannot fail.
        let _ = write!(self.0, "{end}{}", Number(value));
        if let Some(timestamp) = timestamp_ms {
            let _ = write!(self.0, " {timestamp}");
        }
        self.parts(&["\n"]);
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn parts(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.0.push_str(part));
    }

    fn escape(&mut self, text: &str, quotes: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '"' if quotes => self.0.push_str("\\\""),
                c => self.0.push(c),
            }
        }
    }
}
