//! The programs of Apache Kafka, as `scripts/tools` fetched them.
//!
//! Owns where they are and how Java is called. Invariant: what is missing is said in one sentence.

use std::path::PathBuf;

use crate::{has_program, tool};

/// A version of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 4.1.0.
    Current,
    /// 3.9.1, the oldest that is tested.
    Oldest,
}

impl Version {
    /// The number.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Current => "4.1.0",
            Self::Oldest => "3.9.1",
        }
    }

    fn folder(self) -> PathBuf {
        tool("kafka").join(self.number())
    }

    /// What is missing to run it, if anything.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        if !self.folder().exists() {
            return Some(format!(
                "Kafka {} is not installed (needs mvn; scripts/tools fetches it)",
                self.number()
            ));
        }
        if !tool("venv/bin/python").exists() {
            return Some("python3 with venv is not available: topics cannot be made".to_owned());
        }
        let absent = ["java", "setpriv", "kcat"].into_iter().find(|program| !has_program(program));
        absent.map(|program| format!("{program} is not installed: no Kafka broker can be run or read"))
    }

    /// Arguments of Java up to the options of the JVM.
    pub(crate) fn class_path(self) -> [String; 2] {
        ["-cp".to_owned(), self.folder().join("lib").join("*").display().to_string()]
    }
}
