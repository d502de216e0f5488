//! What a check came to.
//!
//! Left out: how it is printed. The invariant: a finding that is not well says what is wrong, and what to do where that is
//! known.

use serde::Serialize;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was not looked at; the text says why.
    Skip,
    /// It is as it must be.
    Ok,
    /// CIM works with it, less well than it could.
    Warn,
    /// CIM does not work, or not as configured.
    Fail,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `port api.listen 127.0.0.1:6060`.
    pub check: String,
    /// How well it is.
    pub verdict: Verdict,
    /// What was found, lower case.
    pub text: String,
    /// What to do, where something is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check: check.into(), verdict, text: text.into(), advice: None }
    }

    /// It was not looked at.
    pub(super) fn skip(check: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skip, text)
    }

    /// It is well.
    pub(super) fn ok(check: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, text)
    }

    /// It could be better.
    pub(super) fn warn(check: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, text)
    }

    /// It is not as it must be.
    pub(super) fn fail(check: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, text)
    }

    /// With what to do.
    #[must_use]
    pub(super) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}
