//! Where a value came from, and a problem together with that.
//!
//! Left out: finding problems. The invariant: the text of a list of problems is the same for the same input, sorted
//! by place, so that it can be compared with a recorded one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cim_core::Problem;
use thiserror::Error;

use super::path;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file, and the line if it is known (the first is 1).
    File {
        /// The path as it was given.
        file: PathBuf,
        /// The line.
        line: Option<usize>,
    },
    /// A document that is no file any more, or not yet one.
    Document(String),
    /// A member of a file of the original, which stands for the value.
    Member {
        /// The file, with the line if it is known.
        file: String,
        /// Path of the member.
        member: String,
    },
    /// An environment variable of this name.
    Environment(String),
    /// The name the program was started under.
    Name(&'static str),
    /// Nobody said otherwise.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: Some(line) } => write!(f, "{}:{line}", file.display()),
            Self::File { file, line: None } => write!(f, "{}", file.display()),
            Self::Document(name) => f.write_str(name),
            Self::Member { file, member } => write!(f, "{file} ({member})"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Name(name) => write!(f, "program name {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Places by path of the value.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Notes where the value at `path` came from; a later layer replaces an earlier one.
    pub fn note(&mut self, path: impl Into<String>, place: Place) {
        self.0.insert(path.into(), place);
    }

    /// Lays the places of a later layer over these.
    pub fn overlay(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Whether a layer gave that very value.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The place of that value, of the first one inside it, or of the nearest table around it.
    #[must_use]
    pub fn of(&self, path: &str) -> &Place {
        let mut at = Some(path);
        while let Some(path) = at {
            if let Some(place) = self.0.get(path).or_else(|| self.inside(path)) {
                return place;
            }
            at = path::around(path);
        }
        self.0.get("").unwrap_or(&Place::Default)
    }

    /// The place of exactly that value or of one inside it; the default when nobody gives it.
    #[must_use]
    pub fn of_value(&self, path: &str) -> &Place {
        self.0.get(path).or_else(|| self.inside(path)).unwrap_or(&Place::Default)
    }

    /// The first place inside the table at `path`: a variable names a value, but not the tables around it.
    fn inside(&self, path: &str) -> Option<&Place> {
        let prefix = format!("{path}.");
        self.0
            .range(prefix.clone()..)
            .next()
            .filter(|(at, _)| at.starts_with(&prefix))
            .map(|(_, place)| place)
    }
}

/// A problem and where its cause stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

impl Located {
    /// A problem at that place.
    #[must_use]
    pub fn new(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place, problem: Problem::new(path, message) }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problem.path.is_empty() {
            return write!(f, "{}: {}", self.place, self.problem.message);
        }
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub struct Problems(Vec<Located>);

impl Problems {
    /// These problems, in order of place and path, each once.
    #[must_use]
    pub fn new(mut problems: Vec<Located>) -> Self {
        problems.sort_by(|a, b| (&a.place, &a.problem.path).cmp(&(&b.place, &b.problem.path)));
        problems.dedup();
        Self(problems)
    }

    /// The problems.
    #[must_use]
    pub fn list(&self) -> &[Located] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}:")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
