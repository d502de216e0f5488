//! One line of a page, read from its start to its end.
//!
//! Owns the characters: names, quotes, escapes, blanks. Left out: which family a line belongs to.

use std::borrow::Cow;

use crate::family::{Label, Sample};

/// What is wrong with a line.
type Fault = &'static str;

/// The rest of a line.
pub(crate) struct Line<'t>(&'t str);

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Whether the byte may stand in a name, at its start or after it.
fn in_name(byte: u8, is_first: bool, colon: bool) -> bool {
    byte.is_ascii_alphabetic()
        || byte == b'_'
        || (colon && byte == b':')
        || (!is_first && byte.is_ascii_digit())
}

/// Whether a family can have that name.
pub(crate) fn is_name(text: &str) -> bool {
    let mut line = Line(text);
    !line.name(true).is_empty() && line.is_empty()
}

impl<'t> Line<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self(text.trim_matches(is_blank))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_comment(&self) -> bool {
        self.0.starts_with('#')
    }

    /// What stands before the next blank; the rest goes on after the blanks.
    pub(crate) fn word(&mut self) -> &'t str {
        let (word, rest) = self.0.split_at(self.0.find(is_blank).unwrap_or(self.0.len()));
        self.0 = rest.trim_start_matches(is_blank);
        word
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'t str {
        self.0
    }

    /// A name of a metric (with colons) or of a label (without); empty when there is none.
    fn name(&mut self, colon: bool) -> &'t str {
        let bytes = self.0.bytes().enumerate();
        let len = bytes.take_while(|(at, byte)| in_name(*byte, *at == 0, colon)).count();
        let (name, rest) = self.0.split_at(len);
        self.0 = rest;
        name
    }

    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches(is_blank);
    }

    /// Takes that character, if it is next.
    fn take(&mut self, c: char) -> bool {
        self.0.strip_prefix(c).map(|rest| self.0 = rest).is_some()
    }

    /// The sample on this line.
    pub(crate) fn sample(mut self) -> Result<Sample<'t>, Fault> {
        let name = self.name(true);
        if name.is_empty() {
            return Err("a line begins with the name of a metric or with `#`");
        }
        let after = self.0;
        self.blanks();
        let labels = if self.take('{') { self.labels()? } else { Vec::new() };
        if self.0.len() == after.len() {
            return Err("a name ends with a blank or with `{`");
        }
        self.blanks();
        let value = self.word();
        let value = value.parse().map_err(|_| "the value is not a number")?;
        let timestamp_ms = match self.word() {
            "" => None,
            word => Some(word.parse().map_err(|_| "the timestamp is not a whole number of milliseconds")?),
        };
        if !self.is_empty() {
            return Err("something follows the timestamp");
        }
        Ok(Sample { name, labels, value, timestamp_ms })
    }

    fn labels(&mut self) -> Result<Vec<Label<'t>>, Fault> {
        let mut labels: Vec<Label<'t>> = Vec::new();
        loop {
            self.blanks();
            if self.take('}') {
                return Ok(labels);
            }
            let name = self.name(false);
            if name.is_empty() {
                return Err("a label needs a name");
            }
            self.blanks();
            if !self.take('=') {
                return Err("a label needs `=` after its name");
            }
            self.blanks();
            let value = self.quoted()?;
            if name == "__name__" || labels.iter().any(|(known, _)| *known == name) {
                return Err("a label stands there twice");
            }
            labels.push((name, value));
            self.blanks();
            if !self.take(',') && !self.0.starts_with('}') {
                return Err("labels are separated by `,` and end with `}`");
            }
        }
    }

    fn quoted(&mut self) -> Result<Cow<'t, str>, Fault> {
        if !self.take('"') {
            return Err("the value of a label stands in quotes");
        }
        let mut escaped = false;
        let end = self.0.bytes().position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        });
        let (value, rest) =
            end.and_then(|end| self.0.split_at_checked(end)).ok_or("a quote is not closed")?;
        self.0 = rest.strip_prefix('"').unwrap_or(rest);
        Ok(unescaped(value))
    }
}

/// Undoes `\\`, `\n` and `\"`. Another character keeps its backslash.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some(c @ ('\\' | '"'))) => plain.push(c),
            (c, next) => plain.extend([Some(c), next].into_iter().flatten()),
        }
    }
    Cow::Owned(plain)
}
